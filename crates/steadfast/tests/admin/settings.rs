//! Settings and positions of consumer groups, and the units of a queue: what commands change and look up.

use serde_json::json;

use crate::groups::world;
use crate::tool::{Sent, World, steadfast};

#[test]
fn a_group_is_made_and_deleted() {
    let world = World::start(&[]);
    let broker = world.broker();
    let made = world
        .masked("updateSubGroup", &["-b", &broker, "-g", "coupons", "-r", "3", "-q", "2", "-s", "false"]);
    assert_eq!(
        made,
        "\
create subscription group to {broker} success.
SubscriptionGroupConfig{groupName=coupons, consumeEnable=false, consumeFromMinEnable=false, \
consumeBroadcastEnable=false, consumeMessageOrderly=false, retryQueueNums=2, retryMaxTimes=3, \
groupRetryPolicy=GroupRetryPolicy{type=CUSTOMIZED, exponentialRetryPolicy=null, customizedRetryPolicy=null}, \
brokerId=0, whichBrokerWhenConsumeSlowly=1, notifyConsumerIdsChangedEnable=true, groupSysFlag=0, \
consumeTimeoutMinute=15, subscriptionDataSet=null, attributes={}}
"
    );
    let policy =
        r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":5000,"max":7200000,"multiplier":2}}"#;
    let made = world.admin("updateSubGroup", &["-c", "DefaultCluster", "-g", "coupons", "-p", policy]).ok();
    let shown = "groupRetryPolicy=GroupRetryPolicy{type=EXPONENTIAL, \
                 exponentialRetryPolicy=ExponentialRetryPolicy{initial=5000, max=7200000, multiplier=2}, \
                 customizedRetryPolicy=null}";
    assert!(made.contains(shown), "{made}");
    let policy = r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1000,5000]}}"#;
    let made = world
        .admin("updateSubGroup", &["-c", "DefaultCluster", "-g", "coupons", "-p", policy, "--json"])
        .json();
    let kept = &made["subscriptionGroupConfig"]["groupRetryPolicy"]["customizedRetryPolicy"]["next"];
    assert_eq!((kept, &made["brokers"]), (&json!([1000, 5000]), &json!([broker])), "{made}");

    let deleted = world.masked("deleteSubGroup", &["-b", &broker, "-g", "coupons", "-r", "true"]);
    assert_eq!(deleted, "delete subscription group [coupons] from broker [{broker}] success.\n");
    let deleted = world.masked("deleteSubGroup", &["-c", "DefaultCluster", "-g", "coupons"]);
    assert_eq!(
        deleted,
        "delete subscription group [coupons] from broker [{broker}] in cluster [DefaultCluster] success.\n"
    );
}

#[test]
fn a_group_that_may_not_consume_does_not() {
    let (world, _member) = world();
    let consumed = ["-t", "SCANRECORD", "-g", "coupons", "-c", "1"];
    world.admin("consumeMessage", &consumed).ok();
    world.admin("updateSubGroup", &["-c", "DefaultCluster", "-g", "coupons", "-s", "false"]).ok();
    let refused = world.admin("consumeMessage", &consumed);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("coupons"), "{}", refused.stderr);
}

#[test]
fn a_change_of_a_group_that_is_none_is_refused() {
    let world = World::start(&[]);
    let refused = world.admin("updateSubGroup", &["-c", "DefaultCluster", "-g", "cou pons"]).refused();
    assert!(refused.contains("nothing was changed: ") && refused.contains("cou pons"), "{refused}");
    let wrong =
        steadfast(&["admin", "updateSubGroup", "-c", "DefaultCluster", "-g", "coupons", "-p", "soon"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    let wrong = steadfast(&["admin", "updateSubGroup", "-g", "coupons"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}

/// The position of `coupons` in the one queue.
fn position(world: &World) -> i64 {
    let progress = world.admin("consumerProgress", &["-g", "coupons", "--json"]).json();
    progress["queues"][0]["consumerOffset"].as_i64().expect("a position")
}

#[test]
fn a_group_is_moved_to_a_time() {
    let (world, _member) = world();
    let group = ["-g", "coupons", "-t", "SCANRECORD"];
    let reset = |args: &[&str]| world.admin("resetOffsetByTime", &[&group, args].concat());
    assert_eq!(position(&world), 1);
    let text = reset(&["-s", "-1"]).ok();
    let row = format!("{:<40}  {:<40}  {:<40}", "broker-a", 0, 3);
    assert_eq!(
        text,
        format!(
            "start reset consumer offset by specified, group[coupons], topic[SCANRECORD], force[true], \
             timestamp(string)[-1], timestamp(long)[-1]\n{:<40}  {:<40}  {:<40}\n{row}\n",
            "#brokerName", "#queueId", "#offset"
        )
    );
    assert_eq!(position(&world), 3);
    reset(&["-s", "1970-01-02#00:00:00:000", "-c", "DefaultCluster"]).ok();
    assert_eq!(position(&world), 0);
    // Without force a group is only moved back; RocketMQ 4.9's -c has no value.
    reset(&["-s", "now", "-f", "false", "-c"]).ok();
    assert_eq!(position(&world), 0);
    let json = reset(&["-s", "now", "--json"]).json();
    assert_eq!(json["queues"], json!([{"brokerName": "broker-a", "queueId": 0, "offset": 3}]), "{json}");
}

#[test]
fn one_queue_is_moved_to_an_offset() {
    let (world, _member) = world();
    let queue = ["-g", "coupons", "-t", "SCANRECORD", "-s", "0", "-b", &world.broker(), "-q", "0"];
    let text = world.mask(&world.admin("resetOffsetByTime", &[&queue[..], &["-o", "2"]].concat()).ok());
    assert_eq!(
        text,
        "start reset consumer offset by specified, group[coupons], topic[SCANRECORD], queueId[0], broker[{broker}], \
         timestamp(string)[0], timestamp(long)[0]\nreset consumer offset to 2\n"
    );
    assert_eq!(position(&world), 2);
    let text = world.admin("resetOffsetByTime", &queue).ok();
    assert!(text.ends_with("\nreset consumer offset to 0\n"), "{text}");
    assert_eq!(position(&world), 0);
}

#[test]
fn a_group_is_not_moved_to_what_is_no_place() {
    let (world, _member) = world();
    for wrong in [&["-s", "soon"][..], &["-s", "0", "-q", "0"], &["-s", "0", "-o", "2"]] {
        let output =
            world.admin("resetOffsetByTime", &[&["-g", "coupons", "-t", "SCANRECORD"], wrong].concat());
        assert_eq!(output.code, 2, "{wrong:?}: {}", output.stderr);
    }
    let refused = world.admin("resetOffsetByTime", &["-g", "coupons", "-t", "NONE", "-s", "0"]).refused();
    assert!(refused.contains("CODE: 17 (TOPIC_NOT_EXIST)"), "{refused}");
    assert_eq!(position(&world), 1);
}

#[test]
fn the_units_of_a_queue_are_shown() {
    let (world, _member) = world();
    let sent = Sent { topic: "SCANRECORD", queue: 0, properties: "TAGS=paid", sys_flag: 0, body: b"four" };
    let id = world.send(sent);
    let place = u64::from_str_radix(&id[16..], 16).expect("a place in the log");
    let queue = ["-t", "SCANRECORD", "-q", "0", "-i", "3"];
    let text = world.admin("queryCq", &queue).ok();
    let (head, unit) = text.split_once("idx: 3\n").expect("a unit");
    let rule = "======================================\n";
    assert_eq!(head, format!("Queue data: \nmax: 4, min: 0\n{rule}"));
    let from = format!("ConsumeQueueData{{physicOffset={place}, physicSize=");
    // "paid".hashCode() in Java.
    let to =
        "tagsCode=3433164, extendDataJson='null', bitMap='null', eval=false, msg='null'}\n".to_owned() + rule;
    assert!(unit.starts_with(&from) && unit.ends_with(&to), "{text}");

    let of_group =
        world.admin("queryCq", &[&queue[..], &["-g", "coupons", "-b", &world.broker()]].concat()).ok();
    assert!(of_group.starts_with("Subscription data: \n{") && of_group.ends_with(unit), "{of_group}");
    let of_nobody = world.admin("queryCq", &[&queue[..], &["-g", "nobody"]].concat()).ok();
    let filter = format!("Filter data: \nnobody@SCANRECORD is not online!\n{rule}");
    assert!(of_nobody.starts_with(&filter), "{of_nobody}");
    let json =
        world.admin("queryCq", &["-t", "SCANRECORD", "-q", "0", "-i", "0", "-c", "2", "--json"]).json();
    assert_eq!(
        (json["queueData"].as_array().map(Vec::len), &json["maxQueueIndex"]),
        (Some(2), &json!(4)),
        "{json}"
    );
}
