//! The payload of an ordinary entry: a batch of records that is applied whole or not at all.
//!
//! ```text
//! 0 u64 commit index known to the leader | 8 u64 store time | 16 u32 count | 20 u32 zero
//! 24 count × (u32 size, u32 crc32c, u32 identity) | records, one after the other
//! ```
//!
//! The identity is a checksum of topic, queue and queue offset ([`identity`]): if a record is damaged, it tells
//! whether the place that the damaged bytes claim is the one the record had.
//!
//! The part before the records is the *head*. The frame's checksum covers the head and the head's table covers
//! each record, so that every byte is checked once and a damaged record is told from its neighbours.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use steadfast_types::{LogIndex, LogOffset, QueueId, QueueOffset, Timestamp};

use super::frame::FRAME_HEADER_LEN;

const FIXED: usize = 24;
const PER_RECORD: usize = 12;

/// Bytes before the first record in a batch of `count` records.
pub const fn head_len(count: usize) -> usize {
    FIXED + PER_RECORD * count
}

/// Identity of a message for its batch's table: CRC-32C of topic, queue id and queue offset.
pub fn identity(topic: &str, queue_id: QueueId, queue_offset: QueueOffset) -> u32 {
    let crc = crc32c::crc32c(&queue_offset.get().to_be_bytes());
    let crc = crc32c::crc32c_append(crc, &queue_id.get().to_be_bytes());
    crc32c::crc32c_append(crc, topic.as_bytes())
}

/// What a batch's table says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// Where the record lies in the payload.
    pub range: Range<usize>,
    /// CRC-32C of its bytes.
    pub crc: u32,
    /// See [`identity`]; 0 for control records.
    pub identity: u32,
}

/// Writes a batch for a known place in the log.
pub struct BatchBuilder {
    buf: BytesMut,
    /// Log offset of the payload's first byte.
    base: LogOffset,
    count: usize,
    written: usize,
}

impl BatchBuilder {
    /// A batch of exactly `count` records with `records_len` bytes in all, whose frame starts at `frame`.
    /// `commit` is the highest index the leader knows to be committed.
    pub fn new(
        frame: LogOffset,
        commit: LogIndex,
        store_time: Timestamp,
        count: usize,
        records_len: usize,
    ) -> Self {
        let mut buf = BytesMut::with_capacity(head_len(count) + records_len);
        buf.put_u64(commit.get());
        buf.put_u64(store_time.get());
        buf.put_u32(count as u32);
        buf.put_u32(0);
        buf.put_bytes(0, PER_RECORD * count);
        Self { buf, base: frame + FRAME_HEADER_LEN as u64, count, written: 0 }
    }

    /// Appends one record; `fill` gets the place it will have and must append it whole. `identity` is 0 for control
    /// records. Returns size and CRC.
    pub fn push(&mut self, identity: u32, fill: impl FnOnce(LogOffset, &mut BytesMut)) -> (u32, u32) {
        let start = self.buf.len();
        fill(self.base + start as u64, &mut self.buf);
        let crc = crc32c::crc32c(&self.buf[start..]);
        let size = (self.buf.len() - start) as u32;
        let at = head_len(self.written);
        for (i, field) in [size, crc, identity].into_iter().enumerate() {
            self.buf[at + 4 * i..at + 4 * i + 4].copy_from_slice(&field.to_be_bytes());
        }
        self.written += 1;
        (size, crc)
    }

    /// The payload.
    ///
    /// # Panics
    /// If fewer or more records were pushed than announced: their places would be wrong.
    pub fn finish(self) -> Bytes {
        assert_eq!(self.written, self.count, "a batch must hold the records it was placed for");
        self.buf.freeze()
    }
}

/// Why a payload is not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The head is cut short or its sizes do not add up.
    #[error("the batch's head does not fit its payload")]
    Head,
}

/// A batch read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    payload: Bytes,
    count: usize,
}

impl Batch {
    /// Checks the structure; the records' CRCs are for [`Batch::damaged`].
    pub fn parse(payload: Bytes) -> Result<Self, BatchError> {
        match Self::stated_len(&payload) {
            Some(len) if len == payload.len() as u64 => {
                let count = u32_at(&payload, 16) as usize;
                Ok(Self { payload, count })
            }
            _ => Err(BatchError::Head),
        }
    }

    /// How long the batch at the beginning of these bytes is, if its head is right.
    pub(super) fn stated_len(bytes: &[u8]) -> Option<u64> {
        let table = bytes.get(FIXED..)?;
        let count = u32_at(bytes, 16) as usize;
        // Compared by division, so that a garbage count cannot overflow.
        if count > table.len() / PER_RECORD {
            return None;
        }
        let sizes: u64 = (0..count).map(|i| u64::from(u32_at(bytes, head_len(i)))).sum();
        Some(head_len(count) as u64 + sizes)
    }

    /// The commit index that the leader knew.
    pub fn commit(&self) -> LogIndex {
        LogIndex::new(u64_at(&self.payload, 0))
    }

    /// The store time of its records.
    pub fn store_time(&self) -> Timestamp {
        Timestamp::new(u64_at(&self.payload, 8))
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The table.
    pub fn records(&self) -> impl Iterator<Item = TableEntry> + '_ {
        let mut end = head_len(self.count);
        (0..self.count).map(move |i| {
            let at = head_len(i);
            let field = |n: usize| u32_at(&self.payload, at + 4 * n);
            let range = end..end + field(0) as usize;
            end = range.end;
            TableEntry { range, crc: field(1), identity: field(2) }
        })
    }

    /// Ordinal numbers of the records whose bytes do not match their CRC.
    pub fn damaged(&self) -> Vec<usize> {
        self.records()
            .enumerate()
            .filter(|(_, record)| crc32c::crc32c(&self.payload[record.range.clone()]) != record.crc)
            .map(|(i, _)| i)
            .collect()
    }

    /// The whole payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    (u64::from(u32_at(bytes, at)) << 32) | u64::from(u32_at(bytes, at + 4))
}
