//! What tools ask: of clients through the broker, and of the broker about topics, producers and subscriptions.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Answer, Node, pull_header};
use steadfast_broker::Options;
use steadfast_broker::io::{Call, CallAnswer, Input};
use steadfast_types::record::StoredMessage;
use steadfast_wire::body::{
    Body, CheckClientRequestBody, ConsumeFromWhere, ConsumeQueue, ConsumeType, ConsumerData, ConsumerIdList,
    ConsumerOffsets, DelayOffsets, GroupPositions, GroupSubscription, HeartbeatData, MessageModel,
    ProducerConnection, ProducerData, SubscriptionData, TopicConfigSerializeWrapper, TopicList,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::{ExtFields, Header};

fn ask(node: &mut Node, code: i32, fields: &[(&'static str, &str)]) -> Answer {
    let opaque = post(node, code, fields);
    node.answer_to(opaque).expect("an answer at once")
}

fn post(node: &mut Node, code: i32, fields: &[(&'static str, &str)]) -> i32 {
    let ext: ExtFields<'_> = fields.iter().copied().collect();
    node.request(1, Header { ext, ..Header::request(code, 0) }.into_owned(), Bytes::new())
}

/// A client with a consumer and a producer joins.
fn join(node: &mut Node, conn: u64, client: &str) {
    let subscription = SubscriptionData { topic: "T".into(), sub_string: "*".into(), ..Default::default() };
    let data = HeartbeatData {
        client_id: client.into(),
        producer_data_set: vec![ProducerData { group_name: "producers".into() }],
        consumer_data_set: vec![ConsumerData {
            consume_from_where: ConsumeFromWhere::FirstOffset,
            consume_type: ConsumeType::Passively,
            group_name: "g".into(),
            message_model: MessageModel::Clustering,
            subscription_data_set: vec![subscription],
            unit_mode: false,
        }],
        ..HeartbeatData::default()
    };
    node.json(conn, request::HEART_BEAT, &data);
    node.calls.clear();
}

fn respond(node: &mut Node, conn: u64, call: &Call, body: &str) {
    let answer = CallAnswer {
        opaque: call.opaque,
        code: response::SUCCESS,
        remark: None,
        body: Bytes::from(body.to_owned()),
    };
    node.input(Input::CallAnswered(conn, answer));
}

const CLIENT: [(&str, &str); 2] = [("consumerGroup", "g"), ("clientId", "a")];

#[test]
fn running_info_comes_from_the_client() {
    let mut node = Node::new();
    let stranger = ask(&mut node, request::GET_CONSUMER_RUNNING_INFO, &CLIENT);
    assert_eq!(
        (stranger.code, &*stranger.remark),
        (response::SYSTEM_ERROR, "The Consumer <g> <a> not online")
    );
    join(&mut node, 7, "a");
    let fields = [&CLIENT[..], &[("jstackEnable", "true")]].concat();
    let asked = post(&mut node, request::GET_CONSUMER_RUNNING_INFO, &fields);
    let (conn, call) = node.calls.pop().unwrap();
    assert_eq!((conn, call.code, call.oneway), (7, request::GET_CONSUMER_RUNNING_INFO, false));
    assert_eq!(call.ext.get("jstackEnable"), Some("true"), "the question goes on as it came");
    respond(&mut node, 8, &call, "not this client");
    assert!(node.answer_to(asked).is_none());
    respond(&mut node, 7, &call, "{running}");
    let answer = node.answer_to(asked).unwrap();
    assert_eq!((answer.code, &answer.body[..]), (response::SUCCESS, &b"{running}"[..]));
    respond(&mut node, 7, &call, "twice");
    assert_eq!(node.answers.iter().filter(|a| a.opaque == asked).count(), 1);
}

#[test]
fn a_client_that_does_not_answer_or_is_gone_is_an_error() {
    let mut node = Node::new();
    join(&mut node, 7, "a");
    let late = post(&mut node, request::GET_CONSUMER_RUNNING_INFO, &CLIENT);
    assert_eq!(node.broker.deadline(), Some(10_000));
    node.ticks += 10_000;
    node.pull("T", 0, 0);
    assert_eq!(node.answer_to(late).unwrap().code, response::CONSUME_MSG_TIMEOUT);
    let gone = post(&mut node, request::GET_CONSUMER_RUNNING_INFO, &CLIENT);
    node.input(Input::Disconnected(7));
    let gone = node.answer_to(gone).unwrap();
    assert_eq!(gone.code, response::SYSTEM_ERROR);
    assert!(gone.remark.contains("<a> disconnected"), "{}", gone.remark);
}

#[test]
fn a_client_consumes_a_message_that_the_broker_sends_along() {
    let mut node = Node::new();
    join(&mut node, 7, "a");
    let id = node.send("T", 0, "this one", "").ext.get("msgId").unwrap().to_owned();
    let fields = [&CLIENT[..], &[("msgId", &id), ("topic", "T")]].concat();
    let asked = post(&mut node, request::CONSUME_MESSAGE_DIRECTLY, &fields);
    let (conn, call) = node.calls.pop().unwrap();
    assert_eq!((conn, call.code), (7, request::CONSUME_MESSAGE_DIRECTLY));
    assert_eq!(StoredMessage::decode(&call.body).unwrap().body, b"this one");
    assert_eq!(call.ext.get("brokerName"), Some("broker-a"));
    respond(&mut node, 7, &call, "{consumed}");
    assert_eq!(&node.answer_to(asked).unwrap().body[..], b"{consumed}");

    let fields = [&CLIENT[..], &[("msgId", "no id")]].concat();
    let refused = ask(&mut node, request::CONSUME_MESSAGE_DIRECTLY, &fields);
    assert!(refused.remark.contains("unique key"), "{}", refused.remark);
    assert!(node.calls.is_empty());
}

#[test]
fn the_status_of_a_group_is_that_of_its_clients() {
    let mut node = Node::new();
    let fields = [("topic", "T"), ("group", "g")];
    assert_eq!(
        ask(&mut node, request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &fields).code,
        response::SYSTEM_ERROR
    );
    join(&mut node, 7, "a");
    join(&mut node, 8, "b");
    let asked = post(&mut node, request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &fields);
    let calls = std::mem::take(&mut node.calls);
    assert_eq!(calls.len(), 2);
    respond(
        &mut node,
        7,
        &calls[0].1,
        r#"{"messageQueueTable":{{"brokerName":"b","queueId":1,"topic":"T"}:5}}"#,
    );
    assert!(node.answer_to(asked).is_none());
    node.input(Input::Disconnected(8));
    let answer = node.answer_to(asked).unwrap();
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(
        text, r#"{"consumerTable":{"a":{{"brokerName":"b","queueId":1,"topic":"T"}:5}}}"#,
        "as Java reads it"
    );
    assert_eq!(GroupPositions::decode(&answer.body).unwrap().consumer_table["a"].len(), 1);
}

#[test]
fn producers_subscriptions_and_topics_are_listed() {
    let mut node = Node::new();
    let producers = [("producerGroup", "producers")];
    let nobody = ask(&mut node, request::GET_PRODUCER_CONNECTION_LIST, &producers);
    assert!(nobody.remark.contains("the producer group[producers] not exist"), "{}", nobody.remark);
    join(&mut node, 7, "a");
    let listed = ask(&mut node, request::GET_PRODUCER_CONNECTION_LIST, &producers);
    assert_eq!(ProducerConnection::decode(&listed.body).unwrap().connection_set[0].client_id, "a");

    node.send("T", 0, "x", "");
    node.commit("g", "T", 0, 1);
    let topics = ask(&mut node, request::QUERY_TOPICS_BY_CONSUMER, &[("group", "g")]);
    assert_eq!(TopicList::decode(&topics.body).unwrap().topic_list, ["T"]);
    let subscription =
        ask(&mut node, request::QUERY_SUBSCRIPTION_BY_CONSUMER, &[("group", "g"), ("topic", "T")]);
    let subscription = GroupSubscription::decode(&subscription.body).unwrap();
    assert_eq!(subscription.subscription_data.unwrap().sub_string, "*");

    let all = ask(&mut node, request::GET_ALL_TOPIC_CONFIG, &[]);
    assert_eq!(all.ext.get("totalTopicNum"), Some("2"));
    let all = TopicConfigSerializeWrapper::decode(&all.body).unwrap().topic_config_table;
    assert_eq!(all.keys().collect::<Vec<_>>(), ["%RETRY%g", "T"]);
    let page = ask(&mut node, request::GET_ALL_TOPIC_CONFIG, &[("topicSeq", "1"), ("maxTopicNum", "1")]);
    let page = TopicConfigSerializeWrapper::decode(&page.body).unwrap().topic_config_table;
    assert_eq!(page.keys().collect::<Vec<_>>(), ["T"]);
}

#[test]
fn a_queue_is_shown_as_it_is_in_memory_and_in_runs() {
    let mut node = Node::new();
    for i in 0..70 {
        node.send("T", 0, &format!("{i}"), "TAGS\u{1}tag\u{2}");
    }
    let fields = |index: &'static str, count: &'static str| {
        [("topic", "T"), ("queueId", "0"), ("index", index), ("count", count), ("consumerGroup", "x")]
    };
    let shown = ask(&mut node, request::QUERY_CONSUME_QUEUE, &fields("0", "100"));
    let shown = ConsumeQueue::decode(&shown.body).unwrap();
    assert_eq!((shown.min_queue_index, shown.max_queue_index), (0, 70));
    assert_eq!(shown.queue_data.len(), 70);
    assert!(shown.queue_data.is_sorted_by_key(|unit| unit.physic_offset));
    assert_eq!(shown.queue_data[0].tags_code, 114_586, "Java's hash of \"tag\"");
    assert_eq!(shown.filter_data.as_deref(), Some("x@T is not online!"));
    let part = ask(&mut node, request::QUERY_CONSUME_QUEUE, &fields("68", "100"));
    let part = ConsumeQueue::decode(&part.body).unwrap();
    assert_eq!(part.queue_data, shown.queue_data[68..]);
    let past = ask(&mut node, request::QUERY_CONSUME_QUEUE, &fields("70", "1"));
    assert_eq!(ConsumeQueue::decode(&past.body).unwrap().queue_data, []);
}

#[test]
fn the_oldest_message_of_a_queue_tells_its_time() {
    let earliest = |node: &mut Node, queue: &'static str| {
        let fields = [("topic", "T"), ("queueId", queue)];
        ask(node, request::GET_EARLIEST_MSG_STORETIME, &fields).number("timestamp")
    };
    let mut node = Node::new();
    node.ticks = 7;
    (0..100).for_each(|_| _ = node.send("T", 0, &"x".repeat(200), ""));
    assert_eq!(earliest(&mut node, "0"), 1_000_007);
    assert_eq!(earliest(&mut node, "1"), -1, "it has none");
    assert_eq!(earliest(&mut node.restart(), "0"), 1_000_007);
}

#[test]
fn a_subscription_is_checked_and_a_member_may_leave() {
    let mut node = Node::new();
    let mut check = |kind: &str| {
        let subscription_data =
            SubscriptionData { topic: "T".into(), expression_type: Some(kind.into()), ..Default::default() };
        let body = CheckClientRequestBody {
            client_id: "a".into(),
            group: "g".into(),
            namespace: None,
            subscription_data,
        };
        node.json(1, request::CHECK_CLIENT_CONFIG, &body).code
    };
    assert_eq!((check("TAG"), check("SQL92")), (response::SUCCESS, response::SYSTEM_ERROR));
    join(&mut node, 7, "a");
    join(&mut node, 8, "b");
    let leave = [("clientID", "a"), ("consumerGroup", "g"), ("producerGroup", "producers")];
    assert_eq!(ask(&mut node, request::UNREGISTER_CLIENT, &leave).code, response::SUCCESS);
    assert_eq!(node.notices(), [(8, "g".to_owned())], "the others share its queues");
    let left = ask(&mut node, request::GET_CONSUMER_LIST_BY_GROUP, &[("consumerGroup", "g")]);
    assert_eq!(ConsumerIdList::decode(&left.body).unwrap().consumer_id_list, ["b"]);
    let producers = ask(&mut node, request::GET_PRODUCER_CONNECTION_LIST, &[("producerGroup", "producers")]);
    assert_eq!(ProducerConnection::decode(&producers.body).unwrap().connection_set.len(), 1);
}

/// What RocketMQ's slaves and some monitors ask for.
#[test]
fn positions_and_delay_levels_are_listed() {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    node.send("T", 0, "later", "DELAY\u{1}2\u{2}");
    node.pass(5_000);
    node.commit("g", "T", 0, 1);
    node.commit("g", "T", 1, 0);
    let positions = ask(&mut node, request::GET_ALL_CONSUMER_OFFSET, &[]);
    let positions = ConsumerOffsets::decode(&positions.body).unwrap().offset_table;
    assert_eq!(positions, [("T@g".to_owned(), [(0, 1), (1, 0)].into())].into());
    let levels = ask(&mut node, request::GET_ALL_DELAY_OFFSET, &[]);
    let levels = DelayOffsets::decode(&levels.body).unwrap().offset_table;
    assert_eq!((levels.len(), levels[&1], levels[&2]), (18, 0, 1));
}

#[test]
fn topics_of_the_system_are_not_for_operators() {
    let mut node = Node::new();
    let listed = ask(&mut node, request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &[]);
    let listed = TopicList::decode(&listed.body).unwrap().topic_list;
    for topic in ["TBW102", "SCHEDULE_TOPIC_XXXX", "DefaultCluster", "broker-a", "DefaultCluster_REPLY_TOPIC"]
    {
        assert!(listed.iter().any(|name| name == topic), "{topic} is not in {listed:?}");
        let deleted = ask(&mut node, request::DELETE_TOPIC_IN_BROKER, &[("topic", topic)]);
        assert_eq!(deleted.code, response::INVALID_PARAMETER, "{topic}");
    }
    let sent = node.send("SCHEDULE_TOPIC_XXXX", 0, "x", "");
    assert_eq!(sent.code, response::NO_PERMISSION);
}

#[test]
fn a_broker_without_read_permission_is_left_by_consumers() {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    let mut node = Node::open(node.disk, Options { permission: 2, ..node::options() });
    let pulled = node.ask(pull_header("T", 0, 0, 0), Bytes::new());
    assert_eq!(pulled.code, response::NO_PERMISSION);
    assert!(pulled.remark.contains("brokerPermission"), "{}", pulled.remark);
    assert_eq!(node.send("T", 0, "y", "").code, response::SUCCESS);
    let perms: Vec<u32> = node.registered.iter().map(|topic| topic.perm).collect();
    assert!(perms.iter().all(|perm| perm & 4 == 0), "{perms:?}");
}
