//! Topics: made, shown, deleted.

use serde_json::json;

use crate::tool::World;

#[test]
fn a_topic_is_made_listed_and_deleted() {
    let world = World::start(&[]);
    let broker = world.broker();
    let made = world.masked("updateTopic", &["-b", &broker, "-t", "SCANRECORD", "-r", "6", "-w", "4"]);
    assert_eq!(
        made,
        "\
create topic to {broker} success.
TopicConfig [topicName=SCANRECORD, readQueueNums=6, writeQueueNums=4, perm=RW-, topicFilterType=SINGLE_TAG, \
topicSysFlag=0, order=false, attributes={}]
"
    );
    let listed = world.admin("topicList", &[]).ok();
    assert!(listed.lines().any(|topic| topic == "SCANRECORD"), "{listed}");
    let listed = world.admin("topicList", &["--json"]).json();
    assert!(
        listed["topics"].as_array().is_some_and(|topics| topics.contains(&json!("SCANRECORD"))),
        "{listed}"
    );
    let listed = world.admin("topicList", &["-c"]).ok();
    assert_eq!(
        listed.lines().next(),
        Some(&*format!("{:<20}  {:<48}  {:<48}", "#Cluster Name", "#Topic", "#Consumer Group"))
    );
    let row = format!("{:<20}  {:<64}  {:<64}", "DefaultCluster", "SCANRECORD", "");
    assert!(listed.lines().any(|line| line == row), "{listed}");
    assert_eq!(world.admin("topicClusterList", &["-t", "SCANRECORD"]).ok(), "DefaultCluster\n");

    assert_eq!(
        world.admin("deleteTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD"]).ok(),
        "delete topic [SCANRECORD] from cluster [DefaultCluster] success.\n\
         delete topic [SCANRECORD] from NameServer success.\n"
    );
    let refused = world.admin("topicRoute", &["-t", "SCANRECORD"]).refused();
    assert!(refused.contains("CODE: 17 (TOPIC_NOT_EXIST)  DESC: "), "{refused}");
}

/// As with RocketMQ's tool: the topic is not there afterwards. A misspelt name is told all the same.
#[test]
fn deleting_an_unknown_topic_succeeds_and_says_so() {
    let world = World::start(&[]);
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD"]).ok();
    let output = world.admin("deleteTopic", &["-c", "DefaultCluster", "-t", "SCANRECORDS"]);
    assert_eq!(
        (output.code, &*output.stdout),
        (
            0,
            "delete topic [SCANRECORDS] from cluster [DefaultCluster] success.\n\
             delete topic [SCANRECORDS] from NameServer success.\n"
        )
    );
    let told = "steadfast: no broker of cluster DefaultCluster had a topic SCANRECORDS: nothing was deleted";
    assert!(output.stderr.starts_with(told), "{}", output.stderr);
    let listed = world.admin("topicList", &[]).ok();
    assert!(listed.lines().any(|topic| topic == "SCANRECORD"), "{listed}");
}

/// RocketMQ's tool would set what is not given to its defaults, and so hide what lies in the other queues.
#[test]
fn what_is_not_given_stays_as_it_is() {
    let world = World::start(&[]);
    let update = |args: &[&str]| {
        let made =
            world.admin("updateTopic", &[&["-c", "DefaultCluster", "-t", "SCANRECORD"], args].concat()).ok();
        made.lines().last().expect("the topic").to_owned()
    };
    let shown = |queues: &str, rest: &str| {
        format!("TopicConfig [topicName=SCANRECORD, {queues}, topicFilterType=SINGLE_TAG, {rest}]")
    };
    let rest = "topicSysFlag=0, order=false, attributes={}";
    assert_eq!(update(&[]), shown("readQueueNums=8, writeQueueNums=8, perm=RW-", rest), "a new topic");
    update(&["-r", "16", "-w", "12", "-p", "4", "-o", "true", "-u", "true"]);
    assert_eq!(
        update(&["-a", "+steadfast.protected=true"]),
        shown(
            "readQueueNums=16, writeQueueNums=12, perm=R--",
            "topicSysFlag=1, order=true, attributes={+steadfast.protected=true}"
        )
    );
    assert_eq!(
        update(&["-p", "6", "-o", "false", "-s", "true"]),
        shown("readQueueNums=16, writeQueueNums=12, perm=RW-", "topicSysFlag=3, order=false, attributes={}")
    );
    let route = world.admin("topicRoute", &["-t", "SCANRECORD", "--json"]).json();
    let queues = &route["queueDatas"][0];
    assert_eq!((&queues["readQueueNums"], &queues["writeQueueNums"]), (&json!(16), &json!(12)), "{route}");
}

#[test]
fn a_route_is_shown_as_json_and_as_a_table() {
    let world = World::start(&[]);
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD", "-r", "6", "-w", "4"]).ok();
    let route = world.masked("topicRoute", &["-t", "SCANRECORD"]);
    for part in [
        "\t\"queueDatas\":[",
        "\"0\":\"{broker}\"",
        "\"readQueueNums\":6",
        "\"writeQueueNums\":4",
        "\"perm\":6",
    ] {
        assert!(route.contains(part), "{part} in {route}");
    }
    serde_json::from_str::<serde_json::Value>(&route).expect("JSON");
    let broker = world.broker();
    let rows: Vec<String> =
        world.admin("topicRoute", &["-t", "SCANRECORD", "-l"]).ok().lines().map(str::to_owned).collect();
    let row = |columns: [&str; 6]| {
        let [a, b, c, d, e, f] = columns;
        format!("{a:<45} {b:<32} {c:<50} {d:<10} {e:<11} {f:<5}")
    };
    assert_eq!(
        rows,
        [
            row(["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"]),
            row(["DefaultCluster", "broker-a", &format!("{{0={broker}}}"), "6", "4", "6"]),
            "-".repeat(158),
            row(["Total:", "1", "", "6", "4", ""]),
        ]
    );
}

#[test]
fn the_queues_of_a_topic_are_shown() {
    let world = World::start(&[]);
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD", "-r", "2", "-w", "2"]).ok();
    let mut client = crate::client::Client::connect(world.server.broker());
    client.send("SCANRECORD", b"one");
    client.send("SCANRECORD", b"two");
    let row = |id, min, max, last| format!("{:<32}  {id:<4}  {min:<20}  {max:<20}    {last}\n", "broker-a");
    let head = format!(
        "{:<32}  {:<4}  {:<20}  {:<20}    #Last Updated\n",
        "#Broker Name", "#QID", "#Min Offset", "#Max Offset"
    );
    assert_eq!(
        world.masked("topicStatus", &["-t", "SCANRECORD"]),
        format!("{head}{}{}\nTopic Put TPS: 0.0\n", row(0, 0, 2, "{time}"), row(1, 0, 0, ""))
    );
    let status = world.admin("topicStatus", &["-t", "SCANRECORD", "-c", "DefaultCluster", "--json"]).json();
    assert_eq!(status["queues"][0]["maxOffset"], 2, "{status}");
}

/// Clients of an ordered topic are told how many queues it has, whether or not its brokers are there.
#[test]
fn an_ordered_topic_is_noted_at_the_name_server() {
    let world = World::start(&[]);
    let broker = world.broker();
    let made = world.masked("updateTopic", &["-b", &broker, "-t", "ORDERED", "-w", "3", "-o", "true"]);
    assert!(
        made.starts_with("set broker orderConf. isOrder=true, orderConf=[broker-a:3]\ncreate topic"),
        "{made}"
    );
    let route = world.admin("topicRoute", &["-t", "ORDERED", "--json"]).json();
    assert_eq!(route["orderTopicConf"], "broker-a:3", "{route}");
    let made =
        world.masked("updateTopic", &["-c", "DefaultCluster", "-t", "ORDERED", "-w", "5", "-o", "true"]);
    assert!(
        made.contains("success.\nset cluster orderConf. isOrder=true, orderConf=[broker-a:5]\n"),
        "{made}"
    );
}
