//! Bodies of client registration and of queue locks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::lenient::{named_enum, number, numbers, or_default};

/// A queue of a topic on one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageQueue {
    /// Name of the broker that holds it.
    pub broker_name: String,
    /// Number of the queue in the topic on that broker.
    pub queue_id: i32,
    /// Topic.
    pub topic: String,
}

/// Body of HEART_BEAT (34): what groups a client has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// The client's id, `ip@instance`.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Consumer groups and their subscriptions.
    #[serde(deserialize_with = "or_default")]
    pub consumer_data_set: Vec<ConsumerData>,
    /// Hash of the subscriptions in a second-version heartbeat, else 0.
    #[serde(deserialize_with = "number")]
    pub heartbeat_fingerprint: i64,
    /// Producer groups.
    #[serde(deserialize_with = "or_default")]
    pub producer_data_set: Vec<ProducerData>,
    /// Whether a second-version heartbeat leaves the subscriptions out. Also read as `isWithoutSub`.
    #[serde(alias = "isWithoutSub")]
    pub without_sub: bool,
}

/// A producer group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerData {
    /// Its name.
    pub group_name: String,
}

/// A consumer group and what it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerData {
    /// Where a group without stored offsets starts.
    pub consume_from_where: ConsumeFromWhere,
    /// Pull, push or pop.
    pub consume_type: ConsumeType,
    /// The group's name.
    pub group_name: String,
    /// Whether members share the messages or each get all.
    pub message_model: MessageModel,
    /// Subscriptions, one a topic.
    #[serde(default, deserialize_with = "or_default")]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Unused by us; kept.
    #[serde(default)]
    pub unit_mode: bool,
}

named_enum! {
    /// How a consumer gets its messages.
    ConsumeType {
        /// Pull consumer.
        Actively = "CONSUME_ACTIVELY",
        /// Push consumer.
        Passively = "CONSUME_PASSIVELY",
        /// Pop consumer.
        Pop = "CONSUME_POP",
    }

    /// Who of a group gets a message.
    MessageModel {
        /// Every member.
        Broadcasting = "BROADCASTING",
        /// One member.
        Clustering = "CLUSTERING",
    }

    /// Where a consumer group without stored offsets starts.
    ConsumeFromWhere {
        /// At the newest message.
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Deprecated form of [`ConsumeFromWhere::LastOffset`].
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated form of [`ConsumeFromWhere::FirstOffset`].
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated form of [`ConsumeFromWhere::LastOffset`].
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the oldest message.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a time the client knows.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

/// What a consumer group wants of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Filter by a Java class; long dead.
    pub class_filter_mode: bool,
    /// Java hash codes of the tags.
    #[serde(deserialize_with = "numbers")]
    pub code_set: BTreeSet<i32>,
    /// `TAG` or `SQL92`; `None` means `TAG`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression_type: Option<String>,
    /// The expression: `*`, `a || b`, or SQL.
    #[serde(deserialize_with = "or_default")]
    pub sub_string: String,
    /// Version, the time of subscription.
    #[serde(deserialize_with = "number")]
    pub sub_version: i64,
    /// The tags.
    #[serde(deserialize_with = "or_default")]
    pub tags_set: BTreeSet<String>,
    /// Topic.
    pub topic: String,
}

/// Body of CHECK_CLIENT_CONFIG (46).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckClientRequestBody {
    /// The client's id.
    pub client_id: String,
    /// The consumer group.
    pub group: String,
    /// Namespace of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The subscription to check.
    pub subscription_data: SubscriptionData,
}

/// Body of LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockBatchRequest {
    /// The client that locks.
    pub client_id: String,
    /// Its consumer group.
    pub consumer_group: String,
    /// The queues to lock or unlock.
    #[serde(default, deserialize_with = "or_default")]
    pub mq_set: Vec<MessageQueue>,
    /// Whether the broker must not ask the other replicas.
    #[serde(default)]
    pub only_this_broker: bool,
}

/// Body of the response to LOCK_BATCH_MQ: the queues the client now holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockBatchResponse {
    /// The locked queues.
    #[serde(rename = "lockOKMQSet", default, deserialize_with = "or_default")]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

/// Body of the response to GET_CONSUMER_LIST_BY_GROUP (38).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerIdList {
    /// Client ids of the members.
    pub consumer_id_list: Vec<String>,
}
