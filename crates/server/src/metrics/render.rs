//! The page of metrics. Names, types and labels are those that RocketMQ's broker has under
//! `metricsExporterType=PROM`; what it does not have begins with `steadfast_`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use steadfast_broker::Membership;
use steadfast_broker::measures::{ClientKind, Lag, Measures, PositionJumps};
use steadfast_consensus::{PeerProgress, Role};
use steadfast_types::topic::{self, DLQ_PREFIX, RETRY_PREFIX};
use steadfast_wire::code::{request, response};

use super::exposition::Kind::{Counter, Gauge};
use super::exposition::{Kind, Label, Page};
use super::{Telemetry, UNKNOWN};
use crate::peers::Link;

const MILLIS: Duration = Duration::from_millis(1);
const SECONDS: Duration = Duration::from_secs(1);

/// What the page tells besides the broker's figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) cluster: String,
    pub(crate) broker_name: String,
    /// Wall clock in seconds when the process started.
    pub(crate) started: f64,
    /// Bytes of the disk that are free, if it tells.
    pub(crate) disk_free: Option<u64>,
    /// Name servers that know the broker.
    pub(crate) registered: usize,
    /// Its role and its links to the others, in a group of several.
    pub(crate) replica: Option<(Role, Vec<Link>)>,
}

/// Adds everything about a broker to the page.
pub(crate) fn add(page: &mut Page, node: &Node, measures: &Measures, telemetry: &Telemetry) {
    let Node { cluster, broker_name, .. } = node;
    page.begin_node(&[("cluster", cluster), ("node_type", "broker"), ("node_id", broker_name)]);
    broker(page, measures);
    traffic(page, measures);
    connections(page, measures);
    consumers(page, &measures.lags);
    jumps(page, &measures.jumps);
    conflicts(page, &measures.conflicts);
    dead_letters(page, measures);
    storage(page, measures, telemetry);
    damage(page, measures);
    requests(page, telemetry);
    own(page, node, measures, telemetry);
}

fn broker(page: &mut Page, measures: &Measures) {
    page.single("rocketmq_broker_permission", Gauge, "Broker permission.", measures.permission);
    page.single("rocketmq_topic_number", Gauge, "Topics.", measures.topics);
    page.single("rocketmq_consumer_group_number", Gauge, "Consumer groups.", measures.groups);
    let mut family = page.family(
        "rocketmq_processor_watermark",
        Gauge,
        "Requests under way: sends that wait to be written, pulls and lookups that wait for the disk.",
    );
    family.sample(&[("processor", "send")], measures.pending_sends);
    family.sample(&[("processor", "pull")], measures.reads);
}

fn traffic(page: &mut Page, measures: &Measures) {
    let mut family =
        page.family("rocketmq_messages_in_total", Counter, "Messages that became durable and visible.");
    for stored in &measures.stored {
        let labels = [
            ("topic", &*stored.topic),
            ("message_type", stored.kind.name()),
            ("is_system", yes(is_system(&stored.topic, ""))),
        ];
        family.sample(&labels, stored.traffic.messages);
    }
    let mut family = page.family("rocketmq_throughput_in_total", Counter, "Their bytes as stored.");
    for stored in &measures.stored {
        let labels = [
            ("topic", &*stored.topic),
            ("message_type", stored.kind.name()),
            ("is_system", yes(is_system(&stored.topic, ""))),
        ];
        family.sample(&labels, stored.traffic.bytes);
    }
    let mut family =
        page.family("rocketmq_messages_out_total", Counter, "Messages that were given to consumers.");
    for delivered in &measures.delivered {
        family.sample(&of_group(&delivered.topic, &delivered.group), delivered.traffic.messages);
    }
    let mut family = page.family("rocketmq_throughput_out_total", Counter, "Their bytes as stored.");
    for delivered in &measures.delivered {
        family.sample(&of_group(&delivered.topic, &delivered.group), delivered.traffic.bytes);
    }
}

fn connections(page: &mut Page, measures: &Measures) {
    let mut family = page.family("rocketmq_producer_connections", Gauge, "Producers that are connected.");
    for (ClientKind { language, version, .. }, count) in &measures.producers {
        let (language, version) = (language.to_lowercase(), version_name(*version));
        let labels = [("language", &*language), ("version", &*version), ("protocol_type", "remoting")];
        family.sample(&labels, count);
    }
    let mut family = page.family("rocketmq_consumer_connections", Gauge, "Consumers that are connected.");
    for (ClientKind { language, version, group }, count) in &measures.consumers {
        let (language, version) = (language.to_lowercase(), version_name(*version));
        let (group, mode) = group.as_ref().map_or(("", ""), |(group, mode)| (group.as_str(), *mode));
        let labels = [
            ("consumer_group", group),
            ("language", &*language),
            ("version", &*version),
            ("consume_mode", mode),
            ("protocol_type", "remoting"),
            ("is_system", yes(is_system("", group))),
        ];
        family.sample(&labels, count);
    }
}

fn consumers(page: &mut Page, lags: &[Lag]) {
    type Figure = fn(&Lag) -> Option<u64>;
    let families: [(&'static str, &str, Figure); 5] = [
        ("rocketmq_consumer_lag_messages", "Messages that a group has not processed.", |lag| {
            Some(lag.messages)
        }),
        (
            "rocketmq_consumer_lag_latency_milliseconds",
            "Time since the oldest message was stored that a group has not processed; absent if it cannot be read.",
            |lag| lag.latency,
        ),
        (
            "rocketmq_consumer_inflight_messages",
            "Messages that a group was given and has not processed.",
            |lag| Some(lag.inflight),
        ),
        (
            "rocketmq_consumer_queueing_latency_milliseconds",
            "Time since the oldest message was stored that a group was not given; absent if it cannot be read.",
            |lag| lag.queueing,
        ),
        ("rocketmq_consumer_ready_messages", "Messages that a group was not given.", |lag| {
            Some(lag.messages - lag.inflight)
        }),
    ];
    for (name, help, figure) in families {
        let mut family = page.family(name, Gauge, help);
        for lag in lags {
            if let Some(value) = figure(lag) {
                family.sample(&of_group(&lag.topic, &lag.group), value);
            }
        }
    }
}

/// Promise P6: a position never moves in silence. RocketMQ has no such figures.
fn jumps(page: &mut Page, jumps: &[PositionJumps]) {
    type Figure = fn(&PositionJumps) -> u64;
    let families: [(&'static str, &str, Figure); 3] = [
        (
            "steadfast_position_jumps_total",
            "Positions that moved other than by consuming, one for each queue, by cause.",
            |of| of.jumps,
        ),
        (
            "steadfast_position_jump_skipped_messages_total",
            "Messages that a group was not given because its position jumped over them.",
            |of| of.skipped,
        ),
        (
            "steadfast_position_jump_repeated_messages_total",
            "Messages that a group is given once more because its position jumped back.",
            |of| of.repeated,
        ),
    ];
    for (name, help, figure) in families {
        let mut family = page.family(name, Counter, help);
        for of in jumps {
            let labels = [
                ("consumer_group", &*of.group),
                ("cause", of.cause),
                ("is_system", yes(is_system("", &of.group))),
            ];
            family.sample(&labels, figure(of));
        }
    }
}

fn conflicts(page: &mut Page, conflicts: &[(String, &'static str)]) {
    let help = "1 for a group whose members subscribe differently or share a client id: some messages go unprocessed.";
    let mut family = page.family("steadfast_consumer_group_conflict", Gauge, help);
    for (group, cause) in conflicts {
        family.sample(&[("consumer_group", group), ("cause", cause)], 1);
    }
}

fn dead_letters(page: &mut Page, measures: &Measures) {
    let mut family = page.family(
        "rocketmq_send_to_dlq_messages_total",
        Counter,
        "Messages that a group gave up, so that they became dead letters, by the topic they were of.",
    );
    for delivered in measures.delivered.iter().filter(|delivered| delivered.dead_letters > 0) {
        let (topic, group) = (&*delivered.topic, &*delivered.group);
        let labels =
            [("consumer_group", group), ("topic", topic), ("is_system", yes(is_system(topic, group)))];
        family.sample(&labels, delivered.dead_letters);
    }
}

fn storage(page: &mut Page, measures: &Measures, telemetry: &Telemetry) {
    let behind = measures.proposed.get().saturating_sub(measures.committed.get());
    page.family("rocketmq_storage_size_bytes", Gauge, "Bytes of the log that retention has left.")
        .sample(&[("storage_type", "local"), ("storage_medium", "disk")], measures.kept);
    let mut family = page.family(
        "rocketmq_storage_message_reserve_time_milliseconds",
        Gauge,
        "Time since the oldest message was stored; absent if there is none, or it cannot be read.",
    );
    measures.oldest.into_iter().for_each(|age| family.sample(&[], age));
    page.single(
        "rocketmq_storage_flush_behind_bytes",
        Gauge,
        "Bytes of the log that are not on stable storage yet.",
        behind.max(telemetry.unsynced()),
    );
    page.single(
        "rocketmq_storage_dispatch_behind_bytes",
        Gauge,
        "Bytes of committed messages that consumers cannot see yet: none, the commit shows them.",
        0,
    );
}

/// Promise P3: damage is told of, and never passed in silence. RocketMQ has no such figures.
fn damage(page: &mut Page, measures: &Measures) {
    page.single(
        "steadfast_damaged_messages",
        Gauge,
        "Messages that are damaged on disk; each stops the consumers of its queue. See docs/repair.md.",
        measures.damaged,
    );
    page.single(
        "steadfast_damaged_reads_total",
        Counter,
        "Reads that met damage: pulls, lookups and the like that were answered with an error for it.",
        measures.damaged_reads,
    );
    page.single(
        "steadfast_given_up_messages",
        Gauge,
        "Damaged messages that an operator gave up; consumers pass them.",
        measures.given_up,
    );
    page.single(
        "steadfast_unverified_segments",
        Gauge,
        "Files of the log that the scrub could not read to their ends.",
        measures.unverified,
    );
}

fn requests(page: &mut Page, telemetry: &Telemetry) {
    let calls = telemetry.calls();
    let name = |code: Option<i32>, name: fn(i32) -> &'static str| code.map_or(UNKNOWN, name).to_lowercase();
    let names: Vec<_> = calls
        .iter()
        .map(|(call, _)| (name(call.request, request::name), name(call.response, response::name)))
        .collect();
    let histograms = calls.iter().zip(&names).map(|((call, histogram), (request, response))| {
        let labels: Vec<Label<'_>> = vec![
            ("protocol_type", "remoting"),
            ("request_code", request),
            ("response_code", response),
            ("is_long_polling", yes(call.long_polling)),
            ("result", "success"),
        ];
        (labels, &**histogram)
    });
    let help = "Time from a request's arrival to its answer.";
    page.histograms("rocketmq_rpc_latency_milliseconds", help, MILLIS, histograms);
}

fn own(page: &mut Page, node: &Node, measures: &Measures, telemetry: &Telemetry) {
    page.family("steadfast_build_info", Gauge, "The version that runs.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let none = Vec::new();
    page.histograms(
        "steadfast_write_latency_seconds",
        "Time of one write of the log, with its sync under SYNC_FLUSH.",
        SECONDS,
        [(none.clone(), &telemetry.writes)],
    );
    page.histograms(
        "steadfast_commit_latency_seconds",
        "Time from the proposal of a batch to its commit.",
        SECONDS,
        [(none, &telemetry.commits)],
    );
    let gauges: [(&'static str, &str, f64); 12] = [
        (
            "steadfast_start_time_seconds",
            "When the process started; it changes with a restart.",
            node.started,
        ),
        (
            "steadfast_raft_term",
            "Term of the Raft group; it grows with every start of a group of one, and with every election.",
            as_f64(measures.term.get()),
        ),
        ("steadfast_leading", "Whether the broker takes messages.", flag(measures.leading)),
        (
            "steadfast_poisoned",
            "Whether a write failed, so that nothing is written until a restart.",
            flag(measures.poisoned),
        ),
        ("steadfast_disk_full", "Whether the disk has no space ahead of the log.", flag(measures.disk_full)),
        ("steadfast_connections", "Connections of clients.", telemetry.connections.load(Relaxed) as f64),
        ("steadfast_registered_name_servers", "Name servers that know the broker.", node.registered as f64),
        ("steadfast_held_pulls", "Pulls that wait for a message.", measures.held_pulls as f64),
        (
            "steadfast_pending_bytes",
            "Bytes of messages that wait to be written.",
            measures.pending_bytes as f64,
        ),
        ("steadfast_log_end_bytes", "End of the committed log.", as_f64(measures.committed.get())),
        (
            "steadfast_checkpoint_behind_bytes",
            "Bytes of log that a start would read again.",
            as_f64(measures.committed.get().saturating_sub(measures.checkpointed.get())),
        ),
        (
            "steadfast_log_unsynced_bytes",
            "Bytes of log that a power cut would take.",
            as_f64(telemetry.unsynced()),
        ),
    ];
    for (name, help, value) in gauges {
        page.single(name, Gauge, help, value);
    }
    if let Some(free) = node.disk_free {
        page.single("steadfast_disk_free_bytes", Gauge, "Free bytes of the disk.", free);
    }
    if let Some((role, links)) = &node.replica {
        replica(page, *role, links, measures);
    }
}

fn replica(page: &mut Page, role: Role, links: &[Link], measures: &Measures) {
    page.single(
        "steadfast_replica_incomplete",
        Gauge,
        "Whether this replica is new, or has lost entries, and is being filled: until then it helps few elections.",
        flag(measures.incomplete),
    );
    page.single(
        "steadfast_replica_damaged_segments",
        Gauge,
        "Files of the log that are damaged and are fetched from other replicas.",
        measures.repairing,
    );
    page.single(
        "steadfast_replica_repaired_entries_total",
        Counter,
        "Damaged entries of the log that were fetched from other replicas and repaired.",
        measures.repaired.entries,
    );
    page.single(
        "steadfast_replica_repaired_bytes_total",
        Counter,
        "Bytes of the log that were written for that.",
        measures.repaired.bytes,
    );
    let mut family =
        page.family("steadfast_replica_role", Gauge, "1 for the role of this replica in its group.");
    for (name, has) in [
        ("leader", role == Role::Leader),
        ("follower", matches!(role, Role::Follower(Some(_)))),
        ("without_leader", matches!(role, Role::Follower(None) | Role::Candidate)),
    ] {
        family.sample(&[("role", name)], flag(has));
    }
    type Figure = fn(&Link) -> f64;
    let families: [(&'static str, Kind, &str, Figure); 3] = [
        ("steadfast_replica_connected", Gauge, "Whether this replica is connected to another one.", |link| {
            flag(link.connected)
        }),
        ("steadfast_replica_queued_bytes", Gauge, "Bytes that wait to be sent to it.", |link| {
            link.queued as f64
        }),
        (
            "steadfast_replica_dropped_messages_total",
            Counter,
            "Messages that were not sent to it, since it was not connected or too many waited; Raft says them again.",
            |link| as_f64(link.dropped),
        ),
    ];
    for (name, kind, help, figure) in families {
        let mut family = page.family(name, kind, help);
        for link in links {
            family.sample(&[("peer", &*Membership::name(link.peer))], figure(link));
        }
    }
    type Standing = fn(&PeerProgress) -> f64;
    let of_leader: [(&'static str, &str, Standing); 2] = [
        (
            "steadfast_replica_behind_bytes",
            "Bytes of the log that another replica is not known to have durably; only the leader tells.",
            |peer| as_f64(peer.behind),
        ),
        (
            "steadfast_replica_answers",
            "Whether another replica has answered its leader within an election time-out; only the leader tells.",
            |peer| flag(peer.answers),
        ),
    ];
    for (name, help, figure) in of_leader {
        let mut family = page.family(name, Gauge, help);
        for peer in &measures.peers {
            family.sample(&[("peer", &*Membership::name(peer.replica))], figure(peer));
        }
    }
}

fn of_group<'a>(topic: &'a str, group: &'a str) -> [Label<'a>; 4] {
    let is_retry = topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX);
    [
        ("consumer_group", group),
        ("topic", topic),
        ("is_retry", yes(is_retry)),
        ("is_system", yes(is_system(topic, group))),
    ]
}

/// RocketMQ's own topics and groups.
fn is_system(topic: &str, group: &str) -> bool {
    topic::is_system(topic) || group.to_ascii_lowercase().starts_with("cid_rmq_sys_")
}

fn yes(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact up to 2^53, which no log reaches.
fn as_f64(value: u64) -> f64 {
    value as f64
}

/// RocketMQ's name for the ordinal of a client's version (`MQVersion`); from 3.9.1 on the ordinals follow a rule.
fn version_name(ordinal: i32) -> String {
    const V3_9_1_SNAPSHOT: i32 = 194;
    const V5_9_9: i32 = 611;
    if !(V3_9_1_SNAPSHOT..=V5_9_9).contains(&ordinal) {
        return format!("ordinal_{ordinal}");
    }
    let digits = (ordinal + 588) / 2;
    let snapshot = if ordinal % 2 == 0 { "_snapshot" } else { "" };
    format!("v{}_{}_{}{snapshot}", digits / 100, digits / 10 % 10, digits % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_rocketmqs_names() {
        for (ordinal, name) in [
            (194, "v3_9_1_snapshot"),
            (513, "v5_5_0"),
            (512, "v5_5_0_snapshot"),
            (495, "v5_4_1"),
            (611, "v5_9_9"),
            (0, "ordinal_0"),
            (-1, "ordinal_-1"),
            (i32::MAX, "ordinal_2147483647"),
        ] {
            assert_eq!(version_name(ordinal), name);
        }
    }
}
