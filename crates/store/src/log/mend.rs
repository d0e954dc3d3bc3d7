//! Mends a segment in place with bytes of another replica's log, which are the same as far as it is committed.
//!
//! Nothing is believed: a frame counts if it vouches for itself and for its place, and was written after the one before it.
//! What another replica gives is collected until the log of this one goes on behind it, so that the frame after it vouches
//! for it too; only then it is written. In the end the whole segment is read once more.
//!
//! Whoever drives it carries bytes from the others to [`Mend::go_on`], which reads and writes this replica's disk.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use steadfast_types::{LogIndex, LogOffset};

use super::frame::{FRAME_HEADER_LEN, FrameHeader, frame_len};
use super::layout::{Layout, Mark};
use super::scan::{ScanError, SegmentBytes};
use super::segment::{SEGMENT_HEADER_LEN, SegmentHeader, segment_path};
use super::{DIR, PAYLOAD_MAX};
use crate::aligned::AlignedBuf;
use crate::disk::{BLOCK, Disk, DiskFile, Mode, write_all};
use crate::file::{FileError, at as at_file};
use crate::sabotage::{self, Sabotage};

/// Bytes that are collected before a stretch that is damaged from its beginning to its end is written piece by piece.
const COLLECTED: u64 = 2 * PAYLOAD_MAX as u64;

/// Index and chain value of a frame.
type Link = (LogIndex, u32);

/// What has to be known of the segment that is to be mended.
#[derive(Debug, Clone, Copy)]
pub struct Damaged {
    /// Its base.
    pub base: LogOffset,
    /// The last place where damage was met.
    pub last: LogOffset,
    /// Identity of the group, as segments name it.
    pub group: u64,
    /// How its log is cut into segments.
    pub layout: Layout,
    /// The end of the applied log.
    pub end: Mark,
}

/// A segment that is being mended.
#[derive(Debug)]
pub struct Mend {
    damaged: Damaged,
    /// Everything before is whole.
    at: LogOffset,
    /// The last frame before; None before the segment's header.
    link: Option<Link>,
    /// What another replica has from `at` on.
    taken: BytesMut,
    mended: Mended,
    /// It is mended, and read once more.
    checking: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mended {
    /// Entries.
    pub entries: u64,
    /// Bytes, with the segment's header if that was damaged.
    pub bytes: u64,
}

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These bytes are needed.
    Needs(Range<LogOffset>),
    /// What was given is damaged too, or not of this log: it must come from somebody else. These bytes are needed.
    Refused(Range<LogOffset>),
    /// The damage is where the log is still being written to: later.
    TooNew,
    /// Every frame of the segment is whole.
    Whole(Mended),
}

/// Why a segment cannot be mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// It cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// It cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The disk does not keep what it is given.
    #[error("what was written to {file} at log offset {at} is damaged again")]
    NotKept {
        /// The file.
        file: String,
        /// Where.
        at: LogOffset,
    },
}

impl Mend {
    /// Begins to mend a segment.
    pub fn new(damaged: Damaged) -> Self {
        let at = damaged.base;
        Self { damaged, at, link: None, taken: BytesMut::new(), mended: Mended::default(), checking: false }
    }

    /// Base of its segment.
    pub fn base(&self) -> LogOffset {
        self.damaged.base
    }

    /// What was written so far.
    pub fn mended(&self) -> Mended {
        self.mended
    }

    /// Goes on as far as it can. `part` is what was needed, from another replica.
    pub fn go_on<D: Disk>(&mut self, disk: &D, part: Option<Bytes>) -> Result<Next, MendError> {
        let (follows, unchecked) = (self.successor(disk)?, sabotage::is(Sabotage::RepairNotChecked));
        self.taken.extend_from_slice(&part.unwrap_or_default());
        loop {
            let mut segment = SegmentBytes::open(disk, self.damaged.base)?;
            let is_whole = self.taken.is_empty() && self.skim(segment.as_mut(), follows)?;
            if is_whole && (self.checking || self.mended == Mended::default() || unchecked) {
                self.fill_up(disk)?;
                return Ok(Next::Whole(self.mended));
            }
            if is_whole {
                (self.at, self.link, self.checking) = (self.damaged.base, None, true);
                continue;
            }
            if self.checking {
                return Err(MendError::NotKept { file: segment_path(self.damaged.base), at: self.at });
            }
            let Some((end, link, entries)) = self.collected(segment.as_mut(), follows)? else {
                self.taken.clear();
                return Ok(Next::Refused(self.needed()));
            };
            if end == self.at {
                return Ok(self.more());
            }
            if end.get().next_multiple_of(BLOCK as u64) > self.writable() {
                return Ok(Next::TooNew);
            }
            self.write(disk, end)?;
            self.mended.entries += entries;
            (self.at, self.link) = (end, Some(link));
        }
    }

    /// The frame before the one that the next segment begins with; the last one applied, if this is the last segment. None
    /// if the next segment is gone, or damaged.
    fn successor<D: Disk>(&self, disk: &D) -> Result<Option<Link>, MendError> {
        let Damaged { base, layout, end, .. } = self.damaged;
        let next = base + layout.segment_size;
        if end.end <= next {
            return Ok(Some((end.index, end.chain)));
        }
        let Some(mut segment) = SegmentBytes::open(disk, next)? else { return Ok(None) };
        let block = segment.bytes(next, SEGMENT_HEADER_LEN)?;
        let header = block.and_then(|block| self.segment_header(block, next));
        Ok(header.map(|header| (LogIndex::new(header.first_index.get().saturating_sub(1)), header.chain)))
    }

    fn segment_header(&self, block: &[u8], base: LogOffset) -> Option<SegmentHeader> {
        let Damaged { group, layout, .. } = self.damaged;
        let header = SegmentHeader::decode(block).ok()?;
        let is_it = header.base == base && header.size == layout.segment_size && header.group == group;
        is_it.then_some(header)
    }

    /// Passes what is whole. Whether that is everything.
    fn skim<F: DiskFile>(
        &mut self,
        segment: Option<&mut SegmentBytes<F>>,
        follows: Option<Link>,
    ) -> Result<bool, MendError> {
        let Some(segment) = segment else { return Ok(false) };
        loop {
            if self.is_end(self.at, self.link, follows) {
                return Ok(true);
            }
            let Some((next, link)) = self.own(segment, self.at, self.link)? else {
                // Where the log goes on is not known, and nobody has met damage here.
                return Ok(follows.is_none() && self.link.is_some() && self.at > self.damaged.last);
            };
            (self.at, self.link) = (next, Some(link));
        }
    }

    /// Whether nothing of the segment is left after a frame.
    fn is_end(&self, at: LogOffset, link: Option<Link>, follows: Option<Link>) -> bool {
        let full = self.damaged.base + self.damaged.layout.segment_size;
        (link.is_some() && link == follows) || (follows.is_none() && at >= full)
    }

    /// The end of what lies at `at`, the header or a frame, if that is whole and follows `link`.
    fn own<F: DiskFile>(
        &self,
        segment: &mut SegmentBytes<F>,
        at: LogOffset,
        link: Option<Link>,
    ) -> Result<Option<(LogOffset, Link)>, MendError> {
        let len = match link {
            None => SEGMENT_HEADER_LEN,
            Some(_) => match segment.header_at(at)? {
                Some(Ok(header)) => FRAME_HEADER_LEN + header.payload_len,
                _ => return Ok(None),
            },
        };
        let bytes = segment.bytes(at, len)?;
        Ok(bytes.and_then(|bytes| self.checked(bytes, at, link)))
    }

    /// The end of what `bytes` begin with, which is to lie at `at` after `link`: the segment's header, or a frame. None if it is
    /// not that, or not all of it.
    fn checked(&self, bytes: &[u8], at: LogOffset, link: Option<Link>) -> Option<(LogOffset, Link)> {
        let Some((index, chain)) = link else {
            let header = self.segment_header(bytes.get(..SEGMENT_HEADER_LEN)?, at)?;
            let before = header.first_index.get().checked_sub(1)?;
            return Some((at + SEGMENT_HEADER_LEN as u64, (LogIndex::new(before), header.chain)));
        };
        let header = FrameHeader::decode(bytes.first_chunk()?).ok()?;
        let payload = bytes.get(FRAME_HEADER_LEN..FRAME_HEADER_LEN + header.payload_len)?;
        let end = at + frame_len(header.payload_len);
        if sabotage::is(Sabotage::RepairNotChecked) && !self.taken.is_empty() {
            return Some((end, (header.index, header.chain)));
        }
        let padding =
            bytes.get(FRAME_HEADER_LEN + header.payload_len..frame_len(header.payload_len) as usize);
        if padding.is_some_and(|padding| padding.iter().any(|byte| *byte != 0)) {
            return None;
        }
        let is_next = header.at == at && header.index == index.next() && header.follows(chain);
        let (_, damaged) = header.check(Bytes::copy_from_slice(payload)).ok().filter(|_| is_next)?;
        damaged.is_empty().then_some((end, (header.index, header.chain)))
    }

    /// How far what was taken is to be written, the last frame of that, and how many entries it has: up to where this
    /// replica's log goes on, or as much as is collected at a time; nothing while more is needed. None if it is not whole.
    fn collected<F: DiskFile>(
        &self,
        mut segment: Option<&mut SegmentBytes<F>>,
        follows: Option<Link>,
    ) -> Result<Option<(LogOffset, Link, u64)>, MendError> {
        let (mut at, mut link, mut entries) = (self.at, self.link, 0);
        let nothing = Some((self.at, self.link.unwrap_or_default(), 0));
        loop {
            let rest = &self.taken[(at.get() - self.at.get()) as usize..];
            if self.lacks(rest, link) {
                let much = at.get() - self.at.get() >= COLLECTED;
                return Ok(if much { link.map(|link| (at, link, entries)) } else { nothing });
            }
            let Some((end, last)) = self.checked(rest, at, link) else { return Ok(None) };
            entries += u64::from(link.is_some());
            (at, link) = (end, Some(last));
            let goes_on = match segment.as_deref_mut() {
                _ if self.is_end(at, link, follows) => true,
                Some(segment) => self.own(segment, at, link)?.is_some(),
                None => false,
            };
            if goes_on || (follows.is_none() && at > self.damaged.last) {
                return Ok(Some((at, last, entries)));
            }
        }
    }

    /// Whether these bytes end before what they begin with does.
    fn lacks(&self, bytes: &[u8], link: Option<Link>) -> bool {
        if link.is_none() {
            return bytes.len() < SEGMENT_HEADER_LEN;
        }
        match bytes.first_chunk().map(FrameHeader::decode) {
            None => true,
            Some(Ok(header)) => (bytes.len() as u64) < frame_len(header.payload_len),
            Some(Err(_)) => false,
        }
    }

    /// Asks for more than was given, if there can be more.
    fn more(&mut self) -> Next {
        let needed = self.needed();
        if !needed.is_empty() {
            return Next::Needs(needed);
        }
        self.taken.clear();
        Next::Refused(self.needed())
    }

    /// The bytes to ask for next.
    fn needed(&self) -> Range<LogOffset> {
        let Damaged { base, layout, end, .. } = self.damaged;
        let start = self.at + self.taken.len() as u64;
        start..end.end.min(base + layout.segment_size).max(start)
    }

    /// Position in the log before which nobody else writes: the rest of the log's last block is the log writer's.
    fn writable(&self) -> u64 {
        self.damaged.end.end.get() / BLOCK as u64 * BLOCK as u64
    }

    /// Writes what was taken, up to `end`, over what is there; durable when it returns.
    fn write<D: Disk>(&mut self, disk: &D, end: LogOffset) -> Result<(), MendError> {
        let path = segment_path(self.damaged.base);
        let len = (end.get() - self.at.get()) as usize;
        let start = self.at.get() - self.damaged.base.get();
        let lead = (start % BLOCK as u64) as usize;
        let mut memory = AlignedBuf::default();
        let buf = memory.of_len((lead + len).next_multiple_of(BLOCK));
        let file = disk.open(&path, Mode::Durable).map_err(at_file(&path))?;
        // What shares the first and the last block with it stays as it is.
        buf.fill(0);
        let last = buf.len() - BLOCK;
        for block in [0, last] {
            file.read_at(&mut buf[block..block + BLOCK], start - lead as u64 + block as u64)
                .map_err(at_file(&path))?;
        }
        buf[lead..lead + len].copy_from_slice(&self.taken[..len]);
        write_all(&file, buf, start - lead as u64).map_err(at_file(&path))?;
        // It may have been missing.
        disk.sync_dir(DIR).map_err(at_file(DIR))?;
        self.mended.bytes += len as u64;
        self.taken.clear();
        Ok(())
    }

    /// A file of the log that is full has its whole length; one that was missing does not have it yet.
    fn fill_up<D: Disk>(&self, disk: &D) -> Result<(), MendError> {
        let Damaged { base, layout, end, .. } = self.damaged;
        let (path, size) = (segment_path(base), layout.segment_size);
        if end.end < base + size || self.mended.bytes == 0 {
            return Ok(());
        }
        let file = disk.open(&path, Mode::Durable).map_err(at_file(&path))?;
        if file.len().map_err(at_file(&path))? < size {
            let mut memory = AlignedBuf::default();
            let block = memory.of_len(BLOCK);
            block.fill(0);
            write_all(&file, block, size - BLOCK as u64).map_err(at_file(&path))?;
        }
        Ok(())
    }
}
