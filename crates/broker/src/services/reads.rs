//! Reads that the disk is asked for, and what each was for.

use std::collections::BTreeMap;

use steadfast_types::{QueueId, QueueOffset};
use steadfast_wire::body::{ConsumeQueue, MessageQueue};

use super::measuring::AgeOf;
use crate::broker::{Broker, Out};
use crate::io::{Effect, Now, Origin, ReadJob, ReadResult};
use crate::request::{PullRequest, QueryRequest, RelayRequest, SendBackRequest};

/// What a read is for.
#[derive(Debug)]
pub(crate) enum ReadPurpose {
    /// A pull. `offsets`, if not empty, are those of the units asked for and the one after them.
    Pull { origin: Origin, pull: Box<PullRequest>, offsets: Vec<QueueOffset> },
    /// A lookup by key.
    Query { origin: Origin, query: QueryRequest },
    /// A message by its place in the log; `covered` if a checkpoint covers the place. With `relay` it is for a client
    /// that shall consume it.
    View { origin: Origin, at: u64, covered: bool, relay: Option<Box<RelayRequest>> },
    /// Units of a queue.
    Units { origin: Origin, answer: Box<ConsumeQueue> },
    /// An offset by time.
    Search { origin: Origin },
    /// The offset in a queue that a reset goes to.
    Reset { reset: u64, queue: QueueId },
    /// The store time of a queue's oldest message.
    StoreTime { origin: Origin },
    /// The store time of a message for an operator's figures.
    Age(AgeOf),
    /// The store time of the last message of a queue that a group processed.
    Progress { answer: u64, queue: MessageQueue },
    /// A message that a consumer sends back; `covered` as for a view.
    SendBack { origin: Origin, request: Box<SendBackRequest>, covered: bool },
    /// Delayed messages of a level, from an offset on.
    Delayed(QueueId, QueueOffset),
}

/// Reads under way, by number.
#[derive(Debug, Default)]
pub(crate) struct ReadsUnderWay {
    next: u64,
    by_number: BTreeMap<u64, ReadPurpose>,
}

impl ReadsUnderWay {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}

impl Broker {
    pub(super) fn read(&mut self, purpose: ReadPurpose, job: ReadJob, out: &mut Out<'_>) {
        let number = self.reads.next;
        self.reads.next += 1;
        self.reads.by_number.insert(number, purpose);
        out(Effect::Read(number, job));
    }

    /// A read is done.
    pub(crate) fn read_done(&mut self, now: Now, number: u64, result: ReadResult, out: &mut Out<'_>) {
        match self.reads.by_number.remove(&number) {
            None => {}
            Some(ReadPurpose::Pull { origin, pull, offsets }) => {
                self.pull_read_done(origin, &pull, &offsets, result, out);
            }
            Some(ReadPurpose::Query { origin, query }) => self.query_done(origin, &query, result, out),
            Some(ReadPurpose::View { origin, at, covered, relay }) => {
                self.view_done(now, (origin, relay), (at, covered), result, out);
            }
            Some(ReadPurpose::Units { origin, answer }) => Self::units_done(origin, *answer, result, out),
            Some(ReadPurpose::Search { origin }) => Self::search_done(origin, result, out),
            Some(ReadPurpose::Reset { reset, queue }) => {
                self.reset_search_done(now, (reset, queue), result, out);
            }
            Some(ReadPurpose::StoreTime { origin }) => Self::store_time_done(origin, result, out),
            Some(ReadPurpose::Age(of)) => self.age_read(of, &result, out),
            Some(ReadPurpose::Progress { answer, queue }) => {
                self.progress_read((answer, &queue), &result, out);
            }
            Some(ReadPurpose::SendBack { origin, request, covered }) => {
                self.send_back_read_done(now, origin, (request, covered), result, out);
            }
            Some(ReadPurpose::Delayed(level, offset)) => {
                self.delayed_read_done(now, (level, offset), result, out);
            }
        }
    }
}
