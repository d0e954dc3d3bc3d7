//! The threads that write: the log, the space ahead of its tail, and checkpoints.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use steadfast_broker::io::Input;
use steadfast_broker::reader::Reader;
use steadfast_broker::recovery::{GroupWriter, WriteError};
use steadfast_consensus::Write;
use steadfast_store::checkpoint::{self, Checkpoint};
use steadfast_store::disk::Disk;
use steadfast_store::log::{Filler, Mark, Room};
use steadfast_store::run::RunInfo;
use steadfast_types::LogOffset;

use crate::core::{Event, Milestone, WriterJob};
use crate::failpoint::{self, Stage};
use crate::inbox::Inbox;

/// Allocated space ahead of the log's tail, besides the reserve for control records.
const AHEAD: u64 = 64 * 1024 * 1024;
/// The filler is woken when so much of it is used up.
const REFILL: u64 = 8 * 1024 * 1024;
/// Pause before a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

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
}

/// The log's one writer. There is one write at a time, so its lock is never waited for: the log writer's thread
/// makes it, or the core itself (see [`crate::lone`]).
pub(crate) struct SharedLog<D: Disk> {
    writer: Mutex<GroupWriter<D>>,
    tail: Arc<Tail>,
}

impl<D: Disk> SharedLog<D> {
    pub(crate) fn new(writer: GroupWriter<D>, tail: Arc<Tail>) -> Self {
        SharedLog { writer: Mutex::new(writer), tail }
    }

    /// Makes a write durable; returns what the core is to be told.
    pub(crate) fn write(&self, write: &Write) -> Input {
        match self.try_write(write) {
            Ok(mark) => {
                self.tail.advance(mark.end);
                Input::Persisted(write.number, mark)
            }
            Err(error) => Input::WriteFailed(error.to_string()),
        }
    }

    fn try_write(&self, write: &Write) -> anyhow::Result<Mark> {
        failpoint::hit(Stage::BeforeWrite)?;
        let mark = self.writer().write(write)?;
        failpoint::hit(Stage::AfterWrite)?;
        Ok(mark)
    }

    fn sync(&self) -> Result<(), WriteError> {
        self.writer().sync()
    }

    fn writer(&self) -> MutexGuard<'_, GroupWriter<D>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log writer's thread.
pub(crate) struct LogThread<D: Disk> {
    pub(crate) log: Arc<SharedLog<D>>,
    pub(crate) jobs: Arc<Inbox<WriterJob>>,
    pub(crate) core: Arc<Inbox<Event>>,
    /// Time between two syncs under ASYNC_FLUSH.
    pub(crate) sync_every: Option<Duration>,
    pub(crate) milestone: Box<dyn FnMut(Milestone) + Send>,
}

impl<D: Disk> LogThread<D> {
    pub(crate) fn run(mut self) {
        let mut jobs = Vec::new();
        let mut sync_due: Option<Instant> = None;
        loop {
            let limit = sync_due.map(|due| due.saturating_duration_since(Instant::now()));
            self.jobs.take(&mut jobs, limit);
            for job in jobs.drain(..) {
                match job {
                    WriterJob::Write(write) => {
                        self.tell(self.log.write(&write));
                        sync_due = sync_due.or(self.sync_every.map(|period| Instant::now() + period));
                    }
                    WriterJob::Finish => {
                        self.sync(&mut sync_due);
                        (self.milestone)(Milestone::Stopped);
                    }
                }
            }
            if sync_due.is_some_and(|due| due <= Instant::now()) {
                self.sync(&mut sync_due);
            }
        }
    }

    fn sync(&mut self, due: &mut Option<Instant>) {
        if due.take().is_some()
            && let Err(error) = self.log.sync()
        {
            self.tell(Input::WriteFailed(error.to_string()));
        }
    }

    fn tell(&self, input: Input) {
        self.core.push(Event::Input(input));
    }
}

/// The filler's thread.
pub(crate) struct FillerThread<D: Disk> {
    pub(crate) filler: Filler<D>,
    pub(crate) core: Arc<Inbox<Event>>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) end: LogOffset,
    pub(crate) control_reserve: u64,
}

impl<D: Disk> FillerThread<D> {
    /// Ends only when filling fails: what a failed write left on the medium is not known (promise P3).
    pub(crate) fn run(mut self) {
        let mut told = self.filler.room();
        let mut moved = Vec::new();
        loop {
            self.tail.wake_at.store(self.end.get() + REFILL, Relaxed);
            if let Err(error) = self.fill(&mut told) {
                let cause = format!("filling the space ahead of the log failed: {error}");
                return self.core.push(Event::Input(Input::WriteFailed(cause)));
            }
            self.tail.moved.take(&mut moved, told.disk_full.then_some(RETRY));
            self.end = moved.drain(..).max().unwrap_or(self.end);
        }
    }

    /// Fills until enough is ahead or the disk is full.
    fn fill(&mut self, told: &mut Room) -> io::Result<()> {
        let target = self.end + (AHEAD + self.control_reserve);
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
        self.core.push(Event::Input(Input::Room(room)));
    }
}

/// The checkpoint thread: writes each, lets the readers use it, then tells the core.
pub(crate) fn checkpoints<D: Disk>(
    disk: &D,
    reader: &Reader<D>,
    jobs: &Inbox<Box<Checkpoint>>,
    core: &Inbox<Event>,
) {
    let mut taken = Vec::new();
    loop {
        jobs.take(&mut taken, None);
        for job in taken.drain(..) {
            let result = write_checkpoint(disk, reader, *job).map_err(|error| error.to_string());
            core.push(Event::Input(Input::CheckpointDone(result)));
        }
    }
}

fn write_checkpoint<D: Disk>(disk: &D, reader: &Reader<D>, job: Checkpoint) -> anyhow::Result<Vec<RunInfo>> {
    failpoint::hit(Stage::Checkpoint)?;
    let snapshot = checkpoint::write(disk, job)?;
    reader.install(&snapshot);
    Ok(snapshot.runs)
}
