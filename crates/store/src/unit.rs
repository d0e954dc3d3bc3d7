//! What is derived from a message in the log: its unit in a consume queue and its entries in the key index.
//! Both carry the CRC of the whole record, so that every read through them is verified.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_types::{LogOffset, QueueId};

/// Name of a consume queue. Cheap to clone; ordered by topic, then queue id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName {
    /// Topic.
    pub topic: Arc<str>,
    /// Queue of the topic.
    pub queue_id: QueueId,
}

impl QueueName {
    /// Names queue `queue_id` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, queue_id: QueueId) -> Self {
        Self { topic: topic.into(), queue_id }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.queue_id)
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Consume queue unit: where one message of a queue is in the log.
///
/// 20 bytes, big-endian: `u64 log offset | u32 size | i32 tag code | u32 CRC-32C of the record`. RocketMQ's
/// unit (`ConsumeQueue.CQ_STORE_UNIT_SIZE`) is as long, but spends 8 bytes on the tag code, which is a
/// sign-extended `i32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Position of the record's first byte.
    pub log_offset: LogOffset,
    /// Bytes in the record.
    pub size: u32,
    /// See [`steadfast_types::java_hash::tag_code`].
    pub tag: i32,
    /// CRC-32C of the record's bytes.
    pub crc: u32,
}

impl Unit {
    /// Bytes in an encoded unit.
    pub const LEN: usize = 20;

    /// Whether these bytes are the record that the unit was made for.
    pub fn vouches_for(&self, record: &[u8]) -> bool {
        record.len() == self.size as usize && crc32c::crc32c(record) == self.crc
    }

    /// Appends the encoded unit.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.log_offset.get());
        out.put_u32(self.size);
        out.put_i32(self.tag);
        out.put_u32(self.crc);
    }

    /// Reads an encoded unit.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let mut bytes = bytes.as_slice();
        Self {
            log_offset: LogOffset::new(bytes.get_u64()),
            size: bytes.get_u32(),
            tag: bytes.get_i32(),
            crc: bytes.get_u32(),
        }
    }
}

/// Key index entry: one record that can be found under one key.
///
/// 24 bytes, big-endian: `u64 hash | u64 log offset | u32 size | u32 CRC-32C of the record`. Whoever reads the
/// record compares the key itself: different keys may share a hash. Ordered by hash, then log offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyEntry {
    /// [`key_hash`] of topic and key.
    pub hash: u64,
    /// Position of the record's first byte.
    pub log_offset: LogOffset,
    /// Bytes in the record.
    pub size: u32,
    /// CRC-32C of the record's bytes.
    pub crc: u32,
}

impl KeyEntry {
    /// Bytes in an encoded entry.
    pub const LEN: usize = 24;

    /// Appends the encoded entry.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.hash);
        out.put_u64(self.log_offset.get());
        out.put_u32(self.size);
        out.put_u32(self.crc);
    }

    /// Reads an encoded entry.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let mut bytes = bytes.as_slice();
        Self {
            hash: bytes.get_u64(),
            log_offset: LogOffset::new(bytes.get_u64()),
            size: bytes.get_u32(),
            crc: bytes.get_u32(),
        }
    }
}

/// Hash under which the key index files `key` of `topic`: FNV-1a with 64 bits over topic, `#`, key, then the
/// final mix of MurmurHash3, which spreads FNV's weak high bits. It is part of the file format: no seed, and it
/// may never change.
pub fn key_hash(topic: &str, key: &str) -> u64 {
    const FNV_OFFSET_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;
    let bytes = topic.bytes().chain([b'#']).chain(key.bytes());
    let fnv = bytes.fold(FNV_OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    final_mix(fnv)
}

const fn final_mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_pinned() {
        // From an independent computation in Python. A change of these numbers is a change of the file format.
        assert_eq!(key_hash("", ""), 0x22B1_B0F4_6D1E_96A0);
        assert_eq!(key_hash("TopicTest", "order-42"), 0x7028_F9F4_2781_EC38);
        assert_eq!(key_hash("订单", "键"), 0x9D8F_1826_1A00_1AAF);
        assert_eq!(key_hash("a#b", "c"), key_hash("a", "b#c"));
    }

    #[test]
    fn units_and_entries_survive_encoding() {
        let unit = Unit { log_offset: LogOffset::new(1 << 40), size: 77, tag: -5, crc: 0xDEAD_BEEF };
        let mut bytes = Vec::new();
        unit.encode(&mut bytes);
        assert_eq!(Unit::decode(&bytes.try_into().unwrap()), unit);

        let entry = KeyEntry { hash: u64::MAX - 1, log_offset: LogOffset::new(9), size: 1, crc: 2 };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(KeyEntry::decode(&bytes.try_into().unwrap()), entry);
    }
}
