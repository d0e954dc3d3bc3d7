//! How far consumer groups are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use steadfast_types::topic::RETRY_PREFIX;
use steadfast_wire::body::{ConsumeStats, ConsumeType, ConsumerConnection, MessageQueue, OffsetWrapper};
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::GetConsumeStats;
use steadfast_wire::version;

use super::cluster::{Broker, Cluster, Request};
use super::connections;
use super::output::{self, Out};
use super::place::boolean;
use super::status;
use super::time;

/// Show how far consumer groups are, and how much is left
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin consumerProgress -n 127.0.0.1:9876             (all groups)
  steadfast admin consumerProgress -n 127.0.0.1:9876 -g coupons  (one group, queue by queue)

Columns of one group:
  #Broker Offset    offset that the next message will get
  #Consumer Offset  everything before it is processed
  #Diff             messages that are left
  #Inflight         messages that were pulled and are not processed yet
  #LastTime         when the message before the consumer's offset was stored
  #Client IP        with -s true: the member that has the queue, N/A if none says so
Columns of all groups: members that are connected (#Count), the oldest client version among them, whether they push \
or pull, whether they share the messages (CLUSTERING), messages a second, messages that are left.")]
pub(super) struct Progress {
    /// Consumer group
    #[arg(short, long = "groupName", value_name = "GROUP")]
    group: Option<String>,
    /// With -g: only this topic
    #[arg(short, long = "topicName", value_name = "TOPIC")]
    topic: Option<String>,
    /// With -t: ask all brokers of this cluster, rather than those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// With -g: whether to show which member has each queue; asks all members
    #[arg(short = 's', long = "showClientIP", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    clients: bool,
}

/// A group, queue by queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queues {
    group: String,
    queues: Vec<QueueRow>,
    consume_tps: f64,
    diff_total: i64,
    inflight_total: i64,
    /// Whether members were asked which queues they have.
    #[serde(skip)]
    clients: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow {
    topic: String,
    broker_name: String,
    queue_id: i32,
    #[serde(flatten)]
    progress: OffsetWrapper,
    diff: i64,
    inflight: i64,
    /// Address in the id of the member that has the queue, if that was asked and one has it.
    #[serde(rename = "clientIP", skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

impl QueueRow {
    fn new(queue: MessageQueue, progress: OffsetWrapper, client: Option<String>) -> Self {
        QueueRow {
            client,
            topic: queue.topic,
            broker_name: queue.broker_name,
            queue_id: queue.queue_id,
            progress,
            diff: progress.broker_offset - progress.consumer_offset,
            inflight: progress.pull_offset - progress.consumer_offset,
        }
    }
}

impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RocketMQ's head has no blank before the last column.
        let client = if self.clients { format!("{:<20}  ", "#Client IP") } else { String::new() };
        writeln!(
            f,
            "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {client}{:<20} {:<20}#LastTime",
            "#Topic", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Diff", "#Inflight"
        )?;
        for row in &self.queues {
            let QueueRow { topic, broker_name, queue_id, progress, diff, inflight, client } = row;
            let (broker, consumer) = (progress.broker_offset, progress.consumer_offset);
            let client = client.as_deref().unwrap_or("N/A");
            let client = if self.clients { format!("{client:<20} ") } else { String::new() };
            let last = match progress.last_timestamp {
                0 => "N/A".to_owned(),
                time => time::human_seconds(time),
            };
            writeln!(
                f,
                "{topic:<64.64}  {broker_name:<32.32}  {queue_id:<4}  {broker:<20}  {consumer:<20}  {client}{diff:<20} \
                 {inflight:<20} {last}"
            )?;
        }
        writeln!(f, "\nConsume TPS: {:.2}", self.consume_tps)?;
        writeln!(f, "Consume Diff Total: {}", self.diff_total)?;
        writeln!(f, "Consume Inflight Total: {}", self.inflight_total)
    }
}

/// All groups.
#[derive(Debug, Serialize)]
struct Groups {
    groups: Vec<GroupRow>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupRow {
    group: String,
    count: usize,
    version: String,
    /// `PUSH` or `PULL`; empty if nobody is connected.
    consume_type: &'static str,
    message_model: &'static str,
    consume_tps: f64,
    diff_total: i64,
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  #Diff Total",
            "#Group", "#Count", "#Version", "#Type", "#Model", "#TPS"
        )?;
        for row in &self.groups {
            let GroupRow { group, count, version, consume_type, message_model, consume_tps, diff_total } =
                row;
            let tps = *consume_tps as i64;
            writeln!(
                f,
                "{group:<64.64}  {count:<6}  {version:<24} {consume_type:<5}  {message_model:<14}  {tps:<7}  {diff_total}"
            )?;
        }
        Ok(())
    }
}

/// What brokers know of a group's positions.
#[derive(Debug, Default)]
struct Positions {
    queues: BTreeMap<MessageQueue, OffsetWrapper>,
    tps: f64,
}

impl Positions {
    async fn of(
        cluster: &Cluster,
        brokers: &[Broker],
        group: &str,
        topic: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut positions = Positions::default();
        for broker in brokers {
            let fields = GetConsumeStats {
                consumer_group: group.into(),
                topic: topic.map(Into::into),
                ..GetConsumeStats::default()
            };
            let request = Request::with(request::GET_CONSUME_STATS, |ext| fields.encode(ext));
            let stats: ConsumeStats = match cluster.read(&broker.addr, request).await {
                // A broker of several may never have heard of the group.
                Err(error) if error.code() == Some(response::SUBSCRIPTION_GROUP_NOT_EXIST) => continue,
                stats => stats?,
            };
            positions.tps += stats.consume_tps;
            positions
                .queues
                .extend(stats.offset_table.iter().map(|(queue, progress)| (queue.clone(), *progress)));
        }
        Ok(positions)
    }

    fn diff(&self) -> i64 {
        self.queues.values().map(|progress| progress.broker_offset - progress.consumer_offset).sum()
    }

    fn inflight(&self) -> i64 {
        self.queues.values().map(|progress| progress.pull_offset - progress.consumer_offset).sum()
    }
}

impl Progress {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        match &self.group {
            Some(group) => out.show(&self.queues(cluster, group.trim()).await?),
            None => {
                if self.topic.is_some() || self.cluster.is_some() || self.clients {
                    output::warn("-t, -c and -s have no effect without -g: all groups are shown");
                }
                out.show(&groups(cluster).await?)
            }
        }
    }

    async fn queues(&self, cluster: &Cluster, group: &str) -> anyhow::Result<Queues> {
        let brokers = match &self.topic {
            Some(topic) => cluster.brokers_of(topic, self.cluster.as_deref()).await?,
            None => {
                if self.cluster.is_some() {
                    output::warn("-c has no effect without -t: all brokers are asked");
                }
                cluster.brokers().await?
            }
        };
        let positions = Positions::of(cluster, &brokers, group, self.topic.as_deref()).await?;
        if positions.queues.is_empty() {
            let asked: Vec<String> =
                brokers.iter().map(|broker| format!("{} at {}", broker.name, broker.addr)).collect();
            bail!(
                "not found: group {group} has no position and no subscription on {}; consumerProgress without -g \
                 lists the groups",
                asked.join(", ")
            );
        }
        let (diff_total, inflight_total) = (positions.diff(), positions.inflight());
        let mut clients = if self.clients {
            clients(cluster, &cluster.brokers().await?, group).await?
        } else {
            BTreeMap::new()
        };
        let queues = positions.queues.into_iter();
        let mut queues: Vec<_> = queues
            .map(|(queue, progress)| {
                let client = clients.remove(&queue);
                QueueRow::new(queue, progress, client)
            })
            .collect();
        queues.sort_by(|a, b| {
            let key = |row: &QueueRow| (row.topic.clone(), row.broker_name.clone(), row.queue_id);
            key(a).cmp(&key(b))
        });
        Ok(Queues {
            group: group.to_owned(),
            queues,
            consume_tps: positions.tps,
            diff_total,
            inflight_total,
            clients: self.clients,
        })
    }
}

/// Which member has each queue, as the members say: the address at the beginning of its id.
async fn clients(
    cluster: &Cluster,
    brokers: &[Broker],
    group: &str,
) -> anyhow::Result<BTreeMap<MessageQueue, String>> {
    let mut clients = BTreeMap::new();
    let members = connections::members(cluster, brokers, group).await?;
    for member in members.into_iter().flat_map(|members| members.connection_set) {
        let id = &member.client_id;
        match status::running(cluster, brokers, group, id, false).await {
            Ok(info) => {
                let address = id.split('@').next().unwrap_or(id);
                clients.extend(info.mq_table.0.into_keys().map(|queue| (queue, address.to_owned())));
            }
            Err(error) => output::warn(format_args!("which queues {id} has is not known: {error}")),
        }
    }
    Ok(clients)
}

/// Every group that has a retry topic, as each has that ever was connected.
async fn groups(cluster: &Cluster) -> anyhow::Result<Groups> {
    let brokers = cluster.brokers().await?;
    let topics = cluster.topics().await?;
    let names: BTreeSet<&str> = topics.iter().filter_map(|topic| topic.strip_prefix(RETRY_PREFIX)).collect();
    let mut groups = Vec::new();
    for group in names {
        let positions = Positions::of(cluster, &brokers, group, None).await?;
        let connection = connections::members(cluster, &brokers, group).await?;
        groups.push(GroupRow {
            group: group.to_owned(),
            count: connection.as_ref().map_or(0, |connection| connection.connection_set.len()),
            version: connection.as_ref().and_then(oldest).unwrap_or_else(|| "OFFLINE".to_owned()),
            consume_type: match connection.as_ref().map(|connection| connection.consume_type) {
                None => "",
                Some(ConsumeType::Actively) => "PULL",
                Some(_) => "PUSH",
            },
            message_model: connection
                .as_ref()
                .filter(|connection| connection.consume_type == ConsumeType::Passively)
                .map_or("", |connection| connection.message_model.name()),
            consume_tps: positions.tps,
            diff_total: positions.diff(),
        });
    }
    Ok(Groups { groups })
}

fn oldest(connection: &ConsumerConnection) -> Option<String> {
    connection.connection_set.iter().map(|member| member.version).min().map(version::name)
}
