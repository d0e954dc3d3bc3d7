//! Opens a data directory: the newest snapshot that verifies, then the log after it. What it leads to is the same
//! state as before the stop, since both come from the same records.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use steadfast_consensus::{Group, Vote, Write};
use steadfast_store::checkpoint::{self, CheckpointError, INDEX_DIR, LoadError, SNAPSHOT_DIR, Snapshot};
use steadfast_store::disk::{Disk, Mode};
use steadfast_store::file::FileError;
use steadfast_store::log::{
    self, AppendError, Batch, Filler, Kind, Layout, LogWriter, Mark, Room, Scan, ScanError, Scanned,
    TableEntry, identity,
};
use steadfast_store::meta::{Meta, MetaError, MetaFile};
use steadfast_store::run::{self, RunContents};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::snapshot;
use steadfast_store::unit::{KeyEntry, QueueName, Unit};
use steadfast_types::record::{Record, Stamp, StoredMessage, records};
use steadfast_types::{LogIndex, LogOffset, QueueOffset, Term, Timestamp};

use crate::broker::{Broker, Phase};
use crate::checkpoint::Stretch;
use crate::clock::Clock;
use crate::control::Control;
use crate::options::{Flush, Options};
use crate::pending::{Applied, Pending};
use crate::reader::Reader;
use crate::recent::{HotTail, RecentKeys};
use crate::request::derived;
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
    Snapshot(#[from] LoadError),
    /// Tidying up failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log is unusable.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A record that was acknowledged is damaged, and with it the knowledge of which message it was.
    #[error(
        "the record at log offset {at} in entry {index} was acknowledged and is damaged beyond telling which \
         message it was; restore this directory from a copy"
    )]
    Unidentified {
        /// The entry.
        index: LogIndex,
        /// Where the record begins.
        at: LogOffset,
    },
}

/// Opens the directory. `fresh_group` becomes the group's identity if the directory is new.
pub fn open<D: Disk>(disk: D, options: &Options, fresh_group: u64) -> Result<Opened<D>, OpenError> {
    for dir in [log::DIR, SNAPSHOT_DIR, INDEX_DIR] {
        disk.create_dir(dir)?;
    }
    let mut report = Report::default();
    let meta = open_meta(&disk, options, fresh_group, &mut report)?;
    let Meta { group, segment_size, .. } = meta.get();
    let layout = Layout { segment_size };
    let (snapshot, watermark) = load_snapshot(&disk, &mut report)?;
    let mut replay = Replay::new(options, snapshot.as_ref())?;
    let from = replay.broker.applied;
    report.snapshot = from.index;
    let watermark = watermark.max(meta.get().commit);
    let end = log::scan(&disk, Scan { layout, group, from, watermark }, |found| replay.entry(found))?;
    if let Some(error) = replay.error {
        return Err(error);
    }
    report.replayed = end.index.get() - from.index.get();
    report.end = end.end;
    report.warnings.extend(missing_segments(&log::segment_bases(&disk)?, layout));
    report.warnings.append(&mut replay.warnings);
    let mut broker = replay.broker;
    broker.applied = end;
    let vote = Vote { term: meta.get().term, replica: meta.get().vote };
    broker.group = Group::single(REPLICA, layout, end, broker.applied_term, vote);
    checkpoint::remove_unnamed_runs(&disk)?;
    let reader = Arc::new(Reader::new(disk.clone(), layout, options.read_cache_bytes));
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
    Ok(Opened { broker, writer: GroupWriter { meta, log }, filler, reader, report })
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

/// Says which segments are not there between the beginning of the log and its last segment.
fn missing_segments(bases: &[LogOffset], layout: Layout) -> Option<String> {
    let last = bases.last()?.get();
    let expected = (0..last).step_by(layout.segment_size as usize).map(LogOffset::new);
    let missing: Vec<_> = expected.filter(|base| bases.binary_search(base).is_err()).take(10).collect();
    let names: Vec<_> = missing.iter().map(|base| format!("{}/{:020}", log::DIR, base.get())).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("files of the log are missing, and with them acknowledged messages: {names}; restore them from a copy")
    })
}

/// The newest usable snapshot, and the highest index that any snapshot was made for: so far the log was
/// committed, whether the snapshot can be read or not.
fn load_snapshot<D: Disk>(disk: &D, report: &mut Report) -> Result<(Option<Snapshot>, LogIndex), OpenError> {
    let names = snapshot::list(disk, SNAPSHOT_DIR).map_err(LoadError::from)?;
    let watermark = names.last().copied().unwrap_or_default();
    match checkpoint::load(disk) {
        Ok(None) => Ok((None, watermark)),
        Ok(Some((snapshot, damaged))) => {
            report.warnings.extend(damaged.iter().map(|d| format!("{} is damaged: {}", d.file, d.reason)));
            Ok((Some(snapshot), watermark))
        }
        Err(LoadError::Snapshot(snapshot::SnapshotError::NewerFormat { .. })) => {
            Err(checkpoint::load(disk).err().map_or(OpenError::Meta(MetaError::Damaged), OpenError::from))
        }
        // The log still reaches back to the beginning: everything can be derived from it again.
        Err(error) if log::segment_bases(disk)?.first() == Some(&LogOffset::ZERO) => {
            report.warnings.push(format!("no snapshot is usable ({error}); replaying the whole log"));
            Ok((None, watermark))
        }
        Err(error) => Err(error.into()),
    }
}

/// Applies the log to a broker that does not serve yet.
struct Replay {
    broker: Broker,
    warnings: Vec<String>,
    error: Option<OpenError>,
}

impl Replay {
    fn new(options: &Options, snapshot: Option<&Snapshot>) -> Result<Self, OpenError> {
        let undecodable = || LoadError::Undecodable { file: SNAPSHOT_DIR.to_owned() };
        let state = match snapshot {
            Some(snapshot) => State::decode(&snapshot.state).map_err(|_| undecodable())?,
            None => State::default(),
        };
        let state = if sabotage::is(Sabotage::QueueOffsetFromTail) { state.without_ends() } else { state };
        let mark = snapshot.map(|s| s.mark).unwrap_or_default();
        let layout = Layout { segment_size: options.segment_size };
        let runs = snapshot.map(|s| s.runs.clone()).unwrap_or_default();
        let broker = Broker {
            phase: Phase::Starting,
            state,
            group: Group::single(REPLICA, layout, Mark::default(), Term::ZERO, Vote::default()),
            applied: mark,
            applied_term: snapshot.map(|s| s.term).unwrap_or_default(),
            store_time: snapshot.map(|s| s.store_time).unwrap_or_default(),
            room: Room { filled_to: LogOffset::ZERO, disk_full: false },
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
        Ok(Self { broker, warnings: Vec::new(), error: None })
    }

    fn entry(&mut self, found: Scanned) {
        if self.error.is_some() {
            return;
        }
        self.broker.applied_term = found.entry.term;
        if found.entry.kind != Kind::Batch {
            return;
        }
        let index = found.entry.index;
        match derive(&found) {
            Ok(Derived { applied, fenced, store_time }) => {
                self.broker.store_time = self.broker.store_time.max(store_time);
                if found.damaged.is_empty() {
                    self.broker.hot.push(found.payload_at, found.entry.payload);
                }
                self.apply(index, applied, fenced, store_time);
            }
            Err(at) => self.error = Some(OpenError::Unidentified { index, at }),
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
                self.error = Some(OpenError::Unidentified { index, at: unit.log_offset });
                return;
            };
            *expected = expected.next();
        }
        self.broker.apply_all(applied, at);
        for Fenced { queue, offset, unit } in fenced {
            self.warnings.push(format!(
                "the message at offset {offset} of queue {queue} (log offset {}) is damaged; its consumers stop there",
                unit.log_offset
            ));
            if let Some(queue) = self.broker.state.topics.queue_mut(&queue.topic, queue.queue_id) {
                queue.fence(offset, unit);
            }
        }
    }
}

/// What an entry of the log does.
struct Derived {
    applied: Vec<Applied>,
    fenced: Vec<Fenced>,
    store_time: Timestamp,
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
fn derive(found: &Scanned) -> Result<Derived, LogOffset> {
    let batch = Batch::parse(found.entry.payload.clone()).map_err(|_| found.payload_at)?;
    let mut out = Derived {
        applied: Vec::with_capacity(batch.len()),
        fenced: Vec::new(),
        store_time: batch.store_time(),
    };
    for (i, TableEntry { range, crc, identity: stated }) in batch.records().enumerate() {
        let log_offset = found.payload_at + range.start as u64;
        let damaged = found.damaged.contains(&i);
        let size = range.len() as u32;
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

/// Makes the index run of a stretch of the log again; returns the damaged messages in it, which it has without their
/// tags and keys.
pub(crate) fn rebuild_run<D: Disk>(
    disk: &D,
    layout: Layout,
    covers: Range<LogOffset>,
) -> Result<Vec<Fenced>, String> {
    let mut queues: Vec<(QueueName, QueueOffset, Vec<Unit>)> = Vec::new();
    let mut places = BTreeMap::new();
    let mut keys = Vec::new();
    let mut fenced = Vec::new();
    let mut unidentified = None;
    log::walk(disk, layout, covers.clone(), |found| {
        if found.entry.kind != Kind::Batch {
            return;
        }
        let derived = match derive(&found) {
            Ok(derived) => derived,
            Err(at) => {
                unidentified.get_or_insert(at);
                return;
            }
        };
        fenced.extend(derived.fenced);
        for record in derived.applied {
            let Applied::Message { queue, offset, unit, keys: hashes, .. } = record else { continue };
            let at = *places.entry(queue.clone()).or_insert_with(|| {
                queues.push((queue, offset, Vec::new()));
                queues.len() - 1
            });
            queues[at].2.push(unit);
            let (log_offset, size, crc) = (unit.log_offset, unit.size, unit.crc);
            keys.extend(hashes.into_iter().map(|hash| KeyEntry { hash, log_offset, size, crc }));
        }
    })
    .map_err(|error| error.to_string())?;
    if let Some(at) = unidentified {
        return Err(format!("the record at log offset {at} is damaged"));
    }
    let contents = RunContents { covers, queues, keys };
    run::write_run(disk, INDEX_DIR, contents).map(|_| fenced).map_err(|error| error.to_string())
}

/// The durable half of a replica: its vote and its log.
pub struct GroupWriter<D: Disk> {
    meta: MetaFile<D>,
    log: LogWriter<D>,
}

/// Why a write failed; final for this process (promise P3).
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The vote could not be written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl<D: Disk> GroupWriter<D> {
    /// Makes a write durable; returns where the log ends now.
    pub fn write(&mut self, write: &Write) -> Result<Mark, WriteError> {
        if let Some(vote) = write.vote {
            let commit = self.log.end().index;
            self.meta.write(Meta { term: vote.term, vote: vote.replica, commit, ..self.meta.get() })?;
        }
        if write.entries.is_empty() {
            return Ok(self.log.end());
        }
        Ok(self.log.append(&write.entries)?)
    }

    /// Syncs what ASYNC_FLUSH handed to the operating system.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        Ok(self.log.sync()?)
    }

    /// Where the log ends.
    pub fn end(&self) -> Mark {
        self.log.end()
    }
}
