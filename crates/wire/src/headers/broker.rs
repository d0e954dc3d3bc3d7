//! Headers of requests to and from the broker, and of their responses.

use std::borrow::Cow;

use super::field::{Boundary, Field};
use super::table::header;
use crate::header::{ExtFields, HeaderError};

/// Response to QUERY_CONSUMER_OFFSET (14).
pub type QueryConsumerOffsetResponse = OffsetResponse;

header! {
    /// SEND_MESSAGE (10) and SEND_REPLY_MESSAGE (324) under the long names; SEND_MESSAGE_V2 (310),
    /// SEND_BATCH_MESSAGE (320) and SEND_REPLY_MESSAGE_V2 (325) under the short ones.
    SendMessage<'a> {
        "producerGroup" | "a" => producer_group: Cow<'a, str>,
        "topic" | "b" => topic: Cow<'a, str>,
        "defaultTopic" | "c" => default_topic: Cow<'a, str>,
        "defaultTopicQueueNums" | "d" => default_topic_queue_nums: i32,
        "queueId" | "e" => queue_id: i32,
        "sysFlag" | "f" => sys_flag: i32,
        "bornTimestamp" | "g" => born_timestamp: i64,
        "flag" | "h" => flag: i32,
        "properties" | "i" => properties: Option<Cow<'a, str>>,
        "reconsumeTimes" | "j" => reconsume_times: Option<i32>,
        "unitMode" | "k" => unit_mode: bool = false,
        "maxReconsumeTimes" | "l" => max_reconsume_times: Option<i32>,
        "batch" | "m" => batch: bool = false,
        "bname" | "n" => broker_name: Option<Cow<'a, str>>,
    }

    /// Response to all forms of sending. `msg_id` is the offset message id; for a batch a comma list of them.
    SendMessageResponse<'a> {
        "msgId" => msg_id: Cow<'a, str>,
        "queueId" => queue_id: i32,
        "queueOffset" => queue_offset: i64,
        "transactionId" => transaction_id: Option<Cow<'a, str>>,
        "batchUniqId" => batch_uniq_id: Option<Cow<'a, str>>,
        "recallHandle" => recall_handle: Option<Cow<'a, str>>,
        "MSG_REGION" => region: Option<Cow<'a, str>>,
        "TRACE_ON" => trace_on: Option<bool>,
    }

    /// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).
    PullMessage<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
        "queueOffset" => queue_offset: i64,
        "maxMsgNums" => max_msg_nums: i32,
        "sysFlag" => sys_flag: i32,
        "commitOffset" => commit_offset: i64,
        "suspendTimeoutMillis" => suspend_timeout_millis: i64,
        "subscription" => subscription: Option<Cow<'a, str>>,
        "subVersion" => sub_version: i64,
        "expressionType" => expression_type: Option<Cow<'a, str>>,
        "maxMsgBytes" => max_msg_bytes: Option<i32>,
        "requestSource" => request_source: Option<i32>,
        "proxyFrowardClientId" => proxy_forward_client_id: Option<Cow<'a, str>>,
    }

    /// Response to a pull, on every outcome: clients decode it before they look at the body.
    PullMessageResponse {
        "suggestWhichBrokerId" => suggest_which_broker_id: i64,
        "nextBeginOffset" => next_begin_offset: i64,
        "minOffset" => min_offset: i64,
        "maxOffset" => max_offset: i64,
        "offsetDelta" => offset_delta: Option<i64>,
        "topicSysFlag" => topic_sys_flag: Option<i32>,
        "groupSysFlag" => group_sys_flag: Option<i32>,
        "forbiddenType" => forbidden_type: Option<i32>,
    }

    /// QUERY_MESSAGE (12). Timestamps in milliseconds.
    QueryMessage<'a> {
        "topic" => topic: Cow<'a, str>,
        "key" => key: Cow<'a, str>,
        "maxNum" => max_num: i32,
        "beginTimestamp" => begin_timestamp: i64,
        "endTimestamp" => end_timestamp: i64,
        "_UNIQUE_KEY_QUERY" => unique_key_query: bool = false,
        "indexType" => index_type: Option<Cow<'a, str>>,
    }

    /// Response to QUERY_MESSAGE.
    QueryMessageResponse {
        "indexLastUpdateTimestamp" => index_last_update_timestamp: i64,
        "indexLastUpdatePhyoffset" => index_last_update_phyoffset: i64,
    }

    /// VIEW_MESSAGE_BY_ID (33).
    ViewMessage<'a> {
        "topic" => topic: Option<Cow<'a, str>>,
        "offset" => offset: i64,
    }

    /// QUERY_CONSUMER_OFFSET (14).
    QueryConsumerOffset<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
        "setZeroIfNotFound" => set_zero_if_not_found: Option<bool>,
    }

    /// UPDATE_CONSUMER_OFFSET (15).
    UpdateConsumerOffset<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
        "commitOffset" => commit_offset: i64,
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29). The timestamp is in milliseconds.
    SearchOffset<'a> {
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
        "timestamp" => timestamp: i64,
        "boundaryType" => boundary: Boundary = Boundary::Lower,
    }

    /// GET_MAX_OFFSET (30).
    GetMaxOffset<'a> {
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
        "committed" => committed: bool = true,
    }

    /// GET_MIN_OFFSET (31).
    GetMinOffset<'a> {
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
    }

    /// GET_EARLIEST_MSG_STORETIME (32).
    GetEarliestMsgStoretime<'a> {
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
    }

    /// Response to the requests 14, 29, 30 and 31.
    OffsetResponse {
        "offset" => offset: i64,
    }

    /// Response to GET_EARLIEST_MSG_STORETIME, in milliseconds.
    TimestampResponse {
        "timestamp" => timestamp: i64,
    }

    /// Response to HEART_BEAT (34).
    HeartbeatResponse {
        "IS_SUPPORT_HEART_BEAT_V2" => supports_heartbeat_v2: bool = false,
        "IS_SUB_CHANGE" => subscription_changed: bool = false,
    }

    /// UNREGISTER_CLIENT (35).
    UnregisterClient<'a> {
        "clientID" => client_id: Cow<'a, str>,
        "producerGroup" => producer_group: Option<Cow<'a, str>>,
        "consumerGroup" => consumer_group: Option<Cow<'a, str>>,
    }

    /// GET_CONSUMER_LIST_BY_GROUP (38).
    GetConsumerListByGroup<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
    }

    /// INVOKE_BROKER_TO_RESET_OFFSET (222), and RESET_CONSUMER_CLIENT_OFFSET (220) from the broker to its clients. The
    /// timestamp is in milliseconds, negative for the end of the queue; queue -1 is all, offset -1 is none.
    ResetOffset<'a> {
        "topic" => topic: Cow<'a, str>,
        "group" => group: Cow<'a, str>,
        "queueId" => queue_id: i32 = -1,
        "offset" => offset: Option<i64>,
        "timestamp" => timestamp: i64,
        "isForce" => force: bool = false,
    }

    /// NOTIFY_CONSUMER_IDS_CHANGED (40), from the broker to its clients.
    NotifyConsumerIdsChanged<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
    }

    /// UPDATE_AND_CREATE_TOPIC (17).
    CreateTopic<'a> {
        "topic" => topic: Cow<'a, str>,
        "defaultTopic" => default_topic: Cow<'a, str>,
        "readQueueNums" => read_queue_nums: i32,
        "writeQueueNums" => write_queue_nums: i32,
        "perm" => perm: i32,
        "topicFilterType" => topic_filter_type: Cow<'a, str>,
        "topicSysFlag" => topic_sys_flag: Option<i32>,
        "order" => order: bool,
        "attributes" => attributes: Option<Cow<'a, str>>,
        "force" => force: bool = false,
    }

    /// DELETE_TOPIC_IN_BROKER (215) and DELETE_TOPIC_IN_NAMESRV (216); only the latter may name a cluster.
    DeleteTopic<'a> {
        "topic" => topic: Cow<'a, str>,
        "clusterName" => cluster_name: Option<Cow<'a, str>>,
    }

    /// Requests that only name a topic: 217, 300, 351 and others.
    TopicOnly<'a> {
        "topic" => topic: Cow<'a, str>,
    }

    /// GET_ALL_TOPIC_CONFIG (21). Old clients send none of the paging fields and want everything.
    GetAllTopicConfig<'a> {
        "topicSeq" => topic_seq: Option<i32>,
        "dataVersion" => data_version: Option<Cow<'a, str>>,
        "maxTopicNum" => max_topic_num: Option<i32>,
    }

    /// Response to a paged GET_ALL_TOPIC_CONFIG.
    GetAllTopicConfigResponse {
        "totalTopicNum" => total_topic_num: i32,
    }

    /// GET_TOPIC_STATS_INFO (202).
    GetTopicStats<'a> {
        "topic" => topic: Cow<'a, str>,
    }

    /// GET_CONSUMER_CONNECTION_LIST (203).
    GetConsumerConnectionList<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
    }

    /// GET_CONSUME_STATS (208).
    GetConsumeStats<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
        "topic" => topic: Option<Cow<'a, str>>,
        "topicList" => topic_list: Option<Cow<'a, str>>,
    }

    /// CONSUMER_SEND_MSG_BACK (36). `offset` is the message's log offset.
    ConsumerSendMsgBack<'a> {
        "offset" => offset: i64,
        "group" => group: Cow<'a, str>,
        "delayLevel" => delay_level: i32,
        "originMsgId" => origin_msg_id: Option<Cow<'a, str>>,
        "originTopic" => origin_topic: Option<Cow<'a, str>>,
        "unitMode" => unit_mode: bool = false,
        "maxReconsumeTimes" => max_reconsume_times: Option<i32>,
    }

    /// GET_SUBSCRIPTIONGROUP_CONFIG (352).
    GetSubscriptionGroup<'a> {
        "group" => group: Cow<'a, str>,
    }

    /// DELETE_SUBSCRIPTIONGROUP (207). Tools of RocketMQ 4 say `removeOffset`, those of 5 `cleanOffset`.
    DeleteSubscriptionGroup<'a> {
        "groupName" => group_name: Cow<'a, str>,
        "cleanOffset" => clean_offset: bool = false,
        "removeOffset" => remove_offset: bool = false,
    }

    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201). Old clients send none of the fields and want everything.
    GetAllSubscriptionGroups<'a> {
        "groupSeq" => group_seq: Option<i32>,
        "dataVersion" => data_version: Option<Cow<'a, str>>,
        "maxGroupNum" => max_group_num: Option<i32>,
    }

    /// Response to GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
    GetAllSubscriptionGroupsResponse {
        "totalGroupNum" => total_group_num: i32,
    }

    /// GET_PRODUCER_CONNECTION_LIST (204).
    GetProducerConnectionList<'a> {
        "producerGroup" => producer_group: Cow<'a, str>,
    }

    /// GET_CONSUMER_RUNNING_INFO (307), with the stacks of its threads if wanted, and CONSUME_MESSAGE_DIRECTLY (309):
    /// which client of which group.
    ConsumerClient<'a> {
        "consumerGroup" => consumer_group: Cow<'a, str>,
        "clientId" => client_id: Option<Cow<'a, str>>,
        "jstackEnable" => jstack: bool = false,
        "msgId" => msg_id: Option<Cow<'a, str>>,
    }

    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223), and GET_CONSUMER_STATUS_FROM_CLIENT (221) from the broker. The
    /// client's address is its id.
    GetConsumerStatus<'a> {
        "topic" => topic: Cow<'a, str>,
        "group" => group: Cow<'a, str>,
        "clientAddr" => client_addr: Option<Cow<'a, str>>,
    }

    /// QUERY_TOPICS_BY_CONSUMER (343), QUERY_SUBSCRIPTION_BY_CONSUMER (345).
    GroupAndTopic<'a> {
        "group" => group: Cow<'a, str>,
        "topic" => topic: Option<Cow<'a, str>>,
    }

    /// QUERY_CONSUME_QUEUE (321).
    QueryConsumeQueue<'a> {
        "topic" => topic: Cow<'a, str>,
        "queueId" => queue_id: i32,
        "index" => index: i64,
        "count" => count: i32,
        "consumerGroup" => consumer_group: Option<Cow<'a, str>>,
    }
}
