//! Reads that the disk is asked for, and what each was for.

use std::collections::{BTreeMap, VecDeque};

use steadfast_types::{LogOffset, QueueId, QueueOffset, Timestamp};
use steadfast_wire::body::{ConsumeQueue, MessageQueue};
use steadfast_wire::code::response;

use super::Answer;
use super::measuring::AgeOf;
use crate::broker::{Broker, Out, reply};
use crate::io::{ConnId, Effect, Now, Origin, ReadJob, ReadResult};
use crate::reply::Reply;
use crate::request::{PullRequest, QueryRequest, RelayRequest, Request, SendBackRequest};
use crate::retention::Demand;

/// Searches that are under way at most. Each holds what is known of its key or queue and is in no index run, which may
/// be megabytes, and keeps a thread busy that others wait for.
const SEARCHES: usize = 4;
/// Searches that wait for their turn at most.
const SEARCHES_WAITING: usize = 4096;
/// Milliseconds after which one that has not had its turn is answered. Whoever asked has long given up.
const SEARCH_PATIENCE: u64 = 15_000;

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
    /// The store time of what may be the oldest message, for runtime infos.
    Oldest,
    /// The store time of the last message of a queue that a group processed.
    Progress { answer: u64, queue: MessageQueue },
    /// A message that a consumer sends back; `covered` as for a view.
    SendBack { origin: Origin, request: Box<SendBackRequest>, covered: bool },
    /// Delayed messages of a level, from an offset on.
    Delayed(QueueId, QueueOffset),
    /// What the log holds.
    Report { origin: Origin, segments: Vec<(LogOffset, Timestamp)> },
    /// Which segments may go.
    Extents { demand: Demand, candidates: Vec<(LogOffset, Timestamp)> },
}

/// Reads under way, by number.
#[derive(Debug, Default)]
pub(crate) struct ReadsUnderWay {
    next: u64,
    by_number: BTreeMap<u64, ReadPurpose>,
    /// How many of them are searches.
    searches: usize,
    /// Searches that wait until others are done.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    origin: Origin,
    search: Request,
    /// Ticks since when.
    since: u64,
}

impl ReadsUnderWay {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether a search may begin now.
    pub(super) fn has_turn(&self) -> bool {
        self.searches < SEARCHES
    }

    /// Keeps a search until it is its turn.
    pub(super) fn wait(&mut self, now: Now, origin: Origin, search: Request) -> Answer {
        if self.waiting.len() >= SEARCHES_WAITING {
            let remark = format!("{SEARCHES_WAITING} lookups and searches are waiting already; ask again");
            return Err(Reply::error(response::SYSTEM_BUSY, remark));
        }
        self.waiting.push_back(Waiting { origin, search, since: now.ticks });
        Ok(None)
    }

    /// Another replica delivers what is due: what is being read for that is void.
    pub(crate) fn forget_deliveries(&mut self) {
        self.by_number.retain(|_, purpose| !matches!(purpose, ReadPurpose::Delayed(..)));
    }

    /// Nobody waits for the answers to this connection any more.
    pub(crate) fn drop_connection(&mut self, conn: ConnId) {
        self.waiting.retain(|waiting| waiting.origin.conn != conn);
    }
}

impl ReadPurpose {
    /// Who meets damage that is met; None if that is told of elsewhere.
    fn reader(&self) -> Option<String> {
        Some(match self {
            Self::Delayed(..) => return None,
            Self::Pull { pull, .. } => {
                let PullRequest { group, queue, offset, .. } = &**pull;
                format!(
                    "a pull of group {group} from queue {}/{} at offset {offset}",
                    queue.topic, queue.queue_id
                )
            }
            Self::Query { query, .. } => format!("a lookup of key {:?} in topic {}", query.key, query.topic),
            Self::View { at, .. } => format!("a lookup of log offset {at}"),
            _ => "a read".to_owned(),
        })
    }

    fn is_search(&self) -> bool {
        matches!(self, ReadPurpose::Query { .. } | ReadPurpose::Search { .. })
    }
}

impl Broker {
    pub(crate) fn read(&mut self, purpose: ReadPurpose, job: ReadJob, out: &mut Out<'_>) {
        let number = self.reads.next;
        self.reads.next += 1;
        self.reads.searches += usize::from(purpose.is_search());
        self.reads.by_number.insert(number, purpose);
        out(Effect::Read(number, job));
    }

    /// A read is done.
    pub(crate) fn read_done(&mut self, now: Now, number: u64, result: ReadResult, out: &mut Out<'_>) {
        let purpose = self.reads.by_number.remove(&number);
        self.reads.searches -= usize::from(purpose.as_ref().is_some_and(ReadPurpose::is_search));
        while self.reads.has_turn()
            && let Some(Waiting { origin, search, since }) = self.reads.waiting.pop_front()
        {
            match now.ticks - since {
                ..=SEARCH_PATIENCE => self.request(now, origin, search, out),
                waited => {
                    let remark = format!(
                        "the search has waited {waited} ms behind others, {SEARCHES} at a time, and was not begun; \
                         ask again"
                    );
                    reply(origin, Reply::error(response::SYSTEM_BUSY, remark), out);
                }
            }
        }
        if let ReadResult::Damaged(cause) = &result
            && let Some(reader) = purpose.as_ref().and_then(ReadPurpose::reader)
        {
            self.met_damage(now, &reader, cause, out);
        }
        match purpose {
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
            Some(ReadPurpose::Oldest) => self.oldest_read(now, &result, out),
            Some(ReadPurpose::Progress { answer, queue }) => {
                self.progress_read((answer, &queue), &result, out);
            }
            Some(ReadPurpose::SendBack { origin, request, covered }) => {
                self.send_back_read_done(now, origin, (request, covered), result, out);
            }
            Some(ReadPurpose::Delayed(level, offset)) => {
                self.delayed_read_done(now, (level, offset), result, out);
            }
            Some(ReadPurpose::Report { origin, segments }) => {
                self.retention_report_done(now, origin, &segments, result, out);
            }
            Some(ReadPurpose::Extents { demand, candidates }) => {
                self.extents_done(now, demand, &candidates, result, out);
            }
        }
    }
}
