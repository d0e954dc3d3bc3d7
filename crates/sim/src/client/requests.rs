//! Requests as clients write them.

use std::borrow::Cow;

use bytes::BytesMut;
use steadfast_audit::Queue;
use steadfast_types::sys_flag::{PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND};
use steadfast_types::topic::AUTO_CREATE;
use steadfast_wire::batch;
use steadfast_wire::body::{
    Body, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, LockBatchRequest, LockBatchResponse,
    MessageModel, MessageQueue, SubscriptionData,
};
use steadfast_wire::code::request;
use steadfast_wire::header::Header;
use steadfast_wire::headers::{
    self, Boundary, ConsumerSendMsgBack, CreateTopic, DeleteTopic, GetConsumeStats, GetMaxOffset,
    GetMinOffset, PullMessage, QueryConsumerOffset, QueryMessage, ResetOffset, SearchOffset, SendMessage,
    TopicOnly, UpdateConsumerOffset, ViewMessage,
};

use crate::call::{Back, ClientNo, MAX_RETRIES, Response};
use crate::message::Message;
use crate::plan::{Group, Making};

/// A request that is ready to leave.
pub(crate) struct Ask<'a> {
    pub(crate) header: Header<'a>,
    pub(crate) body: Cow<'a, [u8]>,
}

impl<'a> Ask<'a> {
    fn new(code: i32, fill: impl FnOnce(&mut Header<'a>)) -> Self {
        let mut header = Header::request(code, 0);
        fill(&mut header);
        Self { header, body: Cow::Borrowed(&[]) }
    }
}

/// How a send is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// -1 leaves it to the broker.
    pub(crate) queue: i32,
    pub(crate) making: Making,
    pub(crate) topic_queues: u32,
    pub(crate) born: u64,
    /// With the long names of the first version, where possible.
    pub(crate) long: bool,
}

/// A client of the group that consumes in order takes a queue, or gives it back.
pub(crate) fn lock(client: ClientNo, queue: &Queue, takes: bool) -> Ask<'static> {
    let code = if takes { request::LOCK_BATCH_MQ } else { request::UNLOCK_BATCH_MQ };
    let body = LockBatchRequest {
        client_id: format!("locker {client}"),
        consumer_group: "orderly".into(),
        mq_set: vec![named(queue)],
        only_this_broker: false,
    };
    Ask { body: Cow::Owned(body.encode()), ..Ask::new(code, |_| {}) }
}

/// Whether the answer to a lock grants the queue.
pub(crate) fn is_locked(reply: &Response, queue: &Queue) -> bool {
    let granted = LockBatchResponse::decode(&reply.body).map(|body| body.lock_ok_mq_set);
    reply.is_ok() && granted.is_ok_and(|granted| granted.contains(&named(queue)))
}

fn named(queue: &Queue) -> MessageQueue {
    MessageQueue {
        broker_name: queue.broker.to_string(),
        queue_id: queue.id.get() as i32,
        topic: queue.topic.to_string(),
    }
}

/// One message, or a batch.
pub(crate) fn send(messages: &[Message], sending: Sending) -> Ask<'_> {
    let first = &messages[0];
    let is_batch = messages.len() > 1;
    let fields = SendMessage {
        producer_group: "P".into(),
        topic: (&*first.topic).into(),
        default_topic: if sending.making == Making::First { AUTO_CREATE.into() } else { "None".into() },
        default_topic_queue_nums: sending.topic_queues as i32,
        queue_id: sending.queue,
        born_timestamp: sending.born as i64,
        flag: first.flag,
        properties: Some(if is_batch { "".into() } else { first.properties().into() }),
        batch: is_batch,
        ..SendMessage::default()
    };
    let code = match (is_batch, sending.long) {
        (true, _) => request::SEND_BATCH_MESSAGE,
        (false, true) => request::SEND_MESSAGE,
        (false, false) => request::SEND_MESSAGE_V2,
    };
    let mut ask = Ask::new(code, |header| {
        if code == request::SEND_MESSAGE {
            fields.encode(&mut header.ext);
        } else {
            fields.encode_v2(&mut header.ext);
        }
    });
    ask.body = if is_batch {
        let mut body = BytesMut::new();
        for message in messages {
            batch::encode(message.flag, &message.body, &message.properties(), &mut body)
                .expect("the workload's properties are short");
        }
        Cow::Owned(body.to_vec())
    } else {
        Cow::Borrowed(&first.body)
    };
    ask
}

/// How a pull is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pulling<'a> {
    pub(crate) group: &'a str,
    pub(crate) queue: &'a Queue,
    pub(crate) offset: u64,
    pub(crate) most: i32,
    /// Milliseconds to wait for a message, 0 for none.
    pub(crate) hold: u64,
    /// Position to set on the way.
    pub(crate) commit: Option<u64>,
    /// None uses the subscription of the last heartbeat.
    pub(crate) expression: Option<&'a str>,
}

pub(crate) fn pull(pulling: Pulling<'_>) -> Ask<'_> {
    let flag = |set: bool, flag: i32| if set { flag } else { 0 };
    let fields = PullMessage {
        consumer_group: pulling.group.into(),
        topic: (&*pulling.queue.topic).into(),
        queue_id: pulling.queue.id.get() as i32,
        queue_offset: pulling.offset as i64,
        max_msg_nums: pulling.most,
        sys_flag: flag(pulling.commit.is_some(), PULL_COMMIT_OFFSET)
            | flag(pulling.hold > 0, PULL_SUSPEND)
            | flag(pulling.expression.is_some(), PULL_SUBSCRIPTION),
        commit_offset: pulling.commit.unwrap_or(0) as i64,
        suspend_timeout_millis: pulling.hold as i64,
        subscription: pulling.expression.map(Into::into),
        ..PullMessage::default()
    };
    Ask::new(request::PULL_MESSAGE, |header| fields.encode(&mut header.ext))
}

pub(crate) fn position<'a>(group: &'a str, queue: &'a Queue, zero: bool) -> Ask<'a> {
    let fields = QueryConsumerOffset {
        consumer_group: group.into(),
        topic: (&*queue.topic).into(),
        queue_id: queue.id.get() as i32,
        set_zero_if_not_found: Some(zero),
    };
    Ask::new(request::QUERY_CONSUMER_OFFSET, |header| fields.encode(&mut header.ext))
}

pub(crate) fn commit<'a>(group: &'a str, queue: &'a Queue, offset: u64) -> Ask<'a> {
    let fields = UpdateConsumerOffset {
        consumer_group: group.into(),
        topic: (&*queue.topic).into(),
        queue_id: queue.id.get() as i32,
        commit_offset: offset as i64,
    };
    Ask::new(request::UPDATE_CONSUMER_OFFSET, |header| fields.encode(&mut header.ext))
}

/// Where an operator sends a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Offset(u64),
    Time(u64),
    End,
}

pub(crate) fn reset<'a>(group: &'a str, queue: &'a Queue, target: Target) -> Ask<'a> {
    let (offset, timestamp) = match target {
        Target::Offset(offset) => (Some(offset as i64), 0),
        Target::Time(time) => (None, time as i64),
        Target::End => (None, -1),
    };
    let fields = ResetOffset {
        topic: (&*queue.topic).into(),
        group: group.into(),
        queue_id: queue.id.get() as i32,
        offset,
        timestamp,
        force: true,
    };
    Ask::new(request::INVOKE_BROKER_TO_RESET_OFFSET, |header| fields.encode(&mut header.ext))
}

/// How far a group is in a topic, and how it got there.
pub(crate) fn consume_stats<'a>(group: &'a str, topic: &'a str) -> Ask<'a> {
    let fields = GetConsumeStats {
        consumer_group: group.into(),
        topic: Some(topic.into()),
        ..GetConsumeStats::default()
    };
    Ask::new(request::GET_CONSUME_STATS, |header| fields.encode(&mut header.ext))
}

pub(crate) fn max_offset(queue: &Queue) -> Ask<'_> {
    let fields =
        GetMaxOffset { topic: (&*queue.topic).into(), queue_id: queue.id.get() as i32, committed: true };
    Ask::new(request::GET_MAX_OFFSET, |header| fields.encode(&mut header.ext))
}

pub(crate) fn min_offset(queue: &Queue) -> Ask<'_> {
    let fields = GetMinOffset { topic: (&*queue.topic).into(), queue_id: queue.id.get() as i32 };
    Ask::new(request::GET_MIN_OFFSET, |header| fields.encode(&mut header.ext))
}

pub(crate) fn earliest(queue: &Queue) -> Ask<'_> {
    let fields =
        headers::GetEarliestMsgStoretime { topic: (&*queue.topic).into(), queue_id: queue.id.get() as i32 };
    Ask::new(request::GET_EARLIEST_MSG_STORETIME, |header| fields.encode(&mut header.ext))
}

pub(crate) fn search(queue: &Queue, time: u64, boundary: Boundary) -> Ask<'_> {
    let fields = SearchOffset {
        topic: (&*queue.topic).into(),
        queue_id: queue.id.get() as i32,
        timestamp: time as i64,
        boundary,
    };
    Ask::new(request::SEARCH_OFFSET_BY_TIMESTAMP, |header| fields.encode(&mut header.ext))
}

pub(crate) fn look_up<'a>(topic: &'a str, key: &'a str) -> Ask<'a> {
    let fields = QueryMessage {
        topic: topic.into(),
        key: key.into(),
        max_num: 64,
        begin_timestamp: 0,
        end_timestamp: i64::MAX,
        ..QueryMessage::default()
    };
    Ask::new(request::QUERY_MESSAGE, |header| fields.encode(&mut header.ext))
}

pub(crate) fn view(topic: &str, log_offset: u64) -> Ask<'_> {
    let fields = ViewMessage { topic: Some(topic.into()), offset: log_offset as i64 };
    Ask::new(request::VIEW_MESSAGE_BY_ID, |header| fields.encode(&mut header.ext))
}

/// Makes or changes a topic; attributes that are not named stay.
pub(crate) fn make_topic<'a>(topic: &'a str, queues: u32, attributes: &'a str) -> Ask<'a> {
    let fields = CreateTopic {
        topic: topic.into(),
        default_topic: AUTO_CREATE.into(),
        read_queue_nums: queues as i32,
        write_queue_nums: queues as i32,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".into(),
        attributes: Some(attributes.into()),
        ..CreateTopic::default()
    };
    Ask::new(request::UPDATE_AND_CREATE_TOPIC, |header| fields.encode(&mut header.ext))
}

pub(crate) fn delete_topic(topic: &str) -> Ask<'_> {
    let fields = DeleteTopic { topic: topic.into(), ..DeleteTopic::default() };
    Ask::new(request::DELETE_TOPIC_IN_BROKER, |header| fields.encode(&mut header.ext))
}

/// A question about a topic.
pub(crate) fn about_topic(code: i32, topic: &str) -> Ask<'_> {
    let fields = TopicOnly { topic: topic.into() };
    Ask::new(code, |header| fields.encode(&mut header.ext))
}

/// A question without fields.
pub(crate) fn plain(code: i32) -> Ask<'static> {
    Ask::new(code, |_| {})
}

/// A consumer could not process a message.
pub(crate) fn send_back(back: &Back) -> Ask<'_> {
    let fields = ConsumerSendMsgBack {
        offset: back.log_offset as i64,
        group: (&*back.group).into(),
        delay_level: back.delay_level,
        origin_topic: Some((&*back.first_topic).into()),
        max_reconsume_times: Some(MAX_RETRIES as i32),
        ..ConsumerSendMsgBack::default()
    };
    Ask::new(request::CONSUMER_SEND_MSG_BACK, |header| fields.encode(&mut header.ext))
}

/// A consumer says who it is and what it wants.
pub(crate) fn heartbeat<'a>(client: usize, group: &Group, topic: &str) -> Ask<'a> {
    let subscription = SubscriptionData {
        sub_string: group.filter.expression(),
        topic: topic.to_owned(),
        ..SubscriptionData::default()
    };
    let consumer = ConsumerData {
        consume_from_where: ConsumeFromWhere::FirstOffset,
        consume_type: ConsumeType::Passively,
        group_name: group.name.to_string(),
        message_model: MessageModel::Clustering,
        subscription_data_set: vec![subscription],
        unit_mode: false,
    };
    let data = HeartbeatData {
        client_id: format!("10.0.0.1@{client}"),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    let mut ask = plain(request::HEART_BEAT);
    ask.body = Cow::Owned(data.encode());
    ask
}
