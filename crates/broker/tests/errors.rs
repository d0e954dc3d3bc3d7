//! Errors are told apart: each has the code on which RocketMQ's clients do the right thing, and names its cause.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Answer, MemDisk, Node, options, pull_header, send_header};
use steadfast_broker::Options;
use steadfast_broker::io::Input;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

/// A node without automatic topics, with a topic T of this permission.
fn with_topic(perm: i32) -> Node {
    let mut node = Node::open(MemDisk::default(), Options { auto_create_topic: false, ..options() });
    let created = node.create_topic(headers::CreateTopic { perm, ..node::topic("T", 1) });
    assert_eq!(created.code, response::SUCCESS);
    node
}

#[track_caller]
fn refused(answer: &Answer, code: i32, cause: &str) {
    assert_eq!(answer.code, code, "{}", answer.remark);
    assert!(answer.remark.contains(cause), "{}", answer.remark);
}

#[test]
fn a_topic_may_be_closed_to_producers_or_consumers() {
    let mut read_only = with_topic(4);
    refused(&read_only.send("T", 0, "x", ""), response::NO_PERMISSION, "perm 4");
    assert_eq!(read_only.pull("T", 0, 0).code, response::PULL_NOT_FOUND);
    let mut write_only = with_topic(2);
    assert_eq!(write_only.send("T", 0, "x", "").code, response::SUCCESS);
    refused(&write_only.pull("T", 0, 0), response::NO_PERMISSION, "perm 2");
}

#[test]
fn a_topic_a_queue_or_a_subscription_is_missing() {
    let mut node = with_topic(6);
    refused(&node.send("U", 0, "x", ""), response::TOPIC_NOT_EXIST, "U");
    refused(&node.pull("U", 0, 0), response::TOPIC_NOT_EXIST, "topic U does not exist; create it");
    refused(&node.pull("T", 7, 0), response::SYSTEM_ERROR, "queue 7 of topic T does not exist, it has 1");
    let mut header = pull_header("T", 0, 0, 0);
    let pull = headers::PullMessage::decode(&header.ext).unwrap();
    let mut ext = steadfast_wire::header::ExtFields::default();
    headers::PullMessage { sys_flag: 0, subscription: None, ..pull }.encode(&mut ext);
    header.ext = ext.into_owned();
    refused(&node.ask(header, Bytes::new()), response::SUBSCRIPTION_NOT_EXIST, "heartbeat");
}

/// Codes on which producers try another broker; what is stored is said.
#[test]
fn a_broker_that_cannot_write_says_so() {
    let mut node = with_topic(6);
    node.input(Input::WriteFailed("the disk is gone".to_owned()));
    refused(&node.send("T", 0, "x", ""), response::SERVICE_NOT_AVAILABLE, "stored=no; retry=safe");
    refused(&node.send("T", 0, "x", ""), response::SERVICE_NOT_AVAILABLE, "the disk is gone");
    let mut node = with_topic(6);
    node.input(Input::Stop);
    refused(&node.send("T", 0, "x", ""), response::SERVICE_NOT_AVAILABLE, "the broker is stopping");
}

/// Until the broker can write it takes nothing; then it goes on by itself.
#[test]
fn a_broker_that_is_starting_says_so() {
    let mut node = Node::starting(MemDisk::default(), options(), 1_000_000);
    let answer = node.send("T", 0, "x", "");
    refused(&answer, response::SERVICE_NOT_AVAILABLE, "the broker is starting");
    refused(&answer, response::SERVICE_NOT_AVAILABLE, "stored=no; retry=safe");
    node.fill();
    assert_eq!(node.send("T", 0, "x", "").code, response::SUCCESS);
    assert_eq!(node.pull("T", 0, 0).bodies(), ["x"], "what was refused is not there");
}

/// Senders are told before what waits for the disk fills the memory; what was taken is kept.
#[test]
fn a_broker_with_too_much_to_write_says_how_much() {
    let mut node = Node::open(MemDisk::default(), Options { pending_bytes: 10_000, ..options() });
    node.send("T", 0, "first", "");
    node.hold_writes = true;
    let body = "x".repeat(4_000);
    let sent: Vec<_> = (0..4).map(|_| node.request(1, send_header("T", 0, ""), body.clone())).collect();
    // One is being written, two wait.
    assert!(sent[..3].iter().all(|opaque| node.answer_to(*opaque).is_none()));
    let busy = node.answer_to(sent[3]).expect("the last one is told");
    refused(&busy, response::SYSTEM_BUSY, "bytes wait to be written");
    refused(&busy, response::SYSTEM_BUSY, "stored=no; retry=safe");
    let said: usize = busy.remark.split(' ').find_map(|word| word.parse().ok()).expect("how many");
    assert!((8_000..10_000).contains(&said), "{}", busy.remark);
    while node.held_writes() > 0 {
        node.release_writes();
    }
    assert!(sent[..3].iter().all(|opaque| node.answer_to(*opaque).unwrap().code == response::SUCCESS));
    node.hold_writes = false;
    assert_eq!(node.send("T", 0, "last", "").number("queueOffset"), 4, "the refused one took no offset");
}

/// A Java consumer stops at a body that it cannot unpack, and skips the good messages behind it.
#[test]
fn a_body_that_is_not_compressed_as_its_flag_says_is_refused() {
    let mut node = Node::new();
    let mut send = |sys_flag: i32, body: &'static [u8]| {
        let mut header = Header::request(request::SEND_MESSAGE_V2, 0);
        let send = headers::SendMessage {
            producer_group: "producers".into(),
            topic: "t".into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            sys_flag,
            ..headers::SendMessage::default()
        };
        send.encode_v2(&mut header.ext);
        let answer = node.ask(header.into_owned(), body);
        (answer.code, answer.remark)
    };
    let zlib = &b"\x78\x9c\x4b\x4c\x24\x0e\x00\x00\x36\xeb\x0f\x29"[..];
    for (flag, body) in [
        (0, &b"plain"[..]),
        (0x700, b"plain"),
        (0x001, zlib),
        (0x301, zlib),
        (0x101, b"\x04\x22\x4d\x18..."),
        (0x201, b"\x28\xb5\x2f\xfd..."),
    ] {
        assert_eq!(send(flag, body).0, response::SUCCESS, "{flag:#x}");
    }
    for (flag, body, cause) in [
        (0x701, zlib, "the system flag 1793 says that the body is compressed in way 7"),
        (0x001, b"plain", "is compressed with zlib, but it does not begin like that"),
        (0x001, b"x", "zlib"),
        (0x101, zlib, "is compressed with LZ4, but"),
        (0x201, b"", "is compressed with Zstandard, but"),
    ] {
        let (code, remark) = send(flag, body);
        assert_eq!(code, response::MESSAGE_ILLEGAL, "{flag:#x}");
        assert!(remark.contains(cause), "{flag:#x}: {remark}");
    }
}
