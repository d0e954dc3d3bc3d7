//! Messages that their consumers send back: retried with all that they had, and dead letters after the last retry.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Answer, Message, Node, send_header};
use steadfast_broker::Options;
use steadfast_wire::body::SubscriptionGroupConfig;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

const RETRY: &str = "%RETRY%g";
const DLQ: &str = "%DLQ%g";
const LOG: &str = "log/00000000000000000000";

fn send_back_header(message: &Message, delay_level: i32, max: Option<i32>) -> Header<'static> {
    let mut header = Header::request(request::CONSUMER_SEND_MSG_BACK, 0);
    let first_topic = message.property("RETRY_TOPIC").unwrap_or(&message.topic).to_owned();
    let back = headers::ConsumerSendMsgBack {
        offset: message.log_offset as i64,
        group: "g".into(),
        delay_level,
        origin_topic: Some(first_topic.into()),
        max_reconsume_times: max,
        ..Default::default()
    };
    back.encode(&mut header.ext);
    header.into_owned()
}

fn send_back(node: &mut Node, message: &Message, delay_level: i32, max: Option<i32>) -> Answer {
    node.ask(send_back_header(message, delay_level, max), Bytes::new())
}

fn only(node: &mut Node, topic: &str, offset: i64) -> Message {
    let answer = node.pull(topic, 0, offset);
    let mut messages = answer.messages();
    assert_eq!(messages.len(), 1, "{topic} at {offset}: {answer:?}");
    messages.remove(0)
}

fn order(node: &mut Node) -> Message {
    let properties = "KEYS\u{1}order-1\u{2}TAGS\u{1}paid\u{2}mine\u{1}kept\u{2}UNIQ_KEY\u{1}ID\u{2}";
    let sent = node.send("T", 0, "order", properties);
    assert_eq!(sent.code, response::SUCCESS);
    only(node, "T", 0)
}

fn own(message: &Message) -> Vec<(String, String)> {
    let own = ["KEYS", "TAGS", "mine", "UNIQ_KEY", "MSG_REGION", "TRACE_ON", "CLUSTER"];
    let properties = message.properties.iter().filter(|(name, _)| own.contains(&name.as_str()));
    properties.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[test]
fn a_message_is_retried_twice_and_then_a_dead_letter_with_all_that_it_had() {
    let mut node = Node::new();
    let first = order(&mut node);
    let id = node.send("T", 0, "x", "").ext.get("msgId").unwrap()[..16].to_owned();
    assert_eq!(send_back(&mut node, &first, 0, Some(2)).code, response::SUCCESS);
    node.pass(9_999);
    assert_eq!(node.pull(RETRY, 0, 0).code, response::PULL_NOT_FOUND, "level 3 is 10 s");
    node.pass(1);
    let second = only(&mut node, RETRY, 0);
    assert_eq!(second.reconsume_times, 1);
    assert_eq!(second.property("RETRY_TOPIC"), Some("T"));
    let origin = second.property("ORIGIN_MESSAGE_ID").unwrap().to_owned();
    assert!(origin.starts_with(&id) && origin.ends_with(&format!("{:016X}", first.log_offset)), "{origin}");

    let mut node = node.restart();
    assert_eq!(send_back(&mut node, &second, 0, Some(2)).code, response::SUCCESS);
    let mut node = node.restart();
    node.pass(30_000);
    let third = only(&mut node, RETRY, 1);
    assert_eq!(third.reconsume_times, 2, "after level 4, 30 s");

    assert_eq!(send_back(&mut node, &third, 0, Some(2)).code, response::SUCCESS);
    let counted = node.measure().stored.into_iter().find(|stored| &*stored.topic == DLQ);
    assert_eq!(counted.map(|stored| stored.traffic.messages), Some(1), "dead letters are counted");
    let mut node = node.restart();
    let dead = only(&mut node, DLQ, 0);
    assert_eq!(dead.property("DLQ_ORIGIN_TOPIC"), Some("T"));
    assert_eq!(dead.property("DLQ_ORIGIN_MESSAGE_ID"), Some(origin.as_str()));
    for message in [&second, &third, &dead] {
        assert_eq!(own(message), own(&first));
        assert_eq!(message.property("RETRY_TOPIC"), Some("T"));
        assert_eq!(message.property("ORIGIN_MESSAGE_ID"), Some(origin.as_str()), "the first one's for ever");
        assert_eq!(
            (&message.body, message.flag, message.born_time),
            (&first.body, first.flag, first.born_time)
        );
        for gone in ["DELAY", "REAL_TOPIC", "REAL_QID"] {
            assert_eq!(message.property(gone), None, "{gone} of {}", message.topic);
        }
    }
    for topic in ["T", RETRY, DLQ] {
        assert!(node.query(topic, "order-1").bodies().contains(&"order".to_owned()), "found in {topic}");
    }
}

#[test]
fn the_consumer_may_choose_the_delay_or_no_retry_at_all() {
    let mut node = Node::new();
    let message = order(&mut node);
    assert_eq!(send_back(&mut node, &message, 1, None).code, response::SUCCESS);
    node.pass(1_000);
    assert_eq!(only(&mut node, RETRY, 0).reconsume_times, 1);
    assert_eq!(send_back(&mut node, &message, -1, None).code, response::SUCCESS);
    assert_eq!(only(&mut node, DLQ, 0).reconsume_times, 1);
}

#[test]
fn the_groups_settings_count_for_clients_that_cannot_say() {
    let mut node = Node::new();
    let settings =
        SubscriptionGroupConfig { group_name: "g".into(), retry_max_times: 0, ..Default::default() };
    assert_eq!(node.json(1, request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &settings).code, response::SUCCESS);
    let message = order(&mut node);
    // A client before version 3.4.9 does not mean its maximum.
    let mut header = send_back_header(&message, 0, Some(16));
    header.version = 120;
    assert_eq!(node.ask(header, Bytes::new()).code, response::SUCCESS);
    assert_eq!(only(&mut node, DLQ, 0).body, "order");
}

/// RocketMQ takes "no retry queues" for leave to drop the message.
#[test]
fn a_group_without_retries_still_loses_nothing() {
    let mut node = Node::new();
    let settings =
        SubscriptionGroupConfig { group_name: "g".into(), retry_queue_nums: 0, ..Default::default() };
    node.json(1, request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &settings);
    let message = order(&mut node);
    assert_eq!(send_back(&mut node, &message, 0, None).code, response::SUCCESS);
    assert_eq!(only(&mut node, DLQ, 0).body, "order");
}

/// The answer leaves when the copy is durable; a process that dies before has moved nothing.
#[test]
fn a_message_is_back_when_that_is_durable() {
    let mut node = Node::new();
    let message = order(&mut node);
    send_back(&mut node, &message, 1, None);
    node.hold_writes = true;
    let back = node.request(1, send_back_header(&message, -1, None), Bytes::new());
    node.release_writes();
    assert!(node.answer_to(back).is_none(), "the topic of dead letters is made first");
    node.release_writes();
    assert_eq!(node.answer_to(back).unwrap().code, response::SUCCESS);
    assert_eq!(node.pull(DLQ, 0, 0).bodies(), ["order"]);
    let lost = node.request(1, send_back_header(&message, -1, None), Bytes::new());
    assert!(node.answer_to(lost).is_none());
    let mut node = node.restart();
    assert_eq!(node.pull(DLQ, 0, 0).bodies(), ["order"], "what was not answered was not stored");
}

/// The position moves with the message, in the same entry, if the group stands before it.
#[test]
fn the_position_goes_with_the_message_it_stands_at() {
    let mut node = Node::new();
    let message = order(&mut node);
    node.send("T", 0, "next", "");
    send_back(&mut node, &message, 1, None);
    let position = |node: &mut Node| {
        let asked = node.ask_position("g", "T", 0);
        node.answer_to(asked).unwrap().number("offset")
    };
    assert_eq!(position(&mut node), 0, "the group had no position, its consumer has to say");
    node.commit("g", "T", 0, 0);
    send_back(&mut node, &message, 1, None);
    let mut node = node.restart();
    assert_eq!(position(&mut node), 1);
    // One behind: others may be open.
    send_back(&mut node, &message, 1, None);
    assert_eq!(position(&mut node), 1);
}

/// A position that the consumer told before the copy was written does not go back to the message.
#[test]
fn a_position_that_is_further_stays() {
    let mut node = Node::new();
    let first = order(&mut node);
    for body in ["second", "third"] {
        node.send("T", 0, body, "");
    }
    let second = node.pull("T", 0, 1).messages().remove(0);
    send_back(&mut node, &first, 1, None);
    node.commit("g", "T", 0, 1);
    node.hold_writes = true;
    node.request(1, send_header("T", 0, ""), Bytes::from_static(b"in flight"));
    let back = node.request(1, send_back_header(&second, 1, None), Bytes::new());
    node.commit("g", "T", 0, 3);
    node.release_writes();
    node.release_writes();
    assert_eq!(node.answer_to(back).unwrap().code, response::SUCCESS);
    let asked = node.ask_position("g", "T", 0);
    assert_eq!(node.answer_to(asked).unwrap().number("offset"), 3);
}

#[test]
fn what_cannot_be_read_is_refused_and_not_stored() {
    let mut node = Node::new();
    let message = order(&mut node);
    let nowhere = Message { log_offset: message.log_offset + 1, ..message.clone() };
    let beyond = Message { log_offset: 1 << 40, ..message.clone() };
    let other = Message { topic: "another".into(), ..message.clone() };
    for (wrong, cause) in [(nowhere, "no message begins"), (beyond, "the log ends"), (other, "of topic T")] {
        let answer = send_back(&mut node, &wrong, 0, None);
        assert_eq!(answer.code, response::SYSTEM_ERROR);
        assert!(answer.remark.contains("stored=no") && answer.remark.contains(cause), "{}", answer.remark);
    }
    let at = node.disk.get(LOG).windows(5).position(|w| w == b"order").unwrap();
    node.disk.flip(LOG, at);
    let mut node = node.restart();
    let damaged = send_back(&mut node, &message, 0, None);
    assert_eq!(damaged.code, response::SYSTEM_ERROR);
    assert!(damaged.remark.contains("stored=no") && damaged.remark.contains("damaged"), "{}", damaged.remark);
    node.pass(20_000);
    assert_eq!(node.pull(RETRY, 0, 0).number("maxOffset"), 0);
}

#[test]
fn a_group_that_may_not_be_gets_no_retries() {
    let closed = Options { auto_create_group: false, ..node::options() };
    let mut node = Node::open(node::MemDisk::default(), closed);
    node.json(
        1,
        request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
        &SubscriptionGroupConfig { group_name: "consumers".into(), ..Default::default() },
    );
    let message = order(&mut node);
    assert_eq!(send_back(&mut node, &message, 0, None).code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    let itself = node.ask(send_header(RETRY, 0, ""), Bytes::from_static(b"x"));
    assert_eq!(itself.code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
}

/// A client whose request to send a message back failed sends it to the retry topic by itself.
#[test]
fn what_a_consumer_sends_to_its_retry_topic_is_delayed_and_ends_as_a_dead_letter_too() {
    let mut node = Node::new();
    let resend = |node: &mut Node, times: i32, max: Option<i32>| {
        let mut header = Header::request(request::SEND_MESSAGE_V2, 0);
        let send = headers::SendMessage {
            producer_group: "CLIENT_INNER_PRODUCER".into(),
            topic: RETRY.into(),
            default_topic: "TBW102".into(),
            properties: Some("DELAY\u{1}1\u{2}RETRY_TOPIC\u{1}T\u{2}mine\u{1}kept\u{2}".into()),
            reconsume_times: Some(times),
            max_reconsume_times: max,
            ..headers::SendMessage::default()
        };
        send.encode_v2(&mut header.ext);
        node.ask(header.into_owned(), Bytes::from_static(b"again"))
    };
    assert_eq!(resend(&mut node, 2, Some(2)).code, response::SUCCESS);
    assert_eq!(node.pull(RETRY, 0, 0).code, response::PULL_NOT_FOUND);
    node.pass(1_000);
    let retried = only(&mut node, RETRY, 0);
    assert_eq!((retried.reconsume_times, retried.property("mine")), (2, Some("kept")));
    assert_eq!(resend(&mut node, 3, Some(2)).code, response::SUCCESS);
    let dead = only(&mut node, DLQ, 0);
    assert_eq!((dead.reconsume_times, dead.property("mine")), (3, Some("kept")));
    assert_eq!((dead.property("DLQ_ORIGIN_TOPIC"), dead.property("DELAY")), (Some("T"), None));
    assert_eq!(resend(&mut node, 17, None).code, response::SUCCESS, "the group's 16 by default");
    assert_eq!(node.pull(DLQ, 0, 1).bodies(), ["again"]);
}

#[test]
fn a_stopped_disk_refuses_what_is_sent_back() {
    let mut node = Node::new();
    let message = order(&mut node);
    send_back(&mut node, &message, 1, None);
    node.disk.stop_after(0);
    node.send("T", 0, "lost", "");
    node.disk.stop_after(-1);
    let refused = send_back(&mut node, &message, 1, None);
    assert_eq!(refused.code, response::SERVICE_NOT_AVAILABLE);
    assert!(refused.remark.contains("stored=no"), "{}", refused.remark);
}
