//! Topics: create, change and delete.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use serde::Serialize;
use steadfast_types::topic;
use steadfast_wire::body::TopicConfig;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{CreateTopic, DeleteTopic, GetKvConfig, GetKvConfigResponse, PutKvConfig};

use super::cluster::{self, AskError, Broker, Cluster, Request};
use super::output::{Out, java_map};
use super::place::{Place, boolean};

/// Where the name servers keep which topics are ordered.
const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// Create a topic, or change it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin updateTopic -n 127.0.0.1:9876 -c DefaultCluster -t SCANRECORD -r 8 -w 8
  steadfast admin updateTopic -n 127.0.0.1:9876 -b 10.0.0.5:10911 -t SCANRECORD -p 4    (no more sends)

What is not given gets its default, also when the topic exists: look at topicRoute first. To take queues away \
without losing sight of messages, lower -w, wait until the rest is consumed, then lower -r.")]
pub(super) struct UpdateTopic {
    #[command(flatten)]
    place: Place,
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Queues to read from
    #[arg(short = 'r', long = "readQueueNums", value_name = "N", default_value_t = 8)]
    read: i32,
    /// Queues to write to
    #[arg(short = 'w', long = "writeQueueNums", value_name = "N", default_value_t = 8)]
    write: i32,
    /// Who may use it: 2 write, 4 read, 6 both
    #[arg(short, long, value_name = "PERM", default_value_t = 6)]
    perm: i32,
    /// Whether the number of queues must look the same while a broker is away
    #[arg(short, long, value_name = "BOOL", default_value_t = false, value_parser = boolean, action = clap::ArgAction::Set)]
    order: bool,
    /// Whether it is a topic of a unit
    #[arg(short, long, value_name = "BOOL", default_value_t = false, value_parser = boolean, action = clap::ArgAction::Set)]
    unit: bool,
    /// Whether units subscribe to it
    #[arg(short = 's', long = "hasUnitSub", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    unit_sub: bool,
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

/// Topics that were created.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    brokers: Vec<String>,
    topic_config: TopicConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_conf: Option<String>,
    #[serde(skip)]
    whole_cluster: bool,
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
        for broker in &self.brokers {
            writeln!(f, "create topic to {broker} success.")?;
        }
        if self.whole_cluster {
            order(f, "cluster")?;
        }
        let config = &self.topic_config;
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
}

/// Permission bits as RocketMQ prints them: `RW-`, the last for inheriting.
fn perm_name(perm: i32) -> String {
    let bits = [(topic::PERM_READ, 'R'), (topic::PERM_WRITE, 'W'), (topic::PERM_INHERIT, 'X')];
    bits.map(|(bit, letter)| if perm as u32 & bit == 0 { '-' } else { letter }).iter().collect()
}

impl UpdateTopic {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let brokers = self.place.masters(cluster).await?;
        let topic_config = TopicConfig {
            attributes: self.attributes.as_deref().map(attributes).unwrap_or_default(),
            order: self.order,
            perm: self.perm,
            read_queue_nums: self.read,
            topic_name: self.topic.trim().to_owned(),
            topic_sys_flag: i32::from(self.unit) | i32::from(self.unit_sub) << 1,
            write_queue_nums: self.write,
            ..TopicConfig::default()
        };
        for broker in &brokers {
            let fields = create_topic(&topic_config, self.attributes.as_deref());
            let request = Request::with(request::UPDATE_AND_CREATE_TOPIC, |ext| fields.encode(ext));
            cluster.ask(&broker.addr, request).await?;
        }
        let order_conf = if self.order { Some(self.set_order(cluster, &brokers).await?) } else { None };
        out.show(&Created {
            brokers: brokers.into_iter().map(|broker| broker.addr).collect(),
            topic_config,
            order_conf,
            whole_cluster: self.place.whole_cluster().is_some(),
        })
    }

    /// Tells the name servers how many queues an ordered topic has on each broker.
    async fn set_order(&self, cluster: &Cluster, brokers: &[Broker]) -> anyhow::Result<String> {
        let info = cluster.info().await?;
        let mut queues: BTreeMap<String, String> = BTreeMap::new();
        if self.place.whole_cluster().is_none() {
            // Other brokers keep what they have.
            queues.extend(order_of(cluster, &self.topic).await?);
        }
        for broker in brokers {
            let mut known = info.broker_addr_table.values();
            let named = known.find(|known| known.broker_addrs.values().any(|addr| *addr == broker.addr));
            let name = named.map_or(&broker.name, |named| &named.broker_name);
            queues.insert(name.clone(), self.write.to_string());
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
        delete(cluster, &brokers, &self.cluster, &self.topic).await?;
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
