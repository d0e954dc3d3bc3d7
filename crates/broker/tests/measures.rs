//! The figures that an operator sees are those of the traffic.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Node, pull_header};
use steadfast_broker::io::Input;
use steadfast_broker::measures::{Lag, Measures, MessageKind};
use steadfast_wire::body::{Body, KVTable};
use steadfast_wire::code::request;
use steadfast_wire::header::Header;

const GROUP: &str = "consumers";

fn lag(measures: &Measures) -> &Lag {
    assert_eq!(measures.lags.len(), 1);
    &measures.lags[0]
}

#[test]
fn messages_in_are_counted_by_topic_and_kind() {
    let mut node = Node::new();
    (0..3).for_each(|_| _ = node.send("t", 0, "hello", ""));
    (0..2).for_each(|_| _ = node.send("t", 1, "hello", "__SHARDINGKEY\u{1}a\u{2}"));
    node.send("u", 0, "hello", "");
    let measures = node.measure();
    let found: Vec<_> = measures.stored.iter().map(|s| (&*s.topic, s.kind, s.traffic.messages)).collect();
    assert_eq!(
        found,
        [("t", MessageKind::Normal, 3), ("t", MessageKind::Fifo, 2), ("u", MessageKind::Normal, 1)]
    );
    let stored = node.pull("t", 0, 0).body.len() as u64;
    assert_eq!(measures.stored[0].traffic.bytes, stored, "bytes as stored");
    assert!(measures.leading && !measures.poisoned);
    assert_eq!((measures.topics, measures.committed), (2, measures.proposed));

    // What was refused is not counted, and nothing is counted twice by a restart.
    node.send("TBW102", 0, "no", "");
    let measures = node.restart().measure();
    assert_eq!(measures.stored, []);
}

/// A figure of the runtime info.
fn figure(node: &mut Node, name: &str) -> String {
    let answer = node.ask(Header::request(request::GET_BROKER_RUNTIME_INFO, 0), Bytes::new());
    KVTable::decode(&answer.body).unwrap().table.remove(name).unwrap()
}

#[test]
fn the_runtime_info_has_averages_a_second() {
    let mut node = Node::new();
    assert_eq!(figure(&mut node, "putTps"), "0.00 0.00 0.00");
    for _ in 0..200 {
        node.ticks += 100;
        node.send("t", 0, "hello", "");
    }
    node.ticks += 10;
    node.pull("t", 0, 0);
    (0..3).for_each(|_| _ = node.pull("t", 0, 200));
    let mut near = |name, expected: [f64; 3]| {
        let shown = figure(&mut node, name);
        let numbers: Vec<f64> = shown.split(' ').map(|number| number.parse().unwrap()).collect();
        let off = numbers.iter().zip(expected).map(|(shown, expected)| (shown - expected).abs());
        assert!(numbers.len() == 3 && off.clone().all(|off| off <= 0.15), "{name}: {shown}");
    };
    near("putTps", [10.0; 3]);
    near("getTransferredTps", [3.2, 1.6, 1.6]);
    near("getFoundTps", [0.1, 0.05, 0.05]);
    near("getMissTps", [0.3, 0.15, 0.15]);
    near("getTotalTps", [0.4, 0.2, 0.2]);
    node.ticks += 100_000;
    assert!(figure(&mut node, "putTps").starts_with("0.00 0.00 1."), "it was a while ago");
}

#[test]
fn the_runtime_info_tells_when_the_oldest_message_was_stored() {
    let mut node = Node::new();
    assert_eq!(figure(&mut node, "earliestMessageTimeStamp"), "-1");
    node.ticks += 100;
    let first = node.now().wall.to_string();
    (0..30).for_each(|queue| _ = node.send("t", queue % 3, "hello", ""));
    node.ticks += 100;
    node.send("t", 0, "later", "");
    assert_eq!(figure(&mut node, "earliestMessageTimeStamp"), first);
    let mut node = node.restart();
    assert_eq!(figure(&mut node, "earliestMessageTimeStamp"), first, "from the disk");
}

#[test]
fn a_message_that_is_being_written_is_not_in_yet() {
    let mut node = Node::new();
    node.send("t", 0, "hello", "");
    node.hold_writes = true;
    node.request(1, node::send_header("t", 0, ""), &b"more"[..]);
    let before = node.measure();
    assert_eq!(before.stored[0].traffic.messages, 1);
    assert!(before.proposed > before.committed);
    node.release_writes();
    let after = node.measure();
    assert_eq!(after.stored[0].traffic.messages, 2);
    assert_eq!(after.proposed, after.committed);
}

#[test]
fn a_group_lags_by_what_it_has_not_processed() {
    let mut node = Node::new();
    (0..5).for_each(|_| _ = node.send("t", 0, "hello", ""));
    assert_eq!(node.measure().lags, [], "nobody consumes");
    node.commit(GROUP, "t", 0, 0);
    node.ticks += 70;
    let measures = node.measure();
    let Lag { messages, inflight, latency, queueing, .. } = lag(&measures);
    assert_eq!((*messages, *inflight, *latency, *queueing), (5, 0, Some(70), Some(70)));

    // Given and not processed: in flight. A later message waits.
    assert_eq!(node.pull("t", 0, 0).bodies().len(), 5);
    node.ticks += 10;
    node.send("t", 0, "later", "");
    node.ticks += 3;
    let measures = node.measure();
    let Lag { messages, inflight, latency, queueing, .. } = lag(&measures);
    assert_eq!((*messages, *inflight, *latency, *queueing), (6, 5, Some(83), Some(3)));
    let delivered = &measures.delivered[0];
    assert_eq!((&*delivered.topic, &*delivered.group, delivered.traffic.messages), ("t", GROUP, 5));

    // A position behind the end, and one at the end.
    node.commit(GROUP, "t", 0, 5);
    assert_eq!(lag(&node.measure()).messages, 1);
    node.commit(GROUP, "t", 0, 6);
    let measures = node.measure();
    let Lag { messages, inflight, latency, queueing, .. } = lag(&measures);
    assert_eq!((*messages, *inflight, *latency, *queueing), (0, 0, Some(0), Some(0)));
}

#[test]
fn ages_are_told_of_messages_that_are_on_disk_alone() {
    let mut node = Node::new();
    for _ in 0..200 {
        node.send("t", 0, &"x".repeat(200), "");
        node.send("t", 1, &"x".repeat(200), "");
        node.ticks += 1;
    }
    assert_eq!(node.measure().oldest, Some(200));
    // Queue 1 is behind a little, queue 0 at its 51st message, long out of memory.
    node.commit(GROUP, "t", 0, 50);
    node.commit(GROUP, "t", 1, 190);
    let measures = node.measure();
    let Lag { messages, latency, .. } = lag(&measures);
    assert_eq!((*messages, *latency), (150 + 10, Some(150)));
    assert_eq!(measures.oldest, Some(200));
    node.ticks += 5;
    assert_eq!(node.measure().oldest, Some(205), "it is remembered");
    let measures = node.restart().measure();
    assert_eq!(lag(&measures).messages, 160, "lag is there after a restart");
}

#[test]
fn waiting_pulls_and_failed_writes_are_told() {
    let mut node = Node::new();
    node.send("t", 0, "hello", "");
    node.request(1, pull_header("t", 0, 1, 15_000), Vec::new());
    assert_eq!(node.measure().held_pulls, 1);
    node.input(Input::WriteFailed("the disk is gone".to_owned()));
    let measures = node.measure();
    assert!(measures.poisoned && !measures.leading);
    assert_eq!(Node::new().measure().oldest, None, "there is no message");
}
