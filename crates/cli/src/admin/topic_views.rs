//! Topics: which there are, where they are, and what they hold.

use std::collections::BTreeSet;
use std::fmt;

use clap::Args;
use serde::Serialize;
use steadfast_types::topic::{DLQ_PREFIX, RETRY_PREFIX};
use steadfast_wire::body::{GroupList, TopicOffset, TopicRouteData, TopicStatsTable};
use steadfast_wire::code::request;
use steadfast_wire::headers::{GetTopicStats, TopicOnly};

use super::cluster::{Cluster, Request};
use super::output::{Out, java_map};
use super::{pretty, time};

/// List all topics
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin topicList -n 127.0.0.1:9876 -c

Columns with -c: the cluster that has the topic, the topic, and each group that consumes it. Topics with the prefix \
%RETRY% or %DLQ% belong to a consumer group; -c leaves them out.")]
pub(super) struct List {
    /// With the cluster and the consumer groups of each topic
    #[arg(short = 'c', long = "clusterModel")]
    cluster_model: bool,
}

/// Show which brokers have a topic, and how many queues
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin topicRoute -n 127.0.0.1:9876 -t SCANRECORD -l

This is what clients are told. perm: 2 write, 4 read, 6 both. In brokerAddrs, 0 is the master.")]
pub(super) struct Route {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// As a table
    #[arg(short, long)]
    list: bool,
}

/// Show the queues of a topic: first and next offset, last change
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin topicStatus -n 127.0.0.1:9876 -t SCANRECORD

Columns:
  #QID           queue
  #Min Offset    offset of the oldest message
  #Max Offset    offset that the next message will get
  #Last Updated  when the newest message was stored")]
pub(super) struct Status {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Ask all brokers of this cluster, rather than those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER")]
    cluster: Option<String>,
}

/// Name the clusters that have a topic
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin topicClusterList -n 127.0.0.1:9876 -t SCANRECORD")]
pub(super) struct ClusterList {
    /// Topic
    #[arg(short, long)]
    topic: String,
}

/// Topic names.
#[derive(Debug, Serialize)]
struct Topics {
    topics: Vec<String>,
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.topics.iter().try_for_each(|topic| writeln!(f, "{topic}"))
    }
}

/// Topics with who has and who consumes them.
#[derive(Debug, Serialize)]
struct Consumed {
    topics: Vec<ConsumedTopic>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumedTopic {
    cluster: String,
    topic: String,
    consumer_groups: Vec<String>,
}

impl fmt::Display for Consumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20}  {:<48}  {:<48}", "#Cluster Name", "#Topic", "#Consumer Group")?;
        for ConsumedTopic { cluster, topic, consumer_groups } in &self.topics {
            let nobody = [String::new()];
            let groups = if consumer_groups.is_empty() { nobody.as_slice() } else { consumer_groups };
            for group in groups {
                writeln!(f, "{cluster:<20.20}  {topic:<64.64}  {group:<64.64}")?;
            }
        }
        Ok(())
    }
}

impl List {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let topics = cluster.topics().await?;
        if !self.cluster_model {
            return out.show(&Topics { topics });
        }
        let mut consumed = Vec::new();
        let derived = |topic: &String| topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX);
        for topic in topics.into_iter().filter(|topic| !derived(topic)) {
            // A system topic without a route is listed too.
            let route = cluster.route(&topic).await.unwrap_or_default();
            let mut groups = BTreeSet::new();
            for addr in route.broker_datas.iter().filter_map(|broker| broker.broker_addrs.values().next()) {
                let fields = TopicOnly { topic: topic.as_str().into() };
                let request = Request::with(request::QUERY_TOPIC_CONSUME_BY_WHO, |ext| fields.encode(ext));
                groups.extend(cluster.read::<GroupList>(addr, request).await?.group_list);
            }
            let name = route.broker_datas.first().map(|broker| broker.cluster.clone()).unwrap_or_default();
            consumed.push(ConsumedTopic {
                cluster: name,
                topic,
                consumer_groups: groups.into_iter().collect(),
            });
        }
        out.show(&Consumed { topics: consumed })
    }
}

/// A route, as JSON or as a table.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ShownRoute {
    route: TopicRouteData,
    #[serde(skip)]
    list: bool,
}

impl fmt::Display for ShownRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.list {
            return f.write_str(&pretty::json(&self.route));
        }
        route_row(f, ["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"])?;
        let (mut read, mut write) = (0, 0);
        for broker in &self.route.broker_datas {
            let addrs: Vec<_> = broker.broker_addrs.iter().map(|(id, addr)| (id.to_string(), addr)).collect();
            let addrs = java_map(addrs.iter().map(|(id, addr)| (id.as_str(), addr.as_str())));
            let mut queues = self.route.queue_datas.iter();
            let queues =
                queues.find(|queues| queues.broker_name == broker.broker_name).cloned().unwrap_or_default();
            read += queues.read_queue_nums;
            write += queues.write_queue_nums;
            let numbers =
                [queues.read_queue_nums, queues.write_queue_nums, queues.perm].map(|n| n.to_string());
            route_row(
                f,
                [&broker.cluster, &broker.broker_name, &addrs, &numbers[0], &numbers[1], &numbers[2]],
            )?;
        }
        let count = self.route.broker_datas.len().to_string();
        writeln!(f, "{}", "-".repeat(158))?;
        route_row(f, ["Total:", &count, "", &read.to_string(), &write.to_string(), ""])
    }
}

fn route_row(f: &mut fmt::Formatter<'_>, columns: [&str; 6]) -> fmt::Result {
    let [cluster, broker, addrs, read, write, perm] = columns;
    writeln!(f, "{cluster:<45} {broker:<32} {addrs:<50} {read:<10} {write:<11} {perm:<5}")
}

impl Route {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let mut route = cluster.route(&self.topic).await?;
        route.broker_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        out.show(&ShownRoute { route, list: self.list })
    }
}

/// The queues of a topic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queues {
    topic: String,
    queues: Vec<QueueRow>,
    topic_put_tps: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow {
    broker_name: String,
    queue_id: i32,
    #[serde(flatten)]
    range: TopicOffset,
}

impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = ("#Min Offset", "#Max Offset");
        writeln!(f, "{:<32}  {:<4}  {min:<20}  {max:<20}    #Last Updated", "#Broker Name", "#QID")?;
        for QueueRow { broker_name, queue_id, range } in &self.queues {
            let last = range.last_update_timestamp;
            let last = if last > 0 { time::human(last) } else { String::new() };
            let (min, max) = (range.min_offset, range.max_offset);
            writeln!(f, "{broker_name:<32.32}  {queue_id:<4}  {min:<20}  {max:<20}    {last}")?;
        }
        writeln!(f, "\nTopic Put TPS: {:?}", self.topic_put_tps)
    }
}

impl Status {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let (mut queues, mut topic_put_tps) = (Vec::new(), 0.0);
        for broker in cluster.brokers_of(&self.topic, self.cluster.as_deref()).await? {
            let fields = GetTopicStats { topic: self.topic.as_str().into() };
            let request = Request::with(request::GET_TOPIC_STATS_INFO, |ext| fields.encode(ext));
            let stats: TopicStatsTable = cluster.read(&broker.addr, request).await?;
            topic_put_tps += stats.topic_put_tps;
            queues.extend(stats.offset_table.iter().map(|(queue, range)| QueueRow {
                broker_name: queue.broker_name.clone(),
                queue_id: queue.queue_id,
                range: *range,
            }));
        }
        out.show(&Queues { topic: self.topic, queues, topic_put_tps })
    }
}

/// Cluster names.
#[derive(Debug, Serialize)]
struct Clusters {
    clusters: BTreeSet<String>,
}

impl fmt::Display for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clusters.iter().try_for_each(|cluster| writeln!(f, "{cluster}"))
    }
}

impl ClusterList {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let route = cluster.route(&self.topic).await?;
        let (holders, info) = (route.broker_datas, cluster.info().await?);
        let holds =
            |members: &Vec<String>| holders.iter().any(|broker| members.contains(&broker.broker_name));
        let clusters = info.cluster_addr_table.iter().filter(|(_, members)| holds(members));
        out.show(&Clusters { clusters: clusters.map(|(name, _)| name.clone()).collect() })
    }
}
