//! Bodies about subscription groups: the settings of consumer groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DataVersion;
use super::lenient::{named_enum, or_default};

/// Settings of a consumer group (RocketMQ's `SubscriptionGroupConfig`): body of
/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200), response to GET_SUBSCRIPTIONGROUP_CONFIG (352).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Free attributes.
    #[serde(deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, String>,
    /// Replica that consumers pull from.
    pub broker_id: i64,
    /// Whether members may each get all messages.
    pub consume_broadcast_enable: bool,
    /// Whether the group may pull at all.
    pub consume_enable: bool,
    /// Whether a group without positions may start at the oldest message.
    pub consume_from_min_enable: bool,
    /// Whether members get messages in order (gRPC clients ask).
    pub consume_message_orderly: bool,
    /// Minutes a member may take for a message.
    pub consume_timeout_minute: i32,
    /// The group.
    pub group_name: String,
    /// How long to wait between retries (gRPC clients ask).
    #[serde(deserialize_with = "or_default")]
    pub group_retry_policy: GroupRetryPolicy,
    /// Group system flag: 1 unit.
    pub group_sys_flag: i32,
    /// Whether members are told when others come or go.
    pub notify_consumer_ids_changed_enable: bool,
    /// Retries after which a message goes to the group's dead letters.
    pub retry_max_times: i32,
    /// Queues of the group's retry topic.
    pub retry_queue_nums: i32,
    /// What the group subscribes to, if it is fixed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub subscription_data_set: Vec<SimpleSubscriptionData>,
    /// Replica that slow consumers pull from.
    pub which_broker_when_consume_slowly: i64,
}

/// RocketMQ's defaults.
impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: Vec::new(),
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// A subscription that a group is fixed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SimpleSubscriptionData {
    /// The expression.
    #[serde(deserialize_with = "or_default")]
    pub expression: String,
    /// `TAG` or `SQL92`.
    #[serde(deserialize_with = "or_default")]
    pub expression_type: String,
    /// Topic.
    #[serde(deserialize_with = "or_default")]
    pub topic: String,
    /// When it was made, in milliseconds.
    pub version: i64,
}

named_enum! {
    /// How a group's retry intervals are given.
    GroupRetryPolicyType {
        /// By a list.
        Customized = "CUSTOMIZED",
        /// By a rule.
        Exponential = "EXPONENTIAL",
    }
}

/// Retry intervals of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRetryPolicy {
    /// For [`GroupRetryPolicyType::Customized`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    /// For [`GroupRetryPolicyType::Exponential`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
    /// Which of the two counts.
    pub r#type: GroupRetryPolicyType,
}

impl Default for GroupRetryPolicy {
    fn default() -> Self {
        let r#type = GroupRetryPolicyType::Customized;
        Self { customized_retry_policy: None, exponential_retry_policy: None, r#type }
    }
}

/// Retry intervals as a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomizedRetryPolicy {
    /// Milliseconds before each retry; the last one repeats.
    #[serde(default, deserialize_with = "or_default")]
    pub next: Vec<i64>,
}

/// Retry intervals that grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialRetryPolicy {
    /// Milliseconds before the first retry.
    pub initial: i64,
    /// Most milliseconds.
    pub max: i64,
    /// Growth from one to the next.
    pub multiplier: i64,
}

/// RocketMQ's defaults.
impl Default for ExponentialRetryPolicy {
    fn default() -> Self {
        Self { initial: 5_000, max: 7_200_000, multiplier: 2 }
    }
}

/// Body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupList {
    /// The groups.
    #[serde(deserialize_with = "or_default")]
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// Response to GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Topics that a group may not read, as bits by topic by group.
    #[serde(deserialize_with = "or_default")]
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// Settings by group.
    #[serde(deserialize_with = "or_default")]
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    #[test]
    fn what_is_left_out_has_rocketmqs_default() {
        let config = SubscriptionGroupConfig::decode(br#"{"groupName":"g","retryMaxTimes":3}"#).unwrap();
        let expected =
            SubscriptionGroupConfig { group_name: "g".into(), retry_max_times: 3, ..Default::default() };
        assert_eq!(config, expected);
        assert!(config.consume_enable && config.retry_queue_nums == 1);
        assert_eq!(SubscriptionGroupConfig::decode(&config.encode()).unwrap(), config);
    }

    #[test]
    fn a_retry_policy_survives() {
        let text = br#"{"groupName":"g","groupRetryPolicy":{"type":"EXPONENTIAL","exponentialRetryPolicy":
            {"initial":1000,"max":9000,"multiplier":3}},"subscriptionDataSet":null,"attributes":null}"#;
        let config = SubscriptionGroupConfig::decode(text).unwrap();
        let policy = config.group_retry_policy.exponential_retry_policy.as_ref().unwrap();
        assert_eq!((policy.initial, policy.max, policy.multiplier), (1000, 9000, 3));
        assert_eq!(SubscriptionGroupConfig::decode(&config.encode()).unwrap(), config);
    }
}
