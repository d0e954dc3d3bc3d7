//! Headers of requests to the name server, and of their responses.

use std::borrow::Cow;

use super::field::Field;
use super::table::header;
use crate::header::{ExtFields, HeaderError};

header! {
    /// REGISTER_BROKER (103).
    RegisterBroker<'a> {
        "brokerName" => broker_name: Cow<'a, str>,
        "brokerAddr" => broker_addr: Cow<'a, str>,
        "clusterName" => cluster_name: Cow<'a, str>,
        "haServerAddr" => ha_server_addr: Cow<'a, str>,
        "brokerId" => broker_id: i64,
        "heartbeatTimeoutMillis" => heartbeat_timeout_millis: Option<i64>,
        "enableActingMaster" => enable_acting_master: Option<bool>,
        "compressed" => compressed: bool = false,
        "bodyCrc32" => body_crc32: i32 = 0,
    }

    /// Response to REGISTER_BROKER.
    RegisterBrokerResponse<'a> {
        "haServerAddr" => ha_server_addr: Option<Cow<'a, str>>,
        "masterAddr" => master_addr: Option<Cow<'a, str>>,
    }

    /// UNREGISTER_BROKER (104).
    UnregisterBroker<'a> {
        "brokerName" => broker_name: Cow<'a, str>,
        "brokerAddr" => broker_addr: Cow<'a, str>,
        "clusterName" => cluster_name: Cow<'a, str>,
        "brokerId" => broker_id: i64,
    }

    /// GET_ROUTEINFO_BY_TOPIC (105).
    GetRouteInfo<'a> {
        "topic" => topic: Cow<'a, str>,
        "acceptStandardJsonOnly" => accept_standard_json_only: bool = false,
    }

    /// GET_TOPICS_BY_CLUSTER (224).
    GetTopicsByCluster<'a> {
        "cluster" => cluster: Cow<'a, str>,
    }

    /// PUT_KV_CONFIG (100).
    PutKvConfig<'a> {
        "namespace" => namespace: Cow<'a, str>,
        "key" => key: Cow<'a, str>,
        "value" => value: Cow<'a, str>,
    }

    /// GET_KV_CONFIG (101).
    GetKvConfig<'a> {
        "namespace" => namespace: Cow<'a, str>,
        "key" => key: Cow<'a, str>,
    }

    /// Response to GET_KV_CONFIG.
    GetKvConfigResponse<'a> {
        "value" => value: Option<Cow<'a, str>>,
    }

    /// DELETE_KV_CONFIG (102).
    DeleteKvConfig<'a> {
        "namespace" => namespace: Cow<'a, str>,
        "key" => key: Cow<'a, str>,
    }

    /// GET_KVLIST_BY_NAMESPACE (219).
    GetKvList<'a> {
        "namespace" => namespace: Cow<'a, str>,
    }

    /// WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
    WritePermOfBroker<'a> {
        "brokerName" => broker_name: Cow<'a, str>,
    }

    /// Response to WIPE_WRITE_PERM_OF_BROKER: topics that were changed.
    WipeWritePermResponse {
        "wipeTopicCount" => topics: i32,
    }

    /// Response to ADD_WRITE_PERM_OF_BROKER: topics that were changed.
    AddWritePermResponse {
        "addTopicCount" => topics: i32,
    }
}
