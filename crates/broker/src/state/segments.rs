//! The segments that the log consists of, and how old each is. Only the log decides: which of their files are still
//! there is another matter.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};
use steadfast_store::log::Gone;
use steadfast_types::{LogOffset, Timestamp};

use crate::bytes_ext::Malformed;

/// Segments by base, each with the newest store time in it.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    kept: BTreeMap<LogOffset, Timestamp>,
}

impl Segments {
    /// An entry lies in the segment with this base. Entries come in the order of the log.
    pub(crate) fn note(&mut self, base: LogOffset, store_time: Option<Timestamp>) {
        // An entry without a time is as young as what precedes it.
        let before = self.kept.last_key_value().map_or(Timestamp::ZERO, |(_, newest)| *newest);
        let newest = self.kept.entry(base).or_insert(before);
        *newest = store_time.unwrap_or_default().max(*newest);
    }

    /// Base of the segment that holds a log offset of this log; the offset itself if there is none.
    pub(super) fn base_of(&self, at: LogOffset) -> LogOffset {
        self.kept.range(..=at).next_back().map_or(at, |(base, _)| *base)
    }

    /// These are no longer part of the log.
    pub(super) fn drop(&mut self, bases: &[LogOffset]) {
        bases.iter().for_each(|base| {
            self.kept.remove(base);
        });
    }

    /// Bases and newest store times, ascending.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (LogOffset, Timestamp)> {
        self.kept.iter().map(|(base, newest)| (*base, *newest))
    }

    /// Whether the segment with this base is part of the log.
    pub(crate) fn has(&self, base: LogOffset) -> bool {
        self.kept.contains_key(&base)
    }

    /// What is missing before the tail.
    pub(crate) fn gone(&self, segment_size: u64) -> Gone {
        Gone::around(self.kept.keys().copied(), segment_size)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.kept.len() as u32);
        for (base, newest) in &self.kept {
            out.put_u64(base.get());
            out.put_u64(newest.get());
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut kept = BTreeMap::new();
        for _ in 0..bytes.try_get_u32()? {
            let base = LogOffset::new(bytes.try_get_u64()?);
            kept.insert(base, Timestamp::new(bytes.try_get_u64()?));
        }
        Ok(Self { kept })
    }
}
