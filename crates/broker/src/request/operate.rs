//! What operators and their tools ask for.

use bytes::Bytes;
use steadfast_types::{Timestamp, limits};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers;

use super::{QueueRef, malformed};
use crate::reply::Reply;
use crate::services::GroupPage;
use crate::state::TopicConfig;
use crate::state::attributes::Changes;

/// A request that is for a client of a group.
#[derive(Debug, Clone)]
pub struct RelayRequest {
    /// Request code, the same towards the client.
    pub code: i32,
    /// Consumer group.
    pub group: String,
    /// Client id.
    pub client: String,
    /// Id of the message that is to go along.
    pub message: Option<String>,
    /// The header's fields.
    pub ext: ExtFields<'static>,
    /// The body.
    pub body: Bytes,
}

/// A question for what the clients of a group have read.
#[derive(Debug, Clone)]
pub struct StatusRequest {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// One client only.
    pub client: Option<String>,
}

/// A question for units of a queue.
#[derive(Debug, Clone)]
pub struct ConsumeQueueRequest {
    /// Queue.
    pub queue: QueueRef,
    /// First offset.
    pub index: i64,
    /// How many.
    pub count: usize,
    /// Group whose subscription is shown.
    pub group: Option<String>,
}

/// An operator sets a group's positions.
#[derive(Debug, Clone)]
pub struct ResetRequest {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Queue, or -1 for all.
    pub queue_id: i32,
    /// Where to.
    pub target: ResetTarget,
    /// False: positions before the target stay where they are.
    pub force: bool,
}

/// Where a reset goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTarget {
    /// To an offset of one queue.
    Offset(i64),
    /// To the first message stored at or after a time.
    Time(Timestamp),
    /// Past the last message.
    End,
}

pub(super) fn relay(code: i32, ext: &ExtFields<'_>, body: Bytes) -> Result<RelayRequest, Reply> {
    let h = headers::ConsumerClient::decode(ext).map_err(malformed)?;
    let message = match code {
        request::CONSUME_MESSAGE_DIRECTLY => Some(h.msg_id.map(|id| id.into_owned()).unwrap_or_default()),
        _ => None,
    };
    Ok(RelayRequest {
        code,
        group: h.consumer_group.into_owned(),
        client: h.client_id.map(|client| client.into_owned()).unwrap_or_default(),
        message,
        ext: ext.clone().into_owned(),
        body,
    })
}

pub(super) fn reset(ext: &ExtFields<'_>) -> Result<ResetRequest, Reply> {
    let h = headers::ResetOffset::decode(ext).map_err(malformed)?;
    // RocketMQ's tools send offset -1 for none, and take an offset only together with a queue.
    let offset = h.offset.filter(|offset| h.queue_id >= 0 && *offset != -1);
    let target = match (offset, u64::try_from(h.timestamp)) {
        (Some(offset), _) => ResetTarget::Offset(offset),
        (None, Ok(time)) => ResetTarget::Time(Timestamp::new(time)),
        (None, Err(_)) => ResetTarget::End,
    };
    Ok(ResetRequest {
        group: h.group.into_owned(),
        topic: h.topic.into_owned(),
        queue_id: h.queue_id,
        target,
        force: h.force,
    })
}

pub(super) fn group_page(ext: &ExtFields<'_>) -> Result<GroupPage, Reply> {
    let h = headers::GetAllSubscriptionGroups::decode(ext).map_err(malformed)?;
    let number = |n: Option<i32>| n.and_then(|n| usize::try_from(n).ok());
    let max = number(h.max_group_num).filter(|max| *max > 0).unwrap_or(usize::MAX);
    Ok(GroupPage { skip: number(h.group_seq).unwrap_or(0), max })
}

pub(super) fn topic_config(ext: &ExtFields<'_>) -> Result<(TopicConfig, Changes), Reply> {
    let h = headers::CreateTopic::decode(ext).map_err(malformed)?;
    let queues = |n: i32, name: &str| {
        u32::try_from(n).ok().filter(|n| (1..=limits::QUEUES).contains(n)).ok_or_else(|| {
            let remark = format!("{name} is {n}, it must be between 1 and {}", limits::QUEUES);
            Reply::error(response::INVALID_PARAMETER, remark)
        })
    };
    let perm = u32::try_from(h.perm).ok().filter(|perm| *perm <= 7).ok_or_else(|| {
        let remark = format!("perm is {}, it must be 2 (write), 4 (read), 6 (both) or 0 (neither)", h.perm);
        Reply::error(response::INVALID_PARAMETER, remark)
    })?;
    let changes = Changes::parse(h.attributes.as_deref().unwrap_or(""))
        .map_err(|problem| Reply::error(response::INVALID_PARAMETER, problem))?;
    let config = TopicConfig {
        read_queues: queues(h.read_queue_nums, "readQueueNums")?,
        write_queues: queues(h.write_queue_nums, "writeQueueNums")?,
        perm,
        sys_flag: h.topic_sys_flag.unwrap_or(0),
        order: h.order,
        ..TopicConfig::new(h.topic.as_ref(), 0, 0)
    };
    Ok((config, changes))
}
