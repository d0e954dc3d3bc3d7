//! Finding a message: by key, by unique key, or by its place in the log.

use std::cmp::Reverse;
use std::fmt::Write;

use bytes::Bytes;
use steadfast_store::unit::{KeyEntry, QueueName, key_hash};
use steadfast_types::record::StoredMessage;
use steadfast_types::{LogOffset, QueueOffset, Timestamp};
use steadfast_wire::code::response;
use steadfast_wire::headers::QueryMessageResponse;

use super::Answer;
use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, reply};
use crate::io::{Now, Origin, ReadJob, ReadResult};
use crate::reply::{Reply, ReplyHeader};
use crate::request::{QueryRequest, RelayRequest, Request};

/// What a read by log offset came to.
pub(super) enum Viewed {
    /// The whole message, verified.
    Message(Bytes),
    /// The index changed meanwhile; read once more.
    AskAgain,
    /// There is no message.
    Nothing,
    /// There is one, but it is damaged or the disk refused.
    Unreadable(String),
}

impl Broker {
    /// QUERY_MESSAGE covers everything that was committed before it came.
    pub(super) fn query_message(
        &mut self,
        now: Now,
        origin: Origin,
        query: QueryRequest,
        out: &mut Out<'_>,
    ) -> Answer {
        let Some(topic) = self.state.topics.get(&query.topic) else {
            return Err(super::no_topic(&query.topic));
        };
        if !self.reads.has_turn() {
            return self.reads.wait(now, origin, Request::QueryMessage(query));
        }
        let job = ReadJob::Query {
            topic: query.topic.clone(),
            key: query.key.clone(),
            recent: self.recent_candidates(&query),
            holes: self.holes_of(&query.topic).collect(),
            born: topic.queues.iter().map(|queue| queue.born).collect(),
            stored: query.begin..Timestamp::new(query.end.get().saturating_add(1)),
            max_messages: query.max_messages,
            committed: self.committed(),
        };
        self.read(ReadPurpose::Query { origin, query }, job, out);
        Ok(None)
    }

    /// What may have the key and is in no index run, newest first.
    fn recent_candidates(&self, query: &QueryRequest) -> Vec<KeyEntry> {
        let hash = key_hash(&query.topic, &query.key);
        let queues = self.state.topics.get(&query.topic).into_iter().flat_map(|topic| &topic.queues);
        let fenced = queues.flat_map(|queue| queue.fenced().range(queue.born..)).map(|(_, unit)| KeyEntry {
            hash,
            log_offset: unit.log_offset,
            size: unit.size,
            crc: unit.crc,
        });
        let mut found = self.keys.candidates(hash);
        found.extend(fenced);
        found.sort_unstable_by_key(|entry| Reverse(entry.log_offset));
        found
    }

    /// Places of messages of a topic that were given up.
    fn holes_of(&self, topic: &str) -> impl Iterator<Item = LogOffset> + '_ {
        let queues = self.state.topics.get(topic).into_iter().flat_map(|topic| &topic.queues);
        queues.flat_map(|queue| queue.holes().values().copied())
    }

    pub(super) fn query_done(
        &mut self,
        origin: Origin,
        query: &QueryRequest,
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        let reach = QueryMessageResponse {
            index_last_update_timestamp: self.store_time.get() as i64,
            index_last_update_phyoffset: self.committed().get() as i64,
        };
        let answer = match result {
            ReadResult::Messages { records, .. } if !records.is_empty() => {
                Reply { body: records.into_pieces(), ..Reply::with(ReplyHeader::Query(reach)) }
            }
            ReadResult::Damaged(cause) | ReadResult::Failed(cause) => {
                let remark = format!("the lookup of key {:?} failed: {cause}", query.key);
                Reply::error(response::SYSTEM_ERROR, remark)
            }
            ReadResult::Incomplete(bound) => {
                let remark = format!("the lookup could not be completed in time: {bound}; ask again");
                Reply { header: ReplyHeader::Query(reach), ..Reply::error(response::SYSTEM_BUSY, remark) }
            }
            _ => {
                let mut remark = format!(
                    "no message of topic {} with key {:?} was stored between {} and {}; \
                     the index is complete up to log offset {}, back to where the log begins, {}",
                    query.topic,
                    query.key,
                    query.begin,
                    query.end,
                    self.committed(),
                    self.gone().head()
                );
                let lost = self.holes_of(&query.topic).count();
                if lost > 0 {
                    let _ =
                        write!(remark, "; {lost} damaged messages of the topic were given up, with any key");
                }
                Reply { header: ReplyHeader::Query(reach), ..Reply::error(response::QUERY_NOT_FOUND, remark) }
            }
        };
        reply(origin, answer, out);
    }

    /// VIEW_MESSAGE_BY_ID; or the message is for a client that shall consume it.
    pub(super) fn view_for(
        &mut self,
        origin: Origin,
        at: u64,
        relay: Option<Box<RelayRequest>>,
        out: &mut Out<'_>,
    ) -> Answer {
        let committed = self.committed();
        if at >= committed.get() {
            let remark = format!("there is no message at log offset {at}; the log ends at {committed}");
            return Err(Reply::error(response::SYSTEM_ERROR, remark));
        }
        if self.gone().contains(LogOffset::new(at)) {
            let remark = format!("what was at log offset {at} was removed by retention");
            return Err(Reply::error(response::SYSTEM_ERROR, remark));
        }
        if let Some((queue, offset)) = self.hole_at(at) {
            let remark = format!(
                "the message at log offset {at}, offset {offset} of queue {queue}, was damaged and given up"
            );
            return Err(Reply::error(response::SYSTEM_ERROR, remark));
        }
        let job = ReadJob::View { at: LogOffset::new(at), committed };
        let covered = at < self.stretch.from.get();
        self.read(ReadPurpose::View { origin, at, covered, relay }, job, out);
        Ok(None)
    }

    /// Queue and offset of a message that was given up.
    fn hole_at(&mut self, at: u64) -> Option<(QueueName, QueueOffset)> {
        self.state.topics.queues_mut().find_map(|queue| {
            let hole = queue.holes().iter().find(|(_, place)| place.get() == at);
            hole.map(|(offset, _)| (queue.name.clone(), *offset))
        })
    }

    pub(super) fn view_done(
        &mut self,
        now: Now,
        (origin, relay): (Origin, Option<Box<RelayRequest>>),
        (at, covered): (u64, bool),
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        let answer = match self.viewed(now, (at, covered), result, out) {
            Viewed::Message(record) => Reply { body: vec![record], ..Reply::ok() },
            Viewed::AskAgain => match self.view_for(origin, at, relay, out) {
                Err(refused) => return reply(origin, refused, out),
                Ok(_) => return,
            },
            Viewed::Nothing => {
                Reply::error(response::SYSTEM_ERROR, format!("no message begins at log offset {at}"))
            }
            Viewed::Unreadable(cause) => Reply::error(response::SYSTEM_ERROR, cause),
        };
        match (relay, answer.body.first()) {
            (Some(relay), Some(record)) => self.relay_with(now, origin, *relay, record.clone(), out),
            _ => reply(origin, answer, out),
        }
    }

    /// What a read at log offset `at` came to; `covered` tells whether a checkpoint covered the place when it was
    /// asked for.
    pub(super) fn viewed(
        &mut self,
        now: Now,
        (at, covered): (u64, bool),
        result: ReadResult,
        out: &mut Out<'_>,
    ) -> Viewed {
        match result {
            // A stretch without messages has no run.
            ReadResult::Unproven(_) if covered => Viewed::Nothing,
            // A checkpoint came in between: an index run has its unit now.
            ReadResult::Unproven(_) if at < self.stretch.from.get() => Viewed::AskAgain,
            ReadResult::Unproven(record) if self.vouches_for(at, &record) => Viewed::Message(record),
            ReadResult::Unproven(_) if !self.has_recent_at(at) => Viewed::Nothing,
            ReadResult::Unproven(_) => {
                let cause = format!("the message at log offset {at} is damaged");
                self.met_damage(now, "a lookup by log offset", &cause, out);
                Viewed::Unreadable(cause)
            }
            ReadResult::Messages { records, .. } => {
                records.iter().next().map_or(Viewed::Nothing, Viewed::Message)
            }
            ReadResult::Damaged(cause) | ReadResult::Failed(cause) | ReadResult::Incomplete(cause) => {
                Viewed::Unreadable(format!("log offset {at} cannot be read: {cause}"))
            }
            _ => Viewed::Nothing,
        }
    }

    /// Whether a message that no index run has yet begins at a log offset.
    fn has_recent_at(&mut self, at: u64) -> bool {
        self.state.topics.queues_mut().any(|queue| queue.has_recent_at(LogOffset::new(at)))
    }

    /// Whether the unit of the place that a record claims to have was made for this record.
    fn vouches_for(&mut self, at: u64, record: &[u8]) -> bool {
        let Ok(message) = StoredMessage::decode_verified(record) else { return false };
        let queue = self.state.topics.queue_mut(message.topic, message.stamp.queue_id);
        let unit = queue.as_ref().and_then(|queue| queue.unit(message.stamp.queue_offset));
        unit.is_some_and(|unit| unit.log_offset.get() == at && unit.vouches_for(record))
    }
}
