//! Frees the space of segments that the broker has dropped from its log.

use steadfast_types::LogOffset;

use crate::checkpoint::{self, CheckpointError};
use crate::disk::Disk;
use crate::file::FileError;
use crate::log::{self, Layout};
use crate::sabotage::{self, Sabotage};

/// Why nothing was freed, or not all of it; trying again later is safe.
#[derive(Debug, thiserror::Error)]
pub enum FreeError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A snapshot could not be read, or an index run not be removed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A start from one of the snapshots would still need them.
    #[error("a start may need the log from {needed_from} on, so nothing is freed yet")]
    NotCovered {
        /// The log is needed from here on.
        needed_from: LogOffset,
    },
}

/// Frees the segments with these bases and the index runs that no snapshot names any more. The broker's decision must
/// be durable and in a snapshot; that each snapshot on disk covers the segments is verified here once more (promise
/// P5), since a start may have to fall back to the older one. `spares` is how many files are kept for new segments.
pub fn free<D: Disk>(disk: &D, layout: Layout, bases: &[LogOffset], spares: usize) -> Result<(), FreeError> {
    let needed_from = checkpoint::needed_from(disk)?;
    let covered = |base: &LogOffset| *base + layout.segment_size <= needed_from;
    if !bases.iter().all(covered) && !sabotage::is(Sabotage::FreedBeforeSnapshot) {
        return Err(FreeError::NotCovered { needed_from });
    }
    log::retire(disk, layout, bases, spares)?;
    Ok(checkpoint::remove_unnamed_runs(disk)?)
}
