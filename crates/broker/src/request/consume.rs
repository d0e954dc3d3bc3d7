//! What clients ask for on behalf of producers and consumers, besides sends.

use steadfast_types::sys_flag::{PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND};
use steadfast_types::{QueueOffset, Timestamp, limits};
use steadfast_wire::body::{HeartbeatData, LockBatchRequest};
use steadfast_wire::code::response;
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers;

use super::{QueueRef, check_name, json, malformed};
use crate::filter::TagFilter;
use crate::reply::Reply;

/// A pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Consumer group.
    pub group: String,
    /// Queue.
    pub queue: QueueRef,
    /// First offset wanted.
    pub offset: i64,
    /// Most messages.
    pub max_messages: usize,
    /// Most bytes.
    pub max_bytes: usize,
    /// Position to commit on the way.
    pub commit: Option<QueueOffset>,
    /// Milliseconds to hold the request while there is nothing, 0 to answer at once.
    pub hold: u64,
    /// Filter in the request; None uses the group's subscription.
    pub filter: Option<TagFilter>,
}

/// A lookup by key.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    /// Topic.
    pub topic: String,
    /// Key: a unique key or one of KEYS.
    pub key: String,
    /// Most messages.
    pub max_messages: usize,
    /// Earliest store time.
    pub begin: Timestamp,
    /// Latest store time.
    pub end: Timestamp,
}

/// A message that its consumer could not process.
#[derive(Debug, Clone)]
pub struct SendBackRequest {
    /// Log offset of the message.
    pub offset: u64,
    /// The consumer's group.
    pub group: String,
    /// Delay level of the retry, 0 for the usual one, negative for no retry but dead letters.
    pub delay_level: i32,
    /// Topic that the consumer takes the message to be of.
    pub origin_topic: Option<String>,
    /// Retries after which the message is a dead letter, if the consumer says so.
    pub max_reconsume_times: Option<i32>,
}

pub(super) fn pull(ext: &ExtFields<'_>) -> Result<PullRequest, Reply> {
    let h = headers::PullMessage::decode(ext).map_err(malformed)?;
    let tag_filter = h.expression_type.as_deref().is_none_or(|t| t.is_empty() || t == "TAG");
    if !tag_filter {
        let remark = "only filters by tag are supported; SQL92 is not (enablePropertyFilter=false)";
        return Err(Reply::error(response::SYSTEM_ERROR, remark));
    }
    let in_request = h.sys_flag & PULL_SUBSCRIPTION != 0;
    let max_bytes = h.max_msg_bytes.and_then(|max| usize::try_from(max).ok()).filter(|max| *max > 0);
    Ok(PullRequest {
        group: h.consumer_group.into_owned(),
        queue: QueueRef { topic: h.topic.into_owned(), queue_id: h.queue_id },
        offset: h.queue_offset,
        max_messages: usize::try_from(h.max_msg_nums).unwrap_or(0).clamp(1, limits::PULL_MESSAGES),
        max_bytes: max_bytes.unwrap_or(limits::PULL_BYTES).min(limits::PULL_BYTES),
        commit: (h.sys_flag & PULL_COMMIT_OFFSET != 0)
            .then(|| u64::try_from(h.commit_offset).ok().map(QueueOffset::new))
            .flatten(),
        hold: if h.sys_flag & PULL_SUSPEND != 0 {
            u64::try_from(h.suspend_timeout_millis).unwrap_or(0)
        } else {
            0
        },
        filter: in_request.then(|| TagFilter::parse(h.subscription.as_deref().unwrap_or("*"))),
    })
}

pub(super) fn query(ext: &ExtFields<'_>) -> Result<QueryRequest, Reply> {
    let h = headers::QueryMessage::decode(ext).map_err(malformed)?;
    let time = |ms: i64| Timestamp::new(u64::try_from(ms).unwrap_or(0));
    Ok(QueryRequest {
        topic: h.topic.into_owned(),
        key: h.key.into_owned(),
        max_messages: usize::try_from(h.max_num).unwrap_or(0).clamp(1, limits::QUERY_RESULTS),
        begin: time(h.begin_timestamp),
        end: time(h.end_timestamp),
    })
}

pub(super) fn send_back(ext: &ExtFields<'_>) -> Result<SendBackRequest, Reply> {
    let h = headers::ConsumerSendMsgBack::decode(ext).map_err(malformed)?;
    Ok(SendBackRequest {
        offset: u64::try_from(h.offset).unwrap_or(u64::MAX),
        group: h.group.into_owned(),
        delay_level: h.delay_level,
        origin_topic: h.origin_topic.filter(|topic| !topic.is_empty()).map(|topic| topic.into_owned()),
        max_reconsume_times: h.max_reconsume_times,
    })
}

/// A heartbeat of a size that a client can mean.
pub(super) fn heartbeat(body: &[u8]) -> Result<HeartbeatData, Reply> {
    let data: HeartbeatData = json(body)?;
    let groups = data.producer_data_set.len() + data.consumer_data_set.len();
    if groups > limits::HEARTBEAT_GROUPS {
        let remark =
            format!("the heartbeat names {groups} groups, the limit is {}", limits::HEARTBEAT_GROUPS);
        return Err(Reply::error(response::SYSTEM_ERROR, remark));
    }
    check_name("clientID", &data.client_id)?;
    for producer in &data.producer_data_set {
        check_name("groupName", &producer.group_name)?;
    }
    for consumer in &data.consumer_data_set {
        check_name("groupName", &consumer.group_name)?;
        for subscription in &consumer.subscription_data_set {
            check_name("topic", &subscription.topic)?;
        }
    }
    Ok(data)
}

pub(super) fn lock(body: &[u8]) -> Result<LockBatchRequest, Reply> {
    let request: LockBatchRequest = json(body)?;
    check_name("clientId", &request.client_id)?;
    check_name("consumerGroup", &request.consumer_group)?;
    Ok(request)
}
