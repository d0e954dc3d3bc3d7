//! Recovery: reads the log from a known mark to its end, and tells a torn tail from a damaged middle (P4).
//!
//! Every entry carries the commit index its leader knew. A bad frame at or below the commit index of *any*
//! valid later frame, or of the meta file's watermark, was acknowledged: that is damage and is never cut. A bad
//! frame above all of them is the window that was in flight when the process ended: a group of one cuts there, and says so.
//! A replica of several cuts at the first bad frame, and remembers what may have been behind it: see `several`.

mod error;
mod salvage;
mod several;
mod tail;

use std::io;
use std::ops::ControlFlow::{self, Continue};

use bytes::Bytes;
use steadfast_types::{LogIndex, LogOffset};

use super::frame::{Entry, FRAME_HEADER_LEN, FrameError, FrameHeader, frame_len};
use super::layout::{Layout, Mark};
use super::segment::{HeaderError, SEGMENT_HEADER_LEN, SegmentHeader, segment_bases, segment_path};
use crate::disk::{Disk, DiskFile, Mode};
use crate::sabotage::{self, Sabotage};

pub use self::error::{Damage, ScanError};
pub use self::several::{Remains, scan_of_several};
pub use self::tail::{Cut, Tail, Truncated};

/// What to scan.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    /// How the log is cut into segments.
    pub layout: Layout,
    /// Identity of the group, as its segments name it.
    pub group: u64,
    /// Where to begin: the mark of a verified snapshot, or the default for the beginning of the log.
    pub from: Mark,
    /// Highest index known to be committed from outside the log.
    pub watermark: LogIndex,
    /// Whether what is left of acknowledged entries whose frames are damaged is visited, see [`Head`]: for a repair,
    /// which tells an operator what is lost.
    pub lenient: bool,
}

/// One entry found.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// The entry.
    pub entry: Entry,
    /// Log offset of its payload's first byte.
    pub payload_at: LogOffset,
    /// Ordinal numbers of its records whose bytes are damaged; they were acknowledged.
    pub damaged: Vec<usize>,
    /// What vouches for it.
    pub head: Head,
}

impl Scanned {
    /// Log offset of its frame.
    pub fn at(&self) -> LogOffset {
        LogOffset::new(self.payload_at.get() - FRAME_HEADER_LEN as u64)
    }
}

/// What vouches for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Its frame.
    Verified,
    /// The frame after it: its own header is damaged, and with it made again the two make a chain.
    Proven,
    /// Nothing: the head of its payload is damaged. So many bytes of it lie before what should be the first record.
    Lost(usize),
}

/// Visits every entry after `scan.from` and returns where the log ends. Nothing is written; a new writer simply
/// continues at the mark, over whatever was cut.
pub fn scan<D: Disk>(disk: &D, scan: Scan, mut visit: impl FnMut(Scanned)) -> Result<Tail, ScanError> {
    let bases =
        segment_bases(disk).map_err(|source| ScanError::Disk { file: super::DIR.to_owned(), source })?;
    let mut walk = Walk { disk, scan, bases, mark: scan.from, open: None, several: false };
    walk.check_start()?;
    loop {
        match walk.next()? {
            Step::Entry(found) => visit(found),
            Step::End => return walk.tail(),
        }
    }
}

enum Step {
    Entry(Scanned),
    End,
}

struct Walk<'a, D: Disk> {
    disk: &'a D,
    scan: Scan,
    bases: Vec<LogOffset>,
    mark: Mark,
    open: Option<SegmentBytes<D::File>>,
    /// The others have what is damaged here.
    several: bool,
}

impl<D: Disk> Walk<'_, D> {
    /// The segment in which the log is to be continued must be there and be the right one: a snapshot without
    /// its log is not an empty log.
    fn check_start(&mut self) -> Result<(), ScanError> {
        let (base, mark) = (self.scan.layout.base_of(self.mark.end), self.mark);
        if mark.end == base {
            return Ok(());
        }
        if self.segment_header(base)?.is_none() {
            return Err(ScanError::Missing { file: segment_path(base), index: mark.index });
        }
        let (len, needed) =
            (self.segment(base)?.map_or(0, |segment| segment.len), mark.end.get() - base.get());
        if len < needed {
            let witness = format!("a snapshot covers it up to entry {}", mark.index);
            let (file, end) = (segment_path(base), mark.end);
            return Err(ScanError::Truncated(Truncated {
                file,
                end,
                len,
                needed,
                witness,
                repairable: false,
            }));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Step, ScanError> {
        let layout = self.scan.layout;
        let base = layout.base_of(self.mark.end);
        let cause = if self.mark.end > base {
            match self.read_frame(base, self.mark.end)? {
                Ok(found) => return Ok(Step::Entry(found)),
                Err(cause) => cause,
            }
        } else {
            FrameError::Absent
        };
        // The next frame may have opened the next segment.
        let next = if self.mark.end > base { base + layout.segment_size } else { base };
        if self.continues_in(next)?
            && let Ok(found) = self.read_frame(next, next + SEGMENT_HEADER_LEN as u64)?
        {
            return Ok(Step::Entry(found));
        }
        self.end_or_damage(base, cause)
    }

    /// Whether the segment with this base is the one that the next frame opens.
    fn continues_in(&mut self, base: LogOffset) -> Result<bool, ScanError> {
        let mark = self.mark;
        let header = self.segment_header(base)?;
        Ok(header.is_some_and(|h| h.first_index == mark.index.next() && h.chain == mark.chain))
    }

    /// Reads the frame that should be at `at`. The inner error is a frame that does not count as it stands.
    fn read_frame(
        &mut self,
        base: LogOffset,
        at: LogOffset,
    ) -> Result<Result<Scanned, FrameError>, ScanError> {
        let (mark, layout) = (self.mark, self.scan.layout);
        let Some(segment) = self.segment(base)? else { return Ok(Err(FrameError::Absent)) };
        let Some(header) = segment.header_at(at)? else { return Ok(Err(FrameError::Absent)) };
        let header = match header {
            Ok(header) => header,
            Err(FrameError::Version(found)) => return Err(segment.newer(u32::from(found))),
            Err(cause) => return Ok(Err(cause)),
        };
        if header.at != at
            || header.index != mark.index.next()
            || !(header.follows(mark.chain) || sabotage::is(Sabotage::ChainNotChecked))
        {
            return Ok(Err(FrameError::Absent));
        }
        let end = at + frame_len(header.payload_len);
        if end.get() - base.get() > layout.segment_size {
            return Ok(Err(FrameError::Header));
        }
        let Some(payload) = segment.bytes(at + FRAME_HEADER_LEN as u64, header.payload_len)? else {
            return Ok(Err(FrameError::Head));
        };
        let (entry, damaged) = match header.check(Bytes::copy_from_slice(payload)) {
            Ok(checked) => checked,
            Err(cause) => return Ok(Err(cause)),
        };
        if !damaged.is_empty() && (self.several || self.committed_after(base, at)? < header.index) {
            return Ok(Err(FrameError::Head));
        }
        self.mark = Mark { index: header.index, end, chain: header.chain };
        Ok(Ok(Scanned { entry, payload_at: at + FRAME_HEADER_LEN as u64, damaged, head: Head::Verified }))
    }

    fn end_or_damage(&mut self, base: LogOffset, cause: FrameError) -> Result<Step, ScanError> {
        if self.several {
            return Ok(Step::End);
        }
        let (index, at) = (self.mark.index.next(), self.mark.end);
        let committed = self.committed_after(base, at)?;
        if committed < index || sabotage::is(Sabotage::TailCutBelowCommit) {
            return Ok(Step::End);
        }
        let repairable = match self.salvage()? {
            Some(found) if self.scan.lenient => return Ok(Step::Entry(found)),
            found => found.is_some(),
        };
        if !repairable && let Some(file) = self.lost_file()? {
            return Err(ScanError::Missing { file, index });
        }
        Err(ScanError::Damaged(Damage { index, at, file: segment_path(base), cause, committed, repairable }))
    }

    /// The file that the next entry should have opened, if that is what is lost: the one before it is whole and has nothing
    /// more, and the log goes on after it.
    fn lost_file(&mut self) -> Result<Option<String>, ScanError> {
        let (size, end) = (self.scan.layout.segment_size, self.mark.end);
        let base = self.scan.layout.base_of(end);
        let mut lost = base;
        if end > base {
            lost = base + size;
            let Some(segment) = self.segment(base)? else { return Ok(None) };
            if segment.len < size || segment.highest_commit(end)?.is_some() {
                return Ok(None);
            }
        }
        if self.segment_header(lost)?.is_some() {
            return Ok(None);
        }
        for later in self.bases.clone().into_iter().filter(|base| *base > lost) {
            if self.segment_header(later)?.is_some() {
                return Ok(Some(segment_path(lost)));
            }
        }
        Ok(None)
    }

    /// Highest commit index of any valid frame header after `at`, or of the watermark.
    fn committed_after(&mut self, base: LogOffset, at: LogOffset) -> Result<LogIndex, ScanError> {
        let mut committed = self.scan.watermark;
        let later: Vec<LogOffset> = self.bases.iter().copied().filter(|b| *b >= base).collect();
        for segment_base in later {
            let from = if segment_base == base { at } else { segment_base + SEGMENT_HEADER_LEN as u64 };
            let Some(mut segment) = SegmentBytes::open(self.disk, segment_base)? else { continue };
            committed = committed.max(segment.highest_commit(from)?.unwrap_or_default());
        }
        Ok(committed)
    }

    fn segment_header(&mut self, base: LogOffset) -> Result<Option<SegmentHeader>, ScanError> {
        let group = self.scan.group;
        let Some(segment) = self.segment(base)? else { return Ok(None) };
        let file = segment.path.clone();
        let Some(block) = segment.bytes(base, SEGMENT_HEADER_LEN)? else { return Ok(None) };
        match SegmentHeader::decode(block) {
            Ok(header) if header.base != base => Ok(None),
            Ok(header) if header.group != group => {
                Err(ScanError::WrongGroup { file, found: header.group, expected: group })
            }
            Ok(header) => Ok(Some(header)),
            Err(HeaderError::Version(found)) => Err(segment.newer(found)),
            Err(HeaderError::Invalid) => Ok(None),
        }
    }

    fn segment(&mut self, base: LogOffset) -> Result<Option<&mut SegmentBytes<D::File>>, ScanError> {
        if self.open.as_ref().is_none_or(|open| open.base != base) {
            self.open = if self.bases.contains(&base) { SegmentBytes::open(self.disk, base)? } else { None };
        }
        Ok(self.open.as_mut())
    }
}

/// A segment file read through a window.
pub(super) struct SegmentBytes<F> {
    file: F,
    path: String,
    pub(super) base: LogOffset,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<F: DiskFile> SegmentBytes<F> {
    const WINDOW: usize = 2 * 1024 * 1024;

    pub(super) fn open<D: Disk<File = F>>(disk: &D, base: LogOffset) -> Result<Option<Self>, ScanError> {
        let path = segment_path(base);
        let opened = disk.open(&path, Mode::Read).and_then(|file| file.len().map(|len| (file, len)));
        match opened {
            Ok((file, len)) => Ok(Some(Self { file, path, base, len, window: Vec::new(), window_at: 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ScanError::Disk { file: path, source }),
        }
    }

    fn newer(&self, found: u32) -> ScanError {
        ScanError::NewerFormat { file: self.path.clone(), found, known: super::segment::VERSION }
    }

    /// `len` bytes at log offset `at`, None past the end of the file.
    pub(super) fn bytes(&mut self, at: LogOffset, len: usize) -> Result<Option<&[u8]>, ScanError> {
        let within = at.get() - self.base.get();
        if within + len as u64 > self.len {
            return Ok(None);
        }
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if within < held.start || within + len as u64 > held.end {
            let want = (Self::WINDOW.max(len) as u64).min(self.len - within) as usize;
            self.window.resize(want, 0);
            self.window_at = within;
            let read = self.file.read_at(&mut self.window, within);
            let read = read.map_err(|source| ScanError::Disk { file: self.path.clone(), source })?;
            self.window.truncate(read);
            if read < len {
                return Ok(None);
            }
        }
        let start = (within - self.window_at) as usize;
        Ok(Some(&self.window[start..start + len]))
    }

    #[allow(clippy::type_complexity)] // outer: disk, middle: end of file, inner: the frame
    pub(super) fn header_at(
        &mut self,
        at: LogOffset,
    ) -> Result<Option<Result<FrameHeader, FrameError>>, ScanError> {
        let bytes = self.bytes(at, FRAME_HEADER_LEN)?;
        Ok(bytes.and_then(<[u8]>::first_chunk).map(FrameHeader::decode))
    }

    /// Highest commit index of any header at or after `from` that vouches for itself and for its place; None if there
    /// is no such header.
    pub(super) fn highest_commit(&mut self, from: LogOffset) -> Result<Option<LogIndex>, ScanError> {
        let mut highest = None;
        self.each_header(from, |header| {
            highest = highest.max(Some(header.commit));
            Continue(())
        })?;
        Ok(highest)
    }

    /// Visits the headers at or after `from` that vouch for themselves and for their places.
    pub(super) fn each_header(
        &mut self,
        from: LogOffset,
        mut visit: impl FnMut(FrameHeader) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        const STEP: usize = 1024 * 1024;
        let mut at = from;
        let end = self.base + self.len;
        while at + FRAME_HEADER_LEN as u64 <= end {
            let len = STEP.min((end.get() - at.get()) as usize);
            let Some(bytes) = self.bytes(at, len)? else { break };
            for within in (0..=len - FRAME_HEADER_LEN).step_by(8) {
                // Most of what is scanned is zeroes or message bytes: the first byte settles nearly all of it.
                if bytes[within] != b'S' {
                    continue;
                }
                let Some(header) = bytes[within..].first_chunk() else { break };
                if let Ok(header) = FrameHeader::decode(header)
                    && header.at == at + within as u64
                    && visit(header).is_break()
                {
                    return Ok(());
                }
            }
            if len < STEP {
                break;
            }
            // Overlap, so that a header across the boundary is seen.
            at = at + (STEP - FRAME_HEADER_LEN) as u64;
        }
        Ok(())
    }
}
