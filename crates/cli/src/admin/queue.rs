//! A queue of a topic on one broker: its range, and reading it without moving anybody's position.

use std::fmt;

use anyhow::{bail, ensure};
use steadfast_types::{sys_flag, topic};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{
    GetMaxOffset, GetMinOffset, OffsetResponse, PullMessage, PullMessageResponse, SearchOffset,
};

use super::cluster::{self, Broker, Cluster, Request};
use super::message::{self, Message};

/// Group under which RocketMQ's tools read messages; it has no positions.
pub(super) const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Most messages that a pull asks for.
const BATCH: i32 = 32;

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) broker: Broker,
    pub(super) topic: String,
    pub(super) id: i32,
}

/// As RocketMQ prints a queue.
impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Queue { broker, topic, id } = self;
        write!(f, "MessageQueue [topic={topic}, brokerName={}, queueId={id}]", broker.name)
    }
}

/// What a pull came to.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) status: Status,
    /// Where to go on.
    pub(super) next: i64,
    pub(super) messages: Vec<Message>,
}

/// How a pull ended, by RocketMQ's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Found,
    NoMatchedMsg,
    NoNewMsg,
    OffsetIllegal,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Found => "FOUND",
            Status::NoMatchedMsg => "NO_MATCHED_MSG",
            Status::NoNewMsg => "NO_NEW_MSG",
            Status::OffsetIllegal => "OFFSET_ILLEGAL",
        })
    }
}

impl Queue {
    /// The readable queues of a topic that lies where the route of `route_topic` says, by broker and number.
    pub(super) async fn all(cluster: &Cluster, topic: &str, route_topic: &str) -> anyhow::Result<Vec<Queue>> {
        let route = cluster.route(route_topic).await?;
        let mut queues = Vec::new();
        for data in route.queue_datas.iter().filter(|data| data.perm as u32 & topic::PERM_READ != 0) {
            let mut brokers = route.broker_datas.iter();
            let broker =
                brokers.find(|broker| broker.broker_name == data.broker_name).and_then(Broker::any_replica);
            let Some(broker) = broker else {
                bail!("the route names no address of broker {}", data.broker_name)
            };
            let queue = |id| Queue { broker: broker.clone(), topic: topic.to_owned(), id };
            queues.extend((0..data.read_queue_nums).map(queue));
        }
        queues.sort_by(|a, b| (&a.broker, a.id).cmp(&(&b.broker, b.id)));
        ensure!(!queues.is_empty(), "no broker has readable queues of topic {route_topic}");
        Ok(queues)
    }

    /// Offset of the oldest message.
    pub(super) async fn min(&self, cluster: &Cluster) -> anyhow::Result<i64> {
        let fields = GetMinOffset { topic: self.topic.as_str().into(), queue_id: self.id };
        self.offset(cluster, request::GET_MIN_OFFSET, |ext| fields.encode(ext)).await
    }

    /// Offset that the next message will get.
    pub(super) async fn max(&self, cluster: &Cluster) -> anyhow::Result<i64> {
        let topic = self.topic.as_str().into();
        let fields = GetMaxOffset { topic, queue_id: self.id, ..GetMaxOffset::default() };
        self.offset(cluster, request::GET_MAX_OFFSET, |ext| fields.encode(ext)).await
    }

    /// Offset of the first message that was stored at or after a time.
    pub(super) async fn search(&self, cluster: &Cluster, time: i64) -> anyhow::Result<i64> {
        let topic = self.topic.as_str().into();
        let fields = SearchOffset { topic, queue_id: self.id, timestamp: time, ..SearchOffset::default() };
        self.offset(cluster, request::SEARCH_OFFSET_BY_TIMESTAMP, |ext| fields.encode(ext)).await
    }

    async fn offset<'a>(
        &self,
        cluster: &Cluster,
        code: i32,
        encode: impl FnOnce(&mut ExtFields<'a>),
    ) -> anyhow::Result<i64> {
        let response = cluster.ask(&self.broker.addr, Request::with(code, encode)).await?;
        Ok(OffsetResponse::decode(&response.header()?.ext)?.offset)
    }

    /// Asks for up to `max` messages from `from` on; answered at once, whether there are any or not.
    pub(super) async fn pull(
        &self,
        cluster: &Cluster,
        group: &str,
        filter: &Filter,
        from: i64,
        max: i64,
    ) -> anyhow::Result<Pulled> {
        let fields = PullMessage {
            consumer_group: group.into(),
            topic: self.topic.as_str().into(),
            queue_id: self.id,
            queue_offset: from,
            max_msg_nums: i32::try_from(max).unwrap_or(BATCH).clamp(1, BATCH),
            sys_flag: sys_flag::PULL_SUBSCRIPTION,
            subscription: Some(filter.expression.as_str().into()),
            expression_type: Some("TAG".into()),
            ..PullMessage::default()
        };
        let request = Request::with(request::PULL_MESSAGE, |ext| fields.encode(ext));
        let answer = cluster.answer(&self.broker.addr, request).await?;
        let status = match answer.code {
            response::SUCCESS => Status::Found,
            response::PULL_NOT_FOUND => Status::NoNewMsg,
            response::PULL_RETRY_IMMEDIATELY => Status::NoMatchedMsg,
            response::PULL_OFFSET_MOVED => Status::OffsetIllegal,
            _ => return Err(cluster::refusal(&self.broker.addr, request::PULL_MESSAGE, &answer).into()),
        };
        let next = PullMessageResponse::decode(&answer.header()?.ext)?.next_begin_offset;
        let mut messages = Vec::new();
        if status == Status::Found {
            messages = message::decode(answer.body(), &self.broker.name)?;
            messages.retain(|message| filter.lets_through(message));
        }
        Ok(Pulled { status, next, messages })
    }
}

/// Which tags are wanted: `*`, or tags separated by `||`. The server compares hashes, so the text is compared here.
#[derive(Debug)]
pub(super) struct Filter {
    expression: String,
}

impl Filter {
    pub(super) fn new(expression: &str) -> Self {
        let expression = if expression.trim().is_empty() { "*" } else { expression.trim() };
        Filter { expression: expression.to_owned() }
    }

    fn lets_through(&self, message: &Message) -> bool {
        let mut tags = self.expression.split("||").map(str::trim);
        self.expression == "*" || tags.any(|tag| message.tags.as_deref() == Some(tag))
    }
}
