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
pub(crate) fn running_info() -> Vec<u8> {
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

/// Runs a command while the member answers; returns the fields of what the member was asked, too.
pub(crate) fn answering(
    member: &mut Client,
    answers: &[(i32, &[u8])],
    command: impl FnOnce() -> Output,
) -> (Output, Vec<ExtFields<'static>>) {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| answers.iter().map(|(code, body)| member.respond(*code, body)).collect());
        let output = command();
        (output, asked.join().expect("the member was asked"))
    })
}

/// Runs `consumerStatus` while the member answers.
fn status(
    world: &World,
    member: &mut Client,
    directory: &Path,
    args: &[&str],
) -> (Output, ExtFields<'static>) {
    let info = running_info();
    let command = || world.admin_in(directory, "consumerStatus", &[&["-g", "coupons"], args].concat());
    let (output, mut asked) = answering(member, &[(request::GET_CONSUMER_RUNNING_INFO, &info)], command);
    (output, asked.remove(0))
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

#[test]
fn progress_tells_which_member_has_a_queue() {
    let (world, mut member) = world();
    let info = running_info();
    let answers = [(request::GET_CONSUMER_RUNNING_INFO, info.as_slice())];
    let progress = |member: &mut Client, args: &[&str]| {
        let command = || world.admin("consumerProgress", &[&["-g", "coupons", "-s", "True"], args].concat());
        answering(member, &answers, command).0
    };
    let text = progress(&mut member, &[]).ok();
    let columns =
        ["#Topic", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Client IP", "#Diff"];
    let head: Vec<&str> = text.lines().next().unwrap_or_default().split("  ").map(str::trim).collect();
    let head: Vec<&str> = head.into_iter().filter(|column| !column.is_empty()).take(columns.len()).collect();
    assert_eq!(head, columns, "{text}");
    let row: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..7], ["SCANRECORD", "broker-a", "0", "3", "1", "10.0.0.7", "2"], "{text}");
    let json = progress(&mut member, &["--json"]).json();
    assert_eq!(json["queues"][0]["clientIP"], "10.0.0.7", "{json}");
    for (args, what) in [
        (&["-t", "SCANRECORD"][..], "-t, -c and -s have no effect without -g"),
        (&["-g", "coupons", "-c", "DefaultCluster"], "-c has no effect without -t"),
    ] {
        let output = world.admin("consumerProgress", args);
        assert_eq!(output.code, 0);
        assert!(
            output.stdout.contains("coupons") || output.stdout.contains("SCANRECORD"),
            "{}",
            output.stdout
        );
        assert!(output.stderr.contains(what), "{}", output.stderr);
    }
    drop(member);
    crate::process::until("the member is gone", || {
        let text = world.admin("consumerProgress", &["-g", "coupons", "-s", "true"]).ok();
        text.lines().nth(1).is_some_and(|row| row.split_whitespace().nth(5) == Some("N/A"))
    });
}

#[test]
fn a_message_is_given_to_a_member() {
    let (world, mut member) = world();
    let found = world.admin("queryMsgByKey", &["-t", "SCANRECORD", "-k", "two", "--json"]).json();
    let text = |field: &str| found["messages"][0][field].as_str().expect("text").to_owned();
    let (id, offset_id) = (text("msgId"), text("offsetMsgId"));
    let info = running_info();
    let result = br#"{"order":false,"autoCommit":true,"consumeResult":"CR_SUCCESS","spentTimeMills":3}"#;
    let answers =
        [(request::GET_CONSUMER_RUNNING_INFO, info.as_slice()), (request::CONSUME_MESSAGE_DIRECTLY, result)];
    let to_member = ["-t", "SCANRECORD", "-i", &id, "-g", "coupons", "-d", "10.0.0.7@1"];
    for command in ["queryMsgById", "queryMsgByUniqueKey"] {
        let (output, asked) = answering(&mut member, &answers, || world.admin(command, &to_member));
        assert_eq!(
            output.ok(),
            "ConsumeMessageDirectlyResult [order=false, autoCommit=true, consumeResult=CR_SUCCESS, remark=null, \
             spentTimeMills=3]\n"
        );
        assert_eq!(asked[1].get("msgId"), Some(&*offset_id), "{command}");
    }

    let pulls = br#"{"properties":{"PROP_CONSUME_TYPE":"CONSUME_ACTIVELY"}}"#;
    let answers = [(request::GET_CONSUMER_RUNNING_INFO, &pulls[..])];
    let (output, _) = answering(&mut member, &answers, || world.admin("queryMsgById", &to_member));
    assert!(output.refused().contains("10.0.0.7@1 is not a push consumer"));
    let shown = world.admin("queryMsgById", &to_member[..6]);
    assert_eq!(shown.code, 0);
    assert!(shown.stdout.starts_with("OffsetID:"), "a group alone names no member: {}", shown.stdout);
    assert!(shown.stderr.contains("-g and -d have no effect without each other"), "{}", shown.stderr);
}
