//! Sending and reading messages.

use serde_json::Value;

use crate::tool::{Output, World};

fn world() -> World {
    let world = World::start(&[]);
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD", "-r", "2", "-w", "2"]).ok();
    world
}

/// Sends to queue 1.
fn send(world: &World, body: &str, args: &[&str]) -> Output {
    let place = ["-t", "SCANRECORD", "-b", "broker-a", "-i", "1", "-p", body];
    world.admin("sendMessage", &[&place, args].concat())
}

#[test]
fn what_is_sent_is_found() {
    let world = world();
    let sent = send(&world, "-1 red packet", &["-k", "orderId 42", "-c", "paid"]).ok();
    let (head, row) = sent.split_once('\n').expect("two lines");
    assert_eq!(head, format!("{:<32}  {:<4}  {:<20}    #MsgId", "#Broker Name", "#QID", "#Send Result"));
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[..3], ["broker-a", "1", "SEND_OK"]);

    for key in ["orderId", "42"] {
        let found = world.admin("queryMsgByKey", &["-t", "SCANRECORD", "-k", key, "--json"]).json();
        let message = &found["messages"][0];
        assert_eq!((&message["msgId"], &message["tags"]), (&Value::from(row[3]), &Value::from("paid")));
        assert_eq!(message["body"], "-1 red packet");
    }
    world.admin("queryMsgByUniqueKey", &["-t", "SCANRECORD", "-i", row[3]]).ok();
}

#[test]
fn a_trace_that_is_asked_for_is_said_to_be_none() {
    let world = world();
    let output = send(&world, "traced", &["-m", "true"]);
    assert_eq!(output.code, 0);
    assert!(output.stderr.contains("-m has no effect: this tool records no trace"), "{}", output.stderr);
    send(&world, "untraced", &["-m", "False"]).ok();
}

#[test]
fn a_topic_is_created_by_its_first_message_where_the_broker_allows_that() {
    let world = World::start(&[]);
    world.admin("sendMessage", &["-t", "NEW", "-p", "first"]).ok();
    let world = World::start(&["autoCreateTopicEnable=false"]);
    let refused = world.admin("sendMessage", &["-t", "NEW", "-p", "first"]).refused();
    assert!(refused.contains("no broker creates topics when they are sent to"), "{refused}");
}

#[test]
fn a_queue_that_is_not_there_is_not_sent_to() {
    let world = world();
    let to = |broker, queue| {
        world.admin("sendMessage", &["-t", "SCANRECORD", "-p", "x", "-b", broker, "-i", queue]).refused()
    };
    assert!(to("broker-a", "2").contains("broker broker-a has queues 0 to 1 of topic SCANRECORD"));
    assert!(to("broker-b", "0").contains("has no queue that can be written to on broker broker-b"));
    let output = world.admin("sendMessage", &["-t", "SCANRECORD", "-p", "x", "-i", "0"]);
    assert_eq!(output.code, 2, "a queue is one of a broker: {}", output.stderr);
}

const QUEUE_0: &str = "MessageQueue [topic=SCANRECORD, brokerName=broker-a, queueId=0]";
const QUEUE_1: &str = "MessageQueue [topic=SCANRECORD, brokerName=broker-a, queueId=1]";

/// What the lines of messages end with.
fn bodies(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("MSGID: ")?.split_once(" BODY: "))
        .map(|(_, body)| body)
        .collect()
}

#[test]
fn messages_are_consumed_without_moving_a_position() {
    let world = world();
    for body in ["one", "two", "three"] {
        send(&world, body, &[]).ok();
    }
    for _ in 0..2 {
        let text = world.admin("consumeMessage", &["-t", "SCANRECORD"]).ok();
        assert_eq!(bodies(&text), ["one", "two", "three"]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("MSGID: ")).collect();
        assert_eq!(
            lines,
            [
                &*format!("{QUEUE_0} print msg finished. status=NO_NEW_MSG, offset=0"),
                "Consume ok",
                &*format!("{QUEUE_1} print msg finished. status=NO_NEW_MSG, offset=3"),
            ]
        );
    }
    let from = |args: &[&str]| {
        let place = ["-t", "SCANRECORD", "-b", "broker-a", "-i", "1"];
        let text = world.admin("consumeMessage", &[&place, args].concat()).ok();
        bodies(&text).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(from(&["-o", "1"]), ["two", "three"]);
    assert_eq!(from(&["-o", "1", "-c", "1"]), ["two"]);
    assert_eq!(from(&["-e", "2020-01-01"]), [""; 0]);
    let refused = world.admin("consumeMessage", &["-t", "SCANRECORD", "-b", "broker-a", "-i", "7"]).refused();
    assert!(refused.contains("topicRoute -t SCANRECORD"), "{refused}");
}

#[test]
fn messages_are_printed() {
    let world = world();
    send(&world, "one", &["-k", "orderId", "-c", "paid"]).ok();
    send(&world, "two", &["-c", "refunded"]).ok();
    let text = world.admin("printMsg", &["-t", "SCANRECORD"]).ok();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("MSGID: ")).collect();
    let rule = "-".repeat(56);
    assert_eq!(
        lines,
        [
            &*format!("minOffset=0, maxOffset=0, {QUEUE_0}"),
            &rule,
            &*format!("minOffset=0, maxOffset=2, {QUEUE_1}"),
            &rule,
        ]
    );
    let first = text.lines().find(|line| line.starts_with("MSGID: ")).expect("a message");
    for part in [
        " MessageExt [brokerName=broker-a, queueId=1, ",
        ", queueOffset=0, ",
        "body=[111, 110, 101]",
        "TAGS=paid",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    assert!(first.ends_with(" BODY: one"), "{first}");

    let tagged = world.admin("printMsg", &["-t", "SCANRECORD", "-s", "refunded || lost"]).ok();
    assert_eq!(bodies(&tagged), ["two"]);
    let without = world.admin("printMsg", &["-t", "SCANRECORD", "-d", "false"]).ok();
    assert_eq!(bodies(&without), ["NOT PRINT BODY", "NOT PRINT BODY"]);
    let json = world.admin("printMsg", &["-t", "SCANRECORD", "--json"]).ok();
    let bodies: Vec<Value> =
        json.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["body"].clone()).collect();
    assert_eq!(bodies, ["one", "two"]);

    let counted =
        world.admin("printMsgByQueue", &["-t", "SCANRECORD", "-a", "broker-a", "-i", "1", "-f", "true"]);
    assert_eq!(counted.ok(), format!("Tag: {:<30} Count: 1\nTag: {:<30} Count: 1\n", "paid", "refunded"));
}
