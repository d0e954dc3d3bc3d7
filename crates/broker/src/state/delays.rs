//! How far the messages of each delay level have been delivered.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut};
use steadfast_types::{LogOffset, QueueId, QueueOffset, limits};

use super::Queue;
use crate::bytes_ext::Malformed;

/// How far one level's queue has been delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Level {
    /// Everything before it was delivered, but for `passed_over`.
    pub(crate) next: QueueOffset,
    /// What comes from `next` on lies here in the log or later.
    pub(crate) from: LogOffset,
    /// Messages that could not be read when it was their turn. They are still to be delivered.
    pub(crate) passed_over: BTreeSet<QueueOffset>,
}

/// Progress of a level, as a control record. It becomes durable together with the messages that it delivers, or not at
/// all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Queue of the topic of delayed messages.
    pub(crate) queue_id: QueueId,
    /// What was delivered.
    pub(crate) what: Delivery,
}

/// A step of a level's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The messages before `next`; the others lie at `from` in the log or later.
    Before { next: QueueOffset, from: LogOffset },
    /// The next one is passed over.
    PassOver,
    /// One that was passed over.
    Late(QueueOffset),
}

/// The progress of all levels, by queue id.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    levels: Vec<Level>,
}

impl Delays {
    /// Offset of the next message of a queue.
    pub(crate) fn next(&self, queue: QueueId) -> QueueOffset {
        self.levels.get(queue.get() as usize).map_or(QueueOffset::ZERO, |level| level.next)
    }

    /// Every message that was passed over.
    pub(crate) fn passed_over(&self) -> impl Iterator<Item = (QueueId, QueueOffset)> + '_ {
        let levels = (0..).map(QueueId::new).zip(&self.levels);
        levels.flat_map(|(queue, level)| level.passed_over.iter().map(move |offset| (queue, *offset)))
    }

    /// A delayed message joined its queue.
    pub(crate) fn stored(&mut self, queue: QueueId, offset: QueueOffset, at: LogOffset) {
        let level = self.level_mut(queue);
        if level.next == offset {
            level.from = at;
        }
    }

    pub(super) fn delivered(&mut self, delivered: &Delivered) {
        let level = self.level_mut(delivered.queue_id);
        match delivered.what {
            Delivery::Before { next, from } => (level.next, level.from) = (next, from),
            Delivery::PassOver => {
                level.passed_over.insert(level.next);
                level.next = level.next.next();
            }
            Delivery::Late(offset) => {
                level.passed_over.remove(&offset);
            }
        }
    }

    /// These messages of a queue will not be delivered.
    pub(super) fn give_up(&mut self, queue: QueueId, holes: &BTreeMap<QueueOffset, LogOffset>) {
        if let Some(level) = self.levels.get_mut(queue.get() as usize) {
            level.passed_over.retain(|offset| !holes.contains_key(offset));
        }
    }

    /// Offset of the oldest message of a queue that is still to be delivered.
    pub(crate) fn oldest_pending(&self, queue: QueueId) -> QueueOffset {
        let passed_over = self.levels.get(queue.get() as usize).and_then(|level| level.passed_over.first());
        passed_over.copied().unwrap_or(self.next(queue))
    }

    /// Where the oldest message lies in the log, at the earliest, that waits for its turn in one of these queues.
    pub(super) fn pending_from(&self, queues: &[Queue]) -> Option<LogOffset> {
        let pending = self.levels.iter().zip(queues).filter(|(level, queue)| level.next < queue.end);
        pending.map(|(level, _)| level.from).min()
    }

    fn level_mut(&mut self, queue: QueueId) -> &mut Level {
        let at = queue.get() as usize;
        if at >= self.levels.len() {
            self.levels.resize(at + 1, Level::default());
        }
        &mut self.levels[at]
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.levels.len() as u32);
        for level in &self.levels {
            out.put_u64(level.next.get());
            out.put_u64(level.from.get());
            out.put_u32(level.passed_over.len() as u32);
            level.passed_over.iter().for_each(|offset| out.put_u64(offset.get()));
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u32()? {
            let (next, from) = (bytes.try_get_u64()?, bytes.try_get_u64()?);
            let mut level = Level {
                next: QueueOffset::new(next),
                from: LogOffset::new(from),
                passed_over: BTreeSet::new(),
            };
            for _ in 0..bytes.try_get_u32()? {
                level.passed_over.insert(QueueOffset::new(bytes.try_get_u64()?));
            }
            this.levels.push(level);
        }
        Ok(this)
    }
}

const BEFORE: u8 = 1;
const PASS_OVER: u8 = 2;
const LATE: u8 = 3;

impl Delivered {
    /// Appends the encoded record.
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(self.queue_id.get());
        match self.what {
            Delivery::Before { next, from } => {
                out.put_u8(BEFORE);
                out.put_u64(next.get());
                out.put_u64(from.get());
            }
            Delivery::PassOver => out.put_u8(PASS_OVER),
            Delivery::Late(offset) => {
                out.put_u8(LATE);
                out.put_u64(offset.get());
            }
        }
    }

    /// Reads what [`Delivered::encode`] wrote.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let queue_id = Some(bytes.try_get_u32()?).filter(|id| *id < limits::QUEUES).ok_or(Malformed)?;
        let what = match bytes.try_get_u8()? {
            BEFORE => Delivery::Before {
                next: QueueOffset::new(bytes.try_get_u64()?),
                from: LogOffset::new(bytes.try_get_u64()?),
            },
            PASS_OVER => Delivery::PassOver,
            LATE => Delivery::Late(QueueOffset::new(bytes.try_get_u64()?)),
            _ => return Err(Malformed),
        };
        Ok(Self { queue_id: QueueId::new(queue_id), what })
    }
}
