//! A replica whose disk is gone: it begins with an empty directory, and the leader gives it the whole log, most of which
//! is not in memory any more.

use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_types::record::StoredMessage;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{SendMessageResponse, ViewMessage};

use crate::cluster::Cluster;

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
    cluster.start(&[lost]);
    cluster.until_equal();
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
