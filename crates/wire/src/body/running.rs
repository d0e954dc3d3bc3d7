//! What consumers say when a tool asks through the broker: of themselves, response to GET_CONSUMER_RUNNING_INFO (307),
//! and of a message that they were given, response to CONSUME_MESSAGE_DIRECTLY (309).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::or_default;
use super::{QueueMap, SubscriptionData};

/// A consumer's inner state. Clients in other languages leave parts of it out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerRunningInfo {
    /// Stacks of its threads, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jstack: Option<String>,
    /// Queues it holds by POP.
    #[serde(deserialize_with = "or_default")]
    pub mq_pop_table: QueueMap<Value>,
    /// Queues it holds.
    #[serde(deserialize_with = "or_default")]
    pub mq_table: QueueMap<ProcessQueueInfo>,
    /// Its settings; mostly text.
    #[serde(deserialize_with = "or_default")]
    pub properties: BTreeMap<String, Value>,
    /// Rates by topic.
    #[serde(deserialize_with = "or_default")]
    pub status_table: BTreeMap<String, ConsumeStatus>,
    /// What it subscribes to.
    #[serde(deserialize_with = "or_default")]
    pub subscription_set: Vec<SubscriptionData>,
    /// What the application adds.
    #[serde(deserialize_with = "or_default")]
    pub user_consumer_info: BTreeMap<String, String>,
}

/// What a consumer has of a queue. Times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessQueueInfo {
    /// Messages pulled and not processed yet.
    pub cached_msg_count: i32,
    /// Offset of the last of them.
    pub cached_msg_max_offset: i64,
    /// Offset of the first of them.
    pub cached_msg_min_offset: i64,
    /// Their size.
    pub cached_msg_size_in_mi_b: i32,
    /// Position.
    pub commit_offset: i64,
    /// Whether it gave the queue up; spelled as on the wire.
    pub droped: bool,
    /// When it last processed one.
    pub last_consume_timestamp: i64,
    /// When it last had the queue's lock.
    pub last_lock_timestamp: i64,
    /// When it last pulled.
    pub last_pull_timestamp: i64,
    /// Whether it holds the queue's lock.
    pub locked: bool,
    /// Messages being processed in order.
    pub transaction_msg_count: i32,
    /// Offset of the last of them.
    pub transaction_msg_max_offset: i64,
    /// Offset of the first of them.
    pub transaction_msg_min_offset: i64,
    /// How often it tried to unlock.
    pub try_unlock_times: i64,
}

/// A consumer's rates in a topic. Times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatus {
    /// Messages that failed in the last hour.
    pub consume_failed_msgs: i64,
    /// Messages that fail a second.
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    /// Messages processed a second.
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    /// Time to process one.
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    /// Time of a pull.
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    /// Messages pulled a second.
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
}

/// What a consumer made of a message that it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeMessageDirectlyResult {
    /// Whether it commits by itself; of orderly consumers.
    pub auto_commit: bool,
    /// `CR_SUCCESS`, `CR_LATER`, `CR_ROLLBACK`, `CR_COMMIT`, `CR_THROW_EXCEPTION` or `CR_RETURN_NULL`.
    pub consume_result: Option<String>,
    /// Whether it consumes in order.
    pub order: bool,
    /// What it threw.
    pub remark: Option<String>,
    /// Milliseconds that it took.
    pub spent_time_mills: i64,
}
