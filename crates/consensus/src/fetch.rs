//! Entries that are no longer held in memory, for a peer that is far behind: read from the log by whoever may wait for
//! the disk.

use std::ops::{ControlFlow, Range};

use steadfast_store::disk::Disk;
use steadfast_store::log::{Entry, FRAME_HEADER_LEN, Layout, WalkError, walk};
use steadfast_types::{LogIndex, LogOffset};

/// Entries to be read. All of them are committed, so they stay where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// To be given to [`crate::Group::fetched`].
    pub number: u64,
    /// Which entries.
    pub indexes: Range<LogIndex>,
    /// The stretch of the log that holds them; it begins with a frame at or before the first.
    pub stretch: Range<LogOffset>,
    /// It may end early once it has so many bytes of payload.
    pub max_bytes: u64,
}

impl Fetch {
    /// Reads them, each with the log offset of its frame. A damaged one is an error: it must not be passed on.
    pub fn perform<D: Disk>(&self, disk: &D, layout: Layout) -> Result<Vec<(Entry, LogOffset)>, WalkError> {
        let mut entries = Vec::new();
        let (mut bytes, mut damaged) = (0, None);
        walk(disk, layout, self.stretch.clone(), |found| {
            let index = found.entry.index;
            if index >= self.indexes.end || bytes >= self.max_bytes {
                return ControlFlow::Break(());
            }
            if index >= self.indexes.start {
                if !found.damaged.is_empty() {
                    damaged = Some(found.payload_at);
                    return ControlFlow::Break(());
                }
                bytes += found.entry.payload.len() as u64;
                let at = LogOffset::new(found.payload_at.get() - FRAME_HEADER_LEN as u64);
                entries.push((found.entry, at));
            }
            ControlFlow::Continue(())
        })?;
        match damaged {
            Some(at) if entries.is_empty() => Err(WalkError::Damaged(at)),
            _ => Ok(entries),
        }
    }
}
