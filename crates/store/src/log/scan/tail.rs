//! What can be told of the end of a log: whether a file of it has been cut short, and whether what is cut off behind the
//! last whole entry was ever written to.

use std::fmt;

use steadfast_types::LogOffset;

use super::{ScanError, Walk};
use crate::disk::{BLOCK, Disk};
use crate::log::PAYLOAD_MAX;
use crate::log::frame::{MAGIC, frame_len};
use crate::log::layout::Mark;
use crate::log::segment::{HeaderError, SEGMENT_HEADER_LEN, SegmentHeader, segment_path};

/// Where a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// After its last whole entry.
    pub mark: Mark,
    /// What was found behind that.
    pub cut: Option<Cut>,
    /// A file that has lost its end, and with it perhaps acknowledged entries; None but for [`super::Scan::lenient`].
    pub truncated: Option<Truncated>,
}

/// Bytes behind the last whole entry, which is where the log goes on. A write that was under way when the process ended
/// leaves them, and so does damage of the last entry of all, which nothing vouches for: the two look the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Log offset of the first byte.
    pub at: LogOffset,
    /// How many there are, up to the next block that is empty.
    pub bytes: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut { file, at, bytes } = self;
        write!(
            f,
            "{bytes} bytes at log offset {at} in {file}, behind the last whole entry, are cut off: a write that was under \
             way when the server ended, or damage; nothing before them is affected"
        )
    }
}

/// A file that is shorter than it was: space is filled ahead of the log, and no file is begun before the one before it is
/// full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// The file.
    pub file: String,
    /// Log offset after which it would be whole.
    pub end: LogOffset,
    /// Its length in bytes, 0 if it is missing.
    pub len: u64,
    /// The least that it had.
    pub needed: u64,
    /// How that is known.
    pub witness: String,
    /// Whether a lenient scan passes it.
    pub repairable: bool,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Truncated { file, len, needed, witness, .. } = self;
        write!(f, "{file} has lost its end: it has {len} bytes and had at least {needed}: {witness}")
    }
}

impl<D: Disk> Walk<'_, D> {
    /// The log has been read up to the mark, and nothing that follows counts.
    pub(super) fn tail(&mut self) -> Result<Tail, ScanError> {
        let truncated = self.truncated()?;
        match truncated {
            Some(truncated) if !self.scan.lenient => Err(ScanError::Truncated(truncated)),
            truncated => Ok(Tail { mark: self.mark, cut: self.cut()?, truncated }),
        }
    }

    /// The first file from the log's end on that is not whole though another one follows, or though an entry needs it.
    fn truncated(&mut self) -> Result<Option<Truncated>, ScanError> {
        let size = self.scan.layout.segment_size;
        let mut base = self.scan.layout.base_of(self.mark.end);
        while let Some(next) = self.bases.iter().copied().find(|next| *next > base) {
            let len = self.segment(base)?.map_or(0, |segment| segment.len);
            if len < size {
                let witness = format!("{} is there, which was begun when it was full", segment_path(next));
                let (file, end) = (segment_path(base), base + size);
                return Ok(Some(Truncated { file, end, len, needed: size, witness, repairable: true }));
            }
            base = base + size;
        }
        let end = self.mark.end;
        let base = self.scan.layout.base_of(end);
        let next = if end > base { base + size } else { base };
        match self.overrun(base, end)? {
            None if self.continues_in(next)? => self.overrun(next, next + SEGMENT_HEADER_LEN as u64),
            found => Ok(found),
        }
    }

    /// The file, if the entry at `at` goes on behind its end: nothing is written to space that is not filled.
    fn overrun(&mut self, base: LogOffset, at: LogOffset) -> Result<Option<Truncated>, ScanError> {
        let mark = self.mark;
        let Some(segment) = self.segment(base)? else { return Ok(None) };
        let len = segment.len;
        let Some(Ok(header)) = segment.header_at(at)? else { return Ok(None) };
        let end = at + frame_len(header.payload_len);
        let is_next = header.at == at && header.index == mark.index.next() && header.follows(mark.chain);
        if !is_next || end <= base + len {
            return Ok(None);
        }
        let needed = end.get() - base.get();
        let witness = format!("entry {} begins at byte {}", header.index, at.get() - base.get());
        Ok(Some(Truncated { file: segment_path(base), end, len, needed, witness, repairable: true }))
    }

    pub(super) fn cut(&mut self) -> Result<Option<Cut>, ScanError> {
        let (end, layout) = (self.mark.end, self.scan.layout);
        let base = layout.base_of(end);
        if end > base
            && let Some(cut) = self.remains(base, end)?
        {
            return Ok(Some(cut));
        }
        let next = if end > base { base + layout.segment_size } else { base };
        if self.continues_in(next)? {
            return self.remains(next, next + SEGMENT_HEADER_LEN as u64);
        }
        let Some(segment) = self.segment(next)? else { return Ok(None) };
        let header = segment.bytes(next, SEGMENT_HEADER_LEN)?;
        let was_header = header.is_some_and(|block| {
            SegmentHeader::decode(block) == Err(HeaderError::Invalid) && block.iter().any(|byte| *byte != 0)
        });
        if was_header { self.extent(next, next).map(Some) } else { Ok(None) }
    }

    /// What lies at `at`, where the next frame would begin. The rest of a block that the log ends in is empty unless a
    /// write was torn there; a whole block may hold what a reused file held before.
    fn remains(&mut self, base: LogOffset, at: LogOffset) -> Result<Option<Cut>, ScanError> {
        let Some(segment) = self.segment(base)? else { return Ok(None) };
        let within = (at.get() - base.get()) % BLOCK as u64;
        let left = (base + segment.len).get().saturating_sub(at.get());
        let rest = (BLOCK as u64 - within).min(left) as usize;
        let bytes = segment.bytes(at, rest)?.unwrap_or_default();
        let written = if within > 0 {
            bytes.iter().any(|byte| *byte != 0)
        } else {
            let is_frame = bytes.starts_with(&MAGIC.to_be_bytes());
            is_frame && !matches!(segment.header_at(at)?, Some(Ok(header)) if header.at != at)
        };
        if written { self.extent(base, at).map(Some) } else { Ok(None) }
    }

    /// How far what lies at `at` goes.
    fn extent(&mut self, base: LogOffset, at: LogOffset) -> Result<Cut, ScanError> {
        let mut end = at;
        if let Some(segment) = self.segment(base)? {
            let file_end = base + segment.len;
            let mut block = at;
            while block < file_end && block.get() - at.get() < frame_len(PAYLOAD_MAX) {
                let next = LogOffset::new((block.get() / BLOCK as u64 + 1) * BLOCK as u64).min(file_end);
                let bytes = segment.bytes(block, (next.get() - block.get()) as usize)?.unwrap_or_default();
                let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { break };
                end = block + (last as u64 + 1);
                block = next;
            }
        }
        Ok(Cut { file: segment_path(base), at, bytes: end.get() - at.get() })
    }
}
