//! Bodies of routes, broker registration and topic configs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{named_enum, or_default};
use super::{Body, BodyError};

/// Body of the response to GET_ROUTEINFO_BY_TOPIC (105).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRouteData {
    /// The brokers that hold the topic.
    #[serde(deserialize_with = "or_default")]
    pub broker_datas: Vec<BrokerData>,
    /// Filter servers by broker address; long dead, always written.
    #[serde(deserialize_with = "or_default")]
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// `brokerName:num;brokerName:num` for an ordered topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// How many queues each broker has.
    #[serde(deserialize_with = "or_default")]
    pub queue_datas: Vec<QueueData>,
}

/// The queues of a topic on one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueData {
    /// The broker's name.
    pub broker_name: String,
    /// Permission bits: 1 inherit, 2 write, 4 read.
    pub perm: i32,
    /// Number of queues to read from.
    pub read_queue_nums: i32,
    /// Topic system flag: 1 unit, 2 unit subscription.
    #[serde(default)]
    pub topic_sys_flag: i32,
    /// Number of queues to write to.
    pub write_queue_nums: i32,
}

/// The addresses of one broker's replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerData {
    /// `ip:port` by broker id; 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    /// The broker's name.
    pub broker_name: String,
    /// The cluster's name.
    pub cluster: String,
    /// Whether a slave may act as master.
    #[serde(default)]
    pub enable_acting_master: bool,
    /// Availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// Body of the response to GET_BROKER_CLUSTER_INFO (106).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// Brokers by name.
    #[serde(deserialize_with = "or_default")]
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    #[serde(deserialize_with = "or_default")]
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

/// Version of a set of configs; the greater `state_version`, then `counter`, is the newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Number of changes.
    pub counter: i64,
    /// Epoch of the state that counts.
    pub state_version: i64,
    /// Time of the last change, in milliseconds.
    pub timestamp: i64,
}

named_enum! {
    /// How many tags a message of a topic may have.
    TopicFilterType {
        /// One tag.
        SingleTag = "SINGLE_TAG",
        /// Several tags.
        MultiTag = "MULTI_TAG",
    }
}

/// Config of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Attributes such as `message.type`.
    #[serde(deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, String>,
    /// Whether the topic is ordered.
    pub order: bool,
    /// Permission bits: 1 inherit, 2 write, 4 read.
    pub perm: i32,
    /// Number of queues to read from.
    pub read_queue_nums: i32,
    /// How many tags a message may have.
    pub topic_filter_type: TopicFilterType,
    /// The topic.
    pub topic_name: String,
    /// Topic system flag: 1 unit, 2 unit subscription.
    pub topic_sys_flag: i32,
    /// Number of queues to write to.
    pub write_queue_nums: i32,
}

/// RocketMQ's defaults: 16 queues, read and write.
impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

/// Topic configs with their version: part of a registration, and the response to GET_ALL_TOPIC_CONFIG (21).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigSerializeWrapper {
    /// Version of the configs.
    pub data_version: DataVersion,
    /// Version of the static-topic mappings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping_data_version: Option<DataVersion>,
    /// Configs by topic.
    #[serde(deserialize_with = "or_default")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static-topic mappings, which we do not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_detail_map: Option<Value>,
    /// Static-topic mappings, which we do not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_info_map: Option<Value>,
}

/// Body of REGISTER_BROKER (103), uncompressed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// Filter servers; long dead.
    #[serde(deserialize_with = "or_default")]
    pub filter_server_list: Vec<String>,
    /// The broker's topics.
    pub topic_config_serialize_wrapper: TopicConfigSerializeWrapper,
}

impl RegisterBrokerBody {
    /// Reads the body of a registration whose header says whether it is `compressed`, which is not supported.
    pub fn decode_registration(bytes: &[u8], compressed: bool) -> Result<Self, BodyError> {
        if compressed {
            return Err(BodyError::Unsupported(
                "compressed broker registration is not supported, set compressedRegister=false",
            ));
        }
        Self::decode(bytes)
    }
}
