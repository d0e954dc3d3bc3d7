//! Makes an index run again from the stretch of the log that it covers, or from what retention has left of it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};

use steadfast_store::checkpoint::INDEX_DIR;
use steadfast_store::disk::Disk;
use steadfast_store::log::{self, Gone, Kind, Layout, Scanned, WalkError};
use steadfast_store::run::{self, RunContents};
use steadfast_store::unit::{KeyEntry, QueueName, Unit};
use steadfast_types::{LogOffset, QueueOffset};

use super::Late;
use crate::pending::Applied;
use crate::recovery::{Fenced, derive};

/// Why a run cannot be made.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Where the log is damaged, if it is that.
    pub(super) at: Option<LogOffset>,
    cause: String,
}

impl From<String> for Broken {
    fn from(cause: String) -> Self {
        Self { at: None, cause }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl From<WalkError> for Broken {
    fn from(error: WalkError) -> Self {
        let at = match error {
            WalkError::Damaged(at) => Some(at),
            WalkError::Scan(_) => None,
        };
        Self { at, cause: error.to_string() }
    }
}

/// Units of a queue from an offset on, without a hole.
type UnitRange = (QueueName, QueueOffset, Vec<Unit>);

fn follows((_, first, units): &UnitRange, offset: QueueOffset) -> bool {
    *first + units.len() as u64 == offset
}

/// Makes the index run of a stretch of the log again; returns the damaged messages in it, which it has without their
/// tags and keys. None: it got late, and nothing was written.
pub(super) fn rebuild_run<D: Disk>(
    disk: &D,
    layout: Layout,
    gone: &Gone,
    covers: Range<LogOffset>,
    late: Late<'_>,
) -> Result<Option<Vec<Fenced>>, Broken> {
    let mut queues: Vec<UnitRange> = Vec::new();
    let mut places: BTreeMap<QueueName, usize> = BTreeMap::new();
    let mut keys = Vec::new();
    let mut fenced = Vec::new();
    let mut unidentified = None;
    let mut gave_up = false;
    let mut visit = |found: Scanned| {
        gave_up = late();
        if gave_up {
            return ControlFlow::Break(());
        }
        if found.entry.kind != Kind::Batch {
            return ControlFlow::Continue(());
        }
        let derived = match derive(&found) {
            Ok(derived) => derived,
            Err(at) => {
                unidentified.get_or_insert(at);
                return ControlFlow::Continue(());
            }
        };
        fenced.extend(derived.fenced);
        for record in derived.applied {
            let Applied::Message { queue, offset, unit, keys: hashes, .. } = record else { continue };
            // Each range of a queue's offsets without a hole on its own.
            match places.get(&queue).copied().filter(|at| follows(&queues[*at], offset)) {
                Some(at) => queues[at].2.push(unit),
                None => {
                    places.insert(queue.clone(), queues.len());
                    queues.push((queue, offset, vec![unit]));
                }
            }
            let (log_offset, size, crc) = (unit.log_offset, unit.size, unit.crc);
            keys.extend(hashes.into_iter().map(|hash| KeyEntry { hash, log_offset, size, crc }));
        }
        ControlFlow::Continue(())
    };
    for part in gone.left_of(covers.clone()) {
        log::walk(disk, layout, part, &mut visit)?;
    }
    if gave_up {
        return Ok(None);
    }
    if let Some(at) = unidentified {
        return Err(Broken { at: Some(at), cause: format!("the record at log offset {at} is damaged") });
    }
    let contents = RunContents { covers, queues, keys };
    run::write_run(disk, INDEX_DIR, contents).map(|_| Some(fenced)).map_err(|error| error.to_string().into())
}
