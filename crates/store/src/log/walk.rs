//! Reads the frames of a stretch of the log that is known to be whole, to derive something from it anew.

use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use steadfast_types::{LogIndex, LogOffset};

use super::frame::{FRAME_HEADER_LEN, FrameHeader, frame_len};
use super::layout::Layout;
use super::scan::{Head, ScanError, Scanned, SegmentBytes};
use super::segment::{SEGMENT_HEADER_LEN, SegmentHeader};
use crate::disk::Disk;

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The disk refused.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A frame of the stretch does not verify.
    #[error("the log is damaged at log offset {0}")]
    Damaged(LogOffset),
}

/// Visits the entries whose frames lie in `stretch`, which must begin and end where frames or segments do. Each frame
/// vouches for itself, for its place and for the one before it. The visitor may end the walk.
pub fn walk<D: Disk>(
    disk: &D,
    layout: Layout,
    stretch: Range<LogOffset>,
    mut visit: impl FnMut(Scanned) -> ControlFlow<()>,
) -> Result<(), WalkError> {
    let mut at = stretch.start;
    let mut last = None;
    while at < stretch.end {
        let base = layout.base_of(at);
        let next = base + layout.segment_size;
        let mut part = Part {
            segment: SegmentBytes::open(disk, base)?.ok_or(WalkError::Damaged(at))?,
            // What continues there tells where this segment's last frame ends.
            successor: if next < stretch.end { first_of(disk, next)? } else { None },
            end: stretch.end.min(next),
        };
        if part.walk(at.max(base + SEGMENT_HEADER_LEN as u64), &mut last, &mut visit)?.is_break() {
            break;
        }
        at = next;
    }
    Ok(())
}

/// Index and chain value of a frame.
type Link = (LogIndex, u32);

/// The frame that a segment continues, if its header can be read.
fn first_of<D: Disk>(disk: &D, base: LogOffset) -> Result<Option<Link>, ScanError> {
    let Some(mut segment) = SegmentBytes::open(disk, base)? else { return Ok(None) };
    let header = segment.bytes(base, SEGMENT_HEADER_LEN)?.and_then(|block| SegmentHeader::decode(block).ok());
    let header = header.filter(|header| header.base == base);
    Ok(header.map(|header| (LogIndex::new(header.first_index.get().saturating_sub(1)), header.chain)))
}

/// The part of a stretch that lies in one segment.
struct Part<F> {
    segment: SegmentBytes<F>,
    successor: Option<Link>,
    end: LogOffset,
}

impl<F: crate::disk::DiskFile> Part<F> {
    fn walk(
        &mut self,
        mut at: LogOffset,
        last: &mut Option<Link>,
        visit: &mut impl FnMut(Scanned) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, WalkError> {
        // Behind the segment's last frame there may be a torn one that was cut.
        while at < self.end && (last.is_none() || *last != self.successor) {
            if last.is_none() && self.is_cut(at)? {
                return Ok(ControlFlow::Continue(()));
            }
            let Some(header) = self.header(at, *last)? else {
                let cut = self.successor.is_none() || last.is_none();
                return match cut && self.segment.highest_commit(at)?.is_none() {
                    true => Ok(ControlFlow::Continue(())),
                    false => Err(WalkError::Damaged(at)),
                };
            };
            let payload_at = at + FRAME_HEADER_LEN as u64;
            let payload =
                self.segment.bytes(payload_at, header.payload_len)?.ok_or(WalkError::Damaged(at))?;
            let checked = header.check(Bytes::copy_from_slice(payload));
            let (entry, damaged) = checked.map_err(|_| WalkError::Damaged(at))?;
            *last = Some((entry.index, header.chain));
            if visit(Scanned { entry, payload_at, damaged, head: Head::Verified }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at = at + frame_len(header.payload_len);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether what lies at `at` cannot be part of the log, as the next segment goes on without it.
    fn is_cut(&mut self, at: LogOffset) -> Result<bool, ScanError> {
        let Some((index, _)) = self.successor else { return Ok(false) };
        Ok(self.header(at, None)?.is_some_and(|header| header.index > index))
    }

    /// The header of the frame at `at`, if there is one that may follow the last.
    fn header(&mut self, at: LogOffset, last: Option<Link>) -> Result<Option<FrameHeader>, ScanError> {
        let found = self.segment.header_at(at)?.and_then(Result::ok);
        Ok(found.filter(|header| {
            header.at == at
                && last.is_none_or(|(index, chain)| header.index == index.next() && header.follows(chain))
        }))
    }
}
