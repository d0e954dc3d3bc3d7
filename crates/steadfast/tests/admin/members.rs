//! Members of groups: what a consumer says of itself, and which producers are connected.

use std::path::Path;

use serde_json::json;
use steadfast_wire::body::{Body, HeartbeatData};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;

use crate::client::Client;
use crate::groups::world;
use crate::tool::{Output, World};

/// What a member answers: one that got stuck in queue 0.
fn running_info() -> Vec<u8> {
    json!({
        "properties": {"PROP_CONSUME_TYPE": "CONSUME_PASSIVELY", "PROP_CONSUMEORDERLY": "false"},
        "subscriptionSet": [{"topic": "SCANRECORD", "subString": "*", "classFilterMode": false}],
        "mqTable": {
            r#"{"brokerName":"broker-a","queueId":0,"topic":"SCANRECORD"}"#: {
                "commitOffset": 1, "cachedMsgCount": 2, "cachedMsgMinOffset": 1, "cachedMsgMaxOffset": 2,
                "lastConsumeTimestamp": 1_000,
            },
        },
        "mqPopTable": {
            r#"{"brokerName":"broker-a","queueId":1,"topic":"POPPED"}"#:
                {"waitAckCount": 3, "droped": false, "lastPopTimestamp": 5},
        },
        "statusTable": {"SCANRECORD": {"pullRT": 1.5, "consumeOKTPS": 0.25, "consumeFailedMsgs": 4}},
        "userConsumerInfo": {"shop": "Lyon"},
        "jstack": "main at work",
    })
    .to_string()
    .into_bytes()
}

/// Runs `consumerStatus` while the member answers; returns what the member was asked, too.
fn status(
    world: &World,
    member: &mut Client,
    directory: &Path,
    args: &[&str],
) -> (Output, ExtFields<'static>) {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| member.respond(request::GET_CONSUMER_RUNNING_INFO, &running_info()));
        let output = world.admin_in(directory, "consumerStatus", &[&["-g", "coupons"], args].concat());
        (output, asked.join().expect("the member was asked"))
    })
}

#[test]
fn members_say_what_they_do() {
    let (world, mut member) = world();
    let directory = tempfile::tempdir().expect("a directory");
    let (output, _) = status(&world, &mut member, directory.path(), &[]);
    let text = output.ok();
    let lines: Vec<&str> = text.lines().collect();
    let head = format!("{:<10} {:<40} {:<20} #ConsumerRunningInfoFile", "#Index", "#ClientId", "#Version");
    assert_eq!(lines[0], head);
    let row: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(row[..3], ["1", "10.0.0.7@1", "V5_5_0"], "{text}");
    assert_eq!(
        lines[2..8],
        ["", "", "Same subscription in the same group of consumer", "", "Rebalance OK", lines[7]]
    );
    let stuck = "10.0.0.7@1 MessageQueue [topic=SCANRECORD, brokerName=broker-a, queueId=0] can't consume for a while, \
                 maybe blocked, ";
    assert!(lines[7].starts_with(stuck), "{text}");

    let written = std::fs::read_to_string(directory.path().join(row[3])).expect("the file that is named");
    for part in [
        "#Consumer Properties#\nPROP_CONSUMEORDERLY                     : false\n",
        "\n\n#Consumer Subscription#\n001 Topic: SCANRECORD ",
        "ClassFilter: false    SubExpression: *\n",
        "ProcessQueueInfo [commitOffset=1, cachedMsgMinOffset=1, cachedMsgMaxOffset=2, cachedMsgCount=2, ",
        "PopProcessQueueInfo [waitAckCount:3, droped:false, lastPopTimestamp:5]",
        "          1.50           0.00           0.00           0.25               0.00                         4\n",
        "#User Consume Info#\nshop                                    : Lyon\n",
    ] {
        assert!(written.contains(part), "{part} in {written}");
    }
}

#[test]
fn one_member_is_printed_with_its_threads() {
    let (world, mut member) = world();
    let directory = tempfile::tempdir().expect("a directory");
    let (output, asked) = status(&world, &mut member, directory.path(), &["-i", "10.0.0.7@1", "-s"]);
    let text = output.ok();
    assert!(text.starts_with("#Consumer Properties#\n"), "{text}");
    assert!(text.ends_with("\n\n#Consumer jstack#\nmain at work\n"), "{text}");
    assert_eq!(asked.get("jstackEnable"), Some("true"));
    let (output, asked) = status(&world, &mut member, directory.path(), &["--json"]);
    let json = output.json();
    assert_eq!(
        (&json["sameSubscription"], &json["members"][0]["clientId"]),
        (&json!(true), &json!("10.0.0.7@1"))
    );
    assert_eq!(asked.get("jstackEnable"), Some("false"));
    let left = std::fs::read_dir(directory.path()).expect("the directory").count();
    assert_eq!(left, 0, "nothing is written but by the list");
}

#[test]
fn a_member_that_is_not_there_is_told_from_those_that_are() {
    let (world, _member) = world();
    let refused = world.admin("consumerStatus", &["-g", "coupons", "-i", "10.0.0.8@1"]).refused();
    assert!(
        refused.contains("not found: group coupons has no member 10.0.0.8@1; it has 10.0.0.7@1"),
        "{refused}"
    );
    let refused = world.admin("consumerStatus", &["-g", "nobody"]).refused();
    assert!(
        refused.contains("CODE: 206 (CONSUMER_NOT_ONLINE)  DESC: no consumer of group nobody"),
        "{refused}"
    );
}

#[test]
fn producers_that_are_connected_are_shown() {
    let (world, mut client) = world();
    let heartbeat = json!({
        "clientID": "10.0.0.9@7",
        "consumerDataSet": [],
        "producerDataSet": [{"groupName": "shop"}],
    });
    let heartbeat = HeartbeatData::decode(heartbeat.to_string().as_bytes()).expect("a heartbeat");
    let answer = client.ask(request::HEART_BEAT, ExtFields::default(), &heartbeat.encode());
    assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");

    let text = world.admin("producerConnection", &["-g", "shop", "-t", "SCANRECORD"]).ok();
    let row: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(
        (row.len(), &row[..2], &row[3..]),
        (5, &["0001", "10.0.0.9@7"][..], &["JAVA", "V5_5_0"][..]),
        "{text}"
    );
    let json = world.admin("producerConnection", &["-g", "shop", "-t", "SCANRECORD", "--json"]).json();
    assert_eq!(json["connectionSet"][0]["clientId"], "10.0.0.9@7", "{json}");
    let refused = world.admin("producerConnection", &["-g", "nobody", "-t", "SCANRECORD"]).refused();
    assert!(refused.contains("not found: group nobody has no connected producer: "), "{refused}");
    assert!(refused.contains(&world.broker()), "which broker was asked: {refused}");
}
