//! Reads what is no longer in memory: queues and index from the runs, records from the log. The shell calls it
//! from small pools of threads. A run that is damaged or missing is made again from the stretch of the log it
//! covers, by the first read that needs it; that read and those after it wait for this, until they are late.

mod extents;
mod mend;
mod query;
mod queue;
mod rebuild;
mod scrub;
mod slot;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use steadfast_store::checkpoint::{INDEX_DIR, Snapshot};
use steadfast_store::disk::Disk;
use steadfast_store::log::{self, Gone, Layout};
use steadfast_store::reader::{LogReader, ReadError, Records};
use steadfast_store::run::{Run, RunError, RunId, RunInfo};
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::record::StoredMessage;
use steadfast_types::{LogOffset, QueueOffset, Timestamp};

pub use self::query::QUERY_BYTES;
use self::query::{OTHER_KEYS, Wanted};
use self::queue::{Choice, Matching};
use self::rebuild::{Broken, rebuild_run};
use self::slot::{NoRun, Slot};
use crate::filter::TagFilter;
use crate::io::{Freeing, ReadJob, ReadResult};
use crate::recovery::Fenced;

/// Units read from a run at a time.
const UNITS: usize = 2048;
/// Tells whether a read that has to wait for index runs has waited long enough.
pub type Late<'a> = &'a dyn Fn() -> bool;

/// Why a read did not succeed, before it is put into words for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Scan(#[from] log::ScanError),
    #[error("{missing} of {all} index runs have to be made again from the log first")]
    Late { missing: usize, all: usize },
    #[error(
        "{searched} of {all} index runs were searched; {missing} have to be made again from the log first"
    )]
    SearchedSome { searched: usize, missing: usize, all: usize },
    #[error("more than {OTHER_KEYS} messages have other keys with the same hash; ask for a shorter time")]
    Collisions,
    #[error("the index run that begins at log offset {0} cannot be made again: {1}")]
    Rebuild(LogOffset, Broken),
}

/// The index runs by the stretches that they cover, oldest first.
type Slots<D> = Arc<[Arc<Slot<D>>]>;

/// Reads for one group; threads share it.
pub struct Reader<D: Disk> {
    disk: D,
    layout: Layout,
    log: LogReader<D>,
    slots: RwLock<Slots<D>>,
    /// What retention has dropped from the log.
    gone: RwLock<Gone>,
    /// Index runs cover the log up to here.
    covered: RwLock<LogOffset>,
    /// Damaged messages that were met when a run was made again: they match every filter and every key.
    fenced: RwLock<Vec<Fenced>>,
    /// The last place of damage that was met in each segment, for whoever can have it repaired.
    met: Mutex<BTreeMap<LogOffset, LogOffset>>,
}

impl<D: Disk> Reader<D> {
    /// A reader that knows the runs of a snapshot. A run that does not open is made again when needed.
    pub(crate) fn new(disk: D, layout: Layout, gone: Gone, cache_bytes: usize) -> Self {
        let log = LogReader::new(disk.clone(), log::DIR, cache_bytes);
        let gone = RwLock::new(gone);
        let (covered, fenced, met) = Default::default();
        let slots = RwLock::new(Slots::default());
        Self { disk, layout, log, slots, gone, covered, fenced, met }
    }

    /// Takes over the runs that a snapshot names. Call it before the core hears that the checkpoint is done.
    pub fn install(&self, snapshot: &Snapshot) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        *slots = snapshot.runs.iter().map(|info| self.slot(&slots, info)).collect();
        drop(slots);
        *self.covered.write().unwrap_or_else(PoisonError::into_inner) = snapshot.mark.end;
    }

    fn slot(&self, known: &[Arc<Slot<D>>], info: &RunInfo) -> Arc<Slot<D>> {
        if let Some(slot) = known.iter().find(|slot| slot.covers == info.covers) {
            return Arc::clone(slot);
        }
        let run = Run::open(&self.disk, INDEX_DIR, info.id()).ok().filter(|run| run.info() == info);
        Arc::new(Slot::new(info.covers.clone(), run))
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
        self.slots().iter().filter(|slot| slot.ready().is_none()).count()
    }

    /// Makes one missing run again, if there is one that nobody makes already. For a background thread.
    pub fn rebuild_one(&self) -> Result<bool, String> {
        let slots = self.slots();
        let Some(slot) = slots.iter().find(|slot| slot.is_missing()) else { return Ok(false) };
        let made = self.run_of(slot, &|| false).inspect_err(|failure| self.note(failure));
        made.map(|_| true).map_err(|error| error.to_string())
    }

    /// Whether a job reads little, wherever its bytes are.
    pub fn is_short(job: &ReadJob) -> bool {
        matches!(job, ReadJob::Queue { filter: TagFilter::All, .. } | ReadJob::Records { .. })
    }

    /// Whether a job may read any number of index runs: it must not keep consumers waiting.
    pub fn is_search(job: &ReadJob) -> bool {
        use ReadJob::{Extents, Query, Search, Units};
        matches!(job, Query { .. } | Search { .. } | Units { .. } | Extents { .. })
    }

    /// Does one job. Once it is `late` it makes no run again, nor waits for one: what needs one is answered with
    /// [`ReadResult::Incomplete`].
    pub fn perform(&self, job: ReadJob, late: Late<'_>) -> ReadResult {
        let result = self.try_perform(job, late);
        result.inspect_err(|failure| self.note(failure)).unwrap_or_else(|failure| match &failure {
            Failure::Read(ReadError::NotFound { .. }) => ReadResult::NotFound,
            Failure::Read(ReadError::Damaged { .. }) => ReadResult::Damaged(failure.to_string()),
            Failure::Late { .. } | Failure::SearchedSome { .. } => {
                ReadResult::Incomplete(failure.to_string())
            }
            _ => ReadResult::Failed(failure.to_string()),
        })
    }

    /// Remembers where the damage is that a failure tells of.
    fn note(&self, failure: &Failure) {
        match failure {
            Failure::Read(ReadError::Damaged { log_offset, .. }) => self.meet(*log_offset),
            Failure::Rebuild(_, Broken { at: Some(at), .. }) => self.meet(*at),
            _ => {}
        }
    }

    fn try_perform(&self, job: ReadJob, late: Late<'_>) -> Result<ReadResult, Failure> {
        match job {
            ReadJob::Queue { queue, offsets, filter, fenced, holes, max_messages, max_bytes, committed } => {
                let choice = Choice { filter, fenced, holes };
                let Matching { numbers, units, after } =
                    self.matching(&queue, offsets, &choice, max_messages, late)?;
                if units.is_empty() {
                    return Ok(ReadResult::Messages { records: Records::default(), next: after });
                }
                let records = self.log.records(&units, max_bytes, committed)?;
                let next = numbers.get(records.len()).copied().unwrap_or(after);
                Ok(ReadResult::Messages { records, next })
            }
            ReadJob::Records { units, max_bytes, committed } => {
                let records = self.log.records(&units, max_bytes, committed)?;
                Ok(ReadResult::Messages { records, next: QueueOffset::ZERO })
            }
            ReadJob::Query { topic, key, recent, holes, born, stored, max_messages, committed } => {
                let wanted = Wanted { topic, key, holes, born, stored, max_messages, committed };
                self.query(&wanted, recent, late)
            }
            ReadJob::View { at, committed } => match self.log.record_at(at, committed) {
                Ok(record) => self.prove(at, record, late),
                Err(ReadError::NotFound { .. }) => self.disprove(at, late),
                Err(other) => Err(other.into()),
            },
            ReadJob::Units { queue, offsets } => {
                let mut found = Vec::new();
                while found.len() < (offsets.end.get() - offsets.start.get()) as usize {
                    let left = (offsets.end.get() - offsets.start.get()) as usize - found.len();
                    found.extend(self.units(&queue, offsets.start + found.len() as u64, left, late)?);
                }
                Ok(ReadResult::Units(found))
            }
            ReadJob::StoreTime { queue, offset, unit, committed } => {
                let unit = match unit {
                    Some(unit) => unit,
                    None => self.unit(&queue, offset, late)?,
                };
                Ok(ReadResult::Number(self.store_time(&unit, committed)?.get()))
            }
            ReadJob::Search { queue, offsets, recent, holes, time, upper, committed } => {
                self.search(&queue, offsets, (&recent, &holes), (time, upper), committed, late)
            }
            ReadJob::Extents { stretches, queues } => {
                self.extents(&stretches, queues, late).map(ReadResult::Extents)
            }
        }
    }

    /// Whoever names a log offset has no checksum of the whole record, and its own covers the body alone. The unit of
    /// the place that it claims to have does: damage of the claim leads to another message's unit, or to none.
    fn prove(&self, at: LogOffset, record: Bytes, late: Late<'_>) -> Result<ReadResult, Failure> {
        let slots = self.slots();
        let Some(slot) = slots.iter().find(|slot| slot.covers.contains(&at)) else {
            return Ok(ReadResult::Unproven(record));
        };
        let damaged = || ReadError::Damaged { log_offset: at, size: record.len() as u32 };
        let message = StoredMessage::decode_verified(&record).map_err(|_| damaged())?;
        let queue = QueueName::new(message.topic, message.stamp.queue_id);
        let run = self.run_of(slot, late)?;
        let units = self.checked(slot, &run, late, |run| run.units(&queue, message.stamp.queue_offset, 1))?;
        if !units.first().is_some_and(|unit| unit.log_offset == at && unit.vouches_for(&record)) {
            return Err(damaged().into());
        }
        Ok(ReadResult::Messages { records: [record].into_iter().collect(), next: QueueOffset::ZERO })
    }

    /// The bytes at a log offset are not a message. Whether one was there, only its unit knows.
    fn disprove(&self, at: LogOffset, late: Late<'_>) -> Result<ReadResult, Failure> {
        let slots = self.slots();
        let Some(slot) = slots.iter().find(|slot| slot.covers.contains(&at)) else {
            return Ok(ReadResult::Unproven(Bytes::new()));
        };
        let run = self.run_of(slot, late)?;
        for (queue, offsets) in run.queues() {
            // A queue's units are in the order of the log.
            let (mut low, mut high) = (offsets.start.get(), offsets.end.get());
            while low < high {
                let middle = low + (high - low) / 2;
                let units =
                    self.checked(slot, &run, late, |run| run.units(queue, QueueOffset::new(middle), 1))?;
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

    /// Uses a run; if a page of it turns out to be damaged, makes the run again and uses that.
    fn checked<T>(
        &self,
        slot: &Slot<D>,
        run: &Run<D>,
        late: Late<'_>,
        read: impl Fn(&Run<D>) -> Result<T, RunError>,
    ) -> Result<T, Failure> {
        match read(run) {
            Err(RunError::Damaged { .. }) => {
                slot.discard(run);
                Ok(read(&*self.run_of(slot, late)?)?)
            }
            other => Ok(other?),
        }
    }

    /// The run of a slot, made again from the log if need be.
    fn run_of(&self, slot: &Slot<D>, late: Late<'_>) -> Result<Arc<Run<D>>, Failure> {
        let run = slot.get_or_make(late, || self.make_run(&slot.covers, late));
        run.map_err(|no_run| match no_run {
            NoRun::Late => Failure::Late { missing: self.missing_runs(), all: self.slots().len() },
            NoRun::Failed(failure) => failure,
        })
    }

    fn make_run(&self, covers: &Range<LogOffset>, late: Late<'_>) -> Result<Arc<Run<D>>, NoRun<Failure>> {
        let begins = covers.start;
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner).clone();
        let rebuilt = rebuild_run(&self.disk, self.layout, &gone, covers.clone(), late);
        let fenced = rebuilt.map_err(|cause| NoRun::Failed(Failure::Rebuild(begins, cause)))?;
        let fenced = fenced.ok_or(NoRun::Late)?;
        self.fenced.write().unwrap_or_else(PoisonError::into_inner).extend(fenced);
        let run = Run::open(&self.disk, INDEX_DIR, RunId(begins));
        run.map(Arc::new).map_err(|error| NoRun::Failed(error.into()))
    }

    /// Whether a message was damaged when its run was made again: its tag is not known.
    fn is_fenced(&self, unit: &Unit) -> bool {
        let fenced = self.fenced.read().unwrap_or_else(PoisonError::into_inner);
        fenced.iter().any(|fenced| fenced.unit == *unit)
    }

    fn store_time(&self, unit: &Unit, committed: LogOffset) -> Result<Timestamp, Failure> {
        let records = self.log.records(&[*unit], usize::MAX, committed)?;
        let damaged = || ReadError::Damaged { log_offset: unit.log_offset, size: unit.size };
        let record = records.iter().next().ok_or_else(damaged)?;
        let message = StoredMessage::decode_verified(&record).map_err(|_| damaged())?;
        Ok(message.stamp.store_time)
    }

    fn search(
        &self,
        queue: &QueueName,
        offsets: Range<QueueOffset>,
        (recent, holes): (&[Unit], &[QueueOffset]),
        (time, upper): (Timestamp, bool),
        committed: LogOffset,
        late: Late<'_>,
    ) -> Result<ReadResult, Failure> {
        let recent_from = offsets.end.get() - recent.len() as u64;
        let time_at = |offset: u64| -> Result<Timestamp, Failure> {
            let unit = match offset.checked_sub(recent_from) {
                Some(at) => recent[at as usize],
                None => self.unit(queue, QueueOffset::new(offset), late)?,
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

    fn slots(&self) -> Slots<D> {
        Arc::clone(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }
}
