//! `/metrics`, `/healthz` and `/readyz`: what they say is what happened.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_wire::code::request;
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{ConsumerSendMsgBack, UpdateConsumerOffset};

use crate::client::{Answer, Client};
use crate::process::{Server, command, set, until};

/// The sum of the samples of a metric whose labels include all of these.
fn value(page: &str, name: &str, labels: &[&str]) -> f64 {
    let mut found = page.lines().filter(|line| {
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
    });
    let mut sum = None;
    for line in &mut found {
        let sample: f64 = line.rsplit_once(' ').expect("a value").1.parse().expect("a number");
        sum = Some(sum.unwrap_or(0.0) + sample);
    }
    sum.unwrap_or_else(|| panic!("no {name} with {labels:?} in:\n{page}"))
}

fn commit(client: &mut Client, topic: &'static str, offset: i64) {
    let mut ext = ExtFields::default();
    UpdateConsumerOffset {
        consumer_group: "test".into(),
        topic: topic.into(),
        queue_id: 0,
        commit_offset: offset,
    }
    .encode(&mut ext);
    assert_eq!(client.ask(request::UPDATE_CONSUMER_OFFSET, ext, &[]).code(), 0);
}

/// What a consumer does that gives up the message that was sent with this answer.
fn give_up(client: &mut Client, topic: &'static str, sent: &Answer) {
    let id = sent.header.ext.get("msgId").expect("an id");
    let offset = parse_offset_msg_id(id).expect("an offset").1.get() as i64;
    let mut ext = ExtFields::default();
    ConsumerSendMsgBack {
        offset,
        group: "test".into(),
        delay_level: -1,
        origin_topic: Some(topic.into()),
        ..ConsumerSendMsgBack::default()
    }
    .encode(&mut ext);
    assert_eq!(client.ask(request::CONSUMER_SEND_MSG_BACK, ext, &[]).code(), 0);
}

/// Writes of the log since the start.
fn writes(server: &Server) -> f64 {
    value(&server.page("/metrics").1, "steadfast_write_latency_seconds_count", &[])
}

#[test]
fn a_lone_sender_pays_one_write_and_many_share_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", b"makes the topic").code(), 0);
    let before = writes(&server);
    for _ in 0..50 {
        assert_eq!(client.send("t", &[1; 100]).code(), 0);
    }
    let between = writes(&server);
    assert_eq!(between - before, 50.0, "a message that nobody else waits with is one write");
    (0..500).for_each(|_| _ = client.post_send("t", &[1; 100]));
    for _ in 0..500 {
        assert_eq!(client.answer().expect("an answer").code(), 0);
    }
    let shared = writes(&server) - between;
    assert!(shared < 250.0, "{shared} writes for 500 messages that were sent at once");
}

#[test]
fn a_scrape_equals_the_traffic() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    let mut sent = client.send("t", &[1; 100]);
    for _ in 1..50 {
        sent = client.send("t", &[1; 100]);
        assert_eq!(sent.code(), 0);
    }
    assert_eq!(client.send("%illegal name", b"x").code(), 13);
    give_up(&mut client, "t", &sent);
    for code in [77_000, 77_001] {
        assert_eq!(client.ask(code, ExtFields::default(), &[]).code(), 3, "nobody knows this request");
    }
    commit(&mut client, "t", 25);
    commit(&mut client, "t", 10);
    let pulled = client.pull("t", 10);
    let (status, page) = server.page("/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let of_group = &["topic=\"t\"", "consumer_group=\"test\"", "is_retry=\"false\""];
    for (name, labels, expected) in [
        (
            "rocketmq_messages_in_total",
            &["topic=\"t\"", "message_type=\"normal\"", "is_system=\"false\""][..],
            50.0,
        ),
        ("rocketmq_messages_out_total", of_group, 32.0),
        ("rocketmq_throughput_out_total", of_group, pulled.body.len() as f64),
        ("rocketmq_consumer_lag_messages", of_group, 40.0),
        ("rocketmq_consumer_inflight_messages", of_group, 32.0),
        ("rocketmq_consumer_ready_messages", of_group, 8.0),
        ("rocketmq_broker_permission", &["cluster=\"DefaultCluster\"", "node_id=\"broker-a\""], 6.0),
        (
            "rocketmq_rpc_latency_milliseconds_count",
            &["request_code=\"send_message_v2\"", "response_code=\"success\""],
            50.0,
        ),
        (
            "rocketmq_rpc_latency_milliseconds_count",
            &["request_code=\"send_message_v2\"", "response_code=\"message_illegal\""],
            1.0,
        ),
        (
            "rocketmq_rpc_latency_milliseconds_count",
            &["request_code=\"pull_message\"", "is_long_polling=\"false\""],
            1.0,
        ),
        // Made-up codes are one series.
        ("rocketmq_rpc_latency_milliseconds_count", &["request_code=\"unknown\""], 2.0),
        (
            "rocketmq_send_to_dlq_messages_total",
            &["consumer_group=\"test\"", "topic=\"t\"", "is_system=\"false\""],
            1.0,
        ),
        // The topic, the group's retries and its dead letters.
        ("rocketmq_topic_number", &[], 3.0),
        ("steadfast_position_jumps_total", &["consumer_group=\"test\"", "cause=\"commit\""], 1.0),
        ("steadfast_position_jump_skipped_messages_total", &["cause=\"commit\""], 0.0),
        ("steadfast_position_jump_repeated_messages_total", &["cause=\"commit\""], 15.0),
        ("steadfast_connections", &[], 1.0),
        ("steadfast_leading", &[], 1.0),
        ("steadfast_damaged_messages", &[], 0.0),
        ("steadfast_damaged_reads_total", &[], 0.0),
        ("steadfast_given_up_messages", &[], 0.0),
        ("steadfast_unverified_segments", &[], 0.0),
        ("steadfast_poisoned", &[], 0.0),
        ("steadfast_log_unsynced_bytes", &[], 0.0),
    ] {
        assert_eq!(value(&page, name, labels), expected, "{name} {labels:?} in:\n{page}");
    }
    // One write for the term, one for the topic, and at least one for all these messages and the position.
    assert!(value(&page, "steadfast_write_latency_seconds_count", &[]) >= 53.0, "a lone sender's messages");
    assert_eq!(
        value(&page, "steadfast_commit_latency_seconds_count", &[]),
        value(&page, "steadfast_write_latency_seconds_count", &[])
    );
    assert!(value(&page, "rocketmq_storage_size_bytes", &["storage_medium=\"disk\""]) > 5000.0);
}

/// What the broker of RocketMQ 5.5.0 serves under `metricsExporterType=PROM` after a message was sent, as its exporter
/// writes the names; without `rocketmq_message_size`, timers, POP and `target_info`.
const OF_ROCKETMQ: [(&str, &str); 16] = [
    ("rocketmq_broker_permission", "gauge"),
    ("rocketmq_consumer_group_number", "gauge"),
    ("rocketmq_consumer_inflight_messages", "gauge"),
    ("rocketmq_consumer_lag_latency_milliseconds", "gauge"),
    ("rocketmq_consumer_lag_messages", "gauge"),
    ("rocketmq_consumer_queueing_latency_milliseconds", "gauge"),
    ("rocketmq_consumer_ready_messages", "gauge"),
    ("rocketmq_messages_in_total", "counter"),
    ("rocketmq_processor_watermark", "gauge"),
    ("rocketmq_rpc_latency_milliseconds", "histogram"),
    ("rocketmq_storage_dispatch_behind_bytes", "gauge"),
    ("rocketmq_storage_flush_behind_bytes", "gauge"),
    ("rocketmq_storage_message_reserve_time_milliseconds", "gauge"),
    ("rocketmq_storage_size_bytes", "gauge"),
    ("rocketmq_throughput_in_total", "counter"),
    ("rocketmq_topic_number", "gauge"),
];

#[test]
fn the_page_is_what_prometheus_reads() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(Client::connect(server.broker()).send("t", b"x").code(), 0);
    let (_, page) = server.page("/metrics");
    for (name, kind) in OF_ROCKETMQ {
        assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "no {kind} {name} in:\n{page}");
    }
    let mut family = "";
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with(family) && series.ends_with('}'), "{line} under {family}");
            value.parse::<f64>().unwrap();
        }
    }
}

#[test]
fn probes_tell_who_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.page("/healthz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    assert_eq!(server.page("/readyz"), ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned()));
    assert_eq!(server.page("/").0, "HTTP/1.1 404 Not Found");

    // Without a name server nobody finds it.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let lonely = tempfile::tempdir().unwrap();
    let broker = Server::start(lonely.path(), &["role=broker", &format!("namesrvAddr={addr}")]);
    let (status, body) = broker.page("/readyz");
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(body.contains("no name server knows"), "{body}");
    assert_eq!(broker.page("/healthz").0, "HTTP/1.1 200 OK");
    let elsewhere = tempfile::tempdir().unwrap();
    let _namesrv =
        Server::start(elsewhere.path(), &["role=namesrv", &format!("namesrvPort={}", addr.port())]);
    until("it is registered", || broker.page("/readyz").1 == "ready\n");
}

#[test]
fn a_rude_client_of_the_pages_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let addr = server.pages.unwrap();
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405"),
        ("nonsense\r\n\r\n", "HTTP/1.1 400"),
        ("\u{0}\u{0}\u{1}\u{5}\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(status), "{answer}");
    }
    let mut endless = TcpStream::connect(addr).unwrap();
    let mut sent = 0;
    while endless.write_all(&[b'x'; 1024]).is_ok() && sent < 64 << 20 {
        sent += 1024;
    }
    assert!(sent < 64 << 20, "an endless request is cut off");
    // Silent ones take no place for ever, and do not keep others out.
    let _silent: Vec<_> = (0..20).map(|_| TcpStream::connect(addr).unwrap()).collect();
    assert_eq!(server.page("/healthz").0, "HTTP/1.1 200 OK");
}

#[test]
fn no_port_is_opened_where_none_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    for setting in ["metricsExporterType=DISABLE", "role=namesrv"] {
        assert!(Server::start(dir.path(), &[setting]).pages.is_none());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = command(dir.path());
    set(&mut command, &[&format!("metricsPromExporterPort={}", taken.local_addr().unwrap().port())]);
    let message = crate::process::refusal(&mut command);
    assert!(message.contains("--set metricsPromExporterPort=PORT"), "{message}");
}

/// Names of metrics in a PromQL expression or a query for labels.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("rocketmq_") || word.starts_with("steadfast_"))
}

#[test]
fn the_dashboard_shows_what_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (_, page) = server.page("/metrics");
    let families: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/grafana-dashboard.json");
    let dashboard = std::fs::read_to_string(path).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    assert!(parsed["panels"].as_array().unwrap().len() > 20);
    let shown: BTreeSet<&str> = names(&dashboard).collect();
    // What replicas of a group serve is looked for in tests/group/roles.rs.
    for name in shown.iter().filter(|name| !name.starts_with("steadfast_replica_")) {
        let is_served = families.iter().any(|(family, kind)| {
            **name == **family
                || (*kind == "histogram"
                    && name.strip_prefix(family).is_some_and(|s| ["_bucket", "_count", "_sum"].contains(&s)))
        });
        assert!(is_served, "the dashboard shows {name}, which is not served");
    }
    // What the broker counts is shown, but for what says nothing on a picture.
    let not_shown = ["rocketmq_storage_dispatch_behind_bytes", "steadfast_log_end_bytes"];
    for (family, _) in families {
        let is_shown = shown.iter().any(|name| name.starts_with(family));
        assert_eq!(is_shown, !not_shown.contains(&family), "{family}");
    }
}
