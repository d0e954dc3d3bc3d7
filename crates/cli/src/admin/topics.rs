//! Topics: create, change and delete.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use serde::Serialize;
use steadfast_types::topic;
use steadfast_wire::body::TopicConfig;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{
    CreateTopic, DeleteTopic, GetKvConfig, GetKvConfigResponse, PutKvConfig, TopicOnly,
};

use super::cluster::{self, AskError, Broker, Cluster, Request};
use super::output::{self, Out, java_map};
use super::place::{Place, boolean};

/// Where the name servers keep which topics are ordered.
const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";
/// Bit of `topicSysFlag`: a topic of a unit.
const UNIT: i32 = 1;
/// Bit of `topicSysFlag`: units subscribe to it.
const UNIT_SUB: i32 = 2;

/// Create a topic, or change it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin updateTopic -n 127.0.0.1:9876 -c DefaultCluster -t SCANRECORD -r 8 -w 8
  steadfast admin updateTopic -n 127.0.0.1:9876 -b 10.0.0.5:10911 -t SCANRECORD -p 4    (no more sends)

What is not given stays as it is on each broker that has the topic; the defaults are those of a new topic. (RocketMQ's \
mqadmin sends its defaults for an existing topic too: with it, give -r, -w, -p and -o.) To take queues away without \
losing sight of messages, lower -w, wait until the rest is consumed, then lower -r.")]
pub(super) struct UpdateTopic {
    #[command(flatten)]
    place: Place,
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Queues to read from [new topic: 8]
    #[arg(short = 'r', long = "readQueueNums", value_name = "N")]
    read: Option<i32>,
    /// Queues to write to [new topic: 8]
    #[arg(short = 'w', long = "writeQueueNums", value_name = "N")]
    write: Option<i32>,
    /// Who may use it: 2 write, 4 read, 6 both [new topic: 6]
    #[arg(short, long, value_name = "PERM")]
    perm: Option<i32>,
    /// Whether the number of queues must look the same while a broker is away [new topic: false]
    #[arg(short, long, value_name = "BOOL", value_parser = boolean)]
    order: Option<bool>,
    /// Whether it is a topic of a unit [new topic: false]
    #[arg(short, long, value_name = "BOOL", value_parser = boolean)]
    unit: Option<bool>,
    /// Whether units subscribe to it [new topic: false]
    #[arg(short = 's', long = "hasUnitSub", value_name = "BOOL", value_parser = boolean)]
    unit_sub: Option<bool>,
    /// Attributes to set and to remove: +a=b,+c=d,-e
    #[arg(short, long, value_name = "CHANGES", allow_hyphen_values = true)]
    attributes: Option<String>,
}

/// Delete a topic, with all of its messages
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin deleteTopic -n 127.0.0.1:9876 -c DefaultCluster -t SCANRECORD")]
pub(super) struct Delete {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Cluster to delete it from (clusterList shows its name)
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster: String,
}

/// Brokers that have the topic as wanted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    brokers: Vec<OnBroker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_conf: Option<String>,
    #[serde(skip)]
    whole_cluster: bool,
}

/// The topic as a broker was asked to have it; of the attributes, the changes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnBroker {
    #[serde(flatten)]
    broker: Broker,
    topic_config: TopicConfig,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = |f: &mut fmt::Formatter<'_>, what| match &self.order_conf {
            Some(conf) => writeln!(f, "set {what} orderConf. isOrder=true, orderConf=[{conf}]"),
            None => Ok(()),
        };
        if !self.whole_cluster {
            order(f, "broker")?;
        }
        for OnBroker { broker, .. } in &self.brokers {
            writeln!(f, "create topic to {} success.", broker.addr)?;
        }
        if self.whole_cluster {
            order(f, "cluster")?;
        }
        // Brokers may differ in what was not given.
        let mut configs: Vec<&TopicConfig> = self.brokers.iter().map(|on| &on.topic_config).collect();
        configs.dedup();
        configs.into_iter().try_for_each(|config| write_config(f, config))
    }
}

fn write_config(f: &mut fmt::Formatter<'_>, config: &TopicConfig) -> fmt::Result {
    writeln!(
        f,
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType={}, \
         topicSysFlag={}, order={}, attributes={}]",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        perm_name(config.perm),
        config.topic_filter_type.name(),
        config.topic_sys_flag,
        config.order,
        java_map(config.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
    )
}

/// Permission bits as RocketMQ prints them: `RW-`, the last for inheriting.
fn perm_name(perm: i32) -> String {
    let bits = [(topic::PERM_READ, 'R'), (topic::PERM_WRITE, 'W'), (topic::PERM_INHERIT, 'X')];
    bits.map(|(bit, letter)| if perm as u32 & bit == 0 { '-' } else { letter }).iter().collect()
}

impl UpdateTopic {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let mut brokers = Vec::new();
        for broker in self.place.masters(cluster).await? {
            let known = known_config(cluster, &broker, self.topic.trim()).await?;
            brokers.push(OnBroker { broker, topic_config: self.wanted(known) });
        }
        for OnBroker { broker, topic_config } in &brokers {
            let fields = create_topic(topic_config, self.attributes.as_deref());
            let request = Request::with(request::UPDATE_AND_CREATE_TOPIC, |ext| fields.encode(ext));
            cluster.ask(&broker.addr, request).await?;
        }
        let is_ordered = brokers.iter().any(|on| on.topic_config.order);
        let order_conf = if is_ordered { Some(self.set_order(cluster, &brokers).await?) } else { None };
        out.show(&Created { brokers, order_conf, whole_cluster: self.place.whole_cluster().is_some() })
    }

    /// What the topic shall be: what is given, else what it is, else what mqadmin makes a new one.
    fn wanted(&self, known: Option<TopicConfig>) -> TopicConfig {
        let new = || TopicConfig { read_queue_nums: 8, write_queue_nums: 8, ..TopicConfig::default() };
        let known = known.unwrap_or_else(new);
        let flag = |bit: i32, given: Option<bool>| match given {
            Some(on) => i32::from(on) * bit,
            None => known.topic_sys_flag & bit,
        };
        TopicConfig {
            attributes: self.attributes.as_deref().map(attributes).unwrap_or_default(),
            order: self.order.unwrap_or(known.order),
            perm: self.perm.unwrap_or(known.perm),
            read_queue_nums: self.read.unwrap_or(known.read_queue_nums),
            topic_name: self.topic.trim().to_owned(),
            topic_sys_flag: flag(UNIT, self.unit) | flag(UNIT_SUB, self.unit_sub),
            write_queue_nums: self.write.unwrap_or(known.write_queue_nums),
            topic_filter_type: known.topic_filter_type,
        }
    }

    /// Tells the name servers how many queues an ordered topic has on each broker.
    async fn set_order(&self, cluster: &Cluster, brokers: &[OnBroker]) -> anyhow::Result<String> {
        let info = cluster.info().await?;
        let mut queues: BTreeMap<String, String> = BTreeMap::new();
        if self.place.whole_cluster().is_none() {
            // Other brokers keep what they have.
            queues.extend(order_of(cluster, &self.topic).await?);
        }
        for OnBroker { broker, topic_config } in brokers {
            let mut known = info.broker_addr_table.values();
            let named = known.find(|known| known.broker_addrs.values().any(|addr| *addr == broker.addr));
            let name = named.map_or(&broker.name, |named| &named.broker_name);
            queues.insert(name.clone(), topic_config.write_queue_nums.to_string());
        }
        let conf: Vec<String> = queues.iter().map(|(name, queues)| format!("{name}:{queues}")).collect();
        let conf = conf.join(";");
        for addr in cluster.namesrv() {
            let fields = PutKvConfig {
                namespace: ORDER_TOPIC_CONFIG.into(),
                key: self.topic.as_str().into(),
                value: conf.as_str().into(),
            };
            cluster.ask(addr, Request::with(request::PUT_KV_CONFIG, |ext| fields.encode(ext))).await?;
        }
        Ok(conf)
    }
}

/// The topic as a broker has it, if it has it.
async fn known_config(
    cluster: &Cluster,
    broker: &Broker,
    topic: &str,
) -> anyhow::Result<Option<TopicConfig>> {
    let fields = TopicOnly { topic: topic.into() };
    let request = Request::with(request::GET_TOPIC_CONFIG, |ext| fields.encode(ext));
    match cluster.read(&broker.addr, request).await {
        Ok(config) => Ok(Some(config)),
        Err(error) if error.code() == Some(response::TOPIC_NOT_EXIST) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `broker:queues` pairs of an ordered topic.
async fn order_of(cluster: &Cluster, topic: &str) -> anyhow::Result<Vec<(String, String)>> {
    let fields = GetKvConfig { namespace: ORDER_TOPIC_CONFIG.into(), key: topic.into() };
    let request = Request::with(request::GET_KV_CONFIG, |ext| fields.encode(ext));
    let answer = match cluster.ask_namesrv(request).await {
        Err(error) if has_code(&error, response::QUERY_NOT_FOUND) => return Ok(Vec::new()),
        answer => answer?,
    };
    let value = GetKvConfigResponse::decode(&answer.header()?.ext)?.value.unwrap_or_default().into_owned();
    let pairs = value.split(';').filter_map(|pair| pair.split_once(':'));
    Ok(pairs.map(|(name, queues)| (name.to_owned(), queues.to_owned())).collect())
}

/// Whether an error is a server's answer with this code.
pub(super) fn has_code(error: &anyhow::Error, code: i32) -> bool {
    error.downcast_ref::<AskError>().and_then(AskError::code) == Some(code)
}

fn create_topic<'a>(config: &'a TopicConfig, attributes: Option<&'a str>) -> CreateTopic<'a> {
    CreateTopic {
        topic: config.topic_name.as_str().into(),
        default_topic: topic::AUTO_CREATE.into(),
        read_queue_nums: config.read_queue_nums,
        write_queue_nums: config.write_queue_nums,
        perm: config.perm,
        topic_filter_type: config.topic_filter_type.name().into(),
        topic_sys_flag: Some(config.topic_sys_flag),
        order: config.order,
        attributes: Some(attributes.unwrap_or_default().into()),
        force: false,
    }
}

/// `+a=b,-c` as entries, as RocketMQ prints them: `{+a=b, -c=}`.
pub(super) fn attributes(changes: &str) -> BTreeMap<String, String> {
    let changes = changes.split(',').map(str::trim).filter(|change| !change.is_empty());
    changes
        .map(|change| change.split_once('=').unwrap_or((change, "")))
        .map(|(k, v)| (k.into(), v.into()))
        .collect()
}

/// A topic that is gone.
#[derive(Debug, Serialize)]
struct Deleted {
    topic: String,
    cluster: String,
    brokers: Vec<String>,
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "delete topic [{}] from cluster [{}] success.", self.topic, self.cluster)?;
        writeln!(f, "delete topic [{}] from NameServer success.", self.topic)
    }
}

impl Delete {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let brokers = cluster::masters(&cluster.info().await?, &self.cluster)?;
        let mut is_known = false;
        for broker in &brokers {
            // A server that cannot be asked may have it.
            is_known |= !matches!(known_config(cluster, broker, &self.topic).await, Ok(None));
        }
        delete(cluster, &brokers, &self.cluster, &self.topic).await?;
        if !is_known {
            // The command succeeds all the same, as RocketMQ's does: the topic is not there.
            let (topic, cluster) = (&self.topic, &self.cluster);
            output::warn(format_args!(
                "no broker of cluster {cluster} had a topic {topic}: nothing was deleted; topicList lists the topics"
            ));
        }
        let brokers = brokers.into_iter().map(|broker| broker.addr).collect();
        out.show(&Deleted { topic: self.topic, cluster: self.cluster, brokers })
    }
}

/// Deletes a topic from brokers, then from all name servers.
pub(super) async fn delete(
    cluster: &Cluster,
    brokers: &[Broker],
    cluster_name: &str,
    topic: &str,
) -> anyhow::Result<()> {
    for broker in brokers {
        let fields = DeleteTopic { topic: topic.into(), cluster_name: None };
        let request = Request::with(request::DELETE_TOPIC_IN_BROKER, |ext| fields.encode(ext));
        cluster.ask(&broker.addr, request).await?;
    }
    for addr in cluster.namesrv() {
        let fields = DeleteTopic { topic: topic.into(), cluster_name: Some(cluster_name.into()) };
        let request = Request::with(request::DELETE_TOPIC_IN_NAMESRV, |ext| fields.encode(ext));
        cluster.ask(addr, request).await?;
    }
    Ok(())
}
