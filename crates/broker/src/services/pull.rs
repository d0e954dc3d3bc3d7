//! Pulling: answers from memory at the tail, from disk behind it, and holds the request where there is nothing
//! yet. Nothing past the committed end is ever served (promise P2).

use steadfast_store::reader::Records;
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::QueueOffset;
use steadfast_types::topic::PERM_READ;
use steadfast_wire::body::MessageModel;
use steadfast_wire::code::response;
use steadfast_wire::headers::PullMessageResponse;

use super::Answer;
use super::reads::ReadPurpose;
use super::subscription_groups::no_group;
use crate::broker::{Broker, Out, reply};
use crate::filter::TagFilter;
use crate::io::{Now, Origin, ReadJob, ReadResult};
use crate::measures::Traffic;
use crate::reply::{Reply, ReplyHeader};
use crate::request::PullRequest;
use crate::state::Queue;

/// Units that one pull looks at, at most, when its filter matches few (RocketMQ's
/// `maxFilterMessageSize` / 20).
const SCAN_UNITS: usize = 16_000;

/// What a pull found in memory.
struct Found {
    /// Queue offsets of the units.
    offsets: Vec<QueueOffset>,
    units: Vec<Unit>,
    /// First offset not looked at.
    next: QueueOffset,
}

impl Broker {
    pub(super) fn pull(
        &mut self,
        now: Now,
        origin: Origin,
        mut pull: PullRequest,
        out: &mut Out<'_>,
    ) -> Answer {
        if !self.options.long_polling {
            pull.hold = pull.hold.min(self.options.short_polling);
        }
        let filter = self.check_pull(&pull)?;
        if let Some(offset) = pull.commit {
            self.commit_on_the_way(now, &pull, offset);
        }
        let queue = self.known_queue(&pull.queue)?;
        let (id, min, end) = (queue.name.queue_id, queue.min, queue.end);
        if let Some(target) = self.follow_reset(now, &pull, id) {
            return Ok(Some(outcome(response::PULL_OFFSET_MOVED, "OFFSET_RESET", target, min, end)));
        }
        let offset = match u64::try_from(pull.offset) {
            Ok(offset) if (min.get()..=end.get()).contains(&offset) => QueueOffset::new(offset),
            asked => {
                let status = if asked.is_ok_and(|asked| asked > end.get()) {
                    "OFFSET_OVERFLOW_BADLY"
                } else {
                    "OFFSET_TOO_SMALL"
                };
                let next = self.back_in_range(now, &pull, id);
                return Ok(Some(outcome(response::PULL_OFFSET_MOVED, status, next, min, end)));
            }
        };
        if offset == end {
            self.statistics.missed += 1;
            if pull.hold > 0 {
                return self.hold(now, origin, pull, filter);
            }
            return Ok(Some(outcome(response::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", offset, min, end)));
        }
        self.pull_found(now, origin, pull, filter, offset, out)
    }

    /// There is at least one message at `offset`.
    fn pull_found(
        &mut self,
        now: Now,
        origin: Origin,
        pull: PullRequest,
        filter: TagFilter,
        offset: QueueOffset,
        out: &mut Out<'_>,
    ) -> Answer {
        let queue = self.known_queue(&pull.queue)?;
        let (name, min, end, recent_from) = (queue.name.clone(), queue.min, queue.end, queue.recent_from());
        let id = name.queue_id;
        let committed = self.committed();
        if offset < recent_from {
            let job = ReadJob::Queue {
                queue: name,
                offsets: offset..recent_from,
                filter,
                fenced: queue.fenced().range(offset..recent_from).map(|(offset, _)| *offset).collect(),
                holes: queue.holes().range(offset..recent_from).map(|(offset, _)| *offset).collect(),
                max_messages: pull.max_messages,
                max_bytes: pull.max_bytes,
                committed,
            };
            self.read(ReadPurpose::Pull { origin, pull: Box::new(pull), offsets: Vec::new() }, job, out);
            return Ok(None);
        }
        let found = find(queue, offset, &filter, &pull);
        if found.units.is_empty() {
            self.statistics.missed += 1;
            // Nothing matched. At the end of the queue the filtered consumer waits like any other.
            if found.next == end && pull.hold > 0 {
                let pull = PullRequest { offset: found.next.get() as i64, ..pull };
                return self.hold(now, origin, pull, filter);
            }
            let next = found.next;
            return Ok(Some(outcome(response::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", next, min, end)));
        }
        if let Some((records, next)) = self.hot_records(&found) {
            self.statistics.served(&pull.group, (&pull.queue.topic, id, next), traffic(&records));
            return Ok(Some(messages(records, next, min, end)));
        }
        let Found { mut offsets, units, next } = found;
        let job = ReadJob::Records { units, max_bytes: pull.max_bytes, committed };
        offsets.push(next);
        self.read(ReadPurpose::Pull { origin, pull: Box::new(pull), offsets }, job, out);
        Ok(None)
    }

    /// The records, as far as they are in memory, if the first one is.
    fn hot_records(&self, found: &Found) -> Option<(Records, QueueOffset)> {
        let records = self.hot.records(&found.units);
        let next = found.offsets.get(records.len()).copied().unwrap_or(found.next);
        (!records.is_empty()).then_some((records, next))
    }

    /// A read for a pull is done.
    pub(super) fn pull_read_done(
        &mut self,
        origin: Origin,
        pull: &PullRequest,
        offsets: &[QueueOffset],
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        let answer = match self.known_queue(&pull.queue) {
            Err(gone) => gone,
            Ok(queue) => {
                let (min, end) = (queue.min, queue.end);
                match result {
                    ReadResult::Messages { records, next } => {
                        // For records of units in memory the reader does not know queue offsets.
                        let next = if offsets.is_empty() { next } else { offsets[records.len()] };
                        if records.is_empty() {
                            self.statistics.missed += 1;
                            let code = response::PULL_RETRY_IMMEDIATELY;
                            outcome(code, "NO_MATCHED_MESSAGE", next, min, end)
                        } else {
                            let id = queue.name.queue_id;
                            let queue = (pull.queue.topic.as_str(), id, next);
                            self.statistics.served(&pull.group, queue, traffic(&records));
                            messages(records, next, min, end)
                        }
                    }
                    // Retention came in between.
                    _ if pull.offset < min.get() as i64 => {
                        outcome(response::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", min, min, end)
                    }
                    other => failed(&other, &queue.name, pull.offset),
                }
            }
        };
        reply(origin, answer, out);
    }

    pub(super) fn check_pull(&self, pull: &PullRequest) -> Result<TagFilter, Reply> {
        if self.options.permission & PERM_READ == 0 {
            let remark =
                format!("the broker serves no messages (brokerPermission={})", self.options.permission);
            return Err(Reply::error(response::NO_PERMISSION, remark));
        }
        self.check_group(&pull.group)?;
        let Some(topic) = self.state.topics.get(&pull.queue.topic) else {
            return Err(super::no_topic(&pull.queue.topic));
        };
        if !topic.config.is_readable() {
            let remark = format!("topic {} is not readable (perm {})", pull.queue.topic, topic.config.perm);
            return Err(Reply::error(response::NO_PERMISSION, remark));
        }
        match &pull.filter {
            Some(filter) => Ok(filter.clone()),
            None => self.clients.subscription(&pull.group, &pull.queue.topic).ok_or_else(|| {
                let remark = format!(
                    "group {} has no subscription to topic {}; a heartbeat with it must come first",
                    pull.group, pull.queue.topic
                );
                Reply::error(response::SUBSCRIPTION_NOT_EXIST, remark)
            }),
        }
    }

    /// Whether a group exists and may pull.
    fn check_group(&self, group: &str) -> Result<(), Reply> {
        let settings = self.group_settings(group).ok_or_else(|| no_group(group))?;
        let broadcasts = || {
            let group = self.clients.consumer_group(group);
            group.is_some_and(|group| group.model == MessageModel::Broadcasting)
        };
        let key = if !settings.consume_enable {
            "consumeEnable"
        } else if !settings.consume_broadcast_enable && broadcasts() {
            "consumeBroadcastEnable"
        } else {
            return Ok(());
        };
        let remark = format!("subscription group {group} has {key}=false; change it with updateSubGroup");
        Err(Reply::error(response::NO_PERMISSION, remark))
    }
}

fn find(queue: &Queue, from: QueueOffset, filter: &TagFilter, pull: &PullRequest) -> Found {
    // One more, for the offset after them.
    let offsets = Vec::with_capacity(pull.max_messages + 1);
    let mut found = Found { offsets, units: Vec::with_capacity(pull.max_messages), next: from };
    let mut bytes = 0;
    for (scanned, unit) in queue.units_from(from).enumerate() {
        if scanned == SCAN_UNITS || found.units.len() == pull.max_messages {
            break;
        }
        let wanted = filter.matches(unit.tag) || queue.fenced().contains_key(&found.next);
        if wanted && !queue.holes().contains_key(&found.next) {
            bytes += unit.size as usize;
            if !found.units.is_empty() && bytes > pull.max_bytes {
                break;
            }
            found.offsets.push(found.next);
            found.units.push(*unit);
        }
        found.next = found.next.next();
    }
    found
}

fn traffic(records: &Records) -> Traffic {
    Traffic { messages: records.len() as u64, bytes: records.bytes() as u64 }
}

/// A read of a queue failed: the consumer stays where it is. A damaged message is never skipped.
fn failed(result: &ReadResult, queue: &QueueName, offset: i64) -> Reply {
    let (code, cause) = match result {
        ReadResult::Incomplete(cause) => (response::SYSTEM_BUSY, cause.as_str()),
        ReadResult::Damaged(cause) | ReadResult::Failed(cause) => (response::SYSTEM_ERROR, cause.as_str()),
        _ => (response::SYSTEM_ERROR, "the message is not where the queue says it is"),
    };
    let remark = format!("queue {queue} cannot be read at offset {offset}: {cause}; nothing is skipped");
    Reply::error(code, remark)
}

/// The answer to a pull without messages.
pub(super) fn outcome(
    code: i32,
    status: &'static str,
    next: QueueOffset,
    min: QueueOffset,
    end: QueueOffset,
) -> Reply {
    Reply { code, remark: Some(status.into()), ..messages(Records::default(), next, min, end) }
}

fn messages(records: Records, next: QueueOffset, min: QueueOffset, end: QueueOffset) -> Reply {
    let header = PullMessageResponse {
        suggest_which_broker_id: 0,
        next_begin_offset: next.get() as i64,
        min_offset: min.get() as i64,
        max_offset: end.get() as i64,
        ..PullMessageResponse::default()
    };
    Reply {
        remark: Some("FOUND".into()),
        body: records.into_pieces(),
        ..Reply::with(ReplyHeader::Pulled(header))
    }
}
