//! The engine's view of the log: the entries that are not applied yet. Everything older is known only by the
//! index and term of its end, since a group of one never has to send it to anybody.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Result, Storage, StorageError};
use steadfast_types::LogOffset;

pub(crate) struct EntryCache {
    state: RaftState,
    /// Index and term of the entry before the first one held.
    before: (u64, u64),
    entries: VecDeque<(Entry, LogOffset)>,
}

impl EntryCache {
    pub(crate) fn new(id: u64, last_index: u64, last_term: u64, hard_state: HardState) -> Self {
        let conf_state = ConfState { voters: vec![id], ..ConfState::default() };
        Self {
            state: RaftState { hard_state, conf_state },
            before: (last_index, last_term),
            entries: VecDeque::new(),
        }
    }

    /// Adds an entry; one with an index that is held replaces it and everything after it.
    pub(crate) fn append(&mut self, entry: Entry, at: LogOffset) {
        let keep = (entry.index - self.before.0 - 1) as usize;
        self.entries.truncate(keep);
        self.entries.push_back((entry, at));
    }

    pub(crate) fn place_of(&self, index: u64) -> Option<LogOffset> {
        let i = index.checked_sub(self.before.0 + 1)? as usize;
        self.entries.get(i).map(|(_, at)| *at)
    }

    pub(crate) fn forget_through(&mut self, index: u64) {
        while let Some((entry, _)) = self.entries.pop_front_if(|(e, _)| e.index <= index) {
            self.before = (entry.index, entry.term);
        }
    }

    fn range(&self, low: u64, high: u64) -> Result<impl Iterator<Item = &Entry>> {
        if low <= self.before.0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.before.0 + self.entries.len() as u64 + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let from = (low - self.before.0 - 1) as usize;
        let to = (high - self.before.0 - 1) as usize;
        Ok(self.entries.range(from..to).map(|(entry, _)| entry))
    }
}

impl Storage for EntryCache {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(self.state.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let mut out = Vec::new();
        for entry in self.range(low, high)? {
            bytes += entry.data.len() as u64;
            // At least one entry is always returned, as the engine's contract wants.
            if !out.is_empty() && bytes > max {
                break;
            }
            out.push(entry.clone());
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        let mut one = self.range(index, index + 1)?;
        one.next().map(|entry| entry.term).ok_or(StorageError::Unavailable.into())
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.before.0 + self.entries.len() as u64)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}
