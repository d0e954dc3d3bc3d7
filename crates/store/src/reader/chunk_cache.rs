//! The least recently used chunks of the log, dropped first when a budget of bytes is exceeded.
//!
//! A chunk enters on the second time that something of it is wanted: reads that are scattered over the log take
//! their record alone and do not push out what a backlog is read from. Of a chunk wanted once only a mark is kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// Bytes in a whole chunk, and the alignment of its position in the segment.
pub(super) const CHUNK: u64 = 512 * 1024;
/// What a mark counts against the budget.
const MARK_COST: usize = 1024;
/// Whatever the budget, a few chunks stay, so that no chunk is read again for each of its records.
const BUDGET_MIN: usize = 4 * CHUNK as usize;

/// Names a chunk of an open segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkKey {
    /// Id of the opened segment.
    pub(super) segment: u64,
    /// Number of the chunk in the segment.
    pub(super) number: u64,
}

/// Answer of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The chunk, as long as was needed or longer.
    Chunk(Bytes),
    /// It was wanted before and is not here, or too short.
    WantedBefore,
    /// It was not wanted lately; from now on it was.
    Unknown,
}

/// See the module's page. The lock is held for look-ups only, never while the disk works.
pub(super) struct ChunkCache {
    budget: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<ChunkKey, Slot>,
    /// The same keys by the time of their last use.
    by_use: BTreeMap<u64, ChunkKey>,
    clock: u64,
    cost: usize,
    /// The last chunk that had to go.
    spare: Bytes,
}

struct Slot {
    /// Empty for a mark.
    chunk: Bytes,
    last_use: u64,
}

impl ChunkCache {
    pub(super) fn new(budget: usize) -> Self {
        Self { budget: budget.max(BUDGET_MIN), state: Mutex::default() }
    }

    /// The chunk if at least `need` bytes of it are here. It counts as used, and as wanted.
    pub(super) fn find(&self, key: ChunkKey, need: usize) -> Found {
        let mut state = self.lock();
        let Some(slot) = state.slots.get(&key) else {
            state.put(key, Bytes::new(), self.budget);
            return Found::Unknown;
        };
        let chunk = slot.chunk.clone();
        state.touch(key);
        if chunk.len() >= need { Found::Chunk(chunk) } else { Found::WantedBefore }
    }

    /// Keeps a chunk, unless a longer part of it is here already.
    pub(super) fn insert(&self, key: ChunkKey, chunk: Bytes) {
        let mut state = self.lock();
        if state.slots.get(&key).is_none_or(|slot| slot.chunk.len() < chunk.len()) {
            state.put(key, chunk, self.budget);
        }
    }

    /// Drops all chunks of a segment.
    pub(super) fn forget(&self, segment: u64) {
        let mut state = self.lock();
        let range = ChunkKey { segment, number: 0 }..=ChunkKey { segment, number: u64::MAX };
        let keys: Vec<ChunkKey> = state.slots.range(range).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| drop(state.remove(key)));
    }

    /// Memory for the next chunk: the last one that had to go, unless an answer still holds it. Neither allocated nor
    /// zeroed anew, which was a tenth of what reading a backlog cost.
    pub(super) fn spare(&self) -> BytesMut {
        let spare = std::mem::take(&mut self.lock().spare);
        spare.try_into_mut().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves at worst a cost that is off by one chunk.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, key: ChunkKey, chunk: Bytes, budget: usize) {
        self.remove(key);
        self.cost += cost(&chunk);
        self.slots.insert(key, Slot { chunk, last_use: 0 });
        self.touch(key);
        while self.cost > budget
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            let oldest = self.remove(*oldest);
            self.spare = oldest.filter(|chunk| chunk.len() == CHUNK as usize).unwrap_or_default();
        }
    }

    fn touch(&mut self, key: ChunkKey) {
        if let Some(slot) = self.slots.get_mut(&key) {
            self.clock += 1;
            self.by_use.remove(&slot.last_use);
            self.by_use.insert(self.clock, key);
            slot.last_use = self.clock;
        }
    }

    fn remove(&mut self, key: ChunkKey) -> Option<Bytes> {
        let slot = self.slots.remove(&key)?;
        self.by_use.remove(&slot.last_use);
        self.cost -= cost(&slot.chunk);
        Some(slot.chunk)
    }
}

fn cost(chunk: &Bytes) -> usize {
    chunk.len() + MARK_COST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> ChunkKey {
        ChunkKey { segment: 1, number }
    }

    fn chunk() -> Bytes {
        Bytes::from(vec![7; CHUNK as usize])
    }

    #[test]
    fn a_chunk_is_wanted_from_the_second_time_on() {
        let cache = ChunkCache::new(0);
        assert_eq!(cache.find(key(0), 1), Found::Unknown);
        assert_eq!(cache.find(key(0), 1), Found::WantedBefore);
        cache.insert(key(0), chunk());
        assert_eq!(cache.find(key(0), 1), Found::Chunk(chunk()));
    }

    #[test]
    fn the_tail_chunk_is_replaced_as_it_grows_and_never_by_a_shorter_one() {
        let cache = ChunkCache::new(0);
        cache.insert(key(0), chunk().slice(..100));
        assert_eq!(cache.find(key(0), 101), Found::WantedBefore);
        cache.insert(key(0), chunk().slice(..200));
        cache.insert(key(0), chunk().slice(..150));
        assert_eq!(cache.find(key(0), 101), Found::Chunk(chunk().slice(..200)));
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = ChunkCache::new(BUDGET_MIN + 8 * MARK_COST);
        for number in 0..4 {
            cache.insert(key(number), chunk());
        }
        assert_eq!(cache.find(key(0), 1), Found::Chunk(chunk()));
        cache.insert(key(4), chunk());
        assert_eq!(cache.find(key(0), 1), Found::Chunk(chunk()));
        assert_eq!(cache.find(key(1), 1), Found::Unknown);
        assert!(cache.lock().cost <= cache.budget);
    }

    #[test]
    fn marks_count_against_the_budget() {
        let cache = ChunkCache::new(0);
        for number in 0..100_000 {
            cache.find(key(number), 1);
        }
        let state = cache.lock();
        assert!(state.slots.len() <= BUDGET_MIN / MARK_COST);
        assert_eq!(state.slots.len(), state.by_use.len());
    }

    #[test]
    fn the_memory_of_a_chunk_that_had_to_go_is_used_again() {
        let cache = ChunkCache::new(0);
        assert!(cache.spare().is_empty());
        let held = chunk();
        cache.insert(key(0), held.clone());
        (1..8).for_each(|number| cache.insert(key(number), chunk()));
        assert_eq!(cache.spare().len(), CHUNK as usize);
        assert!(cache.spare().is_empty(), "it is given once");
        let cache = ChunkCache::new(0);
        cache.insert(key(0), held.clone());
        (1..=3).for_each(|number| cache.insert(key(number), chunk()));
        assert_eq!(cache.find(key(0), 1), Found::Unknown);
        assert!(cache.spare().is_empty(), "somebody still reads it");
        assert_eq!(held, chunk());
    }

    #[test]
    fn a_forgotten_segment_is_unknown() {
        let cache = ChunkCache::new(0);
        cache.insert(key(0), chunk());
        cache.insert(key(9), chunk());
        cache.insert(ChunkKey { segment: 2, number: 0 }, chunk());
        cache.forget(1);
        assert_eq!(cache.find(key(0), 1), Found::Unknown);
        assert_eq!(cache.find(key(9), 1), Found::Unknown);
        assert!(matches!(cache.find(ChunkKey { segment: 2, number: 0 }, 1), Found::Chunk(_)));
    }
}
