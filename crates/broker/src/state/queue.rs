//! One queue of a topic: where it begins and ends, and the units of its newest messages. Older units are in
//! index runs.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::{LogOffset, QueueOffset, Timestamp};

use crate::bytes_ext::Malformed;
use crate::measures::{MessageKind, Traffic};

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    /// Offset of the oldest message kept.
    pub(crate) min: QueueOffset,
    /// Offset of the first message since its topic was made: those before went with a topic of the same name.
    pub(crate) born: QueueOffset,
    /// Offset after the last committed message: what consumers may see (promise P2).
    pub(crate) end: QueueOffset,
    /// Offset after the last stamped message; ahead of `end` by what is in flight.
    pub(crate) stamped: QueueOffset,
    /// Store time of the last message.
    pub(crate) last_store_time: Timestamp,
    /// Bytes of all messages that it ever had.
    bytes: u64,
    /// Units of the last messages; the last one belongs to `end - 1`.
    recent: VecDeque<Unit>,
    /// Messages that were damaged when the log was replayed. Their tags and keys are not known: each matches every
    /// filter and every key, so that whoever may want it learns of the damage.
    fenced: BTreeMap<QueueOffset, Unit>,
    /// Damaged messages that were given up, with their places in the log. Nobody is given them, nobody stops there.
    holes: BTreeMap<QueueOffset, LogOffset>,
    /// Pulls held at the end of this queue, by number.
    pub(crate) held: Vec<u64>,
    /// Messages of each kind that joined since the process started.
    pub(crate) stored: [Traffic; MessageKind::ALL.len()],
}

impl Queue {
    pub(crate) fn new(name: QueueName) -> Self {
        Self {
            name,
            min: QueueOffset::ZERO,
            born: QueueOffset::ZERO,
            end: QueueOffset::ZERO,
            stamped: QueueOffset::ZERO,
            last_store_time: Timestamp::ZERO,
            bytes: 0,
            recent: VecDeque::new(),
            fenced: BTreeMap::new(),
            holes: BTreeMap::new(),
            held: Vec::new(),
            stored: Default::default(),
        }
    }

    /// Offset of the first message whose unit is in memory; `end` if there is none.
    pub(crate) fn recent_from(&self) -> QueueOffset {
        QueueOffset::new(self.end.get() - self.recent.len() as u64)
    }

    /// A committed message joins the queue.
    pub(crate) fn push(&mut self, unit: Unit, store_time: Timestamp) {
        self.recent.push_back(unit);
        self.bytes += u64::from(unit.size);
        self.end = self.end.next();
        self.stamped = self.stamped.max(self.end);
        self.last_store_time = store_time;
    }

    /// Its topic is deleted: nothing of what the queue holds is served any more. Its messages are still in the log, and
    /// found by their places in it, so what is known of damaged ones is kept too.
    pub(super) fn end_life(&mut self) {
        self.min = self.end;
        self.born = self.end;
    }

    /// The queue begins here from now on, if it did not begin later already.
    pub(crate) fn begin_at(&mut self, min: QueueOffset) {
        self.min = self.min.max(min).min(self.end);
    }

    /// Forgets the damaged messages whose places in the log are gone.
    pub(crate) fn forget_damaged(&mut self, is_gone: impl Fn(LogOffset) -> bool) {
        self.fenced.retain(|_, unit| !is_gone(unit.log_offset));
        self.holes.retain(|_, at| !is_gone(*at));
    }

    /// The message at `offset`, which has joined, is damaged.
    pub(crate) fn fence(&mut self, offset: QueueOffset, unit: Unit) {
        self.fenced.insert(offset, unit);
    }

    /// The message at `offset` is given up.
    pub(super) fn give_up(&mut self, offset: QueueOffset, at: LogOffset) {
        self.fenced.remove(&offset);
        self.holes.insert(offset, at);
    }

    /// Messages that were given up.
    pub(crate) fn holes(&self) -> &BTreeMap<QueueOffset, LogOffset> {
        &self.holes
    }

    /// Messages whose tags and keys are not known.
    pub(crate) fn fenced(&self) -> &BTreeMap<QueueOffset, Unit> {
        &self.fenced
    }

    /// About how many bytes the messages from an offset on have: all count as having the same size.
    pub(crate) fn bytes_from(&self, from: QueueOffset) -> u64 {
        let (count, all) = (self.end.get() - from.min(self.end).get(), self.end.get().max(1));
        (u128::from(self.bytes) * u128::from(count) / u128::from(all)) as u64
    }

    /// Units from `offset` on; `offset` must not be before [`Queue::recent_from`].
    pub(crate) fn units_from(&self, offset: QueueOffset) -> impl Iterator<Item = &Unit> {
        let skip = (offset.get() - self.recent_from().get()) as usize;
        self.recent.range(skip.min(self.recent.len())..)
    }

    /// The unit at `offset`, if it is in memory.
    pub(crate) fn unit(&self, offset: QueueOffset) -> Option<&Unit> {
        let at = offset.get().checked_sub(self.recent_from().get())?;
        self.recent.get(at as usize)
    }

    /// Whether one of the units in memory is of a record that begins at this log offset.
    pub(crate) fn has_recent_at(&self, at: LogOffset) -> bool {
        self.recent.binary_search_by_key(&at, |unit| unit.log_offset).is_ok()
    }

    /// How many units are in memory.
    pub(crate) fn recent_len(&self) -> usize {
        self.recent.len()
    }

    /// An index run has the oldest `count` units now.
    pub(crate) fn forget_oldest(&mut self, count: usize) {
        self.recent.drain(..count.min(self.recent.len()));
        // A burst must not pin its memory for ever.
        if self.recent.capacity() > 1024 && self.recent.len() < self.recent.capacity() / 4 {
            self.recent.shrink_to_fit();
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.min.get());
        out.put_u64(self.born.get());
        out.put_u64(self.end.get());
        out.put_u64(self.last_store_time.get());
        out.put_u64(self.bytes);
        out.put_u32(self.fenced.len() as u32);
        for (offset, unit) in &self.fenced {
            out.put_u64(offset.get());
            unit.encode(out);
        }
        let holes = || self.holes.iter().filter(|_| !sabotage::is(Sabotage::HolesForgotten));
        out.put_u32(holes().count() as u32);
        for (offset, at) in holes() {
            out.put_u64(offset.get());
            out.put_u64(at.get());
        }
    }

    pub(super) fn decode(name: QueueName, bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut queue = Self::new(name);
        queue.min = QueueOffset::new(bytes.try_get_u64()?);
        queue.born = QueueOffset::new(bytes.try_get_u64()?);
        queue.end = QueueOffset::new(bytes.try_get_u64()?);
        queue.stamped = queue.end;
        queue.last_store_time = Timestamp::new(bytes.try_get_u64()?);
        queue.bytes = bytes.try_get_u64()?;
        for _ in 0..bytes.try_get_u32()? {
            let offset = QueueOffset::new(bytes.try_get_u64()?);
            let (unit, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
            queue.fenced.insert(offset, Unit::decode(unit));
            *bytes = rest;
        }
        for _ in 0..bytes.try_get_u32()? {
            let offset = QueueOffset::new(bytes.try_get_u64()?);
            queue.holes.insert(offset, LogOffset::new(bytes.try_get_u64()?));
        }
        Ok(queue)
    }
}
