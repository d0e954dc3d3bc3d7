//! GET_RETENTION, a request of our own: what the log still holds, and why.

use std::collections::BTreeSet;

use steadfast_store::unit::QueueName;
use steadfast_types::{LogOffset, Timestamp};
use steadfast_wire::body::{DamagedMessage, KeptSegment, PinnedMessages, RetentionReport};
use steadfast_wire::code::response;

use super::Answer;
use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, reply};
use crate::io::{Extent, Now, Origin, ReadJob, ReadResult};
use crate::reply::Reply;
use crate::retention::{Holder, Pin};
use crate::state::attributes::PROTECTED;
use crate::state::{Topic, TopicConfig};

/// Segments in a report.
const SEGMENTS: usize = 256;

impl Broker {
    pub(super) fn retention_report(&mut self, origin: Origin, out: &mut Out<'_>) -> Answer {
        let segments: Vec<_> = self.state.segments.iter().take(SEGMENTS).collect();
        let job = self.extents_job(segments.iter().map(|(base, _)| *base));
        self.read(ReadPurpose::Report { origin, segments }, job, out);
        Ok(None)
    }

    /// Asks which messages of each queue lie in the segments with these bases.
    pub(crate) fn extents_job(&self, bases: impl Iterator<Item = LogOffset>) -> ReadJob {
        let stretches = bases.map(|base| base..base + self.layout.segment_size).collect();
        let queues = self.state.topics.iter().flat_map(|topic| &topic.queues);
        let queues = queues.filter(|queue| queue.min < queue.recent_from());
        let queues = queues.map(|queue| (queue.name.clone(), queue.min..queue.recent_from())).collect();
        ReadJob::Extents { stretches, queues }
    }

    pub(super) fn retention_report_done(
        &mut self,
        now: Now,
        origin: Origin,
        segments: &[(LogOffset, Timestamp)],
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        let answer = match result {
            ReadResult::Extents(extents) => Reply::json(&self.report(now, segments, &extents)),
            other => Reply::error(
                response::SYSTEM_ERROR,
                format!("the index cannot be read: {other:?}; ask again"),
            ),
        };
        reply(origin, answer, out);
    }

    fn report(&self, now: Now, segments: &[(LogOffset, Timestamp)], extents: &[Extent]) -> RetentionReport {
        let awaited = if self.is_forcing() { self.state.awaited() } else { Vec::new() };
        let pins: Vec<PinnedMessages> = self
            .state
            .pins()
            .iter()
            .chain(&awaited)
            .filter_map(|pin| self.pinned(now, pin, segments, extents))
            .collect();
        let kept = segments.iter().map(|(base, newest)| KeptSegment {
            base: base.get(),
            newest: newest.get(),
            why: self.why_kept(*base, &pins),
        });
        RetentionReport {
            retention_head: self.gone().head().get(),
            replication_head: self.stretch.from.get(),
            end: self.committed().get(),
            segment_size: self.layout.segment_size,
            disk_total: self.room.space.total,
            disk_free: self.room.space.free,
            segments: kept.collect(),
            damaged: self.damaged(),
            pins,
        }
    }

    /// Damaged messages that recovery or the scrub has met and nobody has given up.
    pub(crate) fn damaged(&self) -> Vec<DamagedMessage> {
        let fenced = self.state.topics.iter().flat_map(|topic| &topic.queues).flat_map(|queue| {
            queue.fenced().iter().map(|(offset, unit)| (&queue.name, *offset, unit.log_offset))
        });
        let scrubbed = self.damage.records().map(|record| (&record.queue, record.offset, record.log_offset));
        let all: BTreeSet<_> = fenced.chain(scrubbed).collect();
        let is_given_up = |queue: &QueueName, offset| {
            let queue = self.state.topics.queue(&queue.topic, queue.queue_id);
            queue.is_some_and(|queue| queue.holes().contains_key(&offset))
        };
        let all = all.into_iter().filter(|(queue, offset, _)| !is_given_up(queue, *offset));
        let all = all.map(|(queue, offset, log_offset)| DamagedMessage {
            topic: queue.topic.to_string(),
            queue_id: queue.queue_id.get(),
            offset: offset.get(),
            log_offset: log_offset.get(),
        });
        all.collect()
    }

    fn pinned(
        &self,
        now: Now,
        pin: &Pin,
        segments: &[(LogOffset, Timestamp)],
        extents: &[Extent],
    ) -> Option<PinnedMessages> {
        let topic = self.state.topics.get(&pin.queue.topic)?;
        let queue = topic.queues.get(pin.queue.queue_id.get() as usize)?;
        let offsets = pin.extent(extents).map_or(&[][..], |extent| &extent.offsets);
        let held = segments.iter().zip(offsets).filter(|(_, offsets)| pin.needs(offsets));
        let held: Vec<_> = held.map(|(segment, _)| *segment).collect();
        let group = match &pin.holder {
            Holder::Group(group) => Some(group.to_string()),
            Holder::Nobody | Holder::Delay => None,
        };
        Some(PinnedMessages {
            topic: pin.queue.topic.to_string(),
            queue_id: pin.queue.queue_id.get(),
            release: self.release(pin, topic),
            why: why(pin),
            group,
            from: pin.from.get(),
            messages: queue.end.get() - pin.from.get(),
            bytes: queue.bytes_from(pin.from),
            age: held.first().map_or(0, |(_, newest)| now.wall.since(*newest)),
            segments: held.iter().map(|(base, _)| base.get()).collect(),
        })
    }

    fn release(&self, Pin { holder, .. }: &Pin, topic: &Topic) -> String {
        let name = &topic.config.name;
        match holder {
            Holder::Group(group) => format!(
                "let group {group} consume topic {name}, or move its position there, or {}",
                if self.state.is_protected(topic) {
                    unprotect(&topic.config)
                } else {
                    format!("delete the group with its positions: deleteSubGroup -g {group} -r true")
                }
            ),
            Holder::Nobody => {
                format!("let a consumer group consume topic {name}, or {}", unprotect(&topic.config))
            }
            Holder::Delay => "they go when they are due and delivered".to_owned(),
        }
    }

    fn why_kept(&self, base: LogOffset, pins: &[PinnedMessages]) -> String {
        if base + self.layout.segment_size > self.stretch.from {
            return "it is newer than the newest snapshot".to_owned();
        }
        let holders = pins.iter().filter(|pin| pin.segments.contains(&base.get()));
        let holders: Vec<String> = holders.map(|pin| pin.why.clone()).collect();
        if holders.is_empty() { "its time has not come".to_owned() } else { holders.join("; ") }
    }
}

fn why(Pin { queue, holder, .. }: &Pin) -> String {
    match holder {
        Holder::Group(group) => format!("group {group} has not processed queue {queue}"),
        Holder::Nobody => format!("no group has processed queue {queue}"),
        Holder::Delay => format!("delayed messages in queue {queue} are not delivered yet"),
    }
}

/// The settings are named since RocketMQ's tool resets those that are not.
fn unprotect(config: &TopicConfig) -> String {
    let TopicConfig { name: topic, read_queues, write_queues, perm, order, .. } = config;
    format!(
        "give up the protection: updateTopic -t {topic} -a -{PROTECTED} -r {read_queues} -w {write_queues} -p {perm} \
         -o {order}"
    )
}
