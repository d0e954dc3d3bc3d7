//! Settings of consumer groups: durable, made with the first consumer or by hand, and obeyed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Answer, Node, pull_header};
use steadfast_broker::Options;
use steadfast_wire::body::{
    Body, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
    SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

fn settings(group: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig { group_name: group.into(), ..Default::default() }
}

fn put(node: &mut Node, settings: &SubscriptionGroupConfig) -> Answer {
    node.json(1, request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, settings)
}

fn get(node: &mut Node, group: &str) -> Option<SubscriptionGroupConfig> {
    let mut header = Header::request(request::GET_SUBSCRIPTIONGROUP_CONFIG, 0);
    headers::GetSubscriptionGroup { group: group.into() }.encode(&mut header.ext);
    let answer = node.ask(header.into_owned(), Bytes::new());
    if answer.code == response::SUBSCRIPTION_GROUP_NOT_EXIST {
        return None;
    }
    Some(SubscriptionGroupConfig::decode(&answer.body).unwrap())
}

fn delete(node: &mut Node, group: &str, field: &str) {
    let mut header = Header::request(request::DELETE_SUBSCRIPTIONGROUP, 0);
    header.ext.push("groupName", group);
    header.ext.push(field, "true");
    assert_eq!(node.ask(header.into_owned(), Bytes::new()).code, response::SUCCESS);
}

fn heartbeat(node: &mut Node, group: &str, message_model: MessageModel) -> Answer {
    let subscription = SubscriptionData { topic: "T".into(), sub_string: "*".into(), ..Default::default() };
    let consumer = ConsumerData {
        consume_from_where: ConsumeFromWhere::FirstOffset,
        consume_type: ConsumeType::Passively,
        group_name: group.into(),
        message_model,
        subscription_data_set: vec![subscription],
        unit_mode: false,
    };
    let data =
        HeartbeatData { client_id: "c".into(), consumer_data_set: vec![consumer], ..Default::default() };
    node.json(1, request::HEART_BEAT, &data)
}

fn retry_queues(node: &mut Node, group: &str) -> Option<i32> {
    let mut header = Header::request(request::GET_TOPIC_CONFIG, 0);
    headers::TopicOnly { topic: format!("%RETRY%{group}").into() }.encode(&mut header.ext);
    let answer = node.ask(header.into_owned(), Bytes::new());
    let config = || steadfast_wire::body::TopicConfig::decode(&answer.body).unwrap();
    (answer.code == response::SUCCESS).then(|| config().write_queue_nums)
}

#[test]
fn settings_survive_and_can_be_changed_listed_and_deleted() {
    let mut node = Node::new();
    let mut g = settings("g");
    g.retry_max_times = 3;
    g.attributes.insert("owner".into(), "orders".into());
    assert_eq!(put(&mut node, &g).code, response::SUCCESS);
    let list = SubscriptionGroupList { group_config_list: vec![settings("h"), settings("i")] };
    let listed = node.json(1, request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, &list);
    assert_eq!(listed.code, response::SUCCESS);
    let mut node = node.restart();
    assert_eq!(get(&mut node, "g").unwrap(), g);

    let all = |node: &mut Node, fields: &[(&'static str, &'static str)]| {
        let mut header = Header::request(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, 0);
        fields.iter().for_each(|(name, value)| header.ext.push(*name, *value));
        let answer = node.ask(header.into_owned(), Bytes::new());
        assert_eq!(answer.number("totalGroupNum"), 3);
        let table = SubscriptionGroupWrapper::decode(&answer.body).unwrap().subscription_group_table;
        table.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(all(&mut node, &[]), ["g", "h", "i"]);
    assert_eq!(all(&mut node, &[("groupSeq", "1"), ("maxGroupNum", "1"), ("dataVersion", "")]), ["h"]);

    node.send("T", 0, "x", "");
    node.commit("g", "T", 0, 1);
    delete(&mut node, "g", "cleanOffset");
    node.commit("h", "T", 0, 1);
    delete(&mut node, "h", "removeOffset");
    let mut node = node.restart();
    for group in ["g", "h"] {
        assert_eq!(get(&mut node, group), None);
        let asked = node.ask_position(group, "T", 0);
        assert_eq!(node.answer_to(asked).unwrap().number("offset"), 0, "its position is gone too");
    }
}

/// The settings and the retry topic are one entry: there is no group without a place for its retries.
#[test]
fn the_first_consumer_makes_its_group_and_the_retry_topic_at_once() {
    let mut node = Node::new();
    node.hold_writes = true;
    assert_eq!(heartbeat(&mut node, "g", MessageModel::Clustering).code, response::SUCCESS);
    assert_eq!((get(&mut node, "g"), retry_queues(&mut node, "g")), (None, None), "not durable yet");
    node.release_writes();
    node.hold_writes = false;
    assert_eq!((get(&mut node, "g"), retry_queues(&mut node, "g")), (Some(settings("g")), Some(1)));
    let mut node = node.restart();
    assert_eq!((get(&mut node, "g"), retry_queues(&mut node, "g")), (Some(settings("g")), Some(1)));
    // One made by hand is left as it is; its retry topic has the queues it says.
    put(&mut node, &SubscriptionGroupConfig { retry_queue_nums: 3, ..settings("h") });
    heartbeat(&mut node, "h", MessageModel::Clustering);
    assert_eq!(get(&mut node, "h").unwrap().retry_queue_nums, 3);
    assert_eq!(retry_queues(&mut node, "h"), Some(3));
}

#[test]
fn without_automatic_groups_an_unknown_one_is_told_so_when_it_pulls() {
    let closed = Options { auto_create_group: false, ..node::options() };
    let mut node = Node::open(node::MemDisk::default(), closed);
    node.send("T", 0, "x", "");
    assert_eq!(heartbeat(&mut node, "consumers", MessageModel::Clustering).code, response::SUCCESS);
    let refused = node.pull("T", 0, 0);
    assert_eq!(refused.code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert!(refused.remark.contains("updateSubGroup"), "{}", refused.remark);
    put(&mut node, &settings("consumers"));
    heartbeat(&mut node, "consumers", MessageModel::Clustering);
    assert_eq!(node.pull("T", 0, 0).bodies(), ["x"]);
    assert_eq!(retry_queues(&mut node, "consumers"), Some(1));
}

#[test]
fn a_group_that_is_switched_off_pulls_nothing() {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    put(&mut node, &SubscriptionGroupConfig { consume_enable: false, ..settings("consumers") });
    let refused = node.pull("T", 0, 0);
    assert_eq!(refused.code, response::NO_PERMISSION);
    assert!(refused.remark.contains("consumeEnable=false"), "{}", refused.remark);
    put(&mut node, &SubscriptionGroupConfig { consume_broadcast_enable: false, ..settings("consumers") });
    assert_eq!(node.pull("T", 0, 0).bodies(), ["x"]);
    heartbeat(&mut node, "consumers", MessageModel::Broadcasting);
    assert_eq!(node.pull("T", 0, 0).code, response::NO_PERMISSION);
}

/// One that waits at the end of a queue is asked again before it gets what has come.
#[test]
fn a_held_pull_obeys_settings_that_came_later() {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    let held = node.request(2, pull_header("T", 0, 1, 10_000), Bytes::new());
    put(&mut node, &SubscriptionGroupConfig { consume_enable: false, ..settings("consumers") });
    node.send("T", 0, "y", "");
    assert_eq!(node.answer_to(held).unwrap().code, response::NO_PERMISSION);
}

#[test]
fn members_are_not_told_of_each_other_if_the_settings_say_so() {
    let mut node = Node::new();
    put(&mut node, &SubscriptionGroupConfig { notify_consumer_ids_changed_enable: false, ..settings("g") });
    heartbeat(&mut node, "g", MessageModel::Clustering);
    assert!(node.notices().is_empty());
    heartbeat(&mut node, "other", MessageModel::Clustering);
    assert_eq!(node.notices().len(), 1);
}

#[test]
fn unusable_settings_are_refused_with_the_reason() {
    let mut node = Node::new();
    let huge = [("x".to_owned(), "y".repeat(40_000))].into();
    for (bad, cause) in [
        (settings(""), "empty"),
        (settings("a b"), "' '"),
        (settings(&"x".repeat(250)), "bytes"),
        (SubscriptionGroupConfig { retry_queue_nums: -1, ..settings("g") }, "retryQueueNums"),
        (SubscriptionGroupConfig { attributes: huge, ..settings("g") }, "32768"),
    ] {
        let refused = put(&mut node, &bad);
        assert_eq!(refused.code, response::INVALID_PARAMETER);
        assert!(refused.remark.contains(cause), "{}", refused.remark);
    }
    let many =
        SubscriptionGroupList { group_config_list: (0..9).map(|i| settings(&format!("g{i}"))).collect() };
    let refused = node.json(1, request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, &many);
    assert_eq!(refused.code, response::INVALID_PARAMETER);
    assert_eq!(get(&mut node, "g0"), None, "none of them");
}
