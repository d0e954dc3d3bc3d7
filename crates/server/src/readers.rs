//! Reads for the core: on the thread that stepped it if the operating system has the bytes in memory, since on virtual
//! machines waking another thread costs more than such a read; else by a small pool of threads.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use steadfast_broker::io::{Input, ReadJob, ReadResult};
use steadfast_broker::reader::Reader;
use steadfast_store::disk::Disk;

use crate::core::{Core, Event};
use crate::disk::from_memory;
use crate::inbox::Inbox;

/// A lookup that has to wait for index runs keeps a thread busy meanwhile.
const THREADS: usize = 4;
/// Reads that may wait; clients hold back by themselves long before.
const WAITING: usize = 4096;
/// How long a lookup waits for index runs that are being made again.
const PATIENCE: Duration = Duration::from_secs(15);

/// Reads after one step that its thread tries itself: it has connections to serve.
const HERE: usize = 4;

type AtOnce = dyn Fn(&ReadJob) -> Option<ReadResult> + Send + Sync;

/// Takes reads; their results are news for the core.
pub(crate) struct Readers {
    jobs: Arc<Inbox<(u64, ReadJob)>>,
    /// Does a read that needs no disk.
    at_once: Box<AtOnce>,
}

impl Readers {
    pub(crate) fn start<D: Disk>(reader: &Arc<Reader<D>>, core: &Arc<Core>) -> std::io::Result<Self> {
        let jobs = Arc::new(Inbox::default());
        for i in 0..THREADS {
            let (jobs, reader, core) = (Arc::clone(&jobs), Arc::clone(reader), Arc::clone(core));
            thread::Builder::new()
                .name(format!("reader-{i}"))
                .spawn(move || perform(&jobs, &reader, &core))?;
        }
        let reader = Arc::clone(reader);
        let at_once = Box::new(move |job: &ReadJob| match reader.is_short(job) {
            true => from_memory(|| reader.perform(job.clone(), &|| false)),
            false => None,
        });
        Ok(Readers { jobs, at_once })
    }

    /// Does the reads of one step or hands them to the pool; one too many is refused. Never waits for the disk.
    /// `done` takes the results that are there now.
    pub(crate) fn take(&self, reads: Vec<(u64, ReadJob)>, done: impl Fn(Event)) {
        for (i, (number, job)) in reads.into_iter().enumerate() {
            let at_once = if i < HERE { (self.at_once)(&job) } else { None };
            let result = match at_once {
                None if self.jobs.len() < WAITING => {
                    self.jobs.push((number, job));
                    continue;
                }
                None => ReadResult::Failed(format!("{WAITING} reads are waiting already; try again")),
                Some(result) => result,
            };
            done(Event::Input(Input::ReadDone(number, result)));
        }
    }
}

fn perform<D: Disk>(jobs: &Inbox<(u64, ReadJob)>, reader: &Reader<D>, core: &Core) {
    loop {
        let (number, job) = jobs.take_one();
        let started = Instant::now();
        let result = reader.perform(job, &|| started.elapsed() > PATIENCE);
        core.push(Event::Input(Input::ReadDone(number, result)));
    }
}

/// Makes index runs again that were found damaged or missing, one after the other.
pub(crate) fn rebuild<D: Disk>(reader: &Reader<D>) {
    loop {
        match reader.rebuild_one() {
            Ok(true) => {}
            Ok(false) => return tracing::info!("all index runs are complete again"),
            Err(error) => return tracing::error!("an index run cannot be made again: {error}"),
        }
    }
}
