//! Delayed messages on their way out: what is due is put into the topic it is for. The messages and the level's
//! progress stand in one entry of the log, so that a crash neither loses nor doubles any.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use steadfast_store::unit::QueueName;
use steadfast_types::record::StoredMessage;
use steadfast_types::topic::SCHEDULE;
use steadfast_types::{QueueId, QueueOffset, Timestamp, properties};

use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, Phase};
use crate::control::Control;
use crate::filter::TagFilter;
use crate::io::{Effect, Now, ReadJob, ReadResult};
use crate::pending::Bundle;
use crate::request::PreparedRecord;
use crate::state::{Delivered, Delivery};

/// Most messages of a level that are delivered in one entry.
const MESSAGES: usize = 128;
/// Most bytes of them; one message is always delivered.
const BYTES: usize = 512 * 1024;
/// Milliseconds until something that failed is tried again.
const RETRY_AFTER: u64 = 1_000;

/// What a level is at. Only the leader that delivers knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing is known of its next message, or there is none.
    #[default]
    Unknown,
    /// A message is being read.
    Reading,
    /// The next message is not due before this time; `wake` are the ticks that belong to it.
    Waiting { time: Timestamp, wake: u64 },
    /// A delivery waits to be written, or is being written.
    Delivering,
    /// Something failed; to be tried again at these ticks.
    Retry(u64),
}

#[derive(Debug, Default)]
struct Level {
    state: State,
    /// Messages that were passed over before this process was started, and when each may be due: perhaps they can be
    /// read now. Each gets one try.
    late: BTreeMap<QueueOffset, Timestamp>,
}

impl Level {
    fn is_busy(&self, now: Now) -> bool {
        match self.state {
            State::Reading | State::Delivering => true,
            State::Retry(at) => at > now.ticks,
            State::Unknown | State::Waiting { .. } => false,
        }
    }
}

/// What all levels are at, by queue id.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    levels: Vec<Level>,
    begun: bool,
}

impl Deliveries {
    /// Ticks at which there is something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let wake = |level: &Level| match level.state {
            State::Waiting { wake, .. } | State::Retry(wake) => Some(wake),
            State::Unknown | State::Reading | State::Delivering => None,
        };
        self.levels.iter().filter_map(wake).min()
    }

    /// A change of state is durable.
    pub(crate) fn committed(&mut self, control: &Control) {
        if let Control::Delivered(delivered) = control {
            self.level(delivered.queue_id).state = State::Unknown;
        }
    }

    /// A change of state that was admitted at these ticks was given up; if it was a delivery, it is tried again.
    pub(crate) fn abandoned(&mut self, control: &Control, since: u64) {
        if let Control::Delivered(delivered) = control {
            let level = self.level(delivered.queue_id);
            level.state = State::Retry(since + RETRY_AFTER);
            if let Delivery::Late(offset) = delivered.what {
                level.late.insert(offset, Timestamp::ZERO);
            }
        }
    }

    fn level(&mut self, queue: QueueId) -> &mut Level {
        let at = queue.get() as usize;
        if at >= self.levels.len() {
            self.levels.resize_with(at + 1, Level::default);
        }
        &mut self.levels[at]
    }
}

impl Broker {
    /// Delivers what is due, as far as it is in memory, and reads what is not.
    pub(crate) fn deliver(&mut self, now: Now, out: &mut Out<'_>) {
        if self.phase != Phase::Leading {
            return;
        }
        if !self.deliveries.begun {
            self.deliveries.begun = true;
            for (queue, offset) in self.state.delays.passed_over() {
                self.deliveries.level(queue).late.insert(offset, Timestamp::ZERO);
            }
        }
        let levels = self.state.topics.get(SCHEDULE).map_or(0, |topic| topic.queues.len());
        for id in (0..levels as u32).map(QueueId::new) {
            self.deliver_late(now, id, out);
            self.deliver_next(now, id, out);
        }
    }

    /// Tries the messages of a level that were passed over.
    fn deliver_late(&mut self, now: Now, id: QueueId, out: &mut Out<'_>) {
        let clock = self.clock.time();
        loop {
            let level = self.deliveries.level(id);
            if level.is_busy(now) {
                return;
            }
            let Some((offset, _)) = level.late.iter().find(|(_, time)| **time <= clock) else { return };
            let offset = *offset;
            self.read_delayed(now, id, offset, 1, out);
        }
    }

    fn deliver_next(&mut self, now: Now, id: QueueId, out: &mut Out<'_>) {
        let clock = self.clock.time();
        let Some(queue) = self.state.topics.queue(SCHEDULE, id) else { return };
        let level = self.deliveries.level(id);
        if level.is_busy(now) {
            return;
        }
        if let State::Waiting { time, wake } = &mut level.state
            && *time > clock
        {
            *wake = now.ticks + time.since(clock);
            return;
        }
        let next = self.state.delays.next(id);
        if next < queue.end {
            return self.read_delayed(now, id, next, MESSAGES, out);
        }
        level.state = match level.late.values().min() {
            Some(time) => State::Waiting { time: *time, wake: now.ticks + time.since(clock) },
            None => State::Unknown,
        };
    }

    /// Takes the messages of a level from `offset` on to [`Broker::deliver_due`], from memory or by a read.
    fn read_delayed(&mut self, now: Now, id: QueueId, offset: QueueOffset, most: usize, out: &mut Out<'_>) {
        let Some(queue) = self.state.topics.queue(SCHEDULE, id) else { return };
        let committed = self.committed();
        let recent_from = queue.recent_from();
        let job = if offset < recent_from {
            ReadJob::Queue {
                queue: queue.name.clone(),
                offsets: offset..recent_from,
                filter: TagFilter::All,
                fenced: Vec::new(),
                holes: Vec::new(),
                max_messages: most,
                max_bytes: BYTES,
                committed,
            }
        } else {
            let units: Vec<_> = queue.units_from(offset).take(most).copied().collect();
            let hot = self.hot.records(&units);
            if !hot.is_empty() {
                return self.deliver_due(now, id, offset, hot.iter(), out);
            }
            ReadJob::Records { units, max_bytes: BYTES, committed }
        };
        self.deliveries.level(id).state = State::Reading;
        self.read(ReadPurpose::Delayed(id, offset), job, out);
    }

    /// Messages of a level were read, or not.
    pub(super) fn delayed_read_done(
        &mut self,
        now: Now,
        (id, offset): (QueueId, QueueOffset),
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        self.deliveries.level(id).state = State::Unknown;
        if self.phase != Phase::Leading {
            return;
        }
        let failure = match result {
            ReadResult::Messages { records, .. } if !records.is_empty() => {
                return self.deliver_due(now, id, offset, records.iter(), out);
            }
            // Another replica has it.
            ReadResult::Damaged(cause) if !self.membership.is_alone() => Some(cause),
            ReadResult::Damaged(cause) => return self.pass_over(now, (id, offset), &cause, out),
            // A segment is gone: as good as damaged, and the messages after it have waited enough.
            ReadResult::NotFound => {
                return self.pass_over(now, (id, offset), "the log has no record there", out);
            }
            ReadResult::Failed(cause) => Some(cause),
            _ => None,
        };
        self.deliveries.level(id).state = State::Retry(now.ticks + RETRY_AFTER);
        if let Some(cause) = failure {
            out(Effect::Warn(format!(
                "the delayed message at offset {offset} of queue {SCHEDULE}/{id} cannot be read now and is tried \
                 again: {cause}"
            )));
        }
    }

    /// Proposes those of these messages of a level that are due, together with the level's progress. They begin at
    /// `offset`: the level's next ones, or one that was passed over.
    fn deliver_due(
        &mut self,
        now: Now,
        id: QueueId,
        offset: QueueOffset,
        records: impl Iterator<Item = Bytes>,
        out: &mut Out<'_>,
    ) {
        let clock = self.clock.time();
        let delay = self.options.delay_levels.delay(id);
        let mut messages = Vec::new();
        let (mut bytes, mut end) = (0, None);
        for record in records {
            let Ok(message) = StoredMessage::decode_verified(&record) else { break };
            let time = message.stamp.store_time + delay;
            if time > clock && messages.is_empty() {
                return self.not_yet(now, (id, offset), time);
            }
            bytes += record.len();
            if time > clock || (bytes > BYTES && !messages.is_empty()) {
                break;
            }
            let Some(delivery) = self.delivery(&message) else { break };
            messages.push(delivery);
            end = Some(message.stamp.log_offset + record.len() as u64);
        }
        let Some(from) = end else {
            return self.pass_over(now, (id, offset), "it does not say for which queue it is", out);
        };
        let what = if offset == self.state.delays.next(id) {
            Delivery::Before { next: offset + messages.len() as u64, from }
        } else {
            self.deliveries.level(id).late.remove(&offset);
            Delivery::Late(offset)
        };
        self.warn_of_deleted(&messages, out);
        self.propose_delivery(now, Delivered { queue_id: id, what }, messages);
    }

    fn not_yet(&mut self, now: Now, (id, offset): (QueueId, QueueOffset), time: Timestamp) {
        let clock = self.clock.time();
        let level = self.deliveries.level(id);
        if let Some(late) = level.late.get_mut(&offset) {
            *late = time;
            return;
        }
        let first = level.late.values().copied().chain([time]).min().unwrap_or(time);
        level.state = State::Waiting { time: first, wake: now.ticks + first.since(clock) };
    }

    fn propose_delivery(
        &mut self,
        now: Now,
        delivered: Delivered,
        messages: Vec<(QueueName, PreparedRecord)>,
    ) {
        self.deliveries.level(delivered.queue_id).state = State::Delivering;
        let controls = vec![Control::Delivered(delivered)];
        self.pending.push_bundle(Bundle { controls, messages, origin: None, since: now.ticks });
    }

    /// The message as it is for its real topic, which may have been deleted since: then it waits in the queue that
    /// remains of it.
    fn delivery(&mut self, message: &StoredMessage<'_>) -> Option<(QueueName, PreparedRecord)> {
        let topic = properties::get(message.properties, properties::REAL_TOPIC)?;
        let queue_id = properties::get(message.properties, properties::REAL_QID)?.parse().ok()?;
        let queue = self.state.topics.queue_mut(topic, QueueId::new(queue_id))?.name.clone();
        let changes =
            [properties::DELAY, properties::REAL_TOPIC, properties::REAL_QID].map(|name| (name, None));
        let record = self.rewritten(message, topic, message.reconsume_times, &changes).ok()?;
        Some((queue, record))
    }

    fn warn_of_deleted(&self, messages: &[(QueueName, PreparedRecord)], out: &mut Out<'_>) {
        let topics: BTreeSet<_> = messages.iter().map(|(queue, _)| &queue.topic).collect();
        for topic in topics.into_iter().filter(|topic| self.state.topics.get(topic).is_none()) {
            out(Effect::Warn(format!(
                "delayed messages for topic {topic}, which was deleted, are due; they are kept in its queues and are \
                 there for consumers once the topic is made again"
            )));
        }
    }

    /// A message that cannot be read stays where it is; those behind it go on.
    fn pass_over(&mut self, now: Now, (id, offset): (QueueId, QueueOffset), cause: &str, out: &mut Out<'_>) {
        out(Effect::Warn(format!(
            "the delayed message at offset {offset} of queue {SCHEDULE}/{id} cannot be delivered and is passed over \
             until the next start: {cause}"
        )));
        if offset == self.state.delays.next(id) {
            self.propose_delivery(now, Delivered { queue_id: id, what: Delivery::PassOver }, Vec::new());
        } else {
            self.deliveries.level(id).late.remove(&offset);
        }
    }

    /// Figures for tools: how far each level was delivered and where its queue ends, and what was passed over.
    pub(super) fn delay_figures(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let queues = self.state.topics.get(SCHEDULE).into_iter().flat_map(|topic| &topic.queues);
        let progress = queues.map(|queue| {
            let id = queue.name.queue_id;
            let next = self.state.delays.next(id);
            (format!("scheduleMessageOffset_{}", id.next()), format!("{next},{}", queue.end))
        });
        let passed_over = self.state.delays.passed_over().count().to_string();
        progress.chain([("scheduleMessagesPassedOver".to_owned(), passed_over)])
    }
}
