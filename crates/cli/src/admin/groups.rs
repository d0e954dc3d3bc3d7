//! The settings of consumer groups: make, change, delete.

use std::fmt;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use steadfast_types::topic::{DLQ_PREFIX, RETRY_PREFIX};
use steadfast_wire::body::{Body, GroupRetryPolicy, SubscriptionGroupConfig};
use steadfast_wire::code::request;
use steadfast_wire::headers::DeleteSubscriptionGroup;

use super::cluster::{Broker, Cluster, Request};
use super::output::{Out, java_map};
use super::place::{Place, boolean};
use super::topics::{self, attributes};

/// Create a consumer group, or change its settings
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin updateSubGroup -n 127.0.0.1:9876 -c DefaultCluster -g coupons -r 5    (five retries, then dead letters)
  steadfast admin updateSubGroup -n 127.0.0.1:9876 -c DefaultCluster -g coupons -s false    (no member gets anything)
  steadfast admin updateSubGroup -n 127.0.0.1:9876 -c DefaultCluster -g coupons \
    -p '{\"type\":\"CUSTOMIZED\",\"customizedRetryPolicy\":{\"next\":[1000,5000]}}'

What is not given gets its default, also when the group exists.")]
pub(super) struct Update {
    #[command(flatten)]
    place: Place,
    /// Consumer group
    #[arg(short, long = "groupName", value_name = "GROUP")]
    group: String,
    /// Whether the group may consume at all
    #[arg(short = 's', long = "consumeEnable", value_name = "BOOL", default_value_t = true, value_parser = boolean,
          action = clap::ArgAction::Set)]
    enable: bool,
    /// Whether a group without positions may start at the oldest message
    #[arg(short = 'm', long = "consumeFromMinEnable", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    from_min: bool,
    /// Whether members may each get all messages
    #[arg(short = 'd', long = "consumeBroadcastEnable", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    broadcast: bool,
    /// Whether members get messages in order
    #[arg(short = 'o', long = "consumeMessageOrderly", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    orderly: bool,
    /// Queues of the group's retry topic
    #[arg(short = 'q', long = "retryQueueNums", value_name = "N", default_value_t = 1)]
    retry_queues: i32,
    /// Retries before a message goes to the dead letters
    #[arg(
        short = 'r',
        long = "retryMaxTimes",
        value_name = "N",
        default_value_t = 16,
        allow_negative_numbers = true
    )]
    retries: i32,
    /// How long to wait between retries, as JSON
    #[arg(short = 'p', long = "groupRetryPolicy", value_name = "JSON", value_parser = policy)]
    policy: Option<GroupRetryPolicy>,
    /// Id of the replica that consumers pull from
    #[arg(short = 'i', long = "brokerId", value_name = "ID", default_value_t = 0)]
    broker_id: i64,
    /// Id of the replica that slow consumers pull from
    #[arg(short = 'w', long = "whichBrokerWhenConsumeSlowly", value_name = "ID", default_value_t = 1)]
    slow_broker_id: i64,
    /// Whether members are told when others come or go
    #[arg(short = 'a', long = "notifyConsumerIdsChanged", value_name = "BOOL", default_value_t = true, value_parser = boolean,
          action = clap::ArgAction::Set)]
    notify: bool,
    /// Attributes to set and to remove: +a=b,+c=d,-e
    #[arg(long, value_name = "CHANGES", allow_hyphen_values = true)]
    attributes: Option<String>,
}

/// Delete a consumer group's settings
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin deleteSubGroup -n 127.0.0.1:9876 -c DefaultCluster -g coupons -r true

With -c its retry topic and its dead letters are deleted too, with all messages in them. Without -r true its positions \
stay, and a group that is made again under this name goes on from them.")]
pub(super) struct Delete {
    #[command(flatten)]
    place: Place,
    /// Consumer group
    #[arg(short, long = "groupName", value_name = "GROUP")]
    group: String,
    /// Whether to forget its positions too
    #[arg(short = 'r', long = "removeOffset", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    remove_offset: bool,
}

fn policy(text: &str) -> Result<GroupRetryPolicy, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// A group that was made or changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    brokers: Vec<String>,
    subscription_group_config: SubscriptionGroupConfig,
}

impl fmt::Display for Updated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for broker in &self.brokers {
            writeln!(f, "create subscription group to {broker} success.")?;
        }
        let config = &self.subscription_group_config;
        write!(
            f,
            "SubscriptionGroupConfig{{groupName={}, consumeEnable={}, consumeFromMinEnable={}, \
             consumeBroadcastEnable={}, consumeMessageOrderly={}, retryQueueNums={}, retryMaxTimes={}, ",
            config.group_name,
            config.consume_enable,
            config.consume_from_min_enable,
            config.consume_broadcast_enable,
            config.consume_message_orderly,
            config.retry_queue_nums,
            config.retry_max_times
        )?;
        write!(
            f,
            "groupRetryPolicy={}, brokerId={}, whichBrokerWhenConsumeSlowly={}, notifyConsumerIdsChangedEnable={}, ",
            policy_text(&config.group_retry_policy),
            config.broker_id,
            config.which_broker_when_consume_slowly,
            config.notify_consumer_ids_changed_enable
        )?;
        let attributes = config.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        writeln!(
            f,
            "groupSysFlag={}, consumeTimeoutMinute={}, subscriptionDataSet=null, attributes={}}}",
            config.group_sys_flag,
            config.consume_timeout_minute,
            java_map(attributes)
        )
    }
}

fn policy_text(policy: &GroupRetryPolicy) -> String {
    let exponential = policy.exponential_retry_policy.as_ref().map_or_else(
        || "null".to_owned(),
        |p| {
            let (initial, max, multiplier) = (p.initial, p.max, p.multiplier);
            format!("ExponentialRetryPolicy{{initial={initial}, max={max}, multiplier={multiplier}}}")
        },
    );
    let customized = policy
        .customized_retry_policy
        .as_ref()
        .map_or_else(|| "null".to_owned(), |p| format!("CustomizedRetryPolicy{{next={:?}}}", p.next));
    let kind = policy.r#type.name();
    format!(
        "GroupRetryPolicy{{type={kind}, exponentialRetryPolicy={exponential}, customizedRetryPolicy={customized}}}"
    )
}

impl Update {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let config = SubscriptionGroupConfig {
            attributes: self.attributes.as_deref().map(attributes).unwrap_or_default(),
            broker_id: self.broker_id,
            consume_broadcast_enable: self.broadcast,
            consume_enable: self.enable,
            consume_from_min_enable: self.from_min,
            consume_message_orderly: self.orderly,
            group_name: self.group.trim().to_owned(),
            group_retry_policy: self.policy.unwrap_or_default(),
            notify_consumer_ids_changed_enable: self.notify,
            retry_max_times: self.retries,
            retry_queue_nums: self.retry_queues,
            which_broker_when_consume_slowly: self.slow_broker_id,
            ..SubscriptionGroupConfig::default()
        };
        let brokers = self.place.masters(cluster).await?;
        for (at, broker) in brokers.iter().enumerate() {
            let request = Request::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body(config.encode());
            cluster.ask(&broker.addr, request).await.with_context(|| done(&brokers[..at]))?;
        }
        let brokers = brokers.into_iter().map(|broker| broker.addr).collect();
        out.show(&Updated { brokers, subscription_group_config: config })
    }
}

/// How far a change got before it failed.
fn done(brokers: &[Broker]) -> String {
    if brokers.is_empty() {
        return "nothing was changed".to_owned();
    }
    let done: Vec<&str> = brokers.iter().map(|broker| broker.addr.as_str()).collect();
    format!("changed at {} only", done.join(", "))
}

/// Groups that are gone.
#[derive(Debug, Serialize)]
struct Deleted {
    group: String,
    brokers: Vec<String>,
    #[serde(skip)]
    cluster: Option<String>,
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = &self.group;
        let cluster = self.cluster.as_ref().map(|name| format!(" in cluster [{name}]")).unwrap_or_default();
        self.brokers.iter().try_for_each(|broker| {
            writeln!(f, "delete subscription group [{group}] from broker [{broker}]{cluster} success.")
        })
    }
}

impl Delete {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let (group, brokers) = (self.group.trim(), self.place.masters(cluster).await?);
        for (at, broker) in brokers.iter().enumerate() {
            let fields = DeleteSubscriptionGroup {
                group_name: group.into(),
                clean_offset: self.remove_offset,
                remove_offset: self.remove_offset,
            };
            let request = Request::with(request::DELETE_SUBSCRIPTIONGROUP, |ext| fields.encode(ext));
            cluster.ask(&broker.addr, request).await.with_context(|| done(&brokers[..at]))?;
        }
        if let Some(name) = self.place.whole_cluster() {
            for prefix in [RETRY_PREFIX, DLQ_PREFIX] {
                topics::delete(cluster, &brokers, name, &format!("{prefix}{group}")).await?;
            }
        }
        let brokers = brokers.into_iter().map(|broker| broker.addr).collect();
        out.show(&Deleted {
            group: group.to_owned(),
            brokers,
            cluster: self.place.whole_cluster().map(str::to_owned),
        })
    }
}
