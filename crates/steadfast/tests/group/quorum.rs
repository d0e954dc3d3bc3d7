//! A leader that is left alone: nothing it cannot make sure of is acknowledged.

use steadfast_types::record::{Record, StoredMessage, records};
use steadfast_wire::code::response;

use crate::client::{Answer, Client};
use crate::cluster::Cluster;
use crate::process::until;

/// Bodies of queue 0.
fn bodies(client: &mut Client) -> Vec<String> {
    let (end, mut all) = (client.max_offset("t"), Vec::new());
    while (all.len() as i64) < end {
        let Answer { body, .. } = client.pull("t", all.len() as i64);
        for record in records(&body) {
            let (_, Record::Message(bytes)) = record.expect("a record") else { panic!("no message") };
            let message = StoredMessage::decode(bytes).expect("a message");
            all.push(String::from_utf8(message.body.to_vec()).expect("UTF-8"));
        }
    }
    all
}

#[test]
fn a_leader_alone_acknowledges_nothing() {
    let mut cluster = Cluster::running(&["syncFlushTimeout=300"]);
    let leader = cluster.leader();
    let mut client = cluster.client(leader);
    assert_eq!(client.send("t", b"with all").code(), response::SUCCESS);
    let others = cluster.others(leader);
    others.iter().for_each(|i| cluster.take(*i).kill());

    let (mut sent, mut unknown, mut refused) = (0, Vec::new(), Vec::new());
    until("it knows that it leads nobody", || {
        sent += 1;
        let body = format!("alone {sent}");
        let answer = client.send("t", body.as_bytes());
        assert_ne!(answer.code(), response::SUCCESS, "{answer:?}");
        match answer.remark() {
            remark if remark.starts_with("stored=unknown; retry=same id") => unknown.push(body),
            remark if remark.starts_with("stored=no; retry=safe") => refused.push(body),
            remark => panic!("{remark}"),
        }
        answer.remark().contains("knows no leader")
    });
    let (status, text) = cluster.server(leader).page("/readyz");
    assert!(status.contains("503") && text.contains("1 of 3 replicas are there"), "{status} {text}");
    assert!(cluster.server(leader).page("/healthz").0.contains("200"), "a restart would not help");

    cluster.start(&others[..1]);
    let mut client = cluster.client(cluster.leader());
    assert_eq!(client.send("t", b"with two").code(), response::SUCCESS);
    let all = bodies(&mut client);
    assert_eq!((all.first(), all.last()), (Some(&"with all".to_owned()), Some(&"with two".to_owned())));
    let between = &all[1..all.len() - 1];
    assert!(between.iter().all(|body| unknown.contains(body)), "{between:?}; refused: {refused:?}");
}

/// Their connections stay, and the systems at their ends answer probes: only that they say nothing tells.
#[test]
fn replicas_that_stand_still_are_named_by_the_one_that_misses_them() {
    let cluster = Cluster::running(&["syncFlushTimeout=300"]);
    let leader = cluster.leader();
    let others = cluster.others(leader);
    others.iter().for_each(|i| cluster.server(*i).pause());
    let mut text = String::new();
    until("it says who is silent", || {
        text = cluster.server(leader).page("/readyz").1;
        text.matches("it has said nothing for").count() == 2
    });
    assert!(text.contains("1 of 3 replicas are there, itself included"), "{text}");
    others.iter().for_each(|i| cluster.server(*i).go_on());
    let mut client = cluster.client(cluster.leader());
    assert_eq!(client.send("t", b"together again").code(), response::SUCCESS);
}

/// A replica that cannot write is no help to its group, and says so.
#[test]
fn a_replica_whose_disk_is_full_is_not_ready() {
    let mut cluster = Cluster::running(&[]);
    let leader = cluster.leader();
    let full = cluster.others(leader)[0];
    cluster.take(full).kill();
    std::fs::remove_dir_all(cluster.data(full)).expect("its data");
    std::fs::create_dir(cluster.data(full)).expect("a place for its disk");
    cluster.start_on_small_disk(full, 120);
    let mut client = cluster.client(leader);
    for _ in 0..100 {
        assert_eq!(client.send("t", &[7; 1 << 20]).code(), response::SUCCESS, "the others go on");
    }
    until("it says that its disk is full", || {
        let (status, text) = cluster.server(full).page("/readyz");
        status.contains("503") && text.contains("the disk is full: this replica takes nothing that is new")
    });
}
