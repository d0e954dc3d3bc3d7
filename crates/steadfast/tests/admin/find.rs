//! Looking messages up.

use std::fs;

use serde_json::{Value, json};

use crate::tool::{Sent, World};

/// The unique key of the message that [`world`] sends.
const ID: &str = "0A0000010AB618B4AAC20D716D2B0000";

const PAID: Sent<'_> = Sent {
    topic: "SCANRECORD",
    queue: 2,
    properties: "KEYS=orderId TAGS=paid UNIQ_KEY=0A0000010AB618B4AAC20D716D2B0000",
    sys_flag: 0,
    body: b"red packet",
};

/// A server with one message, and its offset id.
fn world() -> (World, String) {
    let world = World::start(&[]);
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD", "-r", "4", "-w", "4"]).ok();
    let offset_id = world.send(PAID);
    (world, offset_id)
}

/// The message from its topic on, with a body file under `name`.
fn shown(name: &str) -> String {
    format!(
        "\
Topic:               SCANRECORD
Tags:                [paid]
Keys:                [orderId]
Queue ID:            2
Queue Offset:        0
CommitLog Offset:    {{offset}}
Reconsume Times:     0
Born Timestamp:      {{time}}
Store Timestamp:     {{time}}
Born Host:           {{client}}
Store Host:          {{broker}}
System Flag:         0
Properties:          {{CLUSTER=DefaultCluster, KEYS=orderId, MSG_REGION=DefaultRegion, TAGS=paid, TRACE_ON=true, UNIQ_KEY={ID}}}
Message Body Path:   /tmp/rocketmq/msgbodys/{name}
"
    )
}

/// Masks the rest of the line after a field's name.
fn mask_field(text: &str, field: &str, mask: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix(field) {
        Some(_) => format!("{field:<20} {mask}\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

fn masked(world: &World, command: &str, args: &[&str]) -> String {
    let text = mask_field(&world.masked(command, args), "Born Host:", "{client}");
    mask_field(&text, "CommitLog Offset:", "{offset}")
}

/// The very command of the request for this tool.
#[test]
fn a_message_is_found_by_its_key() {
    let (world, offset_id) = world();
    let found = world.admin("queryMsgByKey", &["-t", "SCANRECORD", "-k", "orderId", "--json"]).json();
    let message = &found["messages"][0];
    let hour =
        message["storeTimestamp"].as_u64().map(|time| time / 3_600_000 * 3_600_000).unwrap_or_default();
    let index_key = format!("{hour}@SCANRECORD@K@orderId@{ID}@{}", message["commitLogOffset"]);
    assert_eq!(
        world.admin("queryMsgByKey", &["-t", "SCANRECORD", "-k", "orderId"]).ok(),
        format!(
            "{:<50} {:>4} {:>40} #IndexKey\n{ID:<50} {:>4} {:>40} {index_key}\n",
            "#Message ID", "#QID", "#Offset", "2", "0"
        )
    );
    for (key, value) in [
        ("msgId", json!(ID)),
        ("offsetMsgId", json!(offset_id)),
        ("topic", json!("SCANRECORD")),
        ("keys", json!("orderId")),
        ("tags", json!("paid")),
        ("queueId", json!(2)),
        ("queueOffset", json!(0)),
        ("body", json!("red packet")),
    ] {
        assert_eq!(message[key], value, "{key} of {found}");
    }
}

#[test]
fn a_search_by_key_can_be_bounded_in_time() {
    let (world, _) = world();
    let found = |args: &[&str]| {
        world.admin("queryMsgByKey", &[&["-t", "SCANRECORD", "-k", "orderId"], args].concat())
    };
    found(&["-b", "2026-01-01#00:00:00:000", "-e", "now"]).ok();
    let refused = found(&["-e", "2020-01-01#00:00:00:000"]).refused();
    assert!(refused.contains("and was stored between 1970-01-01"), "{refused}");
    assert!(refused.contains("and 2020-01-01 00:00:00,000"), "{refused}");
}

#[test]
fn not_found_tells_what_was_searched() {
    let (world, _) = world();
    let refused = world.mask(&world.admin("queryMsgByKey", &["-t", "SCANRECORD", "-k", "orderID"]).refused());
    let is_remark = |line: &&str| line.starts_with("    it says: no message of topic SCANRECORD with key");
    let remark = refused.lines().find(is_remark).expect("the broker's remark");
    assert!(remark.contains("the index is complete up to log offset"), "{remark}");
    assert_eq!(
        refused.replace(&format!("{remark}\n"), ""),
        "\
steadfast: not found: no message of topic SCANRECORD has the key \"orderID\"
  searched broker-a at {broker}: 1 messages in 4 queues, stored from {time} to {time}
What was deleted before, or acknowledged after this search began, was not looked at.
"
    );

    let output = world.admin("queryMsgByUniqueKey", &["-t", "SCANRECORD", "-i", "nobody", "--json"]);
    assert_eq!(output.code, 1);
    let bound: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(bound["notFound"], "no message of topic SCANRECORD has the unique key nobody");
    let searched = &bound["searched"][0];
    assert_eq!((&searched["name"], &searched["messages"]), (&json!("broker-a"), &json!(1)));
    assert!(searched["earliestStoreTime"].as_i64().is_some_and(|time| time > 1_700_000_000_000), "{bound}");
}

#[test]
fn a_message_is_shown_by_either_id() {
    let (world, offset_id) = world();
    let nobody = "\n\nWARN: No Consumer\n";
    let expected = format!("{:<20} {offset_id}\n{}{nobody}", "OffsetID:", shown(ID));
    for id in [ID, &offset_id] {
        assert_eq!(masked(&world, "queryMsgById", &["-t", "SCANRECORD", "-i", id]), expected);
    }
    assert_eq!(fs::read(format!("/tmp/rocketmq/msgbodys/{ID}")).expect("the body"), b"red packet");

    let with_body = world.admin("queryMsgById", &["-t", "SCANRECORD", "-i", ID, "-f", "utf-8"]).ok();
    assert!(with_body.contains("\nMessage Body:        red packet\n"), "{with_body}");
    assert_eq!(
        masked(&world, "queryMsgByUniqueKey", &["-t", "SCANRECORD", "-i", ID]),
        format!("{}{nobody}", shown(ID))
    );
}

/// A producer chose the id, and whoever looks at the message may well be root.
#[test]
fn an_id_that_looks_like_a_path_leads_nowhere() {
    let (world, _) = world();
    let directory = tempfile::tempdir().expect("a directory");
    let victim = directory.path().join("victim");
    fs::write(&victim, "untouched").expect("a file");
    let id = format!("../../..{}", victim.display());
    world.send(Sent { properties: &format!("UNIQ_KEY={id}"), ..PAID });
    let text = world.admin("queryMsgByUniqueKey", &["-t", "SCANRECORD", "-i", &id]).ok();
    assert!(text.contains(&format!("/tmp/rocketmq/msgbodys/{}", id.replace('/', "_"))), "{text}");
    assert_eq!(fs::read(&victim).expect("the file"), b"untouched");
}

/// An id that names a place of this broker where no message begins.
#[test]
fn an_id_that_names_no_message_is_told_what_the_server_says() {
    let (world, offset_id) = world();
    let wrong = format!("{}{:016X}", &offset_id[..offset_id.len() - 16], 12_345);
    let refused = world.admin("queryMsgById", &["-t", "SCANRECORD", "-i", &format!("{ID},{wrong}")]);
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.contains(&offset_id), "the other one is shown: {}", refused.stdout);
    assert!(refused.stderr.contains("has the id "), "{}", refused.stderr);
    assert!(refused.stderr.contains("(broker-a says: "), "{}", refused.stderr);
}

/// A producer that sends again after a time-out stores the message twice.
#[test]
fn all_messages_of_a_unique_key_are_shown() {
    let (world, _) = world();
    world.send(Sent { queue: 3, ..PAID });
    let shown = |args: &[&str]| {
        let text = world.admin("queryMsgByUniqueKey", &[&["-t", "SCANRECORD", "-i", ID], args].concat()).ok();
        text.lines().filter(|line| line.starts_with("Queue ID:")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shown(&[]), ["Queue ID:            2"]);
    assert_eq!(shown(&["-a"]), ["Queue ID:            2", "Queue ID:            3"]);
}

#[test]
fn a_message_is_shown_by_its_place() {
    let (world, offset_id) = world();
    let place = ["-t", "SCANRECORD", "-b", "broker-a", "-i", "2", "-o"];
    let text = masked(&world, "queryMsgByOffset", &[place.as_slice(), &["0"]].concat());
    assert_eq!(text, format!("{:<20} {offset_id}\n{}\n\nWARN: No Consumer\n", "OffsetID:", shown(ID)));

    let refused = world.admin("queryMsgByOffset", &[place.as_slice(), &["1"]].concat()).refused();
    let expected =
        "there is no message at offset 1 of queue 2 of topic SCANRECORD on broker-a\n  searched broker-a";
    assert!(refused.contains(expected), "{refused}");
    let refused =
        world.admin("queryMsgByOffset", &["-t", "SCANRECORD", "-b", "x", "-i", "2", "-o", "0"]).refused();
    assert!(refused.contains("no broker is called x; the name server knows: broker-a"), "{refused}");
}

/// As mqadmin does: a copy with the same unique key, to wherever the topic's queues are.
#[test]
fn a_message_is_sent_once_more() {
    let (world, offset_id) = world();
    let again = |id: &str| world.admin("queryMsgById", &["-t", "SCANRECORD", "-i", id, "-s", "true"]);
    let text = again(&offset_id).ok();
    let head =
        format!("prepare resend msg. originalMsgId={offset_id}SendResult [sendStatus=SEND_OK, msgId={ID}, ");
    assert!(text.starts_with(&head), "{text}");
    assert!(
        text.contains("messageQueue=MessageQueue [topic=SCANRECORD, brokerName=broker-a, queueId="),
        "{text}"
    );
    let all = world.admin("queryMsgByUniqueKey", &["-t", "SCANRECORD", "-i", ID, "-a", "--json"]).json();
    let copies = all["messages"].as_array().expect("messages");
    assert_eq!(copies.len(), 2, "{all}");
    for copy in copies {
        assert_eq!(
            (&copy["body"], &copy["tags"], &copy["keys"]),
            (&json!("red packet"), &json!("paid"), &json!("orderId"))
        );
    }
    let properties = |copy: &Value| copy["properties"].as_object().expect("properties").clone();
    let (mut first, again) = (properties(&copies[0]), properties(&copies[1]));
    // Every send of the tool says that it waits for the answer.
    first.insert("WAIT".to_owned(), json!("true"));
    assert_eq!(first, again);

    let shown = world.admin("queryMsgById", &["-t", "SCANRECORD", "-i", ID, "-s", "false", "-u", "unit"]);
    assert_eq!(shown.code, 0);
    assert!(shown.stdout.starts_with("OffsetID:"), "{}", shown.stdout);
    assert!(shown.stderr.contains("-u has no effect"), "{}", shown.stderr);
}

#[test]
fn a_search_by_unique_key_can_be_bounded_in_time() {
    let (world, _) = world();
    let search =
        |args: &[&str]| world.admin("queryMsgByUniqueKey", &[&["-t", "SCANRECORD", "-i", ID], args].concat());
    search(&["-s", "1700000000000", "-e", "now"]).ok();
    let refused = search(&["-s", "0", "-e", "1700000000000"]).refused();
    assert!(refused.contains(&format!("has the unique key {ID} and was stored between ")), "{refused}");
    let refused = search(&["-s", "9000000000000"]).refused();
    assert!(refused.contains(" and was stored at or after "), "{refused}");
}

#[test]
fn a_place_is_found_by_the_route_of_another_topic() {
    let (world, _) = world();
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "PARENT", "-r", "1", "-w", "1"]).ok();
    let by_route = |route| {
        let place = ["-t", "SCANRECORD", "-b", "broker-a", "-i", "2", "-o", "0", "-r", route];
        world.admin("queryMsgByOffset", &place)
    };
    assert!(by_route("PARENT").ok().starts_with("OffsetID:"));
    assert!(by_route("NONE").refused().contains("CODE: 17 (TOPIC_NOT_EXIST)"));
}

/// The #IndexKey of each row.
fn index_keys(text: &str) -> Vec<&str> {
    text.lines().skip(1).map(|row| row.split_whitespace().nth(3).unwrap_or_default()).collect()
}

#[test]
fn a_search_goes_on_where_a_page_ended() {
    let (world, _) = world();
    for queue in [0, 1, 3] {
        world.send(Sent { queue, properties: "KEYS=orderId TAGS=paid", ..PAID });
        world.send(Sent { queue, properties: "KEYS=orderId TAGS=refunded", ..PAID });
    }
    let page = |args: &[&str]| world.admin("queryMsgByKey", &[&["-t", "SCANRECORD"], args].concat());
    for (kind, key, count) in [("K", "orderId", 7), ("T", "paid", 4)] {
        let search = ["-k", key, "-p", kind];
        let all = page(&search).ok();
        let all = index_keys(&all);
        assert_eq!(all.len(), count, "{all:?}");
        let mut paged: Vec<String> = Vec::new();
        while paged.len() < count {
            let last = paged.last().cloned().unwrap_or_default();
            let goes_on: &[&str] = if last.is_empty() { &[] } else { &["-l", &last] };
            let rows = page(&[&search[..], &["-m", "2"], goes_on].concat()).ok();
            paged.extend(index_keys(&rows).into_iter().map(str::to_owned));
        }
        assert_eq!(paged, all);
        assert!(all[0].contains(&format!("@SCANRECORD@{kind}@{key}@")), "{}", all[0]);
        let refused = page(&[&search[..], &["-l", all[count - 1]]].concat()).refused();
        assert!(refused.contains("no further message of topic SCANRECORD has the "), "{refused}");
    }
    assert!(page(&["-k", "orderId", "-l", "soon"]).refused().contains("-l soon is not an #IndexKey"));
    assert!(page(&["-k", "nothing", "-p", "T"]).refused().contains("has the tag \"nothing\""));
    assert_eq!(page(&["-k", "orderId", "-p", "X"]).code, 2);
}
