//! The newest stretch of the log in memory: payloads for consumers at the tail, and the key index entries that
//! no index run has yet.

use std::collections::VecDeque;

use bytes::Bytes;
use steadfast_store::unit::{KeyEntry, Unit};
use steadfast_types::LogOffset;

/// Payloads of the newest entries, bounded by bytes.
#[derive(Debug)]
pub(crate) struct HotTail {
    entries: VecDeque<(LogOffset, Bytes)>,
    bytes: usize,
    limit: usize,
}

impl HotTail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit }
    }

    /// Adds the payload whose first byte is at `at`, after all that were added before.
    pub(crate) fn push(&mut self, at: LogOffset, payload: Bytes) {
        self.bytes += payload.len();
        self.entries.push_back((at, payload));
        while self.bytes > self.limit {
            let Some((_, oldest)) = self.entries.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    /// The record of a unit, if it is still here.
    pub(crate) fn record(&self, unit: &Unit) -> Option<Bytes> {
        let after = self.entries.partition_point(|(at, _)| *at <= unit.log_offset);
        let (at, payload) = self.entries.get(after.checked_sub(1)?)?;
        let from = (unit.log_offset.get() - at.get()) as usize;
        let to = from + unit.size as usize;
        (to <= payload.len()).then(|| payload.slice(from..to))
    }
}

/// Key index entries in the order of the log. Each full chunk is sorted by hash once, so that adding stays
/// cheap and a search looks at few places.
#[derive(Debug, Default)]
pub(crate) struct RecentKeys {
    chunks: VecDeque<Vec<KeyEntry>>,
    open: Vec<KeyEntry>,
}

impl RecentKeys {
    const CHUNK: usize = 4096;

    pub(crate) fn push(&mut self, entry: KeyEntry) {
        self.open.push(entry);
        if self.open.len() == Self::CHUNK {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let mut chunk = std::mem::take(&mut self.open);
        chunk.sort_unstable();
        self.chunks.push_back(chunk);
    }

    /// Entries with this hash, newest first.
    pub(crate) fn candidates(&self, hash: u64) -> Vec<KeyEntry> {
        let mut found: Vec<KeyEntry> = self.open.iter().rev().filter(|e| e.hash == hash).copied().collect();
        for chunk in self.chunks.iter().rev() {
            let from = chunk.partition_point(|e| e.hash < hash);
            let to = chunk.partition_point(|e| e.hash <= hash);
            found.extend(chunk[from..to].iter().rev());
        }
        found
    }

    /// A copy of all entries for an index run. What is pushed later stays apart from them, so that
    /// [`RecentKeys::forget_frozen`] can drop exactly these.
    pub(crate) fn freeze(&mut self) -> (Vec<KeyEntry>, usize) {
        if !self.open.is_empty() {
            self.seal();
        }
        (self.chunks.iter().flatten().copied().collect(), self.chunks.len())
    }

    /// Drops the oldest `chunks` chunks: an index run has them now.
    pub(crate) fn forget_frozen(&mut self, chunks: usize) {
        self.chunks.drain(..chunks);
    }
}
