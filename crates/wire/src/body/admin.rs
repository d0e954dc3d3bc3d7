//! Bodies of admin responses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient::or_default;
use super::{ConsumeFromWhere, ConsumeType, MessageModel, QueueMap, SubscriptionData};

/// A list of topics: response to 206, 224, 305 and others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// The broker asked, in answers about its own groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// The topics.
    #[serde(deserialize_with = "or_default")]
    pub topic_list: Vec<String>,
}

/// Response to GET_TOPIC_STATS_INFO (202).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatsTable {
    /// Offsets by queue.
    pub offset_table: QueueMap<TopicOffset>,
    /// Messages put a second.
    pub topic_put_tps: f64,
}

/// The range of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// Store time of the newest message in milliseconds, 0 if none.
    pub last_update_timestamp: i64,
    /// Offset the next message will get.
    pub max_offset: i64,
    /// Offset of the oldest message.
    pub min_offset: i64,
}

/// Response to GET_CONSUME_STATS (208).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages consumed a second.
    pub consume_tps: f64,
    /// Progress by queue.
    pub offset_table: QueueMap<OffsetWrapper>,
}

/// Progress of a group in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetWrapper {
    /// The queue's max offset.
    pub broker_offset: i64,
    /// The committed offset.
    pub consumer_offset: i64,
    /// Store time of the message before the committed offset in milliseconds, 0 if none.
    pub last_timestamp: i64,
    /// Up to where messages were pulled.
    pub pull_offset: i64,
}

/// Response to GET_CONSUMER_CONNECTION_LIST (203).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerConnection {
    /// The members' connections.
    #[serde(default, deserialize_with = "or_default")]
    pub connection_set: Vec<Connection>,
    /// Where a group without stored offsets starts.
    pub consume_from_where: ConsumeFromWhere,
    /// Pull, push or pop.
    pub consume_type: ConsumeType,
    /// Whether members share the messages or each get all.
    pub message_model: MessageModel,
    /// Subscriptions by topic.
    #[serde(default, deserialize_with = "or_default")]
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// A client's connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Remote address, `ip:port`.
    pub client_addr: String,
    /// The client's id.
    pub client_id: String,
    /// Name of its language, see [`Language`](crate::header::Language).
    pub language: String,
    /// Ordinal of its version.
    pub version: i32,
}

/// A string table: response to GET_BROKER_RUNTIME_INFO (28) and GET_KVLIST_BY_NAMESPACE (219).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KVTable {
    /// The entries.
    #[serde(default, deserialize_with = "or_default")]
    pub table: BTreeMap<String, String>,
}

/// A list of consumer groups: response to QUERY_TOPIC_CONSUME_BY_WHO (300).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    /// The groups.
    #[serde(default, deserialize_with = "or_default")]
    pub group_list: Vec<String>,
}
