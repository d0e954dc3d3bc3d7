//! Reads what is no longer in memory: queues and index from the runs, records from the log. The shell calls it
//! from a small pool of threads. A run that is damaged or missing is made again from the stretch of the log it
//! covers, by the first read that needs it; that read and those after it wait for this.

mod extents;
mod rebuild;
mod scrub;

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use steadfast_store::checkpoint::{INDEX_DIR, Snapshot};
use steadfast_store::disk::Disk;
use steadfast_store::log::{self, Gone, Layout};
use steadfast_store::reader::{LogReader, ReadError};
use steadfast_store::run::{Run, RunError, RunId, RunInfo};
use steadfast_store::unit::{KeyEntry, QueueName, Unit, key_hash};
use steadfast_types::properties::Lookup;
use steadfast_types::record::StoredMessage;
use steadfast_types::{LogOffset, QueueOffset, Timestamp};

use self::rebuild::rebuild_run;
use crate::filter::TagFilter;
use crate::io::{Freeing, ReadJob, ReadResult};
use crate::recovery::Fenced;

/// Units read from a run at a time.
const UNITS: usize = 2048;
/// Units that one read looks at, at most, when its filter matches few.
const SCAN_UNITS: usize = 16 * 1024;
/// Most bytes that one lookup by key returns; one message is always returned. Many large messages under one key
/// would not fit a frame (16 MiB).
pub const QUERY_BYTES: usize = 8 * 1024 * 1024;
/// Messages with another key but the same hash that one lookup reads. Chance makes hardly any; who makes them on
/// purpose must not keep the readers busy with them.
const OTHER_KEYS: usize = 4096;

/// Why a read did not succeed, before it is put into words for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Scan(#[from] log::ScanError),
    #[error("index runs are being made again from the log, {done} of {all} are complete")]
    Late { done: usize, all: usize },
    #[error("more than {OTHER_KEYS} messages have other keys with the same hash; ask for a shorter time")]
    Collisions,
    #[error("the index run that begins at log offset {0} cannot be made again: {1}")]
    Rebuild(LogOffset, String),
}

/// One stretch of the log and its run.
struct Slot<D: Disk> {
    covers: Range<LogOffset>,
    run: Mutex<Option<Arc<Run<D>>>>,
}

/// Reads for one group; threads share it.
pub struct Reader<D: Disk> {
    disk: D,
    layout: Layout,
    log: LogReader<D>,
    slots: RwLock<Vec<Arc<Slot<D>>>>,
    /// Runs that are being made again at the moment.
    rebuilding: AtomicUsize,
    /// What retention has dropped from the log.
    gone: RwLock<Gone>,
    /// Index runs cover the log up to here.
    covered: RwLock<LogOffset>,
    /// Damaged messages that were met when a run was made again: they match every filter and every key.
    fenced: RwLock<Vec<Fenced>>,
}

impl<D: Disk> Reader<D> {
    /// A reader that knows the runs of a snapshot. A run that does not open is made again when needed.
    pub(crate) fn new(disk: D, layout: Layout, gone: Gone, cache_bytes: usize) -> Self {
        let log = LogReader::new(disk.clone(), log::DIR, cache_bytes);
        let gone = RwLock::new(gone);
        let (slots, covered, rebuilding, fenced) = Default::default();
        Self { disk, layout, log, slots, rebuilding, gone, covered, fenced }
    }

    /// Takes over the runs that a snapshot names. Call it before the core hears that the checkpoint is done.
    pub fn install(&self, snapshot: &Snapshot) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let known = std::mem::take(&mut *slots);
        *slots = snapshot.runs.iter().map(|info| self.slot(&known, info)).collect();
        drop(slots);
        *self.covered.write().unwrap_or_else(PoisonError::into_inner) = snapshot.mark.end;
    }

    fn slot(&self, known: &[Arc<Slot<D>>], info: &RunInfo) -> Arc<Slot<D>> {
        if let Some(slot) = known.iter().find(|slot| slot.covers == info.covers) {
            return Arc::clone(slot);
        }
        let run = Run::open(&self.disk, INDEX_DIR, info.id()).ok().filter(|run| run.info() == info);
        Arc::new(Slot { covers: info.covers.clone(), run: Mutex::new(run.map(Arc::new)) })
    }

    /// The log has dropped segments. Call it before their files are freed.
    pub fn forget(&self, freeing: &Freeing) {
        *self.gone.write().unwrap_or_else(PoisonError::into_inner) = freeing.gone.clone();
        freeing.bases.iter().for_each(|base| self.log.forget(*base));
        let is_left = |fenced: &Fenced| !freeing.gone.contains(fenced.unit.log_offset);
        self.fenced.write().unwrap_or_else(PoisonError::into_inner).retain(is_left);
    }

    fn is_gone(&self, at: LogOffset) -> bool {
        self.gone.read().unwrap_or_else(PoisonError::into_inner).contains(at)
    }

    /// How many runs cannot be used as they are.
    pub fn missing_runs(&self) -> usize {
        self.slots().iter().filter(|slot| slot.lock().is_none()).count()
    }

    /// Makes one missing run again, if there is one. For a background thread.
    pub fn rebuild_one(&self) -> Result<bool, String> {
        let slots = self.slots();
        let Some(slot) = slots.iter().find(|slot| slot.lock().is_none()) else { return Ok(false) };
        self.run_of(slot).map(|_| true).map_err(|error| error.to_string())
    }

    /// Whether a job reads little wherever its bytes are, and waits for no index run that is being made again.
    pub fn is_short(&self, job: &ReadJob) -> bool {
        let reads_little =
            matches!(job, ReadJob::Queue { filter: TagFilter::All, .. } | ReadJob::Records { .. });
        reads_little && self.rebuilding.load(Relaxed) == 0
    }

    /// Does one job. `late` tells when a lookup that has to wait for missing runs has waited long enough.
    pub fn perform(&self, job: ReadJob, late: &dyn Fn() -> bool) -> ReadResult {
        self.try_perform(job, late).unwrap_or_else(|failure| match &failure {
            Failure::Read(ReadError::NotFound { .. }) => ReadResult::NotFound,
            Failure::Read(ReadError::Damaged { .. }) => ReadResult::Damaged(failure.to_string()),
            Failure::Late { .. } => ReadResult::Incomplete(failure.to_string()),
            _ => ReadResult::Failed(failure.to_string()),
        })
    }

    fn try_perform(&self, job: ReadJob, late: &dyn Fn() -> bool) -> Result<ReadResult, Failure> {
        match job {
            ReadJob::Queue { queue, offsets, filter, fenced, holes, max_messages, max_bytes, committed } => {
                let choice = Choice { filter, fenced, holes };
                let (units, after) = self.matching(&queue, offsets, &choice, max_messages)?;
                let (numbers, units): (Vec<_>, Vec<_>) = units.into_iter().unzip();
                if units.is_empty() {
                    return Ok(ReadResult::Messages { records: Vec::new(), next: after });
                }
                let records = self.log.records(&units, max_bytes, committed)?;
                let next = numbers.get(records.len()).copied().unwrap_or(after);
                Ok(ReadResult::Messages { records, next })
            }
            ReadJob::Records { units, max_bytes, committed } => {
                let records = self.log.records(&units, max_bytes, committed)?;
                Ok(ReadResult::Messages { records, next: QueueOffset::ZERO })
            }
            ReadJob::Query { topic, key, recent, holes, stored, max_messages, committed } => {
                let wanted = Wanted { topic, key, holes, stored, max_messages, committed };
                self.query(&wanted, recent, late)
            }
            ReadJob::View { at, committed } => match self.log.record_at(at, committed) {
                Ok(record) => self.prove(at, record),
                Err(ReadError::NotFound { .. }) => self.disprove(at),
                Err(other) => Err(other.into()),
            },
            ReadJob::Units { queue, offsets } => {
                let mut found = Vec::new();
                while found.len() < (offsets.end.get() - offsets.start.get()) as usize {
                    let left = (offsets.end.get() - offsets.start.get()) as usize - found.len();
                    found.extend(self.units(&queue, offsets.start + found.len() as u64, left)?);
                }
                Ok(ReadResult::Units(found))
            }
            ReadJob::StoreTime { queue, offset, unit, committed } => {
                let unit = match unit {
                    Some(unit) => unit,
                    None => self.unit(&queue, offset)?,
                };
                Ok(ReadResult::Number(self.store_time(&unit, committed)?.get()))
            }
            ReadJob::Search { queue, offsets, recent, holes, time, upper, committed } => {
                self.search(&queue, offsets, (&recent, &holes), time, upper, committed)
            }
            ReadJob::Extents { stretches, queues } => {
                self.extents(&stretches, queues).map(ReadResult::Extents)
            }
        }
    }

    /// Whoever names a log offset has no checksum of the whole record, and its own covers the body alone. The unit of
    /// the place that it claims to have does: damage of the claim leads to another message's unit, or to none.
    fn prove(&self, at: LogOffset, record: Bytes) -> Result<ReadResult, Failure> {
        let slots = self.slots();
        let Some(slot) = slots.iter().find(|slot| slot.covers.contains(&at)) else {
            return Ok(ReadResult::Unproven(record));
        };
        let damaged = || ReadError::Damaged { log_offset: at, size: record.len() as u32 };
        let message = StoredMessage::decode_verified(&record).map_err(|_| damaged())?;
        let queue = QueueName::new(message.topic, message.stamp.queue_id);
        let run = self.run_of(slot)?;
        let units = self.checked(slot, &run, |run| run.units(&queue, message.stamp.queue_offset, 1))?;
        if !units.first().is_some_and(|unit| unit.log_offset == at && unit.vouches_for(&record)) {
            return Err(damaged().into());
        }
        Ok(ReadResult::Messages { records: vec![record], next: QueueOffset::ZERO })
    }

    /// The bytes at a log offset are not a message. Whether one was there, only its unit knows.
    fn disprove(&self, at: LogOffset) -> Result<ReadResult, Failure> {
        let slots = self.slots();
        let Some(slot) = slots.iter().find(|slot| slot.covers.contains(&at)) else {
            return Ok(ReadResult::Unproven(Bytes::new()));
        };
        let run = self.run_of(slot)?;
        for (queue, offsets) in run.queues() {
            // A queue's units are in the order of the log.
            let (mut low, mut high) = (offsets.start.get(), offsets.end.get());
            while low < high {
                let middle = low + (high - low) / 2;
                let units = self.checked(slot, &run, |run| run.units(queue, QueueOffset::new(middle), 1))?;
                match units.first() {
                    Some(unit) if unit.log_offset == at => {
                        return Err(ReadError::Damaged { log_offset: at, size: unit.size }.into());
                    }
                    Some(unit) if unit.log_offset < at => low = middle + 1,
                    _ => high = middle,
                }
            }
        }
        Ok(ReadResult::NotFound)
    }

    /// Units of a queue that match, and the first offset not looked at.
    #[allow(clippy::type_complexity)] // pairs of offset and unit
    fn matching(
        &self,
        queue: &QueueName,
        offsets: Range<QueueOffset>,
        choice: &Choice,
        max: usize,
    ) -> Result<(Vec<(QueueOffset, Unit)>, QueueOffset), Failure> {
        let mut found = Vec::new();
        let mut at = offsets.start;
        let mut scanned = 0;
        while at < offsets.end && found.len() < max && scanned < SCAN_UNITS {
            let ask = match choice.filter {
                TagFilter::All => max - found.len(),
                TagFilter::Tags(_) => UNITS,
            };
            let units = self.units(queue, at, ask)?;
            scanned += units.len();
            for unit in units {
                if found.len() == max {
                    break;
                }
                if !choice.passes(at) && (choice.wants(at, unit.tag) || self.is_fenced(&unit)) {
                    found.push((at, unit));
                }
                at = at.next();
            }
        }
        Ok((found, at))
    }

    /// At least one unit from `from` on.
    fn units(&self, queue: &QueueName, from: QueueOffset, max: usize) -> Result<Vec<Unit>, Failure> {
        let slots = self.slots();
        // Newer first: consumers are rarely far behind.
        for slot in slots.iter().rev() {
            let run = slot.lock().clone();
            if let Some(run) = run {
                let units = self.checked(slot, &run, |run| run.units(queue, from, max))?;
                if !units.is_empty() {
                    return Ok(units);
                }
            }
        }
        for slot in slots.iter() {
            let run = self.run_of(slot)?;
            let units = run.units(queue, from, max)?;
            if !units.is_empty() {
                return Ok(units);
            }
        }
        let cause = format!("no run has offset {from} of queue {queue}");
        Err(Failure::Rebuild(LogOffset::ZERO, cause))
    }

    fn unit(&self, queue: &QueueName, offset: QueueOffset) -> Result<Unit, Failure> {
        let units = self.units(queue, offset, 1)?;
        Ok(units[0])
    }

    /// Uses a run; if a page of it turns out to be damaged, makes the run again and uses that.
    fn checked<T>(
        &self,
        slot: &Slot<D>,
        run: &Run<D>,
        read: impl Fn(&Run<D>) -> Result<T, RunError>,
    ) -> Result<T, Failure> {
        match read(run) {
            Err(RunError::Damaged { .. }) => {
                *slot.lock() = None;
                Ok(read(&*self.run_of(slot)?)?)
            }
            other => Ok(other?),
        }
    }

    /// The run of a slot, made again from the log if need be.
    fn run_of(&self, slot: &Slot<D>) -> Result<Arc<Run<D>>, Failure> {
        let mut held = slot.lock();
        if let Some(run) = &*held {
            return Ok(run.clone());
        }
        let begins = slot.covers.start;
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.rebuilding.fetch_add(1, Relaxed);
        let rebuilt = rebuild_run(&self.disk, self.layout, &gone, slot.covers.clone());
        self.rebuilding.fetch_sub(1, Relaxed);
        let fenced = rebuilt.map_err(|cause| Failure::Rebuild(begins, cause))?;
        self.fenced.write().unwrap_or_else(PoisonError::into_inner).extend(fenced);
        let run = Arc::new(Run::open(&self.disk, INDEX_DIR, RunId(begins))?);
        *held = Some(run.clone());
        Ok(run)
    }

    fn query(
        &self,
        wanted: &Wanted,
        recent: Vec<KeyEntry>,
        late: &dyn Fn() -> bool,
    ) -> Result<ReadResult, Failure> {
        let mut found = Found::default();
        let mut full = self.collect(wanted, &recent, &mut found)?;
        let hash = key_hash(&wanted.topic, &wanted.key);
        let slots = self.slots();
        for (done, slot) in slots.iter().rev().enumerate() {
            if full {
                break;
            }
            if late() {
                return Err(Failure::Late { done, all: slots.len() });
            }
            let run = self.run_of(slot)?;
            let mut candidates = self.checked(slot, &run, |run| run.candidates(hash))?;
            candidates.extend(self.fenced_candidates(hash, &wanted.topic, &slot.covers));
            candidates.sort_unstable_by_key(|entry| Reverse(entry.log_offset));
            full = self.collect(wanted, &candidates, &mut found)?;
        }
        Ok(ReadResult::Messages { records: found.records, next: QueueOffset::ZERO })
    }

    /// Whether a message was damaged when its run was made again: its tag is not known.
    fn is_fenced(&self, unit: &Unit) -> bool {
        let fenced = self.fenced.read().unwrap_or_else(PoisonError::into_inner);
        fenced.iter().any(|fenced| fenced.unit == *unit)
    }

    /// Messages of a topic in a stretch of the log that may have any key.
    fn fenced_candidates(&self, hash: u64, topic: &str, covers: &Range<LogOffset>) -> Vec<KeyEntry> {
        let fenced = self.fenced.read().unwrap_or_else(PoisonError::into_inner);
        let here = fenced.iter().filter(|f| *f.queue.topic == *topic && covers.contains(&f.unit.log_offset));
        here.map(|f| KeyEntry { hash, log_offset: f.unit.log_offset, size: f.unit.size, crc: f.unit.crc })
            .collect()
    }

    /// How many of the candidates, newest first, were stored after the wanted time. Store times have the order of the
    /// log, so the records of a few tell. What cannot be read does not count as newer: it is named then.
    fn too_new(&self, wanted: &Wanted, candidates: &[KeyEntry]) -> usize {
        let is_newer = |entry: &KeyEntry| {
            let unit = Unit { log_offset: entry.log_offset, size: entry.size, tag: 0, crc: entry.crc };
            self.store_time(&unit, wanted.committed).is_ok_and(|time| time >= wanted.stored.end)
        };
        // Most lookups end now: the first one is not newer then.
        let (mut low, mut high, mut probe) = (0, candidates.len(), 0);
        while low < high {
            if is_newer(&candidates[probe]) {
                low = probe + 1;
            } else {
                high = probe;
            }
            probe = low + (high - low) / 2;
        }
        low
    }

    /// Keeps the candidates, newest first, that really have the key: a hash is only a hint, and none of the hits that
    /// count may be another key's. Tells whether nothing older counts.
    fn collect(&self, wanted: &Wanted, candidates: &[KeyEntry], found: &mut Found) -> Result<bool, Failure> {
        for entry in &candidates[self.too_new(wanted, candidates)..] {
            if found.records.len() >= wanted.max_messages {
                break;
            }
            let KeyEntry { log_offset, size, crc, .. } = *entry;
            if wanted.holes.contains(&log_offset) {
                continue;
            }
            let unit = Unit { log_offset, size, tag: 0, crc };
            let records = match self.log.records(&[unit], usize::MAX, wanted.committed) {
                Err(ReadError::NotFound { .. }) if self.is_gone(log_offset) => continue,
                // Its file is missing or ends early, though the message was committed.
                Err(ReadError::NotFound { .. }) => return Err(ReadError::Damaged { log_offset, size }.into()),
                records => records?,
            };
            for record in records {
                match wanted.judge(&record) {
                    Judged::TooOld => return Ok(true),
                    Judged::Other if found.others == OTHER_KEYS => return Err(Failure::Collisions),
                    Judged::Other => found.others += 1,
                    Judged::Hit if !found.takes(&record) => return Ok(true),
                    Judged::Hit => found.push(record),
                }
            }
        }
        Ok(found.records.len() >= wanted.max_messages)
    }

    fn store_time(&self, unit: &Unit, committed: LogOffset) -> Result<Timestamp, Failure> {
        let records = self.log.records(&[*unit], usize::MAX, committed)?;
        let damaged = || ReadError::Damaged { log_offset: unit.log_offset, size: unit.size };
        let record = records.first().ok_or_else(damaged)?;
        let message = StoredMessage::decode_verified(record).map_err(|_| damaged())?;
        Ok(message.stamp.store_time)
    }

    fn search(
        &self,
        queue: &QueueName,
        offsets: Range<QueueOffset>,
        (recent, holes): (&[Unit], &[QueueOffset]),
        time: Timestamp,
        upper: bool,
        committed: LogOffset,
    ) -> Result<ReadResult, Failure> {
        let recent_from = offsets.end.get() - recent.len() as u64;
        let time_at = |offset: u64| -> Result<Timestamp, Failure> {
            let unit = match offset.checked_sub(recent_from) {
                Some(at) => recent[at as usize],
                None => self.unit(queue, QueueOffset::new(offset))?,
            };
            self.store_time(&unit, committed)
        };
        // First offset whose time is past the wanted one (upper), or not before it (lower).
        let (mut low, mut high) = (offsets.start.get(), offsets.end.get());
        while low < high {
            // A message that was given up has no time: the next one stands for it.
            let mut middle = low + (high - low) / 2;
            while middle < high && holes.binary_search(&QueueOffset::new(middle)).is_ok() {
                middle += 1;
            }
            if middle == high {
                high = low + (high - low) / 2;
                continue;
            }
            let stored = time_at(middle)?;
            let before = if upper { stored <= time } else { stored < time };
            if before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let found = if upper { low.saturating_sub(1).max(offsets.start.get()) } else { low };
        Ok(ReadResult::Number(found))
    }

    fn slots(&self) -> Vec<Arc<Slot<D>>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<D: Disk> Slot<D> {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Run<D>>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which messages of a queue a pull is for.
struct Choice {
    filter: TagFilter,
    fenced: Vec<QueueOffset>,
    holes: Vec<QueueOffset>,
}

impl Choice {
    fn wants(&self, offset: QueueOffset, tag: i32) -> bool {
        self.filter.matches(tag) || self.fenced.binary_search(&offset).is_ok()
    }

    fn passes(&self, offset: QueueOffset) -> bool {
        self.holes.binary_search(&offset).is_ok()
    }
}

/// What a lookup looks for.
struct Wanted {
    topic: String,
    key: String,
    holes: Vec<LogOffset>,
    stored: Range<Timestamp>,
    max_messages: usize,
    committed: LogOffset,
}

/// What a candidate of a lookup turned out to be.
enum Judged {
    Hit,
    /// Another key's, or stored after the wanted time.
    Other,
    /// Stored before the wanted time, and so is all that is older.
    TooOld,
}

impl Wanted {
    fn judge(&self, record: &[u8]) -> Judged {
        let Ok(message) = StoredMessage::decode_verified(record) else { return Judged::Other };
        if message.stamp.store_time < self.stored.start {
            return Judged::TooOld;
        }
        let is_hit = message.topic == self.topic
            && self.stored.contains(&message.stamp.store_time)
            && Lookup::parse(message.properties).lookup_keys().any(|key| key == self.key);
        if is_hit { Judged::Hit } else { Judged::Other }
    }
}

/// What a lookup has found so far.
#[derive(Default)]
struct Found {
    records: Vec<Bytes>,
    bytes: usize,
    /// Candidates that were none.
    others: usize,
}

impl Found {
    fn takes(&self, record: &Bytes) -> bool {
        self.records.is_empty() || self.bytes + record.len() <= QUERY_BYTES
    }

    fn push(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push(record);
    }
}
