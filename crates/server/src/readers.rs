//! A small pool of threads for reads of what is no longer in memory.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use steadfast_broker::io::{Input, ReadJob, ReadResult};
use steadfast_broker::reader::Reader;
use steadfast_store::disk::Disk;

use crate::core::{Core, Event};
use crate::inbox::Inbox;

/// A lookup that has to wait for index runs keeps a thread busy meanwhile.
const THREADS: usize = 4;
/// Reads that may wait; clients hold back by themselves long before.
const WAITING: usize = 4096;
/// How long a lookup waits for index runs that are being made again.
const PATIENCE: Duration = Duration::from_secs(15);

/// Takes reads and answers them through the core.
pub(crate) struct Readers {
    jobs: Arc<Inbox<(u64, ReadJob)>>,
    core: Arc<Core>,
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
        Ok(Readers { jobs, core: Arc::clone(core) })
    }

    /// Hands a read to the pool; one too many is answered at once. Never blocks.
    pub(crate) fn submit(&self, number: u64, job: ReadJob) {
        if self.jobs.len() < WAITING {
            return self.jobs.push((number, job));
        }
        let busy = ReadResult::Failed(format!("{WAITING} reads are waiting already; try again"));
        self.core.push(Event::Input(Input::ReadDone(number, busy)));
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
