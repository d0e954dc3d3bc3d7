//! The records gathered by one call, and the chunk they are being taken from.

use std::ops::Range;

use bytes::Bytes;
use steadfast_types::LogOffset;

use super::records::Records;
use crate::unit::Unit;

/// See the module's page.
pub(super) struct Batch {
    records: Records,
    hand: Option<Hand>,
}

/// A chunk in hand: most records are next to the one before.
struct Hand {
    chunk: Bytes,
    /// Log offset of its first byte.
    at: LogOffset,
    /// Records side by side whose piece is not among the others yet; they are counted.
    taken: Range<usize>,
}

impl Batch {
    /// For up to `count` records.
    pub(super) fn for_records(count: usize) -> Self {
        Self { records: Records::with_room(count), hand: None }
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn take_in_hand(&mut self, chunk: Bytes, at: LogOffset) {
        self.let_go();
        self.hand = Some(Hand { chunk, at, taken: 0..0 });
    }

    /// Takes a record from the chunk in hand and tells whether it verifies; only then it counts. None if the chunk does
    /// not have all of it.
    pub(super) fn take(&mut self, unit: &Unit) -> Option<bool> {
        let Hand { chunk, at, taken } = self.hand.as_mut()?;
        let start = unit.log_offset.get().checked_sub(at.get())? as usize;
        let end = start + unit.size as usize;
        if !unit.vouches_for(chunk.get(start..end)?) {
            return Some(false);
        }
        if start != taken.end {
            push_taken(&mut self.records, chunk, taken);
            taken.start = start;
        }
        taken.end = end;
        self.records.count(unit.size as usize);
        Some(true)
    }

    /// Appends a record that is in no chunk.
    pub(super) fn push(&mut self, record: Bytes) {
        self.let_go();
        self.records.push(record);
    }

    pub(super) fn finish(mut self) -> Records {
        self.let_go();
        self.records
    }

    fn let_go(&mut self) {
        if let Some(Hand { chunk, taken, .. }) = self.hand.take() {
            push_taken(&mut self.records, &chunk, &taken);
        }
    }
}

fn push_taken(records: &mut Records, chunk: &Bytes, taken: &Range<usize>) {
    if !taken.is_empty() {
        records.push_piece(chunk.slice(taken.clone()));
    }
}
