//! What became of promise P6: how often and how far groups jumped, and the latest jumps of each group in each topic.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_types::Timestamp;

use crate::bytes_ext::{Malformed, get_text, put_text};
use crate::jump::{JumpCause, Move};

/// Jumps kept for display, for each group and topic. All are in the log, and all are counted.
const KEPT: usize = 64;

/// A jump that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jumped {
    pub(crate) cause: JumpCause,
    pub(crate) moved: Move,
    /// Store time of the entry that holds it.
    pub(crate) at: Timestamp,
}

/// Jumps of a group for one cause, since the group's first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct JumpCount {
    /// How many.
    pub(crate) jumps: u64,
    /// Messages the group was not given.
    pub(crate) skipped: u64,
    /// Messages the group was given once more.
    pub(crate) repeated: u64,
}

/// All jumps.
#[derive(Debug, Default)]
pub(crate) struct Jumps {
    counts: BTreeMap<Arc<str>, BTreeMap<JumpCause, JumpCount>>,
    latest: BTreeMap<Arc<str>, BTreeMap<Arc<str>, VecDeque<Jumped>>>,
}

impl Jumps {
    /// The latest jumps of a group in a topic, oldest first.
    pub(crate) fn latest(&self, group: &str, topic: &str) -> impl Iterator<Item = &Jumped> {
        self.latest.get(group).and_then(|topics| topics.get(topic)).into_iter().flatten()
    }

    /// Counts by group and cause: the metrics.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&Arc<str>, JumpCause, JumpCount)> {
        let of_group = |(group, causes)| counts_of(group, causes);
        self.counts.iter().flat_map(of_group)
    }

    pub(super) fn push(&mut self, group: &Arc<str>, topic: &Arc<str>, jumped: Jumped) {
        let count = self.counts.entry(group.clone()).or_default().entry(jumped.cause).or_default();
        count.jumps += 1;
        count.skipped += jumped.moved.skipped();
        count.repeated += jumped.moved.repeated();
        let latest = self.latest.entry(group.clone()).or_default().entry(topic.clone()).or_default();
        if latest.len() == KEPT {
            latest.pop_front();
        }
        latest.push_back(jumped);
    }

    /// Forgets what happened in a topic; it stays counted.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.latest.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
    }

    /// Forgets what happened to a group; it stays counted.
    pub(super) fn forget_group(&mut self, group: &str) {
        self.latest.remove(group);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.counts().count() as u32);
        for (group, cause, count) in self.counts() {
            put_text(out, group);
            cause.encode(out);
            out.put_u64(count.jumps);
            out.put_u64(count.skipped);
            out.put_u64(count.repeated);
        }
        out.put_u32(self.latest.values().map(BTreeMap::len).sum::<usize>() as u32);
        for (group, topics) in &self.latest {
            for (topic, latest) in topics {
                put_text(out, group);
                put_text(out, topic);
                out.put_u32(latest.len() as u32);
                for Jumped { cause, moved, at } in latest {
                    cause.encode(out);
                    moved.encode(out);
                    out.put_u64(at.get());
                }
            }
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u32()? {
            let group: Arc<str> = get_text(bytes)?.into();
            let cause = JumpCause::decode(bytes)?;
            let (jumps, skipped, repeated) =
                (bytes.try_get_u64()?, bytes.try_get_u64()?, bytes.try_get_u64()?);
            let count = JumpCount { jumps, skipped, repeated };
            this.counts.entry(group).or_default().insert(cause, count);
        }
        for _ in 0..bytes.try_get_u32()? {
            let (group, topic) = (get_text(bytes)?, get_text(bytes)?);
            let latest = this.latest.entry(group.into()).or_default().entry(topic.into()).or_default();
            for _ in 0..bytes.try_get_u32()? {
                let (cause, moved) = (JumpCause::decode(bytes)?, Move::decode(bytes)?);
                latest.push_back(Jumped { cause, moved, at: Timestamp::new(bytes.try_get_u64()?) });
            }
        }
        Ok(this)
    }
}

fn counts_of<'a>(
    group: &'a Arc<str>,
    causes: &'a BTreeMap<JumpCause, JumpCount>,
) -> impl Iterator<Item = (&'a Arc<str>, JumpCause, JumpCount)> {
    causes.iter().map(move |(cause, count)| (group, *cause, *count))
}
