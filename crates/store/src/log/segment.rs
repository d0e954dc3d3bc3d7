//! A segment file: its name and its header block.
//!
//! ```text
//! 0 u32 magic | 4 u32 crc32c of the rest | 8 u32 version | 12 u32 chain before its first frame
//! 16 u64 base (log offset of byte 0) | 24 u64 segment size | 32 u64 index of its first frame
//! 40 u64 group identity | zeroes up to 4096
//! ```

use std::io;

use steadfast_types::{LogIndex, LogOffset};

use super::DIR;
use crate::disk::{BLOCK, Disk, DiskFile, Mode};

/// Bytes of the header: one block, so that it is never torn together with a frame of an earlier write.
pub const SEGMENT_HEADER_LEN: usize = BLOCK;
const MAGIC: u32 = 0x5346_5347;
/// Version of the on-disk format of segments.
pub(super) const VERSION: u32 = 1;
const USED: usize = 48;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) chain: u32,
    pub(super) base: LogOffset,
    pub(super) size: u64,
    pub(super) first_index: LogIndex,
    pub(super) group: u64,
}

/// Why a header block does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Never written, torn, or of a file that was reused.
    Invalid,
    /// Written by a later version.
    Version(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut block = [0; SEGMENT_HEADER_LEN];
        block[..4].copy_from_slice(&MAGIC.to_be_bytes());
        block[8..12].copy_from_slice(&VERSION.to_be_bytes());
        block[12..16].copy_from_slice(&self.chain.to_be_bytes());
        block[16..24].copy_from_slice(&self.base.get().to_be_bytes());
        block[24..32].copy_from_slice(&self.size.to_be_bytes());
        block[32..40].copy_from_slice(&self.first_index.get().to_be_bytes());
        block[40..48].copy_from_slice(&self.group.to_be_bytes());
        let crc = crc32c::crc32c(&block[8..USED]);
        block[4..8].copy_from_slice(&crc.to_be_bytes());
        block
    }

    pub(super) fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        let u32_at = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let u64_at = |at: usize| (u64::from(u32_at(at)) << 32) | u64::from(u32_at(at + 4));
        if block.len() < USED || u32_at(0) != MAGIC || u32_at(4) != crc32c::crc32c(&block[8..USED]) {
            return Err(HeaderError::Invalid);
        }
        if u32_at(8) != VERSION {
            return Err(HeaderError::Version(u32_at(8)));
        }
        Ok(Self {
            chain: u32_at(12),
            base: LogOffset::new(u64_at(16)),
            size: u64_at(24),
            first_index: LogIndex::new(u64_at(32)),
            group: u64_at(40),
        })
    }
}

/// Path of the segment whose first byte has log offset `base`.
pub fn segment_path(base: LogOffset) -> String {
    format!("{DIR}/{:020}", base.get())
}

/// Bases of all segment files, ascending.
pub fn segment_bases<D: Disk>(disk: &D) -> io::Result<Vec<LogOffset>> {
    let names = disk.list(DIR)?;
    let mut bases: Vec<LogOffset> =
        names.iter().filter(|n| n.len() == 20).filter_map(|n| n.parse().ok()).map(LogOffset::new).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// Index and log offset of the first frame of each segment that begins before `end`. A segment whose header cannot be read
/// is left out.
pub fn segment_starts<D: Disk>(disk: &D, end: LogOffset) -> io::Result<Vec<(LogIndex, LogOffset)>> {
    let mut starts = Vec::new();
    for base in segment_bases(disk)?.into_iter().filter(|base| *base < end) {
        let mut block = vec![0; SEGMENT_HEADER_LEN];
        let read = disk.open(&segment_path(base), Mode::Read)?.read_at(&mut block, 0)?;
        let header = SegmentHeader::decode(&block[..read]).ok().filter(|header| header.base == base);
        starts.extend(header.map(|header| (header.first_index, base + SEGMENT_HEADER_LEN as u64)));
    }
    Ok(starts)
}
