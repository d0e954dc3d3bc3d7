//! The threads that write: the log, the space ahead of its tail, and checkpoints, after which old files are freed.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use steadfast_broker::io::{Freed, Freeing, Input, MendJob};
use steadfast_broker::reader::Reader;
use steadfast_consensus::{GroupWriter, Write};
use steadfast_store::checkpoint::{self, Checkpoint};
use steadfast_store::disk::Disk;
use steadfast_store::log::{Filler, Layout, Mark, Room};
use steadfast_store::retention;
use steadfast_store::run::RunInfo;
use steadfast_types::LogOffset;

use crate::core::{Core, Event, Milestone, WriterJob};
use crate::failpoint::{self, Stage};
use crate::inbox::Inbox;
use crate::metrics::Telemetry;

/// Allocated space ahead of the log's tail, besides the reserve for control records.
const AHEAD: u64 = 64 * 1024 * 1024;
/// The filler is woken when so much of it is used up.
const REFILL: u64 = 8 * 1024 * 1024;
/// A lone sender whose message came so soon after the answer to the one before is expected to send the next as soon:
/// the writer watches for it, since being woken takes a good part of the time that the write takes.
const SOON: Duration = Duration::from_micros(200);
/// Whoever sends is alone if nothing waited after so many writes in a row.
const ALONE: u32 = 8;
/// Pause before a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often somebody looks how full the disk is, at least.
const MEASURE: Duration = Duration::from_secs(5);

/// Tells the filler where the log's tail is, and wakes it only when there is something to do.
#[derive(Default)]
pub(crate) struct Tail {
    wake_at: AtomicU64,
    moved: Inbox<LogOffset>,
}

impl Tail {
    fn advance(&self, end: LogOffset) {
        if end.get() >= self.wake_at.load(Relaxed) {
            self.moved.push(end);
        }
    }

    /// The tail will be here as soon as there is space for it.
    pub(crate) fn will_be(&self, end: LogOffset) {
        self.moved.push(end);
    }
}

/// The log's writer, and the threads that share it. There are two: while one answers the senders of its write,
/// the other makes the next. There is one write at a time, so nobody waits for the writer's lock but behind a sync.
pub(crate) struct Log<D: Disk> {
    state: Mutex<LogState<D>>,
    jobs: Arc<Inbox<WriterJob>>,
    core: Arc<Core>,
    tail: Arc<Tail>,
    /// Time between two syncs under ASYNC_FLUSH.
    sync_every: Option<Duration>,
    telemetry: Arc<Telemetry>,
    /// Writes in a row after which nothing waited.
    idle_writes: AtomicU32,
}

struct LogState<D: Disk> {
    writer: GroupWriter<D>,
    /// When what ASYNC_FLUSH handed to the operating system is to be synced.
    sync_due: Option<Instant>,
}

impl<D: Disk> Log<D> {
    pub(crate) const THREADS: usize = 2;

    pub(crate) fn new(
        writer: GroupWriter<D>,
        jobs: Arc<Inbox<WriterJob>>,
        core: Arc<Core>,
        tail: Arc<Tail>,
        sync_every: Option<Duration>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let end = writer.end().end.get();
        telemetry.written(end, true);
        let state = Mutex::new(LogState { writer, sync_due: None });
        Log { state, jobs, core, tail, sync_every, telemetry, idle_writes: AtomicU32::new(0) }
    }

    /// One of the threads.
    pub(crate) fn run(&self, milestone: impl Fn(Milestone)) {
        let mut jobs = VecDeque::new();
        let mut was_soon = false;
        loop {
            let limit = self.sync_every.and_then(|_| self.until_sync());
            let begun = Instant::now();
            if self.serves_lone_sender() && was_soon {
                self.jobs.watch(SOON);
            }
            self.jobs.take(&mut jobs, limit);
            was_soon = begun.elapsed() < SOON;
            for job in jobs.drain(..) {
                match job {
                    WriterJob::Write(write) => self.write(&write),
                    WriterJob::Finish => {
                        self.sync();
                        milestone(Milestone::Stopped);
                    }
                }
            }
            if self.sync_every.is_some() && self.until_sync() == Some(Duration::ZERO) {
                self.sync();
            }
        }
    }

    fn write(&self, write: &Write) {
        match self.try_write(write) {
            Ok(mark) => {
                self.tail.advance(mark.end);
                self.core.push(Event::Input(Input::Persisted(write.number, mark)));
            }
            Err(error) => self.failed(&error),
        }
    }

    fn try_write(&self, write: &Write) -> anyhow::Result<Mark> {
        failpoint::hit(Stage::BeforeWrite)?;
        let mut state = self.state();
        let begun = Instant::now();
        let mark = state.writer.write(write)?;
        self.telemetry.writes.record(begun.elapsed());
        self.telemetry.written(mark.end.get(), self.sync_every.is_none());
        state.sync_due = state.sync_due.or(self.sync_every.map(|period| Instant::now() + period));
        drop(state);
        failpoint::hit(Stage::AfterWrite)?;
        Ok(mark)
    }

    /// After a write: whether nothing waits, and nothing did after the writes before. With several senders the processor
    /// has better things to do than to watch.
    fn serves_lone_sender(&self) -> bool {
        let is_idle = self.state.try_lock().is_ok() && self.jobs.is_empty();
        if !is_idle {
            self.idle_writes.store(0, Relaxed);
            return false;
        }
        self.sync_every.is_none() && self.idle_writes.fetch_add(1, Relaxed) >= ALONE
    }

    fn until_sync(&self) -> Option<Duration> {
        self.state().sync_due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    fn sync(&self) {
        let mut state = self.state();
        if state.sync_due.take().is_none() {
            return;
        }
        match state.writer.sync() {
            // Nothing is written meanwhile: the lock is held.
            Ok(()) => self.telemetry.synced(),
            Err(error) => {
                drop(state);
                self.failed(&error);
            }
        }
    }

    fn failed(&self, error: &dyn Display) {
        self.core.push(Event::Input(Input::WriteFailed(error.to_string())));
    }

    fn state(&self) -> MutexGuard<'_, LogState<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filler's thread.
pub(crate) struct FillerThread<D: Disk> {
    pub(crate) filler: Filler<D>,
    pub(crate) core: Arc<Core>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) end: LogOffset,
    pub(crate) control_reserve: u64,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl<D: Disk> FillerThread<D> {
    /// Ends only when filling fails: what a failed write left on the medium is not known (promise P3).
    pub(crate) fn run(mut self) {
        let mut told = self.filler.room();
        let mut moved = VecDeque::new();
        loop {
            self.tail.wake_at.store(self.end.get() + REFILL, Relaxed);
            if let Err(error) = self.fill(&mut told) {
                let cause = format!("filling the space ahead of the log failed: {error}");
                return self.core.push(Event::Input(Input::WriteFailed(cause)));
            }
            self.tail.moved.take(&mut moved, Some(if told.disk_full { RETRY } else { MEASURE }));
            self.end = moved.drain(..).max().unwrap_or(self.end);
        }
    }

    /// Fills until enough is ahead or the disk is full.
    fn fill(&mut self, told: &mut Room) -> io::Result<()> {
        let target = self.end + (AHEAD + self.control_reserve);
        let room = Room { disk_full: told.disk_full, ..self.filler.measure()? };
        if room != *told {
            self.report(told, room);
        }
        while self.filler.room().filled_to < target {
            failpoint::hit(Stage::Fill).map_err(io::Error::other)?;
            let room = self.filler.step()?;
            if room != *told {
                self.report(told, room);
            }
            if room.disk_full {
                break;
            }
        }
        Ok(())
    }

    fn report(&self, told: &mut Room, room: Room) {
        if room.disk_full != told.disk_full {
            if room.disk_full {
                tracing::error!(
                    "the disk is full: messages are refused when the log's space ahead is used up, positions of \
                     consumers are still taken; free space or add some, service resumes by itself"
                );
            } else {
                tracing::info!("the disk has space again");
            }
        }
        *told = room;
        self.telemetry.disk_full.store(room.disk_full, Relaxed);
        self.core.push(Event::Input(Input::Room(room)));
    }
}

/// Work for the checkpoint thread.
pub(crate) enum Job {
    /// Write a checkpoint.
    Checkpoint(Box<Checkpoint>),
    /// Free the files of dropped segments.
    Free(Freeing),
    /// Repair a damaged segment with what another replica has.
    Mend(MendJob),
}

/// The checkpoint thread: writes each, lets the readers use it, then tells the core. It frees and repairs files, too.
pub(crate) fn checkpoints<D: Disk>(
    disk: &D,
    layout: Layout,
    reader: &Reader<D>,
    jobs: &Inbox<Job>,
    core: &Core,
) {
    let mut taken = VecDeque::new();
    loop {
        jobs.take(&mut taken, None);
        for job in taken.drain(..) {
            core.push(Event::Input(match job {
                Job::Checkpoint(job) => {
                    let result = write_checkpoint(disk, reader, *job);
                    Input::CheckpointDone(result.map_err(|error| error.to_string()))
                }
                // Here, since what is freed meanwhile must not be written to.
                Job::Mend(job) => Input::Mended(reader.mend(job)),
                Job::Free(job) => {
                    let result = free(disk, layout, reader, job);
                    Input::Freed(result.map_err(|error| error.to_string()))
                }
            }));
        }
    }
}

fn write_checkpoint<D: Disk>(disk: &D, reader: &Reader<D>, job: Checkpoint) -> anyhow::Result<Vec<RunInfo>> {
    failpoint::hit(Stage::Checkpoint)?;
    let snapshot = checkpoint::write(disk, job)?;
    reader.install(&snapshot);
    Ok(snapshot.runs)
}

fn free<D: Disk>(disk: &D, layout: Layout, reader: &Reader<D>, job: Freeing) -> anyhow::Result<Freed> {
    failpoint::hit(Stage::Free)?;
    reader.forget(&job);
    retention::free(disk, layout, &job.bases, job.spares)?;
    reader.forget(&job);
    let head = job.gone.head();
    if !job.bases.is_empty() {
        tracing::info!("{} old log files freed; the log begins at {head} now", job.bases.len());
    }
    Ok(Freed { bases: job.bases, space: disk.space()? })
}
