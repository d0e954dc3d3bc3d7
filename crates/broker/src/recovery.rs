//! Opens a data directory: the newest snapshot that verifies, then the log after it. What it leads to is the same
//! state as before the stop, since both come from the same records.

mod derive;
mod files;
mod replay;

use std::fmt;
use std::sync::Arc;

use steadfast_consensus::{
    Group, GroupWriter, LogView, Recovered, RecoveryError, ReplicaId, UnknownChange, Vote, recover,
};
use steadfast_store::checkpoint::{self, CheckpointError, INDEX_DIR, SNAPSHOT_DIR, Snapshot};
use steadfast_store::disk::{Disk, Mode};
use steadfast_store::file::FileError;
use steadfast_store::log::{self, Cut, Filler, Layout, LogWriter, Scan, ScanError, Tail, Truncated};
use steadfast_store::meta::{Fence, Meta, MetaError, MetaFile};
use steadfast_store::snapshot::{self, Loaded, SnapshotError};
use steadfast_types::{LogIndex, LogOffset};

pub(crate) use self::derive::{Derived, Fenced, derive};
use self::replay::{Replay, Window};
use crate::broker::{Broker, Phase};
use crate::membership::Membership;
use crate::options::{Flush, Options};
use crate::reader::Reader;
use crate::retention::Retaining;
use crate::state::State;

/// A data directory that is ready to be served.
pub struct Opened<D: Disk> {
    /// The core.
    pub broker: Broker,
    /// Writes for [`crate::io::Effect::Write`].
    pub writer: GroupWriter<D>,
    /// Keeps space ahead of the log's tail.
    pub filler: Filler<D>,
    /// Reads for [`crate::io::Effect::Read`].
    pub reader: Arc<Reader<D>>,
    /// How its log is cut into segments.
    pub layout: Layout,
    /// What recovery found.
    pub report: Report,
}

/// What recovery found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The directory was empty.
    pub fresh: bool,
    /// Last entry that the snapshot covers.
    pub snapshot: LogIndex,
    /// Entries read from the log after it.
    pub replayed: u64,
    /// End of the log.
    pub end: LogOffset,
    /// Changes of state (positions, topics, groups) that damage has taken; 0 but for [`open_damaged`].
    pub lost_changes: u64,
    /// Entries whose frames are damaged, and what they hold is not; 0 but for [`open_damaged`].
    pub proven: u64,
    /// What was found behind the end of the log.
    pub cut: Option<Cut>,
    /// A file of the log that has lost its end; None but for [`open_damaged`].
    pub truncated: Option<Truncated>,
    /// Things an operator should know of.
    pub warnings: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fresh {
            return f.write_str("new data directory");
        }
        let (snapshot, replayed, end) = (self.snapshot, self.replayed, self.end);
        write!(f, "snapshot at entry {snapshot}, {replayed} entries replayed, log ends at {end}")
    }
}

/// Why a data directory cannot be served. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The meta file is unusable.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// No snapshot is usable, and the log does not reach back to the beginning.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Tidying up failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log is unusable.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// There can be no such group.
    #[error(
        "replica {id} of {voters:?} cannot be: a group has 1, 3 or 5 replicas, each with an id of its own that is not 0; correct \
         the list of its replicas"
    )]
    Membership {
        /// The replica.
        id: u64,
        /// The group.
        voters: Vec<u64>,
    },
    /// The directory is not that of whoever opens it.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// A committed change of the group's members is of a later version.
    #[error("entry {index}: {error}")]
    Members {
        /// The entry.
        index: LogIndex,
        /// What is wrong.
        error: UnknownChange,
    },
    /// A record that was acknowledged is damaged, and with it the knowledge of what it was.
    #[error(
        "the record at log offset {at} in entry {index} was acknowledged and is damaged beyond telling what it was"
    )]
    Unidentified {
        /// The entry.
        index: LogIndex,
        /// Where the record begins.
        at: LogOffset,
        /// Whether [`open_damaged`] passes it: it is known to be no message.
        repairable: bool,
    },
}

/// Whose a data directory is, if not that of whoever opens it: a log that goes on without its group, or a vote that is
/// given twice, would take back what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// A single server wants that of a replica of several.
    #[error("the data directory is that of a replica of a group, {}", Membership::name(*.0))]
    Replica(ReplicaId),
    /// A replica of several wants that of a single server.
    #[error("the data directory is that of a single server, not of a replica of a group")]
    Single,
    /// A replica wants that of another group.
    #[error("the data directory is that of another group")]
    OtherGroup,
    /// A replica wants that of another one of its group.
    #[error("the data directory is that of replica {}, and this is {}", Membership::name(*.held), Membership::name(*.opened))]
    OtherReplica {
        /// Whose it is.
        held: ReplicaId,
        /// Who wants it.
        opened: ReplicaId,
    },
}

impl Foreign {
    /// Whether the directory with this meta file may be opened by a replica of the group; a single server takes any group.
    fn check(held: Meta, group: u64, membership: &Membership) -> Result<(), Self> {
        match (held.replica, membership.meta_id()) {
            (0, 0) => Ok(()),
            (held, 0) => Err(Self::Replica(held)),
            (0, _) => Err(Self::Single),
            _ if held.group != group => Err(Self::OtherGroup),
            (held, opened) if held != opened => Err(Self::OtherReplica { held, opened }),
            _ => Ok(()),
        }
    }
}

impl From<RecoveryError> for OpenError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Scan(error) => error.into(),
            RecoveryError::Meta(error) => error.into(),
        }
    }
}

impl OpenError {
    /// Whether [`open_damaged`] passes what is wrong.
    pub fn is_repairable(&self) -> bool {
        match self {
            OpenError::Scan(error) => error.is_repairable(),
            OpenError::Unidentified { repairable, .. } => *repairable,
            _ => false,
        }
    }
}

/// Opens the directory of a group of one. `fresh_group` becomes the group's identity if the directory is new.
pub fn open<D: Disk>(disk: D, options: &Options, fresh_group: u64) -> Result<Opened<D>, OpenError> {
    open_with(disk, options, fresh_group, &Membership::alone(), false)
}

/// Opens the directory of a replica of the group whose identity is `group`.
pub fn open_member<D: Disk>(
    disk: D,
    options: &Options,
    group: u64,
    membership: &Membership,
) -> Result<Opened<D>, OpenError> {
    if !membership.is_possible() {
        return Err(OpenError::Membership { id: membership.id, voters: membership.voters.clone() });
    }
    open_with(disk, options, group, membership, false)
}

/// Opens a directory of a group of one for a repair: damage that keeps [`open`] from going on is passed where it is known what it hit. The
/// messages are fenced, and the changes of state that are lost are counted.
pub fn open_damaged<D: Disk>(disk: D, options: &Options) -> Result<Opened<D>, OpenError> {
    open_with(disk, options, 0, &Membership::alone(), true)
}

fn open_with<D: Disk>(
    disk: D,
    options: &Options,
    group: u64,
    membership: &Membership,
    lenient: bool,
) -> Result<Opened<D>, OpenError> {
    for dir in [log::DIR, SNAPSHOT_DIR, INDEX_DIR] {
        disk.create_dir(dir)?;
    }
    let mut report = Report::default();
    let mut meta = open_meta(&disk, options, (group, membership), &mut report)?;
    let Meta { group, segment_size, .. } = meta.get();
    let layout = Layout { segment_size };
    report.warnings.extend(other_segment_size(segment_size, options));
    let (snapshot, watermark) = load_snapshot(&disk, layout, &mut report)?;
    let (snapshot, state) = snapshot.unzip();
    let mut replay = Replay::new(options, layout, (snapshot.as_ref(), state.unwrap_or_default()), lenient);
    let from = replay.broker.applied;
    report.snapshot = from.index;
    let watermark = watermark.max(meta.get().commit);
    let scan = Scan { layout, group, from, watermark, lenient };
    let (end, view) = if membership.is_alone() {
        let Tail { mark, cut, truncated } = log::scan(&disk, scan, |found| replay.found(found))?;
        report.warnings.extend(cut.as_ref().map(Cut::to_string));
        (report.cut, report.truncated) = (cut, truncated);
        (mark, None)
    } else {
        let terms = replay.broker.state.terms.all().to_vec();
        let members = replay.broker.state.members.clone();
        let view = LogView::with_history(from, terms, log::segment_starts(&disk, from.end)?, members);
        replay.window = Some(Window::new(watermark));
        let Recovered { view, end, fence, .. } =
            recover(&disk, &mut meta, scan, view, membership.seed.max(1), |found| {
                replay.found(found.clone())
            })?;
        report.warnings.extend(fence.filter(|_| !report.fresh).map(|Fence { floor, .. }| {
            let last = end.index;
            let lost = match floor.index.get() {
                u64::MAX => "it is not known how far it went".to_owned(),
                floor => format!("it may have gone up to entry {floor}"),
            };
            format!("the log is whole up to entry {last}, and {lost}; the other replicas fill it again")
        }));
        (end, Some(view))
    };
    if let Some(error) = replay.error {
        return Err(error);
    }
    report.replayed = end.index.get() - from.index.get();
    report.end = end.end;
    report.lost_changes = replay.lost_changes;
    report.proven = replay.proven;
    report.warnings.extend(replay.warnings());
    let mut broker = replay.broker;
    let vote = Vote { term: meta.get().term, replica: meta.get().vote };
    match view {
        Some(view) => {
            broker.phase = Phase::Following;
            broker.group = Group::open(&membership.settings(layout), view, vote, broker.applied.index);
        }
        // Whatever is in the log of a group of one is committed.
        None => {
            broker.applied = end;
            broker.group = Group::single(membership.id, layout, end, broker.applied_term, vote);
        }
    }
    broker.membership = membership.clone();
    broker.identity = group;
    checkpoint::remove_unnamed_runs(&disk)?;
    let bases = log::segment_bases(&disk)?;
    let incomplete = files::incomplete(&disk, &bases, &broker, end.end)?;
    report.warnings.extend(incomplete.warnings(&broker));
    incomplete.places(layout).for_each(|place| broker.suspect(place));
    let leftover = files::leftover(&bases, &broker, end.end);
    if !leftover.is_empty() {
        report.warnings.push(format!("{} dropped segments are still to be freed", leftover.len()));
    }
    broker.retaining = Retaining::resume(leftover, end.end);
    let reader = Arc::new(Reader::new(disk.clone(), layout, broker.gone(), options.read_cache_bytes));
    if let Some(snapshot) = &snapshot {
        reader.install(snapshot);
    }
    if reader.missing_runs() > 0 {
        let missing = reader.missing_runs();
        report.warnings.push(format!("{missing} index runs are damaged and are made again from the log"));
    }
    let mode = match options.flush {
        Flush::Sync => Mode::Durable,
        Flush::Async => Mode::Buffered,
    };
    let log = LogWriter::open(disk.clone(), layout, group, mode, end)?;
    let filler = Filler::open(disk, layout, end.end, options.disk_free_min)?;
    broker.room = filler.room();
    Ok(Opened { broker, writer: GroupWriter::new(meta, log), filler, reader, layout, report })
}

fn open_meta<D: Disk>(
    disk: &D,
    options: &Options,
    (group, membership): (u64, &Membership),
    report: &mut Report,
) -> Result<MetaFile<D>, OpenError> {
    let empty = disk.list(log::DIR)?.is_empty() && disk.list(SNAPSHOT_DIR)?.is_empty();
    match MetaFile::open(disk) {
        Ok(Some(meta)) => {
            Foreign::check(meta.get(), group, membership)?;
            return Ok(meta);
        }
        // Making the directory was interrupted before anything could follow.
        Ok(None) | Err(MetaError::Damaged) if empty => {}
        Ok(None) => return Err(MetaError::Missing.into()),
        Err(error) => return Err(error.into()),
    }
    report.fresh = true;
    let replica = membership.meta_id();
    let meta = Meta { group, replica, segment_size: options.segment_size, ..Meta::default() };
    Ok(MetaFile::create(disk, meta)?)
}

/// Says that the log is not cut as the settings have it: that is settled when the directory is made.
fn other_segment_size(kept: u64, options: &Options) -> Option<String> {
    let asked = options.segment_size;
    (asked != kept).then(|| {
        format!(
            "mappedFileSizeCommitLog is {asked}, and this data directory was made with {kept} and keeps it; set it to {kept}, \
             or start with a new directory"
        )
    })
}

/// The newest usable snapshot with its state, and the highest index that any intact snapshot was made for: so far the log
/// was committed, whether the snapshot can be understood or not.
#[allow(clippy::type_complexity)]
fn load_snapshot<D: Disk>(
    disk: &D,
    layout: Layout,
    report: &mut Report,
) -> Result<(Option<(Snapshot, State)>, LogIndex), OpenError> {
    let watermark = snapshot::newest_intact(disk, SNAPSHOT_DIR)?.unwrap_or_default();
    match checkpoint::load(disk, |snapshot| State::decode(&snapshot.state)) {
        Ok(None) => Ok((None, watermark)),
        Ok(Some(Loaded { content, damaged, .. })) => {
            report.warnings.extend(damaged.iter().map(|d| format!("{d}; it is passed over")));
            Ok((Some(content), watermark))
        }
        Err(error @ SnapshotError::NewerFormat { .. }) => Err(error.into()),
        // The log still reaches back to the beginning: everything can be derived from it again.
        Err(error) if files::is_complete(&log::segment_bases(disk)?, layout) => {
            report.warnings.push(format!("no snapshot is usable ({error}); replaying the whole log"));
            Ok((None, watermark))
        }
        Err(error) => Err(error.into()),
    }
}
