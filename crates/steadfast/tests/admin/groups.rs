//! Consumer groups: who is connected, and how far they are.

use steadfast_wire::body::{
    Body, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{ResetOffset, UpdateConsumerOffset};

use crate::client::Client;
use crate::tool::{World, steadfast};

/// A server with a topic of three messages, and a member of the group `coupons` that processed one.
pub(crate) fn world() -> (World, Client) {
    let world = World::start(&[]);
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD", "-r", "1", "-w", "1"]).ok();
    for body in ["one", "two", "three"] {
        world.admin("sendMessage", &["-t", "SCANRECORD", "-p", body, "-k", body]).ok();
    }
    let mut member = Client::connect(world.server.broker());
    let subscription = SubscriptionData {
        expression_type: Some("TAG".into()),
        sub_string: "*".into(),
        topic: "SCANRECORD".into(),
        ..SubscriptionData::default()
    };
    let consumer = ConsumerData {
        consume_from_where: ConsumeFromWhere::FirstOffset,
        consume_type: ConsumeType::Passively,
        group_name: "coupons".into(),
        message_model: MessageModel::Clustering,
        subscription_data_set: vec![subscription],
        unit_mode: false,
    };
    let heartbeat = HeartbeatData {
        client_id: "10.0.0.7@1".into(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    let answer = member.ask(request::HEART_BEAT, ExtFields::default(), &heartbeat.encode());
    assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
    let mut ext = ExtFields::default();
    UpdateConsumerOffset {
        consumer_group: "coupons".into(),
        topic: "SCANRECORD".into(),
        queue_id: 0,
        commit_offset: 1,
    }
    .encode(&mut ext);
    let answer = member.ask(request::UPDATE_CONSUMER_OFFSET, ext, &[]);
    assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
    (world, member)
}

#[test]
fn the_progress_of_a_group_is_shown() {
    let (world, _member) = world();
    let text = world.admin("consumerProgress", &["-g", "coupons"]).ok();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    // RocketMQ's head has no blank before the last column.
    assert_eq!(
        head.join(" "),
        "#Topic #Broker Name #QID #Broker Offset #Consumer Offset #Diff #Inflight #LastTime"
    );
    let row: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..7], ["SCANRECORD", "broker-a", "0", "3", "1", "2", "0"], "{text}");
    assert!(
        text.ends_with("\nConsume TPS: 0.00\nConsume Diff Total: 2\nConsume Inflight Total: 0\n"),
        "{text}"
    );

    let json = world.admin("consumerProgress", &["-g", "coupons", "-t", "SCANRECORD", "--json"]).json();
    assert_eq!((&json["diffTotal"], &json["queues"][0]["consumerOffset"]), (&2.into(), &1.into()), "{json}");
    let refused = world.admin("consumerProgress", &["-g", "nobody"]).refused();
    assert!(
        refused.contains("group nobody has no position and no subscription on broker-a at "),
        "{refused}"
    );
}

#[test]
fn jumps_of_a_group_are_shown() {
    let (world, mut member) = world();
    let none = world.admin("positionJumps", &["-g", "coupons"]).refused();
    assert!(none.contains("no jump of group coupons is on record on broker-a at "), "{none}");
    for (to, force) in [(3, true), (1, true)] {
        let mut ext = ExtFields::default();
        ResetOffset {
            topic: "SCANRECORD".into(),
            group: "coupons".into(),
            queue_id: 0,
            offset: Some(to),
            force,
            ..ResetOffset::default()
        }
        .encode(&mut ext);
        let answer = member.ask(request::INVOKE_BROKER_TO_RESET_OFFSET, ext, &[]);
        assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
    }
    let text = world.admin("positionJumps", &["-g", "coupons", "-t", "SCANRECORD"]).ok();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(8).collect()).collect();
    assert_eq!(rows[0].join(" "), "#Topic #Broker Name #QID #Cause #From #To #Skipped", "{text}");
    assert_eq!(rows[1], ["SCANRECORD", "broker-a", "0", "reset", "1", "3", "2", "0"], "{text}");
    assert_eq!(rows[2], ["SCANRECORD", "broker-a", "0", "reset", "3", "1", "0", "2"], "{text}");
    let json = world.admin("positionJumps", &["-g", "coupons", "--json"]).json();
    assert_eq!((&json["jumps"][0]["cause"], &json["jumps"][0]["to"]), (&"reset".into(), &3.into()), "{json}");
}

#[test]
fn every_cause_of_a_jump_is_explained() {
    let help = steadfast(&["admin", "positionJumps", "--help"]).ok();
    // However its lines are broken.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for cause in ["reset", "out_of_range", "expired", "new_queue", "commit", "hole"] {
        assert!(help.contains(&format!("{cause}: ")), "{cause} in {help}");
    }
}

#[test]
fn all_groups_are_shown() {
    let (world, member) = world();
    let row = |text: &str| {
        let mut rows =
            text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        rows.find(|row| row.first().is_some_and(|group| group == "coupons"))
    };
    let text = world.admin("consumerProgress", &[]).ok();
    let expected = ["coupons", "1", "V5_5_0", "PUSH", "CLUSTERING", "0", "2"].map(str::to_owned);
    assert_eq!(row(&text), Some(expected.to_vec()), "{text}");
    drop(member);
    let offline = ["coupons", "0", "OFFLINE", "0", "2"].map(str::to_owned).to_vec();
    crate::process::until("the member is gone", || {
        row(&world.admin("consumerProgress", &[]).ok()).as_ref() == Some(&offline)
    });
}

#[test]
fn the_members_of_a_group_are_shown() {
    let (world, _member) = world();
    let text = world.admin("consumerConnection", &["-g", "coupons"]).ok();
    let client =
        text.lines().nth(1).and_then(|row| row.split_whitespace().nth(1)).unwrap_or_default().to_owned();
    assert_eq!(
        text,
        format!(
            "{:<36} {:<22} {:<10} #Version\n{:<36} {client:<22} {:<10} V5_5_0\n\n\
             Below is subscription:\n{:<20} #SubExpression\n{:<20} *\n\n\
             ConsumeType: CONSUME_PASSIVELY\nMessageModel: CLUSTERING\nConsumeFromWhere: CONSUME_FROM_FIRST_OFFSET\n",
            "#ClientId", "#ClientAddr", "#Language", "10.0.0.7@1", "JAVA", "#Topic", "SCANRECORD"
        )
    );
    let refused = world.admin("consumerConnection", &["-g", "nobody"]).refused();
    assert!(
        refused.contains("CODE: 206 (CONSUMER_NOT_ONLINE)  DESC: no consumer of group nobody"),
        "{refused}"
    );
}

#[test]
fn a_message_tells_who_consumed_it() {
    let (world, member) = world();
    let track = |key| {
        let found = world.admin("queryMsgByKey", &["-t", "SCANRECORD", "-k", key, "--json"]).json();
        let id = found["messages"][0]["msgId"].as_str().expect("an id").to_owned();
        let text = world.admin("queryMsgById", &["-t", "SCANRECORD", "-i", &id]).ok();
        text.lines().last().unwrap_or_default().to_owned()
    };
    let shown = |kind: &str, why: &str| {
        format!("MessageTrack [consumerGroup=coupons, trackType={kind}, exceptionDesc={why}]")
    };
    assert_eq!(track("one"), shown("CONSUMED", "null"));
    assert_eq!(track("two"), shown("NOT_CONSUME_YET", "null"));
    drop(member);
    let gone = shown("NOT_ONLINE", "the group's position is past the message");
    crate::process::until("the member is gone", || track("one") == gone);
    assert_eq!(track("two"), shown("NOT_ONLINE", "the group's position has not reached the message"));
}
