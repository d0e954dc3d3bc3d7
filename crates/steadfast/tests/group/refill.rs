//! A replica whose disk is gone or went back in time. With an empty directory the leader gives it the whole log, most of which
//! is not in memory any more.

use std::fs;
use std::path::Path;

use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_types::record::StoredMessage;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{SendMessageResponse, ViewMessage};

use crate::cluster::Cluster;
use crate::process::until;

/// More than a leader holds in memory for those that are a little behind (32 MiB), in segments that are not.
const MESSAGES: u8 = 48;
const BODY: usize = 1 << 20;

#[test]
fn a_replica_whose_disk_is_gone_is_given_the_whole_log() {
    let mut cluster = Cluster::running(&["mappedFileSizeCommitLog=16MiB"]);
    let leader = cluster.leader();
    let lost = cluster.others(leader)[0];
    cluster.take(lost).kill();
    std::fs::remove_dir_all(cluster.data(lost)).unwrap();

    let mut client = cluster.client(leader);
    let send = |i: u8| {
        let sent = client.send("t", &vec![i; BODY]);
        assert_eq!(sent.code(), response::SUCCESS, "{}", sent.remark());
        let fields = SendMessageResponse::decode(&sent.header.ext).unwrap();
        parse_offset_msg_id(&fields.msg_id).unwrap().1.get()
    };
    let places: Vec<u64> = (0..MESSAGES).map(send).collect();
    let of_lost = |name: &str| {
        let own = "{cluster=\"DefaultCluster\",node_type=\"broker\",node_id=\"broker-a\",";
        cluster.figure(leader, &format!("{name}{own}peer=\"n{lost}\"}}"))[0].parse::<f64>().expect("a number")
    };
    assert!(of_lost("steadfast_replica_behind_bytes") >= f64::from(MESSAGES) * BODY as f64);
    until("the leader misses it", || of_lost("steadfast_replica_answers") == 0.0);
    cluster.start(&[lost]);
    cluster.until_equal();
    let of_lost = |name: &str| cluster.figure(leader, name);
    until("the leader knows that it has all", || {
        of_lost("steadfast_replica_behind_bytes{") == ["0", "0"]
            && of_lost("steadfast_replica_answers{") == ["1", "1"]
    });
    until("it says so itself", || cluster.server(lost).page("/readyz").0.contains("200"));
    assert!(!cluster.figure(lost, "steadfast_log_end_bytes")[0].starts_with('0'));
    // Any replica answers messages by their place; this one has them from the other's disk.
    let mut client = cluster.client(lost);
    for (i, at) in places.into_iter().enumerate() {
        let mut ext = ExtFields::default();
        ViewMessage { offset: at as i64, topic: None }.encode(&mut ext);
        let answer = client.ask(request::VIEW_MESSAGE_BY_ID, ext, &[]);
        assert_eq!(answer.code(), response::SUCCESS, "{}", answer.remark());
        let message = StoredMessage::decode(&answer.body).unwrap();
        assert!(message.body == vec![i as u8; BODY], "message {i}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => fs::copy(entry.path(), target).map(drop).expect("a copy"),
        }
    }
}

#[test]
fn a_directory_that_went_back_in_time_is_recognised_and_filled() {
    let mut cluster = Cluster::running(&["mappedFileSizeCommitLog=16MiB"]);
    let leader = cluster.leader();
    let old = cluster.others(leader)[0];
    let kept = tempfile::tempdir().unwrap();
    cluster.take(old).stop();
    copy(&cluster.data(old), &kept.path().join("data"));
    cluster.start(&[old]);
    let leader = cluster.leader();
    let mut client = cluster.client(leader);
    for i in 0..50u8 {
        assert_eq!(client.send("t", &[i; 1000]).code(), response::SUCCESS);
    }
    cluster.until_equal();

    cluster.take(old).stop();
    fs::remove_dir_all(cluster.data(old)).unwrap();
    copy(&kept.path().join("data"), &cluster.data(old));
    cluster.start(&[old]);
    until("it says so", || cluster.server(old).log().contains("is an older copy of itself"));
    until("it is filled", || cluster.figure(old, "steadfast_replica_incomplete{") == ["0"]);
    cluster.until_equal();
    let leader = cluster.leader();
    assert_eq!(cluster.client(leader).send("t", b"after").code(), response::SUCCESS);
}
