//! Bodies of admin responses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient::or_default;
use super::{ConsumeFromWhere, ConsumeType, DataVersion, MessageModel, QueueMap, SubscriptionData};

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
    /// The group's latest jumps in these topics, oldest first for each topic; an addition of ours, which other readers
    /// ignore.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub position_jumps: Vec<PositionJump>,
}

/// A group's position moved other than by consuming.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PositionJump {
    /// Why: `reset`, `out_of_range`, `expired`, `new_queue` or `commit`.
    pub cause: String,
    /// The position before, none for a group that had none in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// The queue.
    pub queue_id: i32,
    /// When, in milliseconds.
    pub timestamp: i64,
    /// The position after.
    pub to: i64,
    /// The topic.
    pub topic: String,
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

/// Positions by queue: response to INVOKE_BROKER_TO_RESET_OFFSET (222), and body of RESET_CONSUMER_CLIENT_OFFSET (220).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    /// The new positions.
    pub offset_table: QueueMap<i64>,
}

/// Body of RESET_CONSUMER_CLIENT_OFFSET (220) as C++ clients read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBodyForC {
    /// The new positions.
    #[serde(deserialize_with = "or_default")]
    pub offset_table: Vec<QueueOffsetForC>,
}

/// A position in a queue as C++ clients read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueOffsetForC {
    /// Name of the broker that holds the queue.
    pub broker_name: String,
    /// The position.
    pub offset: i64,
    /// The queue.
    pub queue_id: i32,
    /// The topic.
    pub topic: String,
}

/// All settings of a name server by namespace and key, as RocketMQ keeps them in `kvConfig.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KvConfigs {
    /// The settings.
    #[serde(deserialize_with = "or_default")]
    pub config_table: BTreeMap<String, BTreeMap<String, String>>,
}

/// Response to GET_PRODUCER_CONNECTION_LIST (204).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// The members' connections.
    #[serde(deserialize_with = "or_default")]
    pub connection_set: Vec<Connection>,
}

/// Response to GET_CONSUMER_STATUS_FROM_CLIENT (221).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientPositions {
    /// How far the client has read.
    pub message_queue_table: QueueMap<i64>,
}

/// Response to INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupPositions {
    /// How far each client has read, by its id.
    pub consumer_table: BTreeMap<String, QueueMap<i64>>,
}

/// Response to QUERY_SUBSCRIPTION_BY_CONSUMER (345).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupSubscription {
    /// The group.
    pub group: String,
    /// What its members subscribe to, if any is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    /// The topic.
    pub topic: String,
}

/// Response to QUERY_CONSUME_QUEUE (321).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueue {
    /// Why there is no subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    /// One after the last offset.
    pub max_queue_index: i64,
    /// The first offset.
    pub min_queue_index: i64,
    /// The units.
    #[serde(deserialize_with = "or_default")]
    pub queue_data: Vec<ConsumeQueueUnit>,
    /// The subscription of the group that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// A unit of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueueUnit {
    /// Bits of a filter of a kind we do not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_map: Option<String>,
    /// Whether such a filter matches.
    pub eval: bool,
    /// What RocketMQ keeps beside the unit, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_data_json: Option<String>,
    /// Why the filter could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Log offset of the message.
    pub physic_offset: i64,
    /// Its size in bytes.
    pub physic_size: i32,
    /// Hash code of its tag.
    pub tags_code: i64,
}

/// Response to GET_ALL_CONSUMER_OFFSET (43): RocketMQ's `consumerOffset.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsets {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Positions by `topic@group` and queue.
    pub offset_table: BTreeMap<String, BTreeMap<u32, i64>>,
}

/// Response to GET_ALL_DELAY_OFFSET (45): RocketMQ's `delayOffset.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayOffsets {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Offset of the next message to deliver, by delay level.
    pub offset_table: BTreeMap<u32, i64>,
}
