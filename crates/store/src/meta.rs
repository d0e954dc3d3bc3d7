//! The few facts of a replica that are not in the log: who it is, and its Raft vote. Two slots of one block
//! each are written in turn, so that a torn write leaves the other one.
//!
//! ```text
//! 0 u32 magic | 4 u32 crc32c of the rest of the block | 8 u32 version | 12 u32 zero | 16 u64 sequence
//! 24 u64 group identity | 32 u64 segment size | 40 u64 term | 48 u64 vote | 56 u64 commit watermark
//! 64 u64 life | 72 u64 1 if there is a fence | 80 u64 term of its floor | 88 u64 index | 96 u64 committed
//! 104 u64 replica | 112 u64 identity of the disk | 120 32 u64 numbers of starts, the newest last | zeroes
//! ```
//!
//! The checksum goes to the end of the block, so that a version with more fields is still known by its number.

mod start;

use std::io;

pub use start::{Past, Start};
use steadfast_types::{LogIndex, Position, Term};

use crate::aligned::AlignedBuf;
use crate::disk::{BLOCK, Disk, DiskFile, Mode, write_all};

/// Path of the file.
pub const PATH: &str = "meta";
const MAGIC: u32 = 0x5346_4D54;
const VERSION: u32 = 4;
/// Where the starts begin.
const STARTS_AT: usize = 120;

/// What the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// Identity of the group, drawn or derived when it was made.
    pub group: u64,
    /// Which replica of several this is; 0 in a group of one.
    pub replica: u64,
    /// Bytes of a log segment; fixed when the group was made.
    pub segment_size: u64,
    /// Raft term.
    pub term: Term,
    /// Replica this one voted for in the term, 0 for none.
    pub vote: u64,
    /// An index known to be committed; written lazily, so the log may be further.
    pub commit: LogIndex,
    /// How often a process has opened the directory; counted in groups of several.
    pub life: u64,
    /// Set while the replica may lack entries that it has acknowledged.
    pub fence: Option<Fence>,
    /// Which disk this is, in groups of several.
    pub past: Past,
}

/// What a replica of several may have acknowledged and lost, by damage or with a torn write: until its log reaches the
/// floor again, it is not asked who shall lead as if it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fence {
    /// It acknowledged nothing after this entry. The index is the highest there is if nobody knows.
    pub floor: Position,
    /// An index that is known to have been committed.
    pub committed: LogIndex,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The disk refused.
    #[error("the meta file: {0}")]
    Disk(#[from] io::Error),
    /// Neither slot is valid.
    #[error(
        "both slots of its file meta are damaged; restore it from a copy: nothing else says which log this is"
    )]
    Damaged,
    /// There is no file, and what it belongs to is there.
    #[error(
        "its file meta is missing, but there is a log; restore it from a copy: nothing else says which log this is"
    )]
    Missing,
    /// Written by a later version.
    #[error("the data has format version {found}, this server knows {VERSION}; use a newer server")]
    NewerFormat {
        /// Version in the file.
        found: u32,
    },
}

/// The open meta file.
pub struct MetaFile<D: Disk> {
    file: D::File,
    meta: Meta,
    sequence: u64,
}

impl<D: Disk> MetaFile<D> {
    /// Makes the file for a new group.
    pub fn create(disk: &D, meta: Meta) -> Result<Self, MetaError> {
        let file = disk.open(PATH, Mode::Durable)?;
        let mut this = Self { file, meta, sequence: 0 };
        this.write(meta)?;
        this.write(meta)?;
        disk.sync_dir("")?;
        Ok(this)
    }

    /// Opens the file; None if there is none, or if making it was interrupted before anything could follow it.
    pub fn open(disk: &D) -> Result<Option<Self>, MetaError> {
        match disk.open(PATH, Mode::Read) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let file = disk.open(PATH, Mode::Durable)?;
        // Whoever made it may have died before its name was durable: what is built on it must not outlive it.
        disk.sync_dir("")?;
        let mut newest: Option<(u64, Meta)> = None;
        for slot in 0..2 {
            let mut block = AlignedBuf::default();
            let block = block.of_len(BLOCK);
            block.fill(0);
            file.read_at(block, slot * BLOCK as u64)?;
            if let Some(found) = decode(block)?
                && newest.is_none_or(|(sequence, _)| found.0 > sequence)
            {
                newest = Some(found);
            }
        }
        let (sequence, meta) = newest.ok_or(MetaError::Damaged)?;
        Ok(Some(Self { file, meta, sequence }))
    }

    /// What the file holds now.
    pub fn get(&self) -> Meta {
        self.meta
    }

    /// Replaces the contents; durable when it returns.
    pub fn write(&mut self, meta: Meta) -> Result<(), MetaError> {
        let sequence = self.sequence + 1;
        let mut buf = AlignedBuf::default();
        let block = buf.of_len(BLOCK);
        block.fill(0);
        encode(meta, sequence, block);
        write_all(&self.file, block, sequence % 2 * BLOCK as u64)?;
        self.meta = meta;
        self.sequence = sequence;
        Ok(())
    }
}

fn encode(meta: Meta, sequence: u64, block: &mut [u8]) {
    block[..4].copy_from_slice(&MAGIC.to_be_bytes());
    block[8..12].copy_from_slice(&VERSION.to_be_bytes());
    let Meta { group, replica, segment_size, term, vote, commit, life, fence, past } = meta;
    let Fence { floor, committed } = fence.unwrap_or_default();
    let (fenced, floor) = (u64::from(fence.is_some()), [floor.term.get(), floor.index.get()]);
    let vote = [term.get(), vote, commit.get(), life, fenced];
    let fields = [sequence, group, segment_size].into_iter().chain(vote).chain(floor);
    let fields = fields.chain([committed.get(), replica, past.disk]).chain(past.starts);
    for (i, field) in fields.enumerate() {
        block[16 + 8 * i..24 + 8 * i].copy_from_slice(&field.to_be_bytes());
    }
    let crc = crc32c::crc32c(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_be_bytes());
}

fn decode(block: &[u8]) -> Result<Option<(u64, Meta)>, MetaError> {
    let u32_at = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let u64_at = |at: usize| (u64::from(u32_at(at)) << 32) | u64::from(u32_at(at + 4));
    if u32_at(0) != MAGIC || u32_at(4) != crc32c::crc32c(&block[8..]) {
        return Ok(None);
    }
    if u32_at(8) != VERSION {
        return Err(MetaError::NewerFormat { found: u32_at(8) });
    }
    let floor = Position { term: Term::new(u64_at(80)), index: LogIndex::new(u64_at(88)) };
    let fence = Fence { floor, committed: LogIndex::new(u64_at(96)) };
    let mut past = Past { disk: u64_at(112), ..Past::default() };
    past.starts.iter_mut().enumerate().for_each(|(i, start)| *start = u64_at(STARTS_AT + 8 * i));
    let meta = Meta {
        group: u64_at(24),
        replica: u64_at(104),
        segment_size: u64_at(32),
        term: Term::new(u64_at(40)),
        vote: u64_at(48),
        commit: LogIndex::new(u64_at(56)),
        life: u64_at(64),
        fence: (u64_at(72) == 1).then_some(fence),
        past,
    };
    Ok(Some((u64_at(16), meta)))
}
