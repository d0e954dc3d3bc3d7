//! Opens a data directory: the newest snapshot that verifies, then the log after it. What it leads to is the same
//! state as before the stop, since both come from the same records.

mod files;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use steadfast_consensus::{Group, GroupWriter, Vote};
use steadfast_store::checkpoint::{self, CheckpointError, INDEX_DIR, SNAPSHOT_DIR, Snapshot};
use steadfast_store::disk::{Disk, Mode, Space};
use steadfast_store::file::FileError;
use steadfast_store::log::{
    self, Batch, Cut, Filler, Head, Kind, Layout, LogWriter, Mark, Room, Scan, ScanError, Scanned,
    TableEntry, Tail, Truncated, identity, segment_path,
};
use steadfast_store::meta::{Meta, MetaError, MetaFile};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::snapshot::{self, Loaded, SnapshotError};
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::record::{Record, Stamp, StoredMessage, records};
use steadfast_types::{LogIndex, LogOffset, QueueOffset, Term, Timestamp};

use crate::broker::{Broker, Phase};
use crate::checkpoint::Stretch;
use crate::clock::Clock;
use crate::control::Control;
use crate::damage::Damage;
use crate::options::{Flush, Options};
use crate::pending::{Applied, Pending};
use crate::reader::Reader;
use crate::recent::{HotTail, RecentKeys};
use crate::request::derived;
use crate::retention::Retaining;
use crate::services::{
    Calls, Clients, Deliveries, HeldPulls, LockHolders, Measuring, ProgressAnswers, ReadsUnderWay, Resets,
    Statistics, Statuses,
};
use crate::state::State;

/// The id of the only replica of a group of one.
const REPLICA: u64 = 1;

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

/// Opens the directory. `fresh_group` becomes the group's identity if the directory is new.
pub fn open<D: Disk>(disk: D, options: &Options, fresh_group: u64) -> Result<Opened<D>, OpenError> {
    open_with(disk, options, fresh_group, false)
}

/// Opens a directory for a repair: damage that keeps [`open`] from going on is passed where it is known what it hit. The
/// messages are fenced, and the changes of state that are lost are counted.
pub fn open_damaged<D: Disk>(disk: D, options: &Options) -> Result<Opened<D>, OpenError> {
    open_with(disk, options, 0, true)
}

fn open_with<D: Disk>(
    disk: D,
    options: &Options,
    fresh_group: u64,
    lenient: bool,
) -> Result<Opened<D>, OpenError> {
    for dir in [log::DIR, SNAPSHOT_DIR, INDEX_DIR] {
        disk.create_dir(dir)?;
    }
    let mut report = Report::default();
    let meta = open_meta(&disk, options, fresh_group, &mut report)?;
    let Meta { group, segment_size, .. } = meta.get();
    let layout = Layout { segment_size };
    report.warnings.extend(other_segment_size(segment_size, options));
    let (snapshot, watermark) = load_snapshot(&disk, layout, &mut report)?;
    let (snapshot, state) = snapshot.unzip();
    let mut replay = Replay::new(options, layout, (snapshot.as_ref(), state.unwrap_or_default()), lenient);
    let from = replay.broker.applied;
    report.snapshot = from.index;
    let watermark = watermark.max(meta.get().commit);
    let Tail { mark: end, cut, truncated } =
        log::scan(&disk, Scan { layout, group, from, watermark, lenient }, |found| replay.entry(found))?;
    if let Some(error) = replay.error {
        return Err(error);
    }
    report.replayed = end.index.get() - from.index.get();
    report.end = end.end;
    report.lost_changes = replay.lost_changes;
    report.proven = replay.proven;
    report.warnings.extend(replay.warnings());
    report.warnings.extend(cut.as_ref().map(Cut::to_string));
    report.cut = cut;
    report.truncated = truncated;
    let mut broker = replay.broker;
    broker.applied = end;
    let vote = Vote { term: meta.get().term, replica: meta.get().vote };
    broker.group = Group::single(REPLICA, layout, end, broker.applied_term, vote);
    checkpoint::remove_unnamed_runs(&disk)?;
    let bases = log::segment_bases(&disk)?;
    report.warnings.extend(files::incomplete(&disk, &bases, &broker, end.end)?);
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
    fresh_group: u64,
    report: &mut Report,
) -> Result<MetaFile<D>, OpenError> {
    let empty = disk.list(log::DIR)?.is_empty() && disk.list(SNAPSHOT_DIR)?.is_empty();
    match MetaFile::open(disk) {
        Ok(Some(meta)) => return Ok(meta),
        // Making the directory was interrupted before anything could follow.
        Ok(None) | Err(MetaError::Damaged) if empty => {}
        Ok(None) => return Err(MetaError::Missing.into()),
        Err(error) => return Err(error.into()),
    }
    report.fresh = true;
    let meta = Meta { group: fresh_group, segment_size: options.segment_size, ..Meta::default() };
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

/// Applies the log to a broker that does not serve yet.
struct Replay {
    lenient: bool,
    lost_changes: u64,
    proven: u64,
    broker: Broker,
    fenced: Vec<Fenced>,
    error: Option<OpenError>,
}

impl Replay {
    fn new(
        options: &Options,
        layout: Layout,
        (snapshot, state): (Option<&Snapshot>, State),
        lenient: bool,
    ) -> Self {
        let state = if sabotage::is(Sabotage::QueueOffsetFromTail) { state.without_ends() } else { state };
        let mark = snapshot.map(|s| s.mark).unwrap_or_default();
        let runs = snapshot.map(|s| s.runs.clone()).unwrap_or_default();
        let broker = Broker {
            phase: Phase::Starting,
            state,
            group: Group::single(REPLICA, layout, Mark::default(), Term::ZERO, Vote::default()),
            applied: mark,
            applied_term: snapshot.map(|s| s.term).unwrap_or_default(),
            store_time: snapshot.map(|s| s.store_time).unwrap_or_default(),
            room: Room { filled_to: LogOffset::ZERO, disk_full: false, space: Space { total: 0, free: 0 } },
            layout,
            retaining: Retaining::default(),
            damage: Damage::default(),
            pending: Pending::default(),
            in_flight: None,
            parked: Vec::new(),
            waiting_queries: Vec::new(),
            hot: HotTail::new(options.hot_bytes),
            keys: RecentKeys::default(),
            stretch: Stretch::new(mark.end, runs),
            clients: Clients::default(),
            calls: Calls::default(),
            held: HeldPulls::default(),
            reads: ReadsUnderWay::default(),
            resets: Resets::default(),
            lock_holders: LockHolders::default(),
            progress_answers: ProgressAnswers::default(),
            statuses: Statuses::default(),
            statistics: Statistics::default(),
            measuring: Measuring::default(),
            deliveries: Deliveries::default(),
            clock: Clock::default(),
            next_queue: BTreeMap::new(),
            options: options.clone(),
        };
        Self { lenient, lost_changes: 0, proven: 0, broker, fenced: Vec::new(), error: None }
    }

    fn entry(&mut self, found: Scanned) {
        if self.error.is_some() {
            return;
        }
        self.broker.applied_term = found.entry.term;
        let segment = self.broker.layout.base_of(found.payload_at);
        self.broker.state.segments.note(segment, found.entry.store_time());
        if found.entry.kind != Kind::Batch {
            return;
        }
        let index = found.entry.index;
        match derive(&found) {
            Ok(Derived { lost: Some((at, _)), .. }) if !self.lenient => {
                self.error = Some(OpenError::Unidentified { index, at, repairable: true });
            }
            Ok(Derived { applied, fenced, store_time, lost }) => {
                self.lost_changes += lost.map_or(0, |(_, count)| count);
                self.broker.store_time = self.broker.store_time.max(store_time);
                self.proven += u64::from(found.head == Head::Proven);
                if found.damaged.is_empty() && !matches!(found.head, Head::Lost(_)) {
                    self.broker.hot.push(found.payload_at, found.entry.payload);
                }
                self.apply(index, applied, fenced, store_time);
            }
            Err(at) => self.error = Some(OpenError::Unidentified { index, at, repairable: false }),
        }
    }

    /// What a record says of itself counts only if it is what must come next.
    fn apply(&mut self, index: LogIndex, applied: Vec<Applied>, fenced: Vec<Fenced>, at: Timestamp) {
        let mut next: BTreeMap<&QueueName, QueueOffset> = BTreeMap::new();
        for record in &applied {
            let Applied::Message { queue, offset, unit, .. } = record else { continue };
            let expected = match self.broker.state.topics.queue_mut(&queue.topic, queue.queue_id) {
                Some(known) => Some(next.entry(queue).or_insert(known.end)),
                // A queue that never was: it is the name that is damaged.
                None if fenced.iter().any(|fenced| fenced.unit == *unit) => None,
                None => continue,
            };
            let Some(expected) = expected.filter(|expected| **expected == *offset) else {
                let at = unit.log_offset;
                self.error = Some(OpenError::Unidentified { index, at, repairable: false });
                return;
            };
            *expected = expected.next();
        }
        self.broker.apply_all(applied, at);
        for Fenced { queue, offset, unit } in &fenced {
            if let Some(queue) = self.broker.state.topics.queue_mut(&queue.topic, queue.queue_id) {
                queue.fence(*offset, *unit);
            }
        }
        self.fenced.extend(fenced);
    }

    /// Damage that was met, but for the messages that a later record gave up.
    fn warnings(&self) -> Vec<String> {
        let holes = self.broker.holes();
        let stop = self.fenced.iter().filter(|fenced| !holes.contains(&fenced.unit.log_offset));
        let tell = |Fenced { queue, offset, unit }: &Fenced| {
            let (at, file) = (unit.log_offset, segment_path(self.broker.layout.base_of(unit.log_offset)));
            format!(
                "the message at offset {offset} of queue {queue} (log offset {at} in {file}) is damaged; its consumers stop there"
            )
        };
        stop.map(tell).collect()
    }
}

/// What a batch's table has for the identity of a change of state.
const CONTROL_IDENTITY: u32 = 0;

/// What an entry of the log does.
pub(crate) struct Derived {
    pub(crate) applied: Vec<Applied>,
    pub(crate) fenced: Vec<Fenced>,
    store_time: Timestamp,
    /// Changes of state that are damaged: where the first is, and how many.
    lost: Option<(LogOffset, u64)>,
}

impl Derived {
    fn lose(&mut self, at: LogOffset) {
        self.lost = Some(self.lost.map_or((at, 1), |(first, count)| (first, count + 1)));
    }
}

/// A damaged message whose place is known.
#[derive(Debug, Clone)]
pub(crate) struct Fenced {
    pub(crate) queue: QueueName,
    pub(crate) offset: QueueOffset,
    pub(crate) unit: Unit,
}

/// Derives queues, index and state from an entry. A damaged message whose place can still be read is fenced: its
/// unit carries the checksum that its bytes no longer have, so every read of it says so.
///
/// # Errors
/// The log offset of a damaged record that cannot be identified.
pub(crate) fn derive(found: &Scanned) -> Result<Derived, LogOffset> {
    if let Head::Lost(head) = found.head {
        return derive_headless(found, head);
    }
    let batch = Batch::parse(found.entry.payload.clone()).map_err(|_| found.payload_at)?;
    let mut out = Derived {
        applied: Vec::with_capacity(batch.len()),
        fenced: Vec::new(),
        store_time: batch.store_time(),
        lost: None,
    };
    for (i, TableEntry { range, crc, identity: stated }) in batch.records().enumerate() {
        let log_offset = found.payload_at + range.start as u64;
        let damaged = found.damaged.contains(&i);
        let size = range.len() as u32;
        if damaged && stated == CONTROL_IDENTITY {
            out.lose(log_offset);
            continue;
        }
        let bytes = &batch.payload()[range];
        let applied = match records(bytes).next() {
            Some(Ok((_, Record::Message(message)))) => {
                let message = StoredMessage::decode_verified(message).map_err(|_| log_offset)?;
                let Stamp { queue_id, queue_offset, .. } = message.stamp;
                if identity(message.topic, queue_id, queue_offset) != stated {
                    return Err(log_offset);
                }
                let (tag, keys) =
                    if damaged { (0, Vec::new()) } else { derived(message.topic, message.properties) };
                let queue = QueueName::new(message.topic, message.stamp.queue_id);
                let offset = message.stamp.queue_offset;
                let unit = Unit { log_offset, size, tag, crc };
                if damaged {
                    out.fenced.push(Fenced { queue: queue.clone(), offset, unit });
                }
                Applied::Message {
                    queue,
                    offset,
                    unit,
                    keys,
                    store_time: out.store_time,
                    kind: None,
                    dead_of: None,
                }
            }
            Some(Ok((_, Record::Control(control)))) if !damaged => {
                Applied::Control(Control::decode(control).map_err(|_| log_offset)?)
            }
            _ => return Err(log_offset),
        };
        out.applied.push(applied);
    }
    Ok(out)
}

/// What an entry without a table may have done: each record vouches for its body and its place, so the messages can be
/// told, but not their properties. All of them are fenced.
fn derive_headless(found: &Scanned, head: usize) -> Result<Derived, LogOffset> {
    let mut out =
        Derived { applied: Vec::new(), fenced: Vec::new(), store_time: Timestamp::ZERO, lost: None };
    let bytes = found.entry.payload.get(head..).unwrap_or_default();
    let first = found.payload_at + head as u64;
    for record in records(bytes) {
        let last_known = out.fenced.last().map_or(first, |fenced| fenced.unit.log_offset);
        let (within, record) = record.map_err(|_| last_known)?;
        let log_offset = first + within as u64;
        let Record::Message(bytes) = record else {
            out.lose(log_offset);
            continue;
        };
        let message = StoredMessage::decode(bytes).map_err(|_| log_offset)?;
        let Stamp { queue_id, queue_offset: offset, store_time, .. } = message.stamp;
        if message.stamp.log_offset != log_offset {
            return Err(log_offset);
        }
        out.store_time = store_time;
        let queue = QueueName::new(message.topic, queue_id);
        // No record has this checksum, as far as anybody knows.
        let unit = Unit { log_offset, size: bytes.len() as u32, tag: 0, crc: 0 };
        out.fenced.push(Fenced { queue: queue.clone(), offset, unit });
        let (keys, kind, dead_of) = (Vec::new(), None, None);
        out.applied.push(Applied::Message { queue, offset, unit, keys, store_time, kind, dead_of });
    }
    Ok(out)
}
