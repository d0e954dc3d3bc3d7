//! Requests, decoded at the edge before the core sees them. The table from request code to handler is
//! [`decode`] (code → request) and `services::dispatch` (request → handler). The files below this one read the requests
//! of one kind of service each.

mod compression;
mod consume;
mod operate;
mod send;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use bytes::Bytes;
pub use consume::{PullRequest, QueryRequest, SendBackRequest};
use consume::{heartbeat, lock, pull, query, send_back};
pub use operate::{ConsumeQueueRequest, RelayRequest, ResetRequest, ResetTarget, StatusRequest};
use operate::{group_page, relay, reset, topic_config};
pub(crate) use send::derived;
pub use send::{PreparedRecord, SendRequest};
use steadfast_types::{QueueId, Timestamp, limits};
use steadfast_wire::body::{
    Body, CheckClientRequestBody, HeartbeatData, LockBatchRequest, SubscriptionGroupConfig,
    SubscriptionGroupList,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::{ExtFields, Header, HeaderError};
use steadfast_wire::headers::{self, Boundary};

use crate::reply::Reply;
pub use crate::services::GroupPage;
use crate::state::TopicConfig;
use crate::state::attributes::Changes;

/// What decoding needs to know of the broker.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Advertised address.
    pub store_host: SocketAddr,
    /// Largest body in bytes; may change at run time.
    pub max_body: Arc<AtomicUsize>,
    /// Region put on every message.
    pub region: String,
    /// Cluster put on every message.
    pub cluster: String,
    /// Distinguishes the ids that this process makes for messages without one.
    pub process_id: u32,
    /// Counts them.
    pub ids: Arc<AtomicU32>,
}

/// A request in the terms of the broker.
#[derive(Debug, Clone)]
pub enum Request {
    /// SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE.
    Send(Box<SendRequest>),
    /// PULL_MESSAGE, LITE_PULL_MESSAGE.
    Pull(Box<PullRequest>),
    /// QUERY_MESSAGE.
    QueryMessage(QueryRequest),
    /// VIEW_MESSAGE_BY_ID.
    ViewMessage(u64),
    /// QUERY_CONSUMER_OFFSET.
    QueryConsumerOffset {
        /// Group.
        group: String,
        /// Queue.
        queue: QueueRef,
        /// False: say 22 rather than 0 for a group that has no position.
        zero_if_absent: bool,
    },
    /// UPDATE_CONSUMER_OFFSET.
    UpdateConsumerOffset {
        /// Group.
        group: String,
        /// Queue.
        queue: QueueRef,
        /// Everything before it is processed.
        offset: i64,
    },
    /// SEARCH_OFFSET_BY_TIMESTAMP.
    SearchOffset {
        /// Queue.
        queue: QueueRef,
        /// Milliseconds.
        time: Timestamp,
        /// Last message not after the time, instead of first not before it.
        upper: bool,
    },
    /// GET_MAX_OFFSET.
    GetMaxOffset(QueueRef),
    /// GET_MIN_OFFSET.
    GetMinOffset(QueueRef),
    /// GET_EARLIEST_MSG_STORETIME.
    GetEarliestStoreTime(QueueRef),
    /// HEART_BEAT, with the language the client names.
    Heartbeat(Box<HeartbeatData>, &'static str),
    /// UNREGISTER_CLIENT.
    UnregisterClient {
        /// Client.
        client_id: String,
        /// Its producer group.
        producer_group: Option<String>,
        /// Its consumer group.
        consumer_group: Option<String>,
    },
    /// GET_CONSUMER_LIST_BY_GROUP.
    GetConsumerList(String),
    /// CHECK_CLIENT_CONFIG.
    CheckClientConfig(Box<CheckClientRequestBody>),
    /// UPDATE_AND_CREATE_TOPIC: the settings, and how the attributes change.
    CreateTopic(TopicConfig, Changes),
    /// DELETE_TOPIC_IN_BROKER.
    DeleteTopic(String),
    /// GET_TOPIC_CONFIG.
    GetTopicConfig(String),
    /// GET_BROKER_CONFIG.
    GetBrokerConfig,
    /// GET_RETENTION.
    GetRetention,
    /// GET_BROKER_RUNTIME_INFO.
    GetRuntimeInfo,
    /// GET_TOPIC_STATS_INFO.
    GetTopicStats(String),
    /// GET_CONSUMER_CONNECTION_LIST.
    GetConsumerConnections(String),
    /// GET_CONSUME_STATS: group, and the topic or all of them.
    GetConsumeStats(String, Option<String>),
    /// QUERY_TOPIC_CONSUME_BY_WHO.
    QueryTopicConsumers(String),
    /// GET_CONSUMER_RUNNING_INFO, CONSUME_MESSAGE_DIRECTLY.
    Relay(Box<RelayRequest>),
    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS.
    GetConsumerStatus(Box<StatusRequest>),
    /// GET_PRODUCER_CONNECTION_LIST.
    GetProducerConnections(String),
    /// GET_ALL_TOPIC_CONFIG, perhaps a page of it.
    GetAllTopicConfig {
        /// Topics before the page.
        skip: usize,
        /// Most topics on it.
        max: usize,
    },
    /// GET_SYSTEM_TOPIC_LIST_FROM_BROKER.
    GetSystemTopics,
    /// QUERY_TOPICS_BY_CONSUMER.
    QueryTopicsByConsumer(String),
    /// QUERY_SUBSCRIPTION_BY_CONSUMER.
    QuerySubscription {
        /// Group.
        group: String,
        /// Topic.
        topic: String,
    },
    /// QUERY_CONSUME_QUEUE.
    QueryConsumeQueue(Box<ConsumeQueueRequest>),
    /// INVOKE_BROKER_TO_RESET_OFFSET.
    ResetOffset(Box<ResetRequest>),
    /// LOCK_BATCH_MQ.
    LockQueues(Box<LockBatchRequest>),
    /// UNLOCK_BATCH_MQ.
    UnlockQueues(Box<LockBatchRequest>),
    /// GET_ALL_CONSUMER_OFFSET.
    GetConsumerOffsets,
    /// GET_ALL_DELAY_OFFSET.
    GetDelayOffsets,
    /// CONSUMER_SEND_MSG_BACK.
    SendBack(Box<SendBackRequest>),
    /// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, alone or as a list.
    PutGroups(Vec<SubscriptionGroupConfig>),
    /// DELETE_SUBSCRIPTIONGROUP.
    DeleteGroup {
        /// Group.
        group: String,
        /// Its positions too.
        with_positions: bool,
    },
    /// GET_SUBSCRIPTIONGROUP_CONFIG.
    GetGroup(String),
    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
    GetGroups(GroupPage),
}

/// A queue as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRef {
    /// Topic.
    pub topic: String,
    /// Queue id; clients may send anything.
    pub queue_id: i32,
}

impl QueueRef {
    /// The id, unless it is negative.
    pub fn id(&self) -> Option<QueueId> {
        u32::try_from(self.queue_id).ok().map(QueueId::new)
    }
}

/// Turns a frame's header and body into a request. Pure and without order: it runs at the edge, many at once.
///
/// # Errors
/// The answer to send instead.
pub fn decode(
    edge: &Edge,
    peer: SocketAddr,
    now: Timestamp,
    header: &Header<'_>,
    body: Bytes,
) -> Result<Request, Reply> {
    let ext = &header.ext;
    check_names(ext)?;
    Ok(match header.code {
        request::SEND_MESSAGE => {
            let send = headers::SendMessage::decode(ext).map_err(malformed)?;
            Request::Send(Box::new(send::prepare(edge, peer, now, &send, false, body)?))
        }
        request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
            let send = headers::SendMessage::decode_v2(ext).map_err(malformed)?;
            let batch = send.batch || header.code == request::SEND_BATCH_MESSAGE;
            Request::Send(Box::new(send::prepare(edge, peer, now, &send, batch, body)?))
        }
        request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => Request::Pull(Box::new(pull(ext)?)),
        request::QUERY_MESSAGE => Request::QueryMessage(query(ext)?),
        request::VIEW_MESSAGE_BY_ID => {
            let view = headers::ViewMessage::decode(ext).map_err(malformed)?;
            Request::ViewMessage(u64::try_from(view.offset).unwrap_or(u64::MAX))
        }
        request::QUERY_CONSUMER_OFFSET => {
            let h = headers::QueryConsumerOffset::decode(ext).map_err(malformed)?;
            Request::QueryConsumerOffset {
                group: h.consumer_group.into_owned(),
                queue: QueueRef { topic: h.topic.into_owned(), queue_id: h.queue_id },
                zero_if_absent: h.set_zero_if_not_found.unwrap_or(true),
            }
        }
        request::UPDATE_CONSUMER_OFFSET => {
            let h = headers::UpdateConsumerOffset::decode(ext).map_err(malformed)?;
            Request::UpdateConsumerOffset {
                group: h.consumer_group.into_owned(),
                queue: QueueRef { topic: h.topic.into_owned(), queue_id: h.queue_id },
                offset: h.commit_offset,
            }
        }
        request::SEARCH_OFFSET_BY_TIMESTAMP => {
            let h = headers::SearchOffset::decode(ext).map_err(malformed)?;
            Request::SearchOffset {
                queue: QueueRef { topic: h.topic.into_owned(), queue_id: h.queue_id },
                time: Timestamp::new(u64::try_from(h.timestamp).unwrap_or(0)),
                upper: h.boundary == Boundary::Upper,
            }
        }
        request::GET_MAX_OFFSET => Request::GetMaxOffset(queue_of(ext)?),
        request::GET_MIN_OFFSET => Request::GetMinOffset(queue_of(ext)?),
        request::GET_EARLIEST_MSG_STORETIME => Request::GetEarliestStoreTime(queue_of(ext)?),
        request::HEART_BEAT => Request::Heartbeat(Box::new(heartbeat(&body)?), header.language.name()),
        request::UNREGISTER_CLIENT => {
            let h = headers::UnregisterClient::decode(ext).map_err(malformed)?;
            Request::UnregisterClient {
                client_id: h.client_id.into_owned(),
                producer_group: h.producer_group.map(|g| g.into_owned()),
                consumer_group: h.consumer_group.map(|g| g.into_owned()),
            }
        }
        request::GET_CONSUMER_LIST_BY_GROUP => {
            let h = headers::GetConsumerListByGroup::decode(ext).map_err(malformed)?;
            Request::GetConsumerList(h.consumer_group.into_owned())
        }
        request::CHECK_CLIENT_CONFIG => Request::CheckClientConfig(Box::new(json(&body)?)),
        request::UPDATE_AND_CREATE_TOPIC => {
            let (config, attributes) = topic_config(ext)?;
            Request::CreateTopic(config, attributes)
        }
        request::DELETE_TOPIC_IN_BROKER => {
            let h = headers::DeleteTopic::decode(ext).map_err(malformed)?;
            Request::DeleteTopic(h.topic.into_owned())
        }
        request::GET_TOPIC_CONFIG => Request::GetTopicConfig(topic_of(ext)?),
        request::GET_BROKER_CONFIG => Request::GetBrokerConfig,
        request::GET_RETENTION => Request::GetRetention,
        request::GET_BROKER_RUNTIME_INFO => Request::GetRuntimeInfo,
        request::GET_TOPIC_STATS_INFO => Request::GetTopicStats(topic_of(ext)?),
        request::GET_CONSUMER_CONNECTION_LIST => {
            let h = headers::GetConsumerConnectionList::decode(ext).map_err(malformed)?;
            Request::GetConsumerConnections(h.consumer_group.into_owned())
        }
        request::GET_CONSUME_STATS => {
            let h = headers::GetConsumeStats::decode(ext).map_err(malformed)?;
            let topic = h.topic.filter(|t| !t.is_empty()).map(|t| t.into_owned());
            Request::GetConsumeStats(h.consumer_group.into_owned(), topic)
        }
        code @ (request::GET_CONSUMER_RUNNING_INFO | request::CONSUME_MESSAGE_DIRECTLY) => {
            Request::Relay(Box::new(relay(code, ext, body)?))
        }
        request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => {
            let h = headers::GetConsumerStatus::decode(ext).map_err(malformed)?;
            let client = h.client_addr.filter(|client| !client.is_empty()).map(|c| c.into_owned());
            let (group, topic) = (h.group.into_owned(), h.topic.into_owned());
            Request::GetConsumerStatus(Box::new(StatusRequest { group, topic, client }))
        }
        request::GET_PRODUCER_CONNECTION_LIST => {
            let h = headers::GetProducerConnectionList::decode(ext).map_err(malformed)?;
            Request::GetProducerConnections(h.producer_group.into_owned())
        }
        request::GET_ALL_TOPIC_CONFIG => {
            let h = headers::GetAllTopicConfig::decode(ext).map_err(malformed)?;
            let number = |n: Option<i32>| n.and_then(|n| usize::try_from(n).ok());
            let max = number(h.max_topic_num).unwrap_or(usize::MAX);
            Request::GetAllTopicConfig { skip: number(h.topic_seq).unwrap_or(0), max }
        }
        request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => Request::GetSystemTopics,
        request::QUERY_TOPICS_BY_CONSUMER => {
            let h = headers::GroupAndTopic::decode(ext).map_err(malformed)?;
            Request::QueryTopicsByConsumer(h.group.into_owned())
        }
        request::QUERY_SUBSCRIPTION_BY_CONSUMER => {
            let h = headers::GroupAndTopic::decode(ext).map_err(malformed)?;
            let topic = h.topic.map(|topic| topic.into_owned()).unwrap_or_default();
            Request::QuerySubscription { group: h.group.into_owned(), topic }
        }
        request::QUERY_CONSUME_QUEUE => {
            let h = headers::QueryConsumeQueue::decode(ext).map_err(malformed)?;
            Request::QueryConsumeQueue(Box::new(ConsumeQueueRequest {
                queue: QueueRef { topic: h.topic.into_owned(), queue_id: h.queue_id },
                index: h.index,
                count: usize::try_from(h.count).unwrap_or(0),
                group: h.consumer_group.filter(|group| !group.is_empty()).map(|group| group.into_owned()),
            }))
        }
        request::INVOKE_BROKER_TO_RESET_OFFSET => Request::ResetOffset(Box::new(reset(ext)?)),
        request::QUERY_TOPIC_CONSUME_BY_WHO => Request::QueryTopicConsumers(topic_of(ext)?),
        request::LOCK_BATCH_MQ => Request::LockQueues(Box::new(lock(&body)?)),
        request::UNLOCK_BATCH_MQ => Request::UnlockQueues(Box::new(lock(&body)?)),
        request::GET_ALL_CONSUMER_OFFSET => Request::GetConsumerOffsets,
        request::GET_ALL_DELAY_OFFSET => Request::GetDelayOffsets,
        request::CONSUMER_SEND_MSG_BACK => Request::SendBack(Box::new(send_back(ext)?)),
        request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => Request::PutGroups(vec![json(&body)?]),
        request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => {
            Request::PutGroups(json::<SubscriptionGroupList>(&body)?.group_config_list)
        }
        request::DELETE_SUBSCRIPTIONGROUP => {
            let h = headers::DeleteSubscriptionGroup::decode(ext).map_err(malformed)?;
            let with_positions = h.clean_offset || h.remove_offset;
            Request::DeleteGroup { group: h.group_name.into_owned(), with_positions }
        }
        request::GET_SUBSCRIPTIONGROUP_CONFIG => {
            let h = headers::GetSubscriptionGroup::decode(ext).map_err(malformed)?;
            Request::GetGroup(h.group.into_owned())
        }
        request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => Request::GetGroups(group_page(ext)?),
        code => {
            let remark = format!("request type {code} not supported");
            return Err(Reply::error(response::REQUEST_CODE_NOT_SUPPORTED, remark));
        }
    })
}

/// Ext fields that name something.
const NAMES: [&str; 8] =
    ["topic", "b", "group", "consumerGroup", "producerGroup", "a", "originTopic", "clientID"];

/// Names are bounded before anything takes them up: they end up in control records and in every snapshot.
fn check_names(ext: &ExtFields<'_>) -> Result<(), Reply> {
    let mut long = ext.iter().filter(|(_, value)| value.len() > limits::NAME_LEN);
    long.find(|(what, _)| NAMES.contains(what)).map_or(Ok(()), |(what, name)| check_name(what, name))
}

fn check_name(what: &str, name: &str) -> Result<(), Reply> {
    if name.len() <= limits::NAME_LEN {
        return Ok(());
    }
    let remark =
        format!("{what} has {} bytes, the limit is {}; nothing was stored", name.len(), limits::NAME_LEN);
    Err(Reply::error(response::SYSTEM_ERROR, remark))
}

fn malformed(error: HeaderError) -> Reply {
    Reply::error(response::SYSTEM_ERROR, format!("the request's header is not usable: {error}"))
}

fn json<T: Body>(body: &[u8]) -> Result<T, Reply> {
    T::decode(body).map_err(|error| {
        Reply::error(response::SYSTEM_ERROR, format!("the request's body is not usable: {error}"))
    })
}

fn queue_of(ext: &ExtFields<'_>) -> Result<QueueRef, Reply> {
    let h = headers::GetMinOffset::decode(ext).map_err(malformed)?;
    Ok(QueueRef { topic: h.topic.into_owned(), queue_id: h.queue_id })
}

fn topic_of(ext: &ExtFields<'_>) -> Result<String, Reply> {
    Ok(headers::TopicOnly::decode(ext).map_err(malformed)?.topic.into_owned())
}
