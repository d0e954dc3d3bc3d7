//! Reads the frames of a stretch of the log that is known to be whole, to derive something from it anew.

use bytes::Bytes;
use steadfast_types::LogOffset;

use super::frame::{FRAME_HEADER_LEN, frame_len};
use super::layout::Layout;
use super::scan::{ScanError, Scanned, SegmentBytes};
use super::segment::SEGMENT_HEADER_LEN;
use crate::disk::Disk;
use std::ops::Range;

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

/// Visits the entries whose frames lie in `stretch`, which must begin and end where frames do. Each frame
/// vouches for itself and for its place.
pub fn walk<D: Disk>(
    disk: &D,
    layout: Layout,
    stretch: Range<LogOffset>,
    mut visit: impl FnMut(Scanned),
) -> Result<(), WalkError> {
    let mut at = stretch.start;
    let mut open: Option<SegmentBytes<D::File>> = None;
    while at < stretch.end {
        let base = layout.base_of(at);
        if open.as_ref().is_none_or(|segment| segment.base != base) {
            open = SegmentBytes::open(disk, base)?;
        }
        let Some(segment) = open.as_mut() else { return Err(WalkError::Damaged(at)) };
        if at == base {
            at = base + SEGMENT_HEADER_LEN as u64;
        }
        let header = match segment.header_at(at)? {
            Some(Ok(header)) if header.at == at => header,
            // The frame after the last one of a segment opens the next segment.
            _ if base + layout.segment_size < stretch.end => {
                at = base + layout.segment_size;
                continue;
            }
            _ => return Err(WalkError::Damaged(at)),
        };
        let payload_at = at + FRAME_HEADER_LEN as u64;
        let payload = segment.bytes(payload_at, header.payload_len)?.ok_or(WalkError::Damaged(at))?;
        let checked = header.check(Bytes::copy_from_slice(payload));
        let (entry, damaged) = checked.map_err(|_| WalkError::Damaged(at))?;
        visit(Scanned { entry, payload_at, damaged });
        at = at + frame_len(header.payload_len);
    }
    Ok(())
}
