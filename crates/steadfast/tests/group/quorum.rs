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
    assert!(status.contains("503") && text.contains("1 of 3 replicas are connected"), "{status} {text}");
    assert!(cluster.server(leader).page("/healthz").0.contains("200"), "a restart would not help");

    cluster.start(&others[..1]);
    let mut client = cluster.client(cluster.leader());
    assert_eq!(client.send("t", b"with two").code(), response::SUCCESS);
    let all = bodies(&mut client);
    assert_eq!((all.first(), all.last()), (Some(&"with all".to_owned()), Some(&"with two".to_owned())));
    let between = &all[1..all.len() - 1];
    assert!(between.iter().all(|body| unknown.contains(body)), "{between:?}; refused: {refused:?}");
}
