//! What a replica of several does with its log when it starts: it reads what is whole, and remembers what it may have
//! lost, durably, before anything is written over it.

use steadfast_store::disk::Disk;
use steadfast_store::log::{Mark, Scan, ScanError, Scanned, scan_of_several};
use steadfast_store::meta::{Fence, Meta, MetaError, MetaFile, Past, Start};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_types::LogIndex;

use crate::fence;
use crate::view::LogView;

/// A log that has been read.
pub struct Recovered {
    /// For [`crate::Group::open`].
    pub view: LogView,
    /// Where the log goes on.
    pub end: Mark,
    /// So far it is committed, and here.
    pub committed: LogIndex,
    /// What the replica may have acknowledged and has lost.
    pub fence: Option<Fence>,
}

/// What a replica knows of its own past.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// The start of its process; number 0 if it has no disk that could be another one, as in tests and in groups of one.
    pub(crate) start: Start,
    pub(crate) past: Past,
    pub(crate) fence: Option<Fence>,
}

/// Why a replica cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The log cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The meta file cannot be written.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Reads the log after `scan.from`, where `view` ends. Its end may not be committed.
///
/// What is bad is cut off wherever it is, the others have it. [`Fence`] says what that means
/// for elections; it is in the meta file when this returns, since writing the log destroys what tells of it. `number` is drawn
/// at random for this start of the process; not 0.
pub fn recover<D: Disk>(
    disk: &D,
    meta: &mut MetaFile<D>,
    scan: Scan,
    mut view: LogView,
    number: u64,
    mut visit: impl FnMut(&Scanned),
) -> Result<Recovered, RecoveryError> {
    let Meta { term, commit, life, fence: before, mut past, .. } = meta.get();
    let scan = Scan { watermark: scan.watermark.max(commit), ..scan };
    let remains = scan_of_several(disk, scan, view.position().term, term, |found| {
        visit(&found);
        let at = found.at();
        view.push(found.entry, at);
    })?;
    let lost = remains.lost.filter(|_| !sabotage::is(Sabotage::AmbiguousVotes));
    let first = (life == 0 && !sabotage::is(Sabotage::NewDiskVotes)).then_some(fence::OF_A_NEW_DISK);
    let fence =
        fence::joined(before.or(first), lost).filter(|fence| !fence::is_reached(fence, view.position()));
    let life = life + 1;
    if life == 1 {
        past.disk = number;
    }
    past.remember(number);
    meta.write(Meta { fence, life, past, ..meta.get() })?;
    view.standing = Standing { start: Start { disk: past.disk, life, number }, past, fence };
    let committed = view.committed().max(scan.watermark).min(view.last());
    Ok(Recovered { view, end: remains.mark, committed, fence })
}
