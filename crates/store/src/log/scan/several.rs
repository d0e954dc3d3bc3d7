//! The scan of a replica of several: what is bad is cut off, wherever it is, since the others have it. What may have been
//! behind the cut is told, so that the replica does not vote as if it had never had it (Alagappan et al., "Protocol-Aware
//! Recovery for Consensus-Based Storage", FAST '18).

use std::ops::ControlFlow::Continue;

use steadfast_types::{LogIndex, LogOffset, Position, Term};

use super::{Scan, ScanError, Scanned, Step, Walk};
use crate::disk::{BLOCK, Disk};
use crate::log::frame::{FRAME_HEADER_LEN, frame_len};
use crate::log::layout::Mark;
use crate::log::segment::{SEGMENT_HEADER_LEN, segment_bases};
use crate::meta::Fence;

/// What is left of a replica's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remains {
    /// After its last whole entry.
    pub mark: Mark,
    /// What there may have been behind it.
    pub lost: Option<Fence>,
}

/// The highest frame that a whole header tells of, behind the end of what can be read.
struct Highest {
    position: Position,
    end: LogOffset,
}

/// Visits every whole entry after `scan.from`, which ends with an entry of `from_term`, up to the first that is not.
/// `term` is the replica's: it has acknowledged nothing of a later one. Nothing is written.
pub fn scan_of_several<D: Disk>(
    disk: &D,
    scan: Scan,
    from_term: Term,
    term: Term,
    mut visit: impl FnMut(Scanned),
) -> Result<Remains, ScanError> {
    let bases =
        segment_bases(disk).map_err(|source| ScanError::Disk { file: crate::log::DIR.to_owned(), source })?;
    let mut walk = Walk { disk, scan, bases, mark: scan.from, open: None, several: true };
    walk.check_start()?;
    let mut last_term = from_term;
    while let Step::Entry(found) = walk.next()? {
        last_term = found.entry.term;
        visit(found);
    }
    let lost = walk.lost(Position { term: last_term, index: walk.mark.index }, term)?;
    Ok(Remains { mark: walk.mark, lost })
}

impl<D: Disk> Walk<'_, D> {
    /// What there may have been behind the end, if anything was.
    ///
    /// A header vouches for itself and for its place. One of a history that was abandoned has a term before that of what
    /// replaced it, so the latest one is of this log, or it was never acknowledged. Bytes that are no frame may have been
    /// any number of entries.
    fn lost(&mut self, last: Position, term: Term) -> Result<Option<Fence>, ScanError> {
        let (highest, committed) = self.behind()?;
        let highest = highest.filter(|highest| highest.position > last);
        let unknown = match &highest {
            Some(Highest { position, end }) => self.goes_on(*end, position.index)?,
            None => self.goes_on(self.mark.end, last.index)? || self.cut()?.is_some(),
        };
        let known =
            highest.map(|highest| highest.position).filter(|known| !unknown && known.index >= committed);
        let any = Position { term: term.max(last.term), index: LogIndex::new(u64::MAX) };
        let floor = match known {
            Some(known) => known,
            None if unknown || committed > last.index => any,
            None => return Ok(None),
        };
        Ok(Some(Fence { floor, committed }))
    }

    /// The latest frame behind the mark, and the highest index that is known to be committed.
    fn behind(&mut self) -> Result<(Option<Highest>, LogIndex), ScanError> {
        let (mark, mut committed) = (self.mark.end, self.scan.watermark);
        let first = self.scan.layout.base_of(mark);
        let mut highest: Option<Highest> = None;
        for base in self.bases.clone().into_iter().filter(|base| *base >= first) {
            let Some(segment) = self.segment(base)? else { continue };
            segment.each_header(mark.max(base + SEGMENT_HEADER_LEN as u64), |header| {
                committed = committed.max(header.commit);
                let position = Position { term: header.term, index: header.index };
                if highest.as_ref().is_none_or(|highest| highest.position < position) {
                    let end = header.at + frame_len(header.payload_len);
                    highest = Some(Highest { position, end });
                }
                Continue(())
            })?;
        }
        Ok((highest, committed))
    }

    /// Whether bytes follow the entry that ends at `end` which are neither empty nor a frame of another place, as a file
    /// that is used again has them.
    fn goes_on(&mut self, end: LogOffset, index: LogIndex) -> Result<bool, ScanError> {
        let size = self.scan.layout.segment_size;
        let base = LogOffset::new(end.get().saturating_sub(1) / size * size);
        if self.is_written(base, end)? {
            return Ok(true);
        }
        let next = if end > LogOffset::ZERO { base + size } else { base };
        let continues = self.segment_header(next)?.is_some_and(|header| header.first_index == index.next());
        Ok(continues && self.is_written(next, next + SEGMENT_HEADER_LEN as u64)?)
    }

    fn is_written(&mut self, base: LogOffset, at: LogOffset) -> Result<bool, ScanError> {
        let Some(segment) = self.segment(base)? else { return Ok(false) };
        let within = at.get() - base.get();
        if within < SEGMENT_HEADER_LEN as u64 {
            return Ok(false);
        }
        if let Some(Ok(_)) = segment.header_at(at)? {
            // It belongs elsewhere, or it would have been counted.
            return Ok(false);
        }
        let rest = BLOCK - (within % BLOCK as u64) as usize;
        let len = if rest == BLOCK { FRAME_HEADER_LEN } else { rest };
        let left = (base + segment.len).get().saturating_sub(at.get());
        let bytes = segment.bytes(at, len.min(left as usize))?.unwrap_or_default();
        Ok(bytes.iter().any(|byte| *byte != 0))
    }
}
