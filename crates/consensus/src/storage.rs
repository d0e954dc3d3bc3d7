//! What the engine asks of a log.

use raft::eraftpb::{Entry, Snapshot};
use raft::{GetEntriesContext, RaftState, Result, Storage, StorageError};

use crate::view::LogView;

impl Storage for LogView {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(self.state.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        if low <= self.head() {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last_held() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        if low > self.before_held() {
            return Ok(self.held_entries(low, high, max_bytes));
        }
        if let Some(entries) = self.read_entries(low, high, max_bytes) {
            return Ok(entries);
        }
        if !context.can_async() {
            // The engine only insists on entries that are not applied, and those are held.
            return Err(StorageError::Unavailable.into());
        }
        self.want(low, high, context);
        Err(StorageError::LogTemporarilyUnavailable.into())
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index < self.head() {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last_held() {
            return Err(StorageError::Unavailable.into());
        }
        Ok(self.term_of(index))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.head() + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last_held())
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}
