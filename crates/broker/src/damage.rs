//! Damage that the background scrub has found or a read has met. Reads of a damaged message fail by themselves; this is
//! for telling.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::{LogOffset, QueueOffset};

use crate::broker::{Broker, Out, Phase};
use crate::control::{Control, Hole};
use crate::io::{DamagedRecord, Effect, Now, Scrubbed};

/// Milliseconds until a read that meets the same damage is told of again.
const TOLD_FOR: u64 = 3_600_000;
/// Damage that is told of at most in that time: there are as many places as messages.
const TOLD_MAX: usize = 64;

/// What the scrub found, by segment, and what reads met.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    segments: BTreeMap<LogOffset, Vec<DamagedRecord>>,
    unverified: BTreeMap<LogOffset, String>,
    /// Segments verified since the start.
    pub(crate) scrubbed: u64,
    /// Reads that met damage since the start.
    pub(crate) reads: u64,
    /// When damage that a read met was told of, in ticks.
    told: BTreeMap<String, u64>,
}

impl Damage {
    /// Damaged messages that were found.
    pub(crate) fn records(&self) -> impl Iterator<Item = &DamagedRecord> {
        self.segments.values().flatten()
    }

    /// Segments that could not be read to their ends.
    pub(crate) fn unverified(&self) -> usize {
        self.unverified.len()
    }

    /// A segment has none any more.
    pub(crate) fn lift(&mut self, base: LogOffset) {
        self.forget(&[base]);
        self.told.clear();
    }

    /// Whether something is to be told of, which is then noted: it was not lately, and not too much else was.
    pub(crate) fn may_tell(&mut self, now: Now, what: &str) -> bool {
        self.told.retain(|_, at| now.ticks - *at < TOLD_FOR);
        let may = self.told.len() < TOLD_MAX && !self.told.contains_key(what);
        may.then(|| self.told.insert(what.to_owned(), now.ticks));
        may
    }

    /// Forgets segments that are gone.
    pub(crate) fn forget(&mut self, bases: &[LogOffset]) {
        for base in bases {
            self.segments.remove(base);
            self.unverified.remove(base);
        }
    }
}

impl Broker {
    /// Damaged messages that recovery met, or that are known from before.
    pub fn fenced(&self) -> Vec<(QueueName, QueueOffset, Unit)> {
        let queues = self.state.topics.iter().flat_map(|topic| &topic.queues);
        queues
            .flat_map(|q| q.fenced().iter().map(|(offset, unit)| (q.name.clone(), *offset, *unit)))
            .collect()
    }

    /// Places of the messages that were given up.
    pub fn holes(&self) -> BTreeSet<LogOffset> {
        let queues = self.state.topics.iter().flat_map(|topic| &topic.queues);
        queues.flat_map(|queue| queue.holes().values().copied()).collect()
    }

    /// An operator gives damaged messages up.
    pub(crate) fn give_up(&mut self, now: Now, damaged: Vec<DamagedRecord>) {
        // Only a leader changes anything.
        if self.phase == Phase::Following {
            return;
        }
        for DamagedRecord { queue, offset, log_offset, .. } in damaged {
            let control =
                Control::Hole(Hole { topic: queue.topic, queue_id: queue.queue_id, offset, log_offset });
            self.pending.push_control(now, control, None);
        }
    }

    /// A read met damage. Whoever asked learns it from the answer; this tells the operator.
    pub(crate) fn met_damage(&mut self, now: Now, reader: &str, cause: &str, out: &mut Out<'_>) {
        self.damage.reads += 1;
        if self.damage.may_tell(now, cause) {
            let remedy = self.membership.remedy();
            out(Effect::Warn(format!("{reader} met damage: {cause}; {remedy}")));
        }
    }

    /// A segment was verified: what is known of it now replaces what was known before.
    pub(crate) fn scrubbed(&mut self, scrubbed: Scrubbed, out: &mut Out<'_>) {
        let Scrubbed { base, result } = scrubbed;
        self.damage.scrubbed += 1;
        let known = self.damage.segments.remove(&base).unwrap_or_default();
        self.damage.unverified.remove(&base);
        if !self.state.segments.has(base) {
            return;
        }
        match result {
            Ok(mut records) => {
                let (holes, remedy) = (self.holes(), self.membership.remedy());
                records.retain(|record| !holes.contains(&record.log_offset));
                if records.is_empty() {
                    return;
                }
                for DamagedRecord { queue, offset, log_offset, .. } in
                    records.iter().filter(|record| !known.contains(record))
                {
                    out(Effect::Warn(format!(
                        "the message at offset {offset} of queue {queue} (log offset {log_offset}) is damaged on disk; \
                         {remedy}"
                    )));
                }
                self.damage.segments.insert(base, records);
            }
            Err(cause) => {
                let remedy = self.membership.remedy();
                out(Effect::Warn(format!("the log file {base} cannot be verified: {cause}; {remedy}")));
                self.suspect(base + (self.layout.segment_size - 1));
                self.damage.unverified.insert(base, cause);
            }
        }
    }
}
