//! The records gathered by one call, and the chunk they are being taken from.

use bytes::Bytes;

use super::chunk_cache::ChunkKey;

/// A call that takes less than one part in this many of a chunk copies its records: a slice keeps its whole chunk
/// in memory for as long as an answer waits in a socket.
const PINNED_MAX: usize = 8;
/// Records up to this size are not copied: answers are made of copies of them anyway, and at once.
const SHORT: usize = 2048;

/// See the module's page.
pub(super) struct Batch {
    pub(super) records: Vec<Bytes>,
    /// Bytes in the records.
    pub(super) bytes: usize,
    hand: Option<Hand>,
}

struct Hand {
    key: ChunkKey,
    chunk: Bytes,
    /// Number of records, and bytes in them, when the chunk was taken in hand.
    records_before: usize,
    bytes_before: usize,
}

impl Batch {
    pub(super) fn with_capacity(records: usize) -> Self {
        Self { records: Vec::with_capacity(records), bytes: 0, hand: None }
    }

    pub(super) fn push(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push(record);
    }

    /// The chunk in hand, if it is this one and has `need` bytes: most records are next to the one before.
    pub(super) fn in_hand(&self, key: ChunkKey, need: usize) -> Option<Bytes> {
        let hand = self.hand.as_ref().filter(|hand| hand.key == key && hand.chunk.len() >= need)?;
        Some(hand.chunk.clone())
    }

    pub(super) fn take_in_hand(&mut self, key: ChunkKey, chunk: Bytes) {
        self.let_go();
        let (records_before, bytes_before) = (self.records.len(), self.bytes);
        self.hand = Some(Hand { key, chunk, records_before, bytes_before });
    }

    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.let_go();
        self.records
    }

    fn let_go(&mut self) {
        let Some(hand) = self.hand.take() else { return };
        if (self.bytes - hand.bytes_before) * PINNED_MAX < hand.chunk.len() {
            let taken = &mut self.records[hand.records_before..];
            for record in taken.iter_mut().filter(|record| record.len() > SHORT) {
                *record = Bytes::copy_from_slice(record);
            }
        }
    }
}
