//! P6: a group's position moves by commits of what was processed, or by a jump that is on record with its cause and
//! range: once, also after a restart.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Answer, Node, options, pull_header};
use steadfast_broker::Options;
use steadfast_wire::body::{
    Body, ConsumeFromWhere, ConsumeStats, ConsumeType, ConsumerData, HeartbeatData, KVTable, MessageModel,
    ResetOffsetBody, SubscriptionData,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::{ExtFields, Header};
use steadfast_wire::headers::{self, Boundary};

const MIDDLE: i64 = 1_000_000 + 50;

/// A node whose topic T has two queues with ten messages each; message n of a queue is stored at 1 000 000 + 10 n ms.
fn filled() -> Node {
    let mut node = Node::new();
    node.create_topic(node::topic("T", 2));
    for i in 0..10 {
        node.ticks = i * 10;
        node.send("T", 0, &format!("a{i}"), "");
        node.send("T", 1, &format!("b{i}"), "");
    }
    node
}

fn commit(node: &mut Node, queue: i32, offset: i64) -> Answer {
    let opaque = node.commit("consumers", "T", queue, offset);
    node.answer_to(opaque).unwrap()
}

fn position(node: &mut Node, queue: i32) -> Answer {
    let opaque = node.ask_position("consumers", "T", queue);
    node.answer_to(opaque).unwrap()
}

/// Jumps on record: cause, queue, from, to.
fn jumps(node: &mut Node) -> Vec<(String, i32, Option<i64>, i64)> {
    let mut header = Header::request(request::GET_CONSUME_STATS, 0);
    let stats = headers::GetConsumeStats {
        consumer_group: "consumers".into(),
        topic: Some("T".into()),
        ..headers::GetConsumeStats::default()
    };
    stats.encode(&mut header.ext);
    let answer = node.ask(header.into_owned(), Bytes::new());
    let stats = ConsumeStats::decode(&answer.body).unwrap();
    stats.position_jumps.into_iter().map(|j| (j.cause, j.queue_id, j.from, j.to)).collect()
}

fn jump(cause: &str, queue: i32, from: impl Into<Option<i64>>, to: i64) -> (String, i32, Option<i64>, i64) {
    (cause.to_owned(), queue, from.into(), to)
}

fn reset_header(queue: i32, offset: Option<i64>, time: i64, force: bool) -> Header<'static> {
    let mut header = Header::request(request::INVOKE_BROKER_TO_RESET_OFFSET, 0);
    let reset = headers::ResetOffset {
        topic: "T".into(),
        group: "consumers".into(),
        queue_id: queue,
        offset,
        timestamp: time,
        force,
    };
    reset.encode(&mut header.ext);
    header.into_owned()
}

/// Resets all queues to a time; returns the new positions.
fn reset(node: &mut Node, time: i64) -> Vec<i64> {
    let answer = node.ask(reset_header(-1, None, time, true), Bytes::new());
    assert_eq!(answer.code, response::SUCCESS, "{}", answer.remark);
    ResetOffsetBody::decode(&answer.body).unwrap().offset_table.values().copied().collect()
}

/// Makes T again, so that its queues begin where they ended.
fn expire_all(node: &mut Node) {
    let mut header = Header::request(request::DELETE_TOPIC_IN_BROKER, 0);
    headers::DeleteTopic { topic: "T".into(), cluster_name: None }.encode(&mut header.ext);
    node.ask(header.into_owned(), Bytes::new());
    node.send("T", 0, "new", "");
}

/// rmq#9307, #10955: a queue that is new to a group starts at its oldest message, and that is the group's position
/// from the first answer on.
#[test]
fn a_new_queue_starts_at_its_oldest_message_on_record() {
    let mut node = filled();
    commit(&mut node, 0, 4);
    node.hold_writes = true;
    let asked = node.ask_position("consumers", "T", 1);
    let again = node.ask_position("consumers", "T", 1);
    assert!(node.answer_to(asked).is_none(), "not before it is on record");
    node.release_writes();
    assert_eq!(node.answer_to(asked).unwrap().number("offset"), 0);
    assert_eq!(node.answer_to(again).unwrap().number("offset"), 0);
    node.hold_writes = false;
    assert_eq!(jumps(&mut node), [jump("new_queue", 1, None, 0)], "once");

    let mut node = node.restart();
    assert_eq!(position(&mut node, 1).number("offset"), 0);
    assert_eq!(jumps(&mut node), [jump("new_queue", 1, None, 0)], "still once");
}

#[test]
fn a_group_without_any_position_decides_for_itself() {
    let mut node = filled();
    assert_eq!(position(&mut node, 0).number("offset"), 0, "the queue has its first message still");
    expire_all(&mut node);
    assert_eq!(position(&mut node, 0).code, response::QUERY_NOT_FOUND);
    assert_eq!(jumps(&mut node), []);
    // It started, so a queue that it has not seen is new to it.
    commit(&mut node, 0, 11);
    let mut header = Header::request(request::QUERY_CONSUMER_OFFSET, 0);
    let query = headers::QueryConsumerOffset {
        consumer_group: "consumers".into(),
        topic: "T".into(),
        queue_id: 1,
        set_zero_if_not_found: Some(false),
    };
    query.encode(&mut header.ext);
    assert_eq!(node.ask(header.into_owned(), Bytes::new()).number("offset"), 10, "the oldest, never 22");
}

/// RocketMQ answers 22 here; its clients then go to the end, past what comes meanwhile.
#[test]
fn a_queue_that_never_had_a_message_is_started_at_0() {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    assert_eq!(position(&mut node, 3).number("offset"), 0);
    assert_eq!(jumps(&mut node), []);
}

#[test]
fn a_search_by_time_has_two_boundaries() {
    let mut node = filled();
    node.ticks = 200;
    (0..3).for_each(|i| _ = node.send("T", 0, &format!("c{i}"), ""));
    let mut search = |time: i64, boundary| {
        let mut header = Header::request(request::SEARCH_OFFSET_BY_TIMESTAMP, 0);
        headers::SearchOffset { topic: "T".into(), queue_id: 0, timestamp: time, boundary }
            .encode(&mut header.ext);
        node.ask(header.into_owned(), Bytes::new()).number("offset")
    };
    for (time, lower, upper) in [
        (0, 0, 0),
        (999_999, 0, 0),
        (MIDDLE - 3, 5, 4),
        (MIDDLE, 5, 5),
        (MIDDLE + 3, 6, 5),
        (1_000_150, 10, 9),
        (1_000_200, 10, 12),
        (1_000_201, 13, 12),
    ] {
        assert_eq!(search(time, Boundary::Lower), lower, "lower of {time}");
        assert_eq!(search(time, Boundary::Upper), upper, "upper of {time}");
    }
}

#[test]
fn a_reset_needs_no_client_and_says_where_to() {
    let mut node = filled();
    commit(&mut node, 0, 4);
    assert_eq!(reset(&mut node, MIDDLE), [5, 5], "the first message at or after the time");
    assert_eq!(reset(&mut node, 0), [0, 0], "before the first");
    assert_eq!(reset(&mut node, MIDDLE + 1_000_000), [10, 10], "after the last");
    assert_eq!(reset(&mut node, -1), [10, 10], "the end");
    let expected = [
        jump("reset", 0, 4, 5),
        jump("reset", 1, None, 5),
        jump("reset", 0, 5, 0),
        jump("reset", 1, 5, 0),
        jump("reset", 0, 0, 10),
        jump("reset", 1, 0, 10),
        jump("reset", 0, 10, 10),
        jump("reset", 1, 10, 10),
    ];
    assert_eq!(jumps(&mut node), expected);
    assert!(
        node.warnings.iter().any(|w| w.contains("queue 0 from 0 to 10 (10 not delivered")),
        "{:?}",
        node.warnings
    );
    let mut node = node.restart();
    assert_eq!(jumps(&mut node), expected);
    assert_eq!(position(&mut node, 0).number("offset"), 10);
}

#[test]
fn a_reset_to_an_offset_takes_one_queue_and_stays_in_range() {
    let mut node = filled();
    commit(&mut node, 0, 4);
    let outside = node.ask(reset_header(0, Some(11), 0, true), Bytes::new());
    assert_eq!(outside.code, response::SYSTEM_ERROR);
    assert!(
        outside.remark.contains("Target offset 11 not in consume queue range [0-10]"),
        "{}",
        outside.remark
    );
    assert_eq!(node.ask(reset_header(0, Some(7), 0, true), Bytes::new()).code, response::SUCCESS);
    assert_eq!(node.ask(reset_header(7, Some(7), 0, true), Bytes::new()).code, response::SYSTEM_ERROR);
    assert_eq!(position(&mut node, 0).number("offset"), 7);
    assert_eq!(jumps(&mut node), [jump("reset", 0, 4, 7)]);
    // Without force nothing is skipped.
    node.ask(reset_header(0, Some(9), 0, false), Bytes::new());
    assert_eq!(position(&mut node, 0).number("offset"), 7);
    node.ask(reset_header(0, Some(2), 0, false), Bytes::new());
    assert_eq!(position(&mut node, 0).number("offset"), 2);
}

/// A client that was reading when its group was reset: what it still commits is from before, and it is told until it
/// has followed, also if an answer or the whole server is lost.
#[test]
fn clients_follow_a_reset_and_cannot_undo_it() {
    let mut node = filled();
    commit(&mut node, 0, 8);
    let held = node.request(1, pull_header("T", 0, 10, 10_000), Bytes::new());
    reset(&mut node, MIDDLE);
    let moved = node.answer_to(held).expect("a pull that waits is answered at once");
    assert_eq!((moved.code, moved.number("nextBeginOffset")), (response::PULL_OFFSET_MOVED, 5));
    assert_eq!(moved.remark, "OFFSET_RESET");
    let late = commit(&mut node, 0, 10);
    assert_eq!((late.code, &*late.remark), (response::SUCCESS, "Offset has been previously reset"));
    assert_eq!(position(&mut node, 0).number("offset"), 5);

    let mut node = node.restart();
    assert_eq!(node.pull("T", 0, 10).number("nextBeginOffset"), 5, "told again");
    assert_eq!(commit(&mut node, 0, 10).code, response::SUCCESS);
    assert_eq!(position(&mut node, 0).number("offset"), 5);
    assert_eq!(node.pull("T", 0, 5).bodies()[0], "a5", "followed");
    commit(&mut node, 0, 6);
    assert_eq!(position(&mut node, 0).number("offset"), 6);
    assert_eq!(jumps(&mut node), [jump("reset", 0, 8, 5), jump("reset", 1, None, 5)]);
}

/// A commit that was admitted before a reset is not forgotten by it, and one that comes while the reset is being
/// written does not undo it.
#[test]
fn commits_around_a_reset_are_in_the_order_of_the_log() {
    let mut node = filled();
    commit(&mut node, 0, 2);
    node.hold_writes = true;
    node.commit("consumers", "T", 0, 6);
    node.request(1, reset_header(0, None, MIDDLE, true), Bytes::new());
    node.commit("consumers", "T", 0, 9);
    node.release_writes();
    node.release_writes();
    node.hold_writes = false;
    assert_eq!(position(&mut node, 0).number("offset"), 5);
    assert_eq!(jumps(&mut node), [jump("reset", 0, 6, 5)]);
}

/// A member of the group that subscribes to a topic.
fn member(client_id: &str, topic: &str) -> HeartbeatData {
    HeartbeatData {
        client_id: client_id.into(),
        consumer_data_set: vec![ConsumerData {
            consume_from_where: ConsumeFromWhere::FirstOffset,
            consume_type: ConsumeType::Passively,
            group_name: "consumers".into(),
            message_model: MessageModel::Clustering,
            subscription_data_set: vec![SubscriptionData { topic: topic.into(), ..Default::default() }],
            unit_mode: false,
        }],
        ..HeartbeatData::default()
    }
}

/// Progress is told of the topics that members subscribe to; jumps of all.
#[test]
fn jumps_are_told_of_topics_without_subscribers() {
    let mut node = filled();
    reset(&mut node, MIDDLE);
    let told = jumps(&mut node);
    assert_eq!(told.len(), 2);
    let header = Header::request(request::HEART_BEAT, 0).into_owned();
    node.request(1, header, member("one", "Other").encode());
    assert_eq!(jumps(&mut node), told);
}

#[test]
fn resets_in_clients_reach_every_member_in_its_own_form() {
    let mut node = filled();
    node = Node::open(node.disk, Options { server_side_reset: false, ..options() });
    for (conn, language) in [(1, "JAVA"), (2, "CPP")] {
        let mut header = Header::request(request::HEART_BEAT, 0);
        header.language = steadfast_wire::header::Language::from_name(language);
        node.request(conn, header, member(language, "T").encode());
    }
    node.calls.clear();
    reset(&mut node, MIDDLE);
    let calls: Vec<_> = node
        .calls
        .iter()
        .map(|(conn, call)| (*conn, call.code, String::from_utf8_lossy(&call.body).into_owned()))
        .collect();
    let code = request::RESET_CONSUMER_CLIENT_OFFSET;
    let java = r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:5,{"brokerName":"broker-a","queueId":1,"topic":"T"}:5}}"#;
    let cpp = r#"{"offsetTable":[{"brokerName":"broker-a","offset":5,"queueId":0,"topic":"T"},{"brokerName":"broker-a","offset":5,"queueId":1,"topic":"T"}]}"#;
    assert!(calls.contains(&(1, code, java.to_owned())), "{calls:?}");
    assert!(calls.contains(&(2, code, cpp.to_owned())), "{calls:?}");
    assert_eq!(position(&mut node, 0).number("offset"), 5, "and the server has it");
}

#[test]
fn a_position_before_the_oldest_message_is_corrected_on_record() {
    let mut node = filled();
    expire_all(&mut node);
    commit(&mut node, 0, 3);
    let moved = node.pull("T", 0, 3);
    assert_eq!((moved.code, moved.number("nextBeginOffset")), (response::PULL_OFFSET_MOVED, 10));
    assert_eq!(position(&mut node, 0).number("offset"), 10);
    assert_eq!(jumps(&mut node), [jump("out_of_range", 0, 3, 10)]);
    let mut node = node.restart();
    node.pull("T", 0, 3);
    assert_eq!(jumps(&mut node), [jump("out_of_range", 0, 3, 10)], "once");
}

/// The client went on at the oldest message, and committed; the record of the jump was not written before.
#[test]
fn a_commit_across_what_is_gone_is_a_jump_too() {
    let mut node = filled();
    expire_all(&mut node);
    commit(&mut node, 0, 3);
    commit(&mut node, 0, 11);
    assert_eq!(jumps(&mut node), [jump("out_of_range", 0, 3, 10)]);
    assert_eq!(position(&mut node, 0).number("offset"), 11);
}

#[test]
fn a_pull_past_the_end_goes_back_to_the_groups_position() {
    let mut node = filled();
    assert_eq!(node.pull("T", 0, 99).number("nextBeginOffset"), 10, "nothing is known of the group");
    commit(&mut node, 0, 4);
    let moved = node.pull("T", 0, 99);
    assert_eq!((moved.code, moved.number("nextBeginOffset")), (response::PULL_OFFSET_MOVED, 4));
    assert_eq!(jumps(&mut node), []);
}

#[test]
fn commits_backwards_are_on_record_and_commits_past_the_end_are_refused() {
    let mut node = filled();
    commit(&mut node, 0, 8);
    let refused = commit(&mut node, 0, 11);
    assert_eq!(refused.code, response::INVALID_PARAMETER);
    assert!(refused.remark.contains("it ends at 10"), "{}", refused.remark);
    assert_eq!(position(&mut node, 0).number("offset"), 8);
    commit(&mut node, 0, 6);
    commit(&mut node, 0, 7);
    assert_eq!(position(&mut node, 0).number("offset"), 7);
    assert_eq!(jumps(&mut node), [jump("commit", 0, 8, 6)]);
    assert_eq!(node.warnings, [""; 0], "clients do it all day");
    // With a pull it is ignored, and the pull is served.
    for (commit, expected) in [(11, 7), (9, 9)] {
        let mut header = pull_header("T", 0, 9, 0);
        let pull = headers::PullMessage::decode(&header.ext).unwrap();
        let pull = headers::PullMessage { commit_offset: commit, sys_flag: pull.sys_flag | 1, ..pull };
        let mut ext = ExtFields::default();
        pull.encode(&mut ext);
        header.ext = ext.into_owned();
        assert_eq!(node.ask(header, Bytes::new()).bodies(), ["a9"]);
        assert_eq!(position(&mut node, 0).number("offset"), expected);
    }
}

/// How often and how far, by cause; none is forgotten, also not by a restart.
#[test]
fn jumps_are_counted_by_cause() {
    fn counted(node: &mut Node) -> Vec<(&'static str, u64, u64, u64)> {
        let jumps = node.measure().jumps;
        assert!(jumps.iter().all(|of| &*of.group == "consumers"));
        jumps.into_iter().map(|of| (of.cause, of.jumps, of.skipped, of.repeated)).collect()
    }
    let mut node = filled();
    assert_eq!(counted(&mut node), []);
    commit(&mut node, 0, 8);
    assert_eq!(counted(&mut node), [], "consuming is none");
    commit(&mut node, 0, 6);
    position(&mut node, 1);
    reset(&mut node, MIDDLE);
    node.pull("T", 0, 5);
    node.pull("T", 1, 5);
    reset(&mut node, -1);
    let figures = node.ask(Header::request(request::GET_BROKER_RUNTIME_INFO, 0), Bytes::new());
    let figures = KVTable::decode(&figures.body).unwrap().table;
    assert_eq!(figures["positionJumpsSkipped"], "15");
    // Queue 0: from 6 to 5 to 10; queue 1: from 0 to 5 to 10.
    let expected = [("reset", 4, 15, 1), ("new_queue", 1, 0, 0), ("commit", 1, 0, 2)];
    assert_eq!(counted(&mut node), expected);
    assert_eq!(counted(&mut node.restart()), expected);
}

/// The latest jumps are kept for display; the snapshot does not grow with every jump.
#[test]
fn the_history_is_bounded() {
    let mut node = filled();
    for i in 0..100 {
        commit(&mut node, 0, 10);
        commit(&mut node, 0, i % 10);
    }
    let kept = jumps(&mut node);
    assert_eq!(kept.len(), 64);
    assert_eq!(kept[63], jump("commit", 0, 10, 9));
}
