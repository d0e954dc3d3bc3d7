//! Delayed messages: not early, not lost, not twice, whatever happens in between.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Answer, Node, send_header};
use steadfast_broker::Options;
use steadfast_types::LogOffset;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";
const LOG: &str = "log/00000000000000000000";

fn properties(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
}

fn delayed(node: &mut Node, body: &str, level: &str) -> Answer {
    let text = properties(&[("DELAY", level), ("KEYS", body), ("TAGS", "tag"), ("mine", "kept")]);
    node.send("T", 0, body, &text)
}

fn all(node: &mut Node, topic: &str, queue: i32) -> Vec<String> {
    let mut found = Vec::new();
    let mut offset = 0;
    loop {
        let answer = node.pull(topic, queue, offset);
        if answer.code == response::PULL_OFFSET_MOVED {
            offset = answer.number("nextBeginOffset");
            continue;
        }
        if answer.code != response::SUCCESS {
            return found;
        }
        found.extend(answer.bodies());
        offset = answer.number("nextBeginOffset");
    }
}

fn runtime(node: &mut Node, key: &str) -> String {
    use steadfast_wire::body::{Body, KVTable};
    let answer = node.ask(Header::request(request::GET_BROKER_RUNTIME_INFO, 0), Bytes::new());
    KVTable::decode(&answer.body).unwrap().table[key].clone()
}

#[test]
fn a_delayed_message_comes_when_it_is_due_with_all_that_it_had() {
    let mut node = Node::new();
    let sent = delayed(&mut node, "later", "2");
    assert_eq!(sent.code, response::SUCCESS, "{}", sent.remark);
    assert_eq!(sent.number("queueId"), 0, "the queue it is for");
    assert_eq!(node.pull("T", 0, 0).code, response::PULL_NOT_FOUND);
    node.pass(4_999);
    assert_eq!(node.pull("T", 0, 0).code, response::PULL_NOT_FOUND, "a millisecond early");
    assert_eq!(node.query("T", "later").code, response::QUERY_NOT_FOUND);
    assert_eq!(node.query(SCHEDULE, "later").bodies(), ["later"], "who looks for it finds where it waits");
    node.pass(1);
    let [message] = &node.pull("T", 0, 0).messages()[..] else { panic!("one message") };
    assert_eq!((message.body.as_str(), message.topic.as_str()), ("later", "T"));
    assert_eq!((message.property("mine"), message.property("TAGS")), (Some("kept"), Some("tag")));
    assert!(message.property("UNIQ_KEY").is_some());
    for gone in ["DELAY", "REAL_TOPIC", "REAL_QID"] {
        assert_eq!(message.property(gone), None, "{gone}");
    }
    assert_eq!(node.query("T", "later").bodies(), ["later"]);
    assert_eq!(runtime(&mut node, "scheduleMessageOffset_2"), "1,1");
}

/// A consumer that waits at the end of the queue is woken by the delivery.
#[test]
fn a_held_pull_is_answered_when_the_message_is_due() {
    let mut node = Node::new();
    delayed(&mut node, "later", "1");
    let held = node.request(2, node::pull_header("T", 0, 0, 10_000), Bytes::new());
    node.pass(1_000);
    assert_eq!(node.answer_to(held).unwrap().bodies(), ["later"]);
}

#[test]
fn levels_go_their_own_ways_and_one_above_the_highest_is_the_highest() {
    let mut node = Node::new();
    for (body, level) in
        [("2h", "99"), ("10s", "3"), ("1s", "1"), ("now", "0"), ("5s", "2"), ("1s again", "1")]
    {
        delayed(&mut node, body, level);
    }
    assert_eq!(all(&mut node, "T", 0), ["now"]);
    node.pass(10_000);
    assert_eq!(all(&mut node, "T", 0), ["now", "1s", "1s again", "5s", "10s"]);
    assert_eq!(all(&mut node, SCHEDULE, 17), ["2h"]);
    node.pass(7_189_999);
    assert_eq!(all(&mut node, "T", 0).len(), 5);
    node.pass(1);
    assert_eq!(all(&mut node, "T", 0).last().unwrap(), "2h");
}

/// A batch of more messages than one entry delivers, most of them only on disk, over restarts.
#[test]
fn many_messages_survive_restarts_and_come_once() {
    let mut node = Node::new();
    let bodies: Vec<String> = (0..500).map(|i| format!("message {i}")).collect();
    for body in &bodies {
        delayed(&mut node, body, "3");
        node.pass(1);
    }
    let mut node = node.restart().restart();
    node.pass(9_500 + 250 - 1);
    assert_eq!(all(&mut node, "T", 0).len(), 250, "as many as are due");
    let mut node = node.restart();
    node.pass(10_000);
    assert_eq!(all(&mut node, "T", 0), bodies);
    let mut node = node.restart();
    node.pass(100_000);
    assert_eq!(all(&mut node, "T", 0), bodies);
}

/// The process dies before the delivery is written, or after it is and before it knows.
#[test]
fn a_crash_at_any_point_of_a_delivery_neither_loses_nor_doubles() {
    for (written, count) in [(false, 1), (true, 1), (false, 200), (true, 200)] {
        let mut node = Node::new();
        let bodies: Vec<String> = (0..count).map(|i| format!("message {i}")).collect();
        for body in &bodies {
            delayed(&mut node, body, "1");
        }
        node.hold_writes = true;
        node.pass(1_000);
        let mut node = if written { node.die_after_writes() } else { node.restart() };
        node.pass(1_000);
        assert_eq!(all(&mut node, "T", 0), bodies, "written: {written}");
    }
}

/// Promise P2 for deliveries: what is not durable is not shown.
#[test]
fn a_delivery_is_seen_when_it_is_durable() {
    let mut node = Node::new();
    delayed(&mut node, "later", "1");
    node.hold_writes = true;
    node.pass(1_000);
    assert_eq!(node.pull("T", 0, 0).code, response::PULL_NOT_FOUND);
    node.release_writes();
    assert_eq!(node.pull("T", 0, 0).bodies(), ["later"]);
}

/// The wall clock is set back an hour: the message is neither early nor an hour late.
#[test]
fn a_clock_that_is_set_back_delays_by_no_more_than_the_delay_again() {
    let mut node = Node::open_at(node::MemDisk::default(), node::options(), 10_000_000);
    delayed(&mut node, "before", "3");
    node.wall -= 3_600_000;
    delayed(&mut node, "after", "3");
    node.pass(9_999);
    assert_eq!(all(&mut node, "T", 0), Vec::<String>::new(), "early");
    node.pass(10_001);
    assert_eq!(all(&mut node, "T", 0), ["before", "after"]);
    let stored = node.pull(SCHEDULE, 2, 0).messages();
    for (message, waited) in node.pull("T", 0, 0).messages().iter().zip(stored) {
        assert!(message.store_time >= waited.store_time + 10_000, "by the stamps in the log");
    }
    // A process that starts while the clock is behind the log does as well.
    delayed(&mut node, "restart", "3");
    let mut node = node.restart();
    node.pass(20_000);
    assert_eq!(all(&mut node, "T", 0), ["before", "after", "restart"]);
}

#[test]
fn a_clock_that_is_set_forward_makes_due_what_its_stamps_say() {
    let mut node = Node::new();
    delayed(&mut node, "later", "17");
    node.wall += 3_599_999;
    node.pass(0);
    assert_eq!(node.pull("T", 0, 0).code, response::PULL_NOT_FOUND);
    node.wall += 1;
    assert_eq!(node.pull("T", 0, 0).code, response::PULL_NOT_FOUND, "delivery is a matter of a step");
    assert_eq!(node.pull("T", 0, 0).bodies(), ["later"]);
}

/// Damage stops one message, not the level; and nobody can miss it.
#[test]
fn a_damaged_delayed_message_is_passed_over_and_named() {
    for replayed in [false, true] {
        let mut node = Node::new();
        let count = if replayed { 3 } else { 60 };
        for i in 0..count {
            delayed(&mut node, &format!("body {i};"), "1");
        }
        let at = node.disk.get(LOG).windows(7).position(|w| w == b"body 1;").unwrap();
        node.disk.flip(LOG, at);
        let mut node = node.restart();
        node.pass(5_000);
        let expected: Vec<String> = (0..count).filter(|i| *i != 1).map(|i| format!("body {i};")).collect();
        assert_eq!(all(&mut node, "T", 0), expected);
        let named = |node: &Node| {
            let named = |w: &&String| w.contains("SCHEDULE_TOPIC_XXXX/0") && w.contains("passed over");
            node.warnings.iter().filter(named).count()
        };
        assert_eq!(named(&node), 1, "{:?}", node.warnings);
        assert_eq!(runtime(&mut node, "scheduleMessagesPassedOver"), "1");
        assert_eq!(node.pull(SCHEDULE, 0, 1).code, response::SYSTEM_ERROR, "it stays where it is");
        // It is not given up: each start tries it again.
        let mut node = node.restart();
        node.pass(0);
        assert_eq!(named(&node), 1, "{:?}", node.warnings);
        assert_eq!(runtime(&mut node, "scheduleMessagesPassedOver"), "1");
        assert_eq!(node.broker.deadline(), None, "and only once");
        node.disk.flip(LOG, at);
        let mut node = node.restart().restart();
        assert_eq!(all(&mut node, "T", 0).last().unwrap(), "body 1;", "after a repair");
        assert_eq!(all(&mut node, "T", 0).len(), expected.len() + 1);
        assert_eq!(runtime(&mut node, "scheduleMessagesPassedOver"), "0");
    }
}

#[test]
fn a_topic_that_is_deleted_meanwhile_gets_its_messages_when_it_is_made_again() {
    let mut node = Node::new();
    node.send("T", 0, "old", "");
    delayed(&mut node, "later", "1");
    let mut header = Header::request(request::DELETE_TOPIC_IN_BROKER, 0);
    headers::DeleteTopic { topic: "T".into(), cluster_name: None }.encode(&mut header.ext);
    assert_eq!(node.ask(header.into_owned(), Bytes::new()).code, response::SUCCESS);
    let mut node = node.restart();
    node.pass(1_000);
    assert!(node.warnings.iter().any(|w| w.contains("topic T, which was deleted")), "{:?}", node.warnings);
    let mut node = node.restart();
    node.send("T", 0, "new", "");
    assert_eq!(all(&mut node, "T", 0), ["later", "new"]);
}

/// What retention must keep: the log from the oldest message that waits.
#[test]
fn the_log_is_needed_from_the_oldest_message_that_waits() {
    let mut node = Node::new();
    assert_eq!(node.broker.delayed_from(), None);
    let place = |node: &mut Node, queue: i32, offset: i64| {
        LogOffset::new(node.pull(SCHEDULE, queue, offset).messages()[0].log_offset)
    };
    for (body, level) in [("1s", "1"), ("5s", "2"), ("1s again", "1")] {
        delayed(&mut node, body, level);
    }
    assert_eq!(node.broker.delayed_from(), Some(place(&mut node, 0, 0)));
    node.pass(1_000);
    assert_eq!(node.broker.delayed_from(), Some(place(&mut node, 1, 0)));
    let mut node = node.restart();
    assert_eq!(node.broker.delayed_from(), Some(place(&mut node, 1, 0)));
    delayed(&mut node, "1s once more", "1");
    node.pass(500);
    assert_eq!(node.broker.delayed_from(), Some(place(&mut node, 1, 0)));
    node.pass(4_500);
    assert_eq!(node.broker.delayed_from(), None);
    delayed(&mut node, "another", "1");
    assert_eq!(node.broker.delayed_from(), Some(place(&mut node, 0, 3)));
}

/// A failed write ends deliveries like everything else, and the broker asks for no steps that lead nowhere.
#[test]
fn a_failed_delivery_is_made_by_the_next_process() {
    let mut node = Node::new();
    delayed(&mut node, "later", "1");
    node.disk.stop_after(0);
    node.pass(1_000);
    node.disk.stop_after(-1);
    assert_eq!(node.broker.deadline(), None);
    assert_eq!(node.pull("T", 0, 0).code, response::PULL_NOT_FOUND);
    let mut node = node.restart();
    node.pass(0);
    assert_eq!(all(&mut node, "T", 0), ["later"]);
}

#[test]
fn levels_can_be_set_and_waiting_messages_go_by_the_new_ones() {
    let few = || Options { delay_levels: "1s 1h".parse().unwrap(), ..node::options() };
    let mut node = Node::open(node::MemDisk::default(), few());
    delayed(&mut node, "second", "2");
    delayed(&mut node, "ninth", "9");
    let more = Options { delay_levels: "1s 2s 3s".parse().unwrap(), ..node::options() };
    let mut node = Node::open(node.disk, more);
    delayed(&mut node, "third", "3");
    node.pass(2_999);
    assert_eq!(all(&mut node, "T", 0), ["second", "ninth"]);
    node.pass(1);
    assert_eq!(all(&mut node, "T", 0), ["second", "ninth", "third"]);
    delayed(&mut node, "fourth", "3");
    let mut node = Node::open_at(node.disk, few(), 2_000_000);
    node.pass(3_600_000);
    assert_eq!(all(&mut node, "T", 0).last().unwrap(), "fourth", "its level is gone, it is not");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let mut node = Node::new();
    let to_schedule = node.send(SCHEDULE, 0, "x", "");
    assert_eq!(to_schedule.code, response::NO_PERMISSION);
    let nonsense = node.send("T", 0, "x", &properties(&[("DELAY", "soon")]));
    assert_eq!(nonsense.code, response::MESSAGE_ILLEGAL);
    let timer = node.send("T", 0, "x", &properties(&[("TIMER_DELAY_SEC", "5")]));
    assert_eq!(timer.code, response::MESSAGE_ILLEGAL);
    let long = properties(&[("DELAY", "1"), ("long", &"x".repeat(32_640))]);
    let long = node.send("T", 0, "x", &long);
    assert_eq!(long.code, response::MESSAGE_ILLEGAL);
    assert!(long.remark.contains("stored=no"), "{}", long.remark);
    // A level wins over a time, as in RocketMQ.
    let both = node.send("T", 0, "both", &properties(&[("TIMER_DELAY_SEC", "5"), ("DELAY", "1")]));
    assert_eq!(both.code, response::SUCCESS);
    node.pass(1_000);
    let [message] = &node.pull("T", 0, 0).messages()[..] else { panic!("one message") };
    assert_eq!(message.property("TIMER_DELAY_SEC"), None);
}

/// A batch is many messages in one queue; RocketMQ has no delay for it either.
#[test]
fn a_batch_cannot_be_delayed() {
    let mut node = Node::new();
    let mut body = bytes::BytesMut::new();
    steadfast_wire::batch::encode(0, b"one", &properties(&[("DELAY", "1")]), &mut body).unwrap();
    let mut header = send_header("T", 0, "");
    header.code = request::SEND_BATCH_MESSAGE;
    let answer = node.ask(header, body.freeze());
    assert_eq!(answer.code, response::MESSAGE_ILLEGAL, "{}", answer.remark);
}
