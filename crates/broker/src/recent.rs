//! The newest stretch of the log in memory: payloads for consumers at the tail, and the key index entries that
//! no index run has yet.

use std::collections::VecDeque;
use std::slice;

use bytes::Bytes;
use steadfast_store::reader::Records;
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
        self.side_by_side(slice::from_ref(unit)).map(|(record, _)| record)
    }

    /// The records of the first units, up to one that is no longer here.
    pub(crate) fn records(&self, units: &[Unit]) -> Records {
        let mut records = Records::with_room(units.len());
        let mut rest = units;
        while let Some((piece, count)) = self.side_by_side(rest) {
            let (taken, after) = rest.split_at(count);
            records.push_all(piece, taken.iter().map(|unit| unit.size as usize));
            rest = after;
        }
        records
    }

    /// The first unit's record with those right after it in the same payload that follow it among the units, as one
    /// piece; and how many they are.
    fn side_by_side(&self, units: &[Unit]) -> Option<(Bytes, usize)> {
        let first = units.first()?.log_offset;
        let after = self.entries.partition_point(|(at, _)| *at <= first);
        let (at, payload) = self.entries.get(after.checked_sub(1)?)?;
        let from = (first.get() - at.get()) as usize;
        let (mut to, mut count) = (from, 0);
        for unit in units {
            let end = to + unit.size as usize;
            if unit.log_offset.get() != at.get() + to as u64 || end > payload.len() {
                break;
            }
            (to, count) = (end, count + 1);
        }
        (count > 0).then(|| (payload.slice(from..to), count))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(log_offset: u64, size: u32) -> Unit {
        Unit { log_offset: LogOffset::new(log_offset), size, tag: 0, crc: 0 }
    }

    #[test]
    fn records_side_by_side_are_one_piece() {
        let mut hot = HotTail::new(1_000);
        hot.push(LogOffset::new(100), Bytes::from_static(b"abcdefghij"));
        hot.push(LogOffset::new(200), Bytes::from_static(b"klmno"));
        let units = [unit(100, 2), unit(102, 3), unit(107, 3), unit(200, 1), unit(201, 4)];
        let records = hot.records(&units);
        assert!(records.iter().eq([&b"ab"[..], b"cde", b"hij", b"k", b"lmno"]));
        assert_eq!((records.len(), records.bytes()), (5, 13));
        assert_eq!(records.into_pieces(), [&b"abcde"[..], b"hij", b"klmno"]);
        assert_eq!(hot.record(&units[1]), Some(Bytes::from_static(b"cde")));
    }

    #[test]
    fn records_end_where_one_is_not_there() {
        let mut hot = HotTail::new(10);
        hot.push(LogOffset::new(100), Bytes::from_static(b"gone"));
        hot.push(LogOffset::new(200), Bytes::from_static(b"abcdefghij"));
        assert_eq!(hot.records(&[unit(200, 4), unit(100, 4), unit(204, 4)]).into_pieces(), [&b"abcd"[..]]);
        assert_eq!(hot.records(&[unit(204, 4), unit(208, 3)]).len(), 1, "the last one goes past the payload");
        assert!(hot.records(&[unit(100, 4)]).is_empty());
        assert_eq!(hot.record(&unit(300, 1)), None);
    }
}
