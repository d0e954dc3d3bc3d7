//! What "not found" means: which brokers were searched, and how far back their logs reach.

use std::fmt;

use serde::Serialize;
use steadfast_wire::body::TopicStatsTable;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{GetEarliestMsgStoretime, GetTopicStats, TimestampResponse};

use super::cluster::{AskError, Broker, Cluster, Request};
use super::time;

/// Nothing was found, by a search whose bounds it tells.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotFound {
    /// What was looked for.
    pub(super) not_found: String,
    /// Where.
    pub(super) searched: Vec<Searched>,
}

/// What a broker holds of the topic. Times are milliseconds since 1970.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Searched {
    #[serde(flatten)]
    broker: Broker,
    queues: usize,
    /// Messages that consumers can still read.
    messages: i64,
    /// When the oldest one was stored.
    earliest_store_time: Option<i64>,
    /// When the newest one was stored.
    latest_store_time: Option<i64>,
    /// Why this is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    /// What the broker remarks on not having found it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    says: Vec<String>,
}

impl NotFound {
    /// Asks the brokers that were searched in vain how far back they reach.
    pub(super) async fn new(cluster: &Cluster, brokers: &[Broker], topic: &str, what: String) -> Self {
        let mut searched = Vec::with_capacity(brokers.len());
        for broker in brokers {
            searched.push(Searched::by(cluster, broker, topic).await);
        }
        NotFound { not_found: what, searched }
    }

    /// The same with what the brokers remarked.
    pub(super) fn but(mut self, said: &[(Broker, String)]) -> Self {
        for (broker, remark) in said.iter().filter(|(_, remark)| !remark.is_empty()) {
            let searched = self.searched.iter_mut().find(|searched| searched.broker == *broker);
            searched.into_iter().for_each(|searched| searched.says.push(remark.clone()));
        }
        self
    }
}

impl Searched {
    async fn by(cluster: &Cluster, broker: &Broker, topic: &str) -> Self {
        let mut searched = Searched {
            broker: broker.clone(),
            queues: 0,
            messages: 0,
            earliest_store_time: None,
            latest_store_time: None,
            unknown: None,
            says: Vec::new(),
        };
        if let Err(error) = searched.look(cluster, topic).await
            && error.code() != Some(response::TOPIC_NOT_EXIST)
        {
            searched.unknown = Some(error.to_string());
        }
        searched
    }

    async fn look(&mut self, cluster: &Cluster, topic: &str) -> Result<(), AskError> {
        let addr = &self.broker.addr;
        let fields = GetTopicStats { topic: topic.into() };
        let request = Request::with(request::GET_TOPIC_STATS_INFO, |ext| fields.encode(ext));
        let stats: TopicStatsTable = cluster.read(addr, request).await?;
        self.queues = stats.offset_table.len();
        for (queue, range) in
            stats.offset_table.iter().filter(|(_, range)| range.max_offset > range.min_offset)
        {
            self.messages += range.max_offset - range.min_offset;
            self.latest_store_time = self.latest_store_time.max(Some(range.last_update_timestamp));
            let fields = GetEarliestMsgStoretime { topic: topic.into(), queue_id: queue.queue_id };
            let request = Request::with(request::GET_EARLIEST_MSG_STORETIME, |ext| fields.encode(ext));
            let response = cluster.ask(addr, request).await?;
            let unreadable = |error| AskError::Header(addr.clone(), error);
            let header = response.header().map_err(unreadable)?;
            let earliest = TimestampResponse::decode(&header.ext).map_err(unreadable)?.timestamp;
            let known = self.earliest_store_time.unwrap_or(i64::MAX);
            self.earliest_store_time =
                (earliest > 0).then(|| earliest.min(known)).or(self.earliest_store_time);
        }
        Ok(())
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not found: {}", self.not_found)?;
        for searched in &self.searched {
            write!(f, "\n  {searched}")?;
            searched.says.iter().try_for_each(|remark| write!(f, "\n    it says: {remark}"))?;
        }
        if self.searched.iter().any(|searched| searched.messages > 0) {
            f.write_str(
                "\nWhat was deleted before, or acknowledged after this search began, was not looked at.",
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broker { name, addr } = &self.broker;
        write!(f, "searched {name} at {addr}: ")?;
        if let Some(unknown) = &self.unknown {
            return write!(f, "how far back it reaches is not known: {unknown}");
        }
        match (self.queues, self.messages) {
            (0, _) => f.write_str("it does not have the topic"),
            (queues, 0) => write!(f, "the topic has {queues} queues and no message"),
            (queues, messages) => {
                write!(f, "{messages} messages in {queues} queues")?;
                let at = |time: Option<i64>| time.map_or_else(|| "unknown".to_owned(), time::human);
                write!(f, ", stored from {} to {}", at(self.earliest_store_time), at(self.latest_store_time))
            }
        }
    }
}

impl std::error::Error for NotFound {}
