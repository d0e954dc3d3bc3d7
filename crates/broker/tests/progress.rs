//! What GET_CONSUME_STATS says of a group is what RocketMQ's tools expect there.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::Node;
use steadfast_wire::body::{
    Body, ConsumeFromWhere, ConsumeStats, ConsumeType, ConsumerData, HeartbeatData, MessageModel,
    OffsetWrapper, SubscriptionData,
};
use steadfast_wire::code::request;
use steadfast_wire::header::Header;
use steadfast_wire::headers;

/// Progress by topic and queue.
fn stats(node: &mut Node) -> Vec<(String, i32, OffsetWrapper)> {
    let mut header = Header::request(request::GET_CONSUME_STATS, 0);
    headers::GetConsumeStats { consumer_group: "consumers".into(), ..headers::GetConsumeStats::default() }
        .encode(&mut header.ext);
    let answer = node.ask(header.into_owned(), Bytes::new());
    let table = ConsumeStats::decode(&answer.body).unwrap().offset_table.0;
    table.into_iter().map(|(queue, progress)| (queue.topic, queue.queue_id, progress)).collect()
}

/// When the last processed message of T's queue 0 was stored.
fn last_time(node: &mut Node) -> i64 {
    let queue_0 = stats(node).into_iter().find(|(topic, id, _)| topic == "T" && *id == 0);
    queue_0.unwrap().2.last_timestamp
}

fn subscribe(node: &mut Node, topics: &[&str]) {
    let subscriptions = topics.iter().map(|topic| SubscriptionData {
        topic: (*topic).to_owned(),
        sub_string: "*".into(),
        ..SubscriptionData::default()
    });
    let data = HeartbeatData {
        client_id: "a".into(),
        consumer_data_set: vec![ConsumerData {
            consume_from_where: ConsumeFromWhere::FirstOffset,
            consume_type: ConsumeType::Passively,
            group_name: "consumers".into(),
            message_model: MessageModel::Clustering,
            subscription_data_set: subscriptions.collect(),
            unit_mode: false,
        }],
        ..HeartbeatData::default()
    };
    node.json(1, request::HEART_BEAT, &data);
}

/// In memory, out of memory, and after a restart.
#[test]
fn the_last_time_is_that_of_the_message_before_the_position() {
    let mut node = Node::new();
    for i in 0..200 {
        node.ticks = i * 10;
        node.send("T", 0, &"x".repeat(100), "");
    }
    node.commit("consumers", "T", 0, 0);
    assert_eq!(last_time(&mut node), 0, "nothing is processed");
    node.commit("consumers", "T", 0, 200);
    assert_eq!(last_time(&mut node), 1_000_000 + 1990);
    node.commit("consumers", "T", 0, 5);
    assert_eq!(last_time(&mut node), 1_000_000 + 40, "long out of memory");
    let mut node = node.restart();
    assert_eq!(last_time(&mut node), 1_000_000 + 40);
}

#[test]
fn what_was_given_and_not_processed_is_in_flight() {
    let mut node = Node::new();
    (0..5).for_each(|_| _ = node.send("T", 0, "x", ""));
    node.commit("consumers", "T", 0, 0);
    node.pull("T", 0, 0);
    node.commit("consumers", "T", 0, 2);
    let (_, _, progress) = stats(&mut node).swap_remove(0);
    assert_eq!((progress.broker_offset, progress.consumer_offset, progress.pull_offset), (5, 2, 5));
}

/// A group's clients commit 0 for its retry topic all the time; RocketMQ keeps no position there before its first
/// message, and what is not subscribed any more does not count.
#[test]
fn empty_retry_topics_and_old_subscriptions_have_no_row() {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    node.send("old", 0, "x", "");
    node.commit("consumers", "old", 0, 0);
    let topics = |node: &mut Node| {
        let mut topics: Vec<_> = stats(node).into_iter().map(|(topic, _, _)| topic).collect();
        topics.dedup();
        topics
    };
    assert_eq!(topics(&mut node), ["old"]);
    subscribe(&mut node, &["T", "%RETRY%consumers"]);
    node.commit("consumers", "T", 0, 1);
    node.commit("consumers", "%RETRY%consumers", 0, 0);
    assert_eq!(topics(&mut node), ["T"]);
    node.send("%RETRY%consumers", 0, "again", "");
    assert_eq!(topics(&mut node), ["%RETRY%consumers", "T"]);
}
