//! Requests that no client of good will makes: each is refused, and leaves a directory that opens again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::{BufMut, Bytes, BytesMut};
use node::{Node, pull_header, send_header};
use steadfast_broker::io::Input;
use steadfast_wire::body::{HeartbeatData, ProducerData};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

/// A pull that also commits a position (PULL_COMMIT_OFFSET | PULL_SUBSCRIPTION) of a group with this name.
fn pull_and_commit(group: &str) -> Header<'static> {
    let mut header = Header::request(request::PULL_MESSAGE, 0);
    let pull = headers::PullMessage {
        consumer_group: group.into(),
        topic: "T".into(),
        max_msg_nums: 1,
        sys_flag: 5,
        commit_offset: 1,
        subscription: Some("*".into()),
        ..headers::PullMessage::default()
    };
    pull.encode(&mut header.ext);
    header.into_owned()
}

#[test]
fn a_name_that_is_no_name_is_refused_wherever_it_stands() {
    let mut node = Node::new();
    node.send("T", 0, "first", "");
    for len in [1_025, 65_536, 70_000, 9_000_000] {
        let group = "g".repeat(len);
        let pulled = node.ask(pull_and_commit(&group), Bytes::new());
        assert_eq!(pulled.code, response::SYSTEM_ERROR, "{}", pulled.remark);
        assert!(pulled.remark.contains("consumerGroup has"), "{}", pulled.remark);
        let committed = node.commit(&group, "T", 0, 1);
        assert_eq!(node.answer_to(committed).unwrap().code, response::SYSTEM_ERROR);
    }
    let mut node = node.restart();
    assert_eq!(node.pull("T", 0, 0).bodies(), ["first"]);
}

#[test]
fn a_heartbeat_names_no_more_groups_than_a_client_can_have() {
    let mut node = Node::new();
    let producer = |i: usize| ProducerData { group_name: format!("g{i}") };
    let heartbeat = HeartbeatData {
        client_id: "client".into(),
        producer_data_set: (0..5_000).map(producer).collect(),
        ..HeartbeatData::default()
    };
    let answer = node.json(1, request::HEART_BEAT, &heartbeat);
    assert_eq!(answer.code, response::SYSTEM_ERROR);
    assert!(answer.remark.contains("5000 groups"), "{}", answer.remark);
}

#[test]
fn a_transactional_message_is_told_by_its_property_in_any_case() {
    let mut node = Node::new();
    for value in ["true", "True", "TRUE"] {
        let sent = node.send("T", 0, "half", &format!("TRAN_MSG\u{1}{value}\u{2}"));
        assert_eq!(sent.code, response::MESSAGE_ILLEGAL, "{value}");
    }
}

#[test]
fn a_batch_that_asks_for_a_delay_as_a_whole_is_refused() {
    let mut node = Node::new();
    for asked in ["DELAY\u{1}3\u{2}", "TRAN_MSG\u{1}True\u{2}"] {
        let mut header = send_header("T", 0, asked);
        header.code = request::SEND_BATCH_MESSAGE;
        let sent = node.ask(header, batch_of(b"one"));
        assert_eq!(sent.code, response::MESSAGE_ILLEGAL, "{asked}: {}", sent.remark);
    }
    let mut header = send_header("T", 0, "");
    header.code = request::SEND_BATCH_MESSAGE;
    assert_eq!(node.ask(header, batch_of(b"one")).code, response::SUCCESS);
}

/// A batch of one message without properties: total size, magic, body CRC, flag, body, properties.
fn batch_of(body: &[u8]) -> Bytes {
    let mut batch = BytesMut::new();
    batch.put_u32(22 + body.len() as u32);
    batch.put_slice(&[0; 12]);
    batch.put_u32(body.len() as u32);
    batch.put_slice(body);
    batch.put_u16(0);
    batch.freeze()
}

#[test]
fn of_two_unique_keys_the_one_that_the_sender_is_told_finds_the_message() {
    let mut node = Node::new();
    let sent = node.send("T", 0, "twice", "UNIQ_KEY\u{1}AAA\u{2}UNIQ_KEY\u{1}BBB\u{2}");
    assert_eq!(sent.ext.get("transactionId"), Some("BBB"));
    assert_eq!(node.query("T", "BBB").bodies(), ["twice"]);
}

#[test]
fn a_pull_that_nobody_waits_for_is_not_held() {
    let mut node = Node::new();
    node.send("T", 0, "first", "");
    let held = node.broker.deadline();
    node.request(1, pull_header("T", 0, 1, 10_000).oneway(), Bytes::new());
    assert_eq!(node.broker.deadline(), held);
    node.request(1, pull_header("T", 0, 1, 10_000), Bytes::new());
    assert_ne!(node.broker.deadline(), held, "one that is waited for is held");
    node.request(1, send_header("T", 0, ""), Bytes::from_static(b"second"));
}

/// Each search may hold megabytes of what is known of its key, and keeps a reader busy that consumers wait for.
#[test]
fn of_many_searches_only_a_few_are_under_way() {
    let mut node = Node::new();
    for _ in 0..10 {
        node.send("T", 0, "body", "KEYS\u{1}k\u{2}");
    }
    node.hold_reads = true;
    let mut query = Header::request(request::QUERY_MESSAGE, 0);
    let wanted = headers::QueryMessage {
        topic: "T".into(),
        key: "k".into(),
        max_num: 64,
        end_timestamp: i64::MAX,
        ..headers::QueryMessage::default()
    };
    wanted.encode(&mut query.ext);
    let mut search = Header::request(request::SEARCH_OFFSET_BY_TIMESTAMP, 0);
    let place = headers::SearchOffset { topic: "T".into(), timestamp: 5, ..headers::SearchOffset::default() };
    place.encode(&mut search.ext);
    let patient: Vec<i32> = (0..50)
        .flat_map(|_| [&query, &search].map(|header| node.request(1, header.clone(), Bytes::new())))
        .collect();
    assert_eq!(node.held_reads.len(), 4);
    assert_eq!(node.pull("T", 0, 0).bodies().len(), 10, "a consumer does not wait for them");
    // Another client asks for the rest of what may wait, and for more.
    let mut refused = 0;
    for _ in 0..5_000 {
        let opaque = node.request(3, query.clone(), Bytes::new());
        refused += usize::from(
            node.answers
                .last()
                .is_some_and(|answer| answer.opaque == opaque && answer.code == response::SYSTEM_BUSY),
        );
    }
    assert_eq!(refused, 5_000 - (4_096 - 96));
    node.input(Input::Disconnected(3));
    while !node.held_reads.is_empty() {
        assert!(node.held_reads.len() <= 4);
        node.release_read();
    }
    for opaque in patient {
        assert_eq!(node.answer_to(opaque).unwrap().code, response::SUCCESS);
    }
    let served = node.answers.iter().filter(|answer| answer.code == response::SUCCESS);
    assert_eq!(served.count(), 10 + 1 + 100, "nobody is served who is gone");
}

/// Every code with every field at its extremes, in a request that otherwise makes sense: answered, or held as a pull
/// is, and neither a panic nor a directory that does not open.
#[test]
fn no_field_of_any_request_breaks_it() {
    const SANE: [(&str, &str); 29] = [
        ("topic", "T"),
        ("consumerGroup", "g"),
        ("producerGroup", "g"),
        ("group", "g"),
        ("groupName", "g"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "5"),
        ("commitOffset", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("suspendTimeoutMillis", "0"),
        ("key", "k"),
        ("maxNum", "32"),
        ("beginTimestamp", "0"),
        ("endTimestamp", "9223372036854775807"),
        ("offset", "0"),
        ("timestamp", "0"),
        ("readQueueNums", "4"),
        ("writeQueueNums", "4"),
        ("perm", "6"),
        ("defaultTopic", "TBW102"),
        ("delayLevel", "1"),
        ("originTopic", "T"),
        ("clientID", "c"),
        ("isForce", "true"),
        ("index", "0"),
        ("count", "10"),
    ];
    /// A send's fields have letters for names.
    const SEND: [(&str, &str); 13] = [
        ("a", "g"),
        ("b", "T"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1"),
        ("h", "0"),
        ("i", "KEYS\u{1}k\u{2}"),
        ("j", "0"),
        ("k", "false"),
        ("l", "16"),
        ("m", "false"),
    ];
    const EXTREMES: [&str; 12] = [
        "-1",
        "0",
        "2147483647",
        "-2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "99999999999999999999",
        "",
        "a\0b",
        "\u{1}\u{2}",
        "../../订单",
        "DELAY\u{1}9223372036854775807\u{2}UNIQ_KEY\u{1}\u{2}KEYS\u{1}\0 \u{1}",
    ];
    let mut node = Node::new();
    let codes = (0..1_000).filter(|code| request::name(*code) != "UNKNOWN");
    for code in codes {
        let base: &[(&str, &str)] = if [request::SEND_MESSAGE_V2, request::SEND_BATCH_MESSAGE].contains(&code)
        {
            &SEND
        } else {
            &SANE
        };
        for changed in 0..base.len() {
            for extreme in EXTREMES {
                let mut header = Header::request(code, 0);
                for (i, (name, value)) in base.iter().enumerate() {
                    header.ext.push(*name, if i == changed { extreme } else { value });
                }
                node.request(1, header, Bytes::from_static(b"body"));
            }
        }
        node.make_space();
        // Whatever was deleted or made unreadable is there again.
        let created = node.create_topic(node::topic("T", 4));
        assert_eq!(created.code, response::SUCCESS, "after {}", request::name(code));
        let sent = node.send("T", 0, "whole", "");
        assert_eq!(sent.code, response::SUCCESS, "after {}: {}", request::name(code), sent.remark);
        node.answers.clear();
    }
    let mut node = node.restart();
    let end = node.send("T", 0, "last", "").number("queueOffset");
    assert_eq!(node.pull("T", 0, end).bodies(), ["last"]);
}

#[test]
fn a_permission_that_is_none_is_refused() {
    let mut node = Node::new();
    for perm in [-1, 8, 9, i32::MAX, i32::MIN] {
        let refused = node.create_topic(headers::CreateTopic { perm, ..node::topic("T", 4) });
        assert_eq!(refused.code, response::INVALID_PARAMETER, "{perm}");
        assert!(refused.remark.contains("6 (both)"), "{}", refused.remark);
    }
}
