//! The promises at the broker's surface: what is answered and shown when, and what a failed disk changes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Node, pull_header, send_header};
use steadfast_broker::io::Input;
use steadfast_wire::body::{Body, ConsumeFromWhere, ConsumeType};
use steadfast_wire::body::{
    ConsumerData, ConsumerIdList, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

const KEYS: &str = "KEYS\u{1}orderId\u{2}";

/// P1 and P2: before the write is durable the sender is not answered and nobody sees the message.
#[test]
fn nothing_is_answered_or_shown_before_it_is_durable() {
    let mut node = Node::new();
    node.send("T", 0, "first", "");
    node.hold_writes = true;
    let sent = node.request(1, send_header("T", 0, KEYS), Bytes::from_static(b"second"));
    let held = node.request(2, pull_header("T", 0, 1, 10_000), Bytes::new());
    assert!(node.answer_to(sent).is_none(), "not acknowledged");
    assert!(node.answer_to(held).is_none(), "not delivered");
    assert_eq!(node.pull("T", 0, 1).code, response::PULL_NOT_FOUND);
    assert_eq!(node.pull("T", 0, 1).number("maxOffset"), 1, "not counted");
    assert_eq!(node.query("T", "orderId").code, response::QUERY_NOT_FOUND);

    node.release_writes();
    assert_eq!(node.answer_to(sent).unwrap().number("queueOffset"), 1);
    assert_eq!(node.answer_to(held).unwrap().bodies(), ["second"]);
    assert_eq!(node.query("T", "orderId").bodies(), ["second"]);
}

/// Group commit: while a write is under way senders wait, and all of them share the next one.
#[test]
fn what_comes_while_a_write_is_under_way_shares_the_next_one() {
    const SENDERS: u64 = 500;
    let mut node = Node::new();
    node.send("T", 0, "first", "");
    node.hold_writes = true;
    let alone = node.request(1, send_header("T", 0, ""), "alone");
    let sent: Vec<_> = (0..SENDERS)
        .map(|sender| node.request(2 + sender, send_header("T", (sender % 4) as i32, ""), "together"))
        .collect();
    let answered = |node: &Node| sent.iter().filter(|opaque| node.answer_to(**opaque).is_some()).count();
    assert_eq!((node.held_writes(), answered(&node)), (1, 0), "one write at a time");
    node.release_writes();
    assert!(node.answer_to(alone).is_some());
    assert_eq!((node.held_writes(), answered(&node)), (1, 0), "one write for all of them");
    node.release_writes();
    assert_eq!((node.held_writes(), answered(&node)), (0, SENDERS as usize));
    assert!(sent.iter().all(|opaque| node.answer_to(*opaque).unwrap().code == response::SUCCESS));
}

/// P1: a write that takes too long is an error that says what is not known.
#[test]
fn a_late_flush_is_unknown_and_what_waits_behind_it_is_not_stored() {
    let mut node = Node::new();
    node.send("T", 0, "first", "");
    node.hold_writes = true;
    let in_flight = node.request(1, send_header("T", 0, ""), Bytes::from_static(b"in flight"));
    let behind = node.request(1, send_header("T", 0, ""), Bytes::from_static(b"behind"));
    node.ticks += 5_000;
    assert!(node.broker.deadline().is_some_and(|at| at <= node.ticks));
    let pulled = node.pull("T", 0, 0);
    assert_eq!(pulled.bodies(), ["first"], "reads go on");
    let unknown = node.answer_to(in_flight).unwrap();
    assert_eq!(unknown.code, response::SYSTEM_ERROR);
    assert!(unknown.remark.contains("stored=unknown"), "{}", unknown.remark);
    let not_stored = node.answer_to(behind).unwrap();
    assert_eq!(not_stored.code, response::SYSTEM_BUSY);
    assert!(not_stored.remark.contains("stored=no"), "{}", not_stored.remark);
    // The write ends after all: what was unknown is there, what was refused is not.
    node.release_writes();
    node.hold_writes = false;
    assert_eq!(node.pull("T", 0, 0).bodies(), ["first", "in flight"]);
}

/// P3: the first failed write is the last one, however well the disk works again.
#[test]
fn a_failed_write_ends_all_writes_and_no_reads() {
    let mut node = Node::new();
    node.send("T", 0, "first", KEYS);
    node.disk.stop_after(0);
    let failed = node.send("T", 0, "lost", "");
    node.disk.stop_after(-1);
    assert!(failed.remark.contains("stored=unknown"), "{}", failed.remark);
    let refused = node.send("T", 0, "refused", "");
    assert_eq!(refused.code, response::SERVICE_NOT_AVAILABLE);
    assert!(refused.remark.contains("stored=no"), "{}", refused.remark);
    let commit = node.commit("g", "T", 0, 1);
    assert_eq!(node.answer_to(commit).unwrap().code, response::SERVICE_NOT_AVAILABLE);
    assert_eq!(node.pull("T", 0, 0).bodies(), ["first"]);
    assert_eq!(node.query("T", "orderId").bodies(), ["first"]);
    // A new process reads the log again and goes on.
    let mut node = node.restart();
    assert_eq!(node.send("T", 0, "second", "").number("queueOffset"), 1);
    assert_eq!(node.pull("T", 0, 0).bodies(), ["first", "second"]);
}

/// P2: offsets go on after a restart, also for a queue that has been idle since long before the last snapshot.
#[test]
fn offsets_are_never_used_twice() {
    let mut node = Node::new();
    for i in 0..5 {
        node.send("idle", 0, &format!("idle {i}"), "");
    }
    for i in 0..200 {
        node.send("busy", i % 4, "x", "");
    }
    let mut node = node.restart().restart();
    assert_eq!(node.send("idle", 0, "next", "").number("queueOffset"), 5);
    assert_eq!(node.pull("idle", 0, 4).bodies(), ["idle 4"]);
    assert_eq!(node.pull("idle", 0, 5).bodies(), ["next"]);
    assert_eq!(node.send("busy", 1, "next", "").number("queueOffset"), 50);
}

fn delete_topic(node: &mut Node, topic: &str) {
    let mut header = Header::request(request::DELETE_TOPIC_IN_BROKER, 0);
    headers::DeleteTopic { topic: topic.into(), cluster_name: None }.encode(&mut header.ext);
    assert_eq!(node.ask(header.into_owned(), Bytes::new()).code, response::SUCCESS);
}

/// What was deleted is not there again because a topic has the name again, neither for consumers nor for lookups.
#[test]
fn a_lookup_does_not_find_what_went_with_an_earlier_topic_of_the_name() {
    let mut node = Node::new();
    let send = |node: &mut Node, queue, body: &str| node.send("T", queue, body, "KEYS\u{1}k\u{2}").code;
    for queue in 0..4 {
        send(&mut node, queue, "old");
    }
    assert_eq!(node.query("T", "k").bodies(), ["old"; 4]);
    delete_topic(&mut node, "T");
    assert_eq!(node.query("T", "k").code, response::TOPIC_NOT_EXIST);
    // In memory, in index runs and a snapshot, and read again from the log.
    for step in 0..3 {
        assert_eq!(send(&mut node, step % 4, &format!("new {step}")), response::SUCCESS);
        let newest_first: Vec<_> = (0..=step).rev().map(|step| format!("new {step}")).collect();
        assert_eq!(node.query("T", "k").bodies(), newest_first);
        for i in 0..100 {
            node.send("busy", i % 4, "x", "");
        }
        node = node.restart();
        assert_eq!(node.query("T", "k").bodies(), newest_first);
    }
    delete_topic(&mut node, "T");
    assert_eq!(node.send("T", 0, "without a key", "").code, response::SUCCESS);
    let denied = node.query("T", "k");
    assert_eq!((denied.code, denied.bodies()), (response::QUERY_NOT_FOUND, vec![]));
}

#[test]
fn a_topic_that_is_deleted_and_made_again_goes_on_at_its_old_offsets() {
    let mut node = Node::new();
    node.send("T", 0, "old", "");
    delete_topic(&mut node, "T");
    assert_eq!(node.pull("T", 0, 0).code, response::TOPIC_NOT_EXIST);
    assert_eq!(node.send("T", 0, "new", "").number("queueOffset"), 1);
    let mut node = node.restart();
    let pulled = node.pull("T", 0, 0);
    assert_eq!((pulled.code, pulled.number("minOffset")), (response::PULL_OFFSET_MOVED, 1));
    assert_eq!(node.pull("T", 0, 1).bodies(), ["new"]);
}

/// A consumer that takes over a queue asks while its predecessor's last position is still being written.
#[test]
fn a_question_for_a_position_covers_the_updates_before_it() {
    let mut node = Node::new();
    for _ in 0..9 {
        node.send("T", 0, "x", "");
    }
    node.commit("g", "T", 0, 3);
    node.hold_writes = true;
    let committed = node.commit("g", "T", 0, 7);
    let asked = node.ask_position("g", "T", 0);
    assert!(node.answer_to(committed).is_none() && node.answer_to(asked).is_none());
    node.release_writes();
    assert_eq!(node.answer_to(asked).unwrap().number("offset"), 7);
    node.hold_writes = false;
    let mut node = node.restart();
    let asked = node.ask_position("g", "T", 0);
    assert_eq!(node.answer_to(asked).unwrap().number("offset"), 7);
}

/// rmq#9307, #10955: a queue that is new to a group with positions in the topic starts at its oldest message.
#[test]
fn a_new_queue_of_a_known_group_is_not_skipped() {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    node.send("T", 1, "y", "");
    node.commit("g", "T", 0, 1);
    let known = node.ask_position("g", "T", 1);
    assert_eq!(node.answer_to(known).unwrap().number("offset"), 0);
}

fn heartbeat(client: &str, fingerprint: i64, without_sub: bool) -> HeartbeatData {
    let subscription = SubscriptionData { topic: "T".into(), sub_string: "*".into(), ..Default::default() };
    HeartbeatData {
        client_id: client.into(),
        heartbeat_fingerprint: fingerprint,
        without_sub,
        producer_data_set: vec![ProducerData { group_name: "p".into() }],
        consumer_data_set: vec![ConsumerData {
            consume_from_where: ConsumeFromWhere::FirstOffset,
            consume_type: ConsumeType::Passively,
            group_name: "g".into(),
            message_model: MessageModel::Clustering,
            subscription_data_set: if without_sub { Vec::new() } else { vec![subscription] },
            unit_mode: false,
        }],
    }
}

fn members(node: &mut Node) -> Vec<String> {
    let mut header = Header::request(request::GET_CONSUMER_LIST_BY_GROUP, 0);
    headers::GetConsumerListByGroup { consumer_group: "g".into() }.encode(&mut header.ext);
    let answer = node.ask(header.into_owned(), Bytes::new());
    if answer.code != response::SUCCESS {
        return Vec::new();
    }
    ConsumerIdList::decode(&answer.body).unwrap().consumer_id_list
}

#[test]
fn members_of_a_group_are_told_of_every_change() {
    let mut node = Node::new();
    node.json(1, request::HEART_BEAT, &heartbeat("a", 0, false));
    node.json(2, request::HEART_BEAT, &heartbeat("b", 0, false));
    assert_eq!(members(&mut node), ["a", "b"]);
    assert!(node.notices().contains(&(1, "g".into())), "the first is told of the second");
    node.json(2, request::HEART_BEAT, &heartbeat("b", 0, false));
    assert!(node.notices().is_empty(), "nothing changed");
    node.input(steadfast_broker::io::Input::Disconnected(2));
    assert_eq!(node.notices(), [(1, "g".to_owned())]);
    assert_eq!(members(&mut node), ["a"]);
    node.ticks += 120_000;
    assert_eq!(members(&mut node), ["a"], "expiry is a matter of a step");
    node.input(steadfast_broker::io::Input::Disconnected(9));
    assert_eq!(members(&mut node), Vec::<String>::new(), "silent for two minutes");
}

/// Heartbeats of version 2 leave out what the broker knows already; if it does not, it says so.
#[test]
fn heartbeats_without_subscriptions_are_checked_by_their_fingerprint() {
    let mut node = Node::new();
    let stranger = node.json(1, request::HEART_BEAT, &heartbeat("a", 77, true));
    assert_eq!(stranger.ext.get("IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
    assert_eq!(stranger.ext.get("IS_SUB_CHANGE"), Some("true"), "send everything, please");
    node.json(1, request::HEART_BEAT, &heartbeat("a", 77, false));
    let known = node.json(1, request::HEART_BEAT, &heartbeat("a", 77, true));
    assert_eq!(known.ext.get("IS_SUB_CHANGE"), Some("false"));
    let changed = node.json(1, request::HEART_BEAT, &heartbeat("a", 78, true));
    assert_eq!(changed.ext.get("IS_SUB_CHANGE"), Some("true"));
}

/// Clients that do not notice a closed connection would wait for their pull's time-out. An error sends them elsewhere.
#[test]
fn pulls_that_wait_are_answered_when_the_broker_stops() {
    let mut node = Node::new();
    node.send("T", 0, "first", "");
    node.hold_writes = true;
    let sent = node.request(1, send_header("T", 0, ""), Bytes::from_static(b"in flight"));
    let held = node.request(2, pull_header("T", 0, 1, 15_000), Bytes::new());
    node.input(Input::Stop);
    let answer = node.answer_to(held).unwrap();
    assert_eq!((answer.code, &*answer.remark), (response::SERVICE_NOT_AVAILABLE, "the broker is stopping"));
    let later = node.request(2, pull_header("T", 0, 1, 15_000), Bytes::new());
    assert_eq!(node.answer_to(later).unwrap().code, response::SERVICE_NOT_AVAILABLE, "none is held any more");
    assert_eq!(node.pull("T", 0, 0).bodies(), ["first"], "what is there is served");
    node.release_writes();
    assert_eq!(node.answer_to(sent).unwrap().code, response::SUCCESS, "what was in flight is finished");
    assert_eq!(node.answers.iter().filter(|a| a.opaque == held).count(), 1);
}
