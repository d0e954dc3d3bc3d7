//! Encoding of a run's pages, directory and footer; the file's layout is in the parent module's page.

use std::ops::Range;

use bytes::{Buf, BufMut};
use steadfast_types::{LogOffset, QueueId, QueueOffset};

use super::RunId;
use crate::unit::{KeyEntry, QueueName, Unit};

/// Bytes in a page.
pub(super) const PAGE: usize = 4096;
const CRC_LEN: usize = 4;
/// Bytes of a page that hold items.
pub(super) const PAGE_CONTENT: usize = PAGE - CRC_LEN;

/// What pages are filled with.
pub(super) trait Item: Sized {
    /// Bytes in an encoded item.
    const LEN: usize;
    /// Items in a full page.
    const PER_PAGE: u64 = (PAGE_CONTENT / Self::LEN) as u64;

    fn put(&self, page: &mut Vec<u8>);
    /// Reads the item in `slot` of `page`.
    fn nth(page: &[u8], slot: usize) -> Self;

    /// Pages that `count` items fill.
    fn pages(count: u64) -> u64 {
        count.div_ceil(Self::PER_PAGE)
    }
}

impl Item for Unit {
    const LEN: usize = Unit::LEN;

    fn put(&self, page: &mut Vec<u8>) {
        self.encode(page);
    }

    fn nth(page: &[u8], slot: usize) -> Self {
        Self::decode(slot_bytes(page, slot))
    }
}

impl Item for KeyEntry {
    const LEN: usize = KeyEntry::LEN;

    fn put(&self, page: &mut Vec<u8>) {
        self.encode(page);
    }

    fn nth(page: &[u8], slot: usize) -> Self {
        Self::decode(slot_bytes(page, slot))
    }
}

fn slot_bytes<const N: usize>(page: &[u8], slot: usize) -> &[u8; N] {
    page[slot * N..].first_chunk().expect("a slot lies within its page")
}

/// CRC of a page: over run id and page number too, so that a page in the wrong place does not verify.
pub(super) fn page_crc(id: RunId, number: u32, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&id.0.get().to_be_bytes());
    let crc = crc32c::crc32c_append(crc, &number.to_be_bytes());
    crc32c::crc32c_append(crc, content)
}

pub(super) fn page_verifies(id: RunId, number: u32, page: &[u8]) -> bool {
    let (content, crc) = page.split_at(PAGE_CONTENT);
    page_crc(id, number, content).to_be_bytes() == *crc
}

/// Takes one more page into the CRC over all page CRCs, which begins as 0.
pub(super) fn fold_page_crc(pages_crc: u32, page: &[u8]) -> u32 {
    crc32c::crc32c_append(pages_crc, &page[PAGE_CONTENT..])
}

/// Units of one queue without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) queue: QueueName,
    /// Queue offset of the first unit.
    pub(super) first: QueueOffset,
    pub(super) count: u32,
    /// Number of the first unit among all of the run's units; not stored, it follows from the counts before.
    pub(super) first_unit: u64,
}

impl Block {
    pub(super) fn end(&self) -> QueueOffset {
        self.first + u64::from(self.count)
    }
}

/// What stays in memory of an open run.
///
/// ```text
/// u64 start | u64 end | u64 units | u64 keys | u32 blocks
/// per block:    u16 + topic | u32 queue id | u64 first queue offset | u32 count
/// per key page: u64 first hash
/// ```
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) covers: Range<LogOffset>,
    pub(super) units: u64,
    pub(super) keys: u64,
    /// Ordered by queue, then first queue offset.
    pub(super) blocks: Vec<Block>,
    /// First hash of each key page.
    pub(super) fences: Vec<u64>,
}

impl Directory {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(36 + self.blocks.len() * 64 + self.fences.len() * 8);
        out.put_u64(self.covers.start.get());
        out.put_u64(self.covers.end.get());
        out.put_u64(self.units);
        out.put_u64(self.keys);
        out.put_u32(self.blocks.len() as u32);
        for block in &self.blocks {
            out.put_u16(block.queue.topic.len() as u16);
            out.put_slice(block.queue.topic.as_bytes());
            out.put_u32(block.queue.queue_id.get());
            out.put_u64(block.first.get());
            out.put_u32(block.count);
        }
        self.fences.iter().for_each(|hash| out.put_u64(*hash));
        out
    }

    /// None if the bytes are not a directory whose parts fit together.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let start = LogOffset::new(bytes.try_get_u64().ok()?);
        let end = LogOffset::new(bytes.try_get_u64().ok()?);
        let units = bytes.try_get_u64().ok()?;
        let keys = bytes.try_get_u64().ok()?;
        let blocks = decode_blocks(&mut bytes, units)?;
        if bytes.len() as u64 != KeyEntry::pages(keys).checked_mul(8)? {
            return None;
        }
        let fences = bytes.chunks_exact(8).map(|mut hash| hash.get_u64()).collect();
        Some(Self { covers: start..end, units, keys, blocks, fences })
    }

    pub(super) fn unit_pages(&self) -> u32 {
        Unit::pages(self.units) as u32
    }

    pub(super) fn pages(&self) -> u64 {
        Unit::pages(self.units) + KeyEntry::pages(self.keys)
    }

    /// The block that holds queue offset `at`.
    pub(super) fn block(&self, queue: &QueueName, at: QueueOffset) -> Option<&Block> {
        let after = self.blocks.partition_point(|block| (&block.queue, block.first) <= (queue, at));
        let block = self.blocks[..after].last()?;
        (block.queue == *queue && at < block.end()).then_some(block)
    }

    /// Key pages, counted from the first one, that may hold `hash`. A page whose first hash is greater than the
    /// one sought cannot; the last page that begins below it may end with it.
    pub(super) fn key_pages(&self, hash: u64) -> Range<u32> {
        let start = self.fences.partition_point(|fence| *fence < hash).saturating_sub(1);
        let end = self.fences.partition_point(|fence| *fence <= hash);
        start as u32..end as u32
    }
}

fn decode_blocks(bytes: &mut &[u8], units: u64) -> Option<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut first_unit = 0;
    for _ in 0..bytes.try_get_u32().ok()? {
        let topic_len = usize::from(bytes.try_get_u16().ok()?);
        let (topic, rest) = bytes.split_at_checked(topic_len)?;
        *bytes = rest;
        let topic = std::str::from_utf8(topic).ok()?;
        let topic = match blocks.last() {
            Some(last) if *last.queue.topic == *topic => last.queue.topic.clone(),
            _ => topic.into(),
        };
        let queue = QueueName { topic, queue_id: QueueId::new(bytes.try_get_u32().ok()?) };
        let first = QueueOffset::new(bytes.try_get_u64().ok()?);
        let count = bytes.try_get_u32().ok()?;
        first.get().checked_add(u64::from(count))?;
        blocks.push(Block { queue, first, count, first_unit });
        first_unit += u64::from(count);
    }
    (first_unit == units).then_some(blocks)
}

const MAGIC: u32 = 0x5346_4952; // "SFIR"
/// The format that this release writes.
pub(super) const VERSION: u32 = 1;
/// Bytes in the footer, in every version.
pub(super) const FOOTER_LEN: usize = 36;

/// The end of the file.
///
/// ```text
/// u32 magic "SFIR" | u32 version | u64 run id | u32 pages | u32 CRC of all page CRCs
/// u32 directory length | u32 directory CRC | u32 CRC of the footer up to here
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) version: u32,
    pub(super) id: RunId,
    pub(super) pages: u32,
    pub(super) pages_crc: u32,
    pub(super) directory_len: u32,
    pub(super) directory_crc: u32,
}

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut out = [0; FOOTER_LEN];
        let (mut content, mut crc) = out.split_at_mut(FOOTER_LEN - CRC_LEN);
        content.put_u32(MAGIC);
        content.put_u32(self.version);
        content.put_u64(self.id.0.get());
        content.put_u32(self.pages);
        content.put_u32(self.pages_crc);
        content.put_u32(self.directory_len);
        content.put_u32(self.directory_crc);
        crc.put_u32(0);
        let sum = crc32c::crc32c(&out[..FOOTER_LEN - CRC_LEN]);
        out[FOOTER_LEN - CRC_LEN..].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// None if the bytes are not a footer.
    pub(super) fn decode(bytes: &[u8; FOOTER_LEN]) -> Option<Self> {
        let (mut content, mut crc) = bytes.split_at(FOOTER_LEN - CRC_LEN);
        if crc32c::crc32c(content) != crc.get_u32() || content.get_u32() != MAGIC {
            return None;
        }
        Some(Self {
            version: content.get_u32(),
            id: RunId(LogOffset::new(content.get_u64())),
            pages: content.get_u32(),
            pages_crc: content.get_u32(),
            directory_len: content.get_u32(),
            directory_crc: content.get_u32(),
        })
    }

    /// CRC of this footer and, through what it holds, of the whole file.
    pub(super) fn crc(&self) -> u32 {
        crc32c::crc32c(&self.encode()[..FOOTER_LEN - CRC_LEN])
    }

    pub(super) fn directory_at(&self) -> u64 {
        u64::from(self.pages) * PAGE as u64
    }

    pub(super) fn file_len(&self) -> u64 {
        self.directory_at() + u64::from(self.directory_len) + FOOTER_LEN as u64
    }
}
