//! A checkpoint: an index run for the newest stretch of the log, and a snapshot of the broker's state that names
//! the runs which count. Recovery starts from the newest one that verifies and reads the log after it.

use bytes::{Buf, BufMut, Bytes};
use steadfast_types::{LogIndex, LogOffset, Term, Timestamp};

use crate::disk::Disk;
use crate::log::Mark;
use crate::run::{self, RunContents, RunError, RunInfo};
use crate::snapshot::{self, Loaded, SnapshotError, Undecodable};

/// Folder of the snapshots.
pub const SNAPSHOT_DIR: &str = "snapshot";
/// Folder of the index runs.
pub const INDEX_DIR: &str = "index";

/// The state of a broker at one point of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry it covers.
    pub mark: Mark,
    /// Term of that entry.
    pub term: Term,
    /// Newest store time in the log so far.
    pub store_time: Timestamp,
    /// The index runs that count, in the order of the log. A file that is not exactly this run does not.
    pub runs: Vec<RunInfo>,
    /// The broker's state in the broker's encoding.
    pub state: Bytes,
}

/// What is to be written.
#[derive(Debug)]
pub struct Checkpoint {
    /// The stretch that no run covers yet; None if nothing was written since the last one.
    pub run: Option<RunContents>,
    /// The state after that stretch. The new run's name is added to `runs` by [`write()`].
    pub snapshot: Snapshot,
}

/// Why a checkpoint was not written. The last one still counts and nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The index run could not be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The snapshot could not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Writes a checkpoint: the run first, so that a snapshot never names one that is not there.
pub fn write<D: Disk>(disk: &D, checkpoint: Checkpoint) -> Result<Snapshot, CheckpointError> {
    let Checkpoint { run, mut snapshot } = checkpoint;
    if let Some(contents) = run {
        snapshot.runs.push(run::write_run(disk, INDEX_DIR, contents)?);
    }
    snapshot::write(disk, SNAPSHOT_DIR, snapshot.mark.index, &snapshot.encode())?;
    Ok(snapshot)
}

/// Removes the runs that no snapshot generation names: left by a crash between a run and its snapshot. While a
/// generation cannot be read nobody knows what it names, and all stay.
pub fn remove_unnamed_runs<D: Disk>(disk: &D) -> Result<(), CheckpointError> {
    let mut named = Vec::new();
    for index in snapshot::list(disk, SNAPSHOT_DIR)? {
        let payload = match snapshot::read(disk, SNAPSHOT_DIR, index) {
            Err(error @ SnapshotError::NewerFormat { .. }) => return Err(error.into()),
            Err(_) => return Ok(()),
            Ok(payload) => payload,
        };
        let Some(snapshot) = Snapshot::decode(payload) else { return Ok(()) };
        named.extend(snapshot.runs.iter().map(RunInfo::id));
    }
    Ok(run::retain(disk, INDEX_DIR, &named)?)
}

/// The log is needed from here on, whichever of the snapshots on disk a start may have to use; the beginning while
/// there is none that verifies.
pub fn needed_from<D: Disk>(disk: &D) -> Result<LogOffset, CheckpointError> {
    let mut needed: Option<LogOffset> = None;
    for index in snapshot::list(disk, SNAPSHOT_DIR)? {
        match snapshot::read(disk, SNAPSHOT_DIR, index) {
            Ok(payload) => {
                let end = Snapshot::decode(payload).map_or(LogOffset::ZERO, |snapshot| snapshot.mark.end);
                needed = Some(needed.map_or(end, |known| known.min(end)));
            }
            // No start can use it.
            Err(SnapshotError::Damaged(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(needed.unwrap_or_default())
}

/// The newest snapshot that verifies and whose state `decode` understands, and what was found damaged.
pub fn load<D: Disk, T>(
    disk: &D,
    decode: impl Fn(&Snapshot) -> Result<T, Undecodable>,
) -> Result<Option<Loaded<(Snapshot, T)>>, SnapshotError> {
    snapshot::load(disk, SNAPSHOT_DIR, |payload| {
        let snapshot = Snapshot::decode(payload).ok_or(Undecodable::Malformed)?;
        let decoded = decode(&snapshot)?;
        Ok((snapshot, decoded))
    })
}

impl Snapshot {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 8 * self.runs.len() + self.state.len());
        out.put_u64(self.mark.index.get());
        out.put_u64(self.mark.end.get());
        out.put_u32(self.mark.chain);
        out.put_u64(self.term.get());
        out.put_u64(self.store_time.get());
        out.put_u32(self.runs.len() as u32);
        for run in &self.runs {
            for field in [run.covers.start.get(), run.covers.end.get(), run.units, run.keys, run.bytes] {
                out.put_u64(field);
            }
            out.put_u32(run.crc);
        }
        out.put_slice(&self.state);
        out
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        let mark = Mark {
            index: LogIndex::new(bytes.try_get_u64().ok()?),
            end: LogOffset::new(bytes.try_get_u64().ok()?),
            chain: bytes.try_get_u32().ok()?,
        };
        let term = Term::new(bytes.try_get_u64().ok()?);
        let store_time = Timestamp::new(bytes.try_get_u64().ok()?);
        let count = bytes.try_get_u32().ok()?;
        let mut runs = Vec::new();
        for _ in 0..count {
            let begins = LogOffset::new(bytes.try_get_u64().ok()?);
            runs.push(RunInfo {
                covers: begins..LogOffset::new(bytes.try_get_u64().ok()?),
                units: bytes.try_get_u64().ok()?,
                keys: bytes.try_get_u64().ok()?,
                bytes: bytes.try_get_u64().ok()?,
                crc: bytes.try_get_u32().ok()?,
            });
        }
        Some(Self { mark, term, store_time, runs, state: bytes })
    }
}
