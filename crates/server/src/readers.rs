//! Reads for the core: on the thread that stepped it if the operating system has the bytes in memory, since on virtual
//! machines waking another thread costs more than such a read; else by small pools of threads. Searches have one of
//! their own: they may wait for index runs that are made again, and consumers must not wait with them.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use steadfast_broker::io::{Input, PartJob, ReadJob, ReadResult};
use steadfast_broker::reader::Reader;
use steadfast_consensus::Fetch;
use steadfast_net::RareWarning;
use steadfast_store::disk::Disk;

use crate::core::{Core, Event};
use crate::disk::from_memory;
use crate::inbox::Inbox;

/// Threads that read for consumers.
const THREADS: usize = 4;
/// Threads that search.
const SEARCHERS: usize = 2;
/// Reads that may wait; clients hold back by themselves long before.
const WAITING: usize = 4096;
/// How long a read may take, from when it was asked for, before it waits for index runs no more.
const PATIENCE: Duration = Duration::from_secs(15);

/// Reads after one step that its thread tries itself: it has connections to serve.
const HERE: usize = 8;

type AtOnce = dyn Fn(&ReadJob) -> Option<ReadResult> + Send + Sync;

/// Takes reads; their results are news for the core.
pub(crate) struct Readers {
    readers: Pool<Asked>,
    searchers: Pool<Asked>,
    /// None in a group of one.
    fetchers: Option<Pool<Given>>,
    is_search: fn(&ReadJob) -> bool,
    /// Does a read that needs no disk.
    at_once: Box<AtOnce>,
}

/// Makes index runs again in the background whenever somebody found that some are missing.
#[derive(Debug, Default)]
pub(crate) struct Rebuilder(Inbox<()>);

impl Readers {
    /// `of_several`: whether there are other replicas to read for.
    pub(crate) fn start<D: Disk>(
        reader: &Arc<Reader<D>>,
        core: &Arc<Core>,
        of_several: bool,
    ) -> std::io::Result<Self> {
        let rebuilder = Arc::new(Rebuilder::default());
        rebuilder.start(Arc::clone(reader))?;
        let perform = {
            let (reader, core) = (Arc::clone(reader), Arc::clone(core));
            move |(number, job, asked): Asked| {
                let result = reader.perform(job, &|| asked.elapsed() > PATIENCE);
                if matches!(result, ReadResult::Incomplete(_)) {
                    rebuilder.wake();
                }
                tell_damage(&reader, &core);
                core.push(Event::Input(Input::ReadDone(number, result)));
            }
        };
        let perform: Arc<Perform<Asked>> = Arc::new(perform);
        let fetchers = of_several.then(|| Pool::start("fetcher", 1, &giving(reader, core)));
        let reader = Arc::clone(reader);
        let at_once = Box::new(move |job: &ReadJob| match Reader::<D>::is_short(job) {
            // Late from the start: this thread makes no runs.
            true => from_memory(|| reader.perform(job.clone(), &|| true))
                .filter(|result| !matches!(result, ReadResult::Incomplete(_))),
            false => None,
        });
        Ok(Readers {
            readers: Pool::start("reader", THREADS, &perform)?,
            searchers: Pool::start("searcher", SEARCHERS, &perform)?,
            fetchers: fetchers.transpose()?,
            is_search: Reader::<D>::is_search,
            at_once,
        })
    }

    /// Does the reads of one step or hands them to a pool; one too many is refused. Never waits for the disk.
    /// `done` takes the results that are there now.
    pub(crate) fn take(&self, reads: Vec<(u64, ReadJob)>, done: impl Fn(Event)) {
        for (i, (number, job)) in reads.into_iter().enumerate() {
            let at_once = if i < HERE { (self.at_once)(&job) } else { None };
            let pool = if (self.is_search)(&job) { &self.searchers } else { &self.readers };
            let result = match at_once {
                None if pool.jobs.len() < WAITING => {
                    pool.jobs.push((number, job, Instant::now()));
                    continue;
                }
                None => ReadResult::Failed(format!("{WAITING} reads are waiting already; try again")),
                Some(result) => result,
            };
            done(Event::Input(Input::ReadDone(number, result)));
        }
    }

    /// Reads for other replicas, nothing of it here: each is some MiB.
    pub(crate) fn fetch(&self, fetches: Vec<Given>) {
        if let Some(fetchers) = &self.fetchers {
            fetchers.jobs.extend(fetches);
        }
    }
}

/// What is read for another replica.
pub(crate) enum Given {
    /// Entries that it lacks and that are not in memory any more.
    Entries(Fetch),
    /// Bytes of the log.
    Part(PartJob),
}

fn giving<D: Disk>(reader: &Arc<Reader<D>>, core: &Arc<Core>) -> Arc<Perform<Given>> {
    let (reader, core) = (Arc::clone(reader), Arc::clone(core));
    let failing = Mutex::new(RareWarning::default());
    Arc::new(move |given: Given| {
        let fetch = match given {
            Given::Entries(fetch) => fetch,
            Given::Part(job) => {
                let bytes = reader.part(&job);
                return core.push(Event::Input(Input::PartRead(job, bytes)));
            }
        };
        let entries = reader.fetch(&fetch).inspect_err(|error| {
            failing.lock().unwrap_or_else(PoisonError::into_inner).say(|| {
                format!(
                    "entries from {} on that another replica lacks cannot be read: {error}; what is damaged is fetched from a \
                     third one, and until then this one has to wait",
                    fetch.indexes.start
                )
            });
        });
        tell_damage(&reader, &core);
        core.push(Event::Input(Input::Fetched(fetch.number, entries.ok())));
    })
}

/// Has damage repaired that was met, in a group of several.
pub(crate) fn tell_damage<D: Disk>(reader: &Reader<D>, core: &Core) {
    let met = reader.take_met();
    if !met.is_empty() {
        core.extend(met.into_iter().map(|at| Event::Input(Input::MetDamage(at))));
    }
}

/// Number, job, and when it was asked for.
type Asked = (u64, ReadJob, Instant);

type Perform<J> = dyn Fn(J) + Send + Sync;

/// Threads that read, oldest first.
struct Pool<J> {
    jobs: Arc<Inbox<J>>,
}

impl<J: Send + 'static> Pool<J> {
    fn start(name: &str, threads: usize, perform: &Arc<Perform<J>>) -> std::io::Result<Self> {
        let jobs: Arc<Inbox<J>> = Arc::default();
        for i in 0..threads {
            let (jobs, perform) = (Arc::clone(&jobs), Arc::clone(perform));
            let work = move || {
                loop {
                    perform(jobs.take_one());
                }
            };
            thread::Builder::new().name(format!("{name}-{i}")).spawn(work)?;
        }
        Ok(Pool { jobs })
    }
}

impl Rebuilder {
    /// Starts its thread, which looks at once.
    fn start<D: Disk>(self: &Arc<Self>, reader: Arc<Reader<D>>) -> std::io::Result<()> {
        let this = Arc::clone(self);
        self.wake();
        let work = move || {
            loop {
                this.0.take_one();
                rebuild(&reader);
            }
        };
        thread::Builder::new().name("index-rebuild".to_owned()).spawn(work).map(|_| ())
    }

    fn wake(&self) {
        // One that has not been seen is enough.
        if self.0.is_empty() {
            self.0.push(());
        }
    }
}

/// Makes the index runs again that were found damaged or missing, one after the other.
fn rebuild<D: Disk>(reader: &Reader<D>) {
    let mut made = 0;
    loop {
        match reader.rebuild_one() {
            Ok(true) => made += 1,
            Ok(false) if made > 0 => return tracing::info!("{made} index runs were made again"),
            Ok(false) => return,
            Err(error) => return tracing::error!("an index run cannot be made again: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use steadfast_store::unit::QueueName;
    use steadfast_types::{LogOffset, QueueId, QueueOffset};

    use super::*;

    fn search() -> ReadJob {
        let queue = QueueName::new("T", QueueId::new(0));
        ReadJob::Units { queue, offsets: QueueOffset::ZERO..QueueOffset::new(1) }
    }

    fn pull() -> ReadJob {
        ReadJob::Records { units: Vec::new(), max_bytes: 1, committed: LogOffset::ZERO }
    }

    /// Searches that wait, however many, take no thread from consumers.
    #[test]
    fn consumers_do_not_wait_behind_searches() {
        let ((release, gate), (tell, done)) = (channel::<()>(), channel());
        let gate = Mutex::new(gate);
        let perform: Arc<Perform<Asked>> = Arc::new(move |(number, job, _): Asked| {
            if matches!(job, ReadJob::Units { .. }) {
                // Until the test lets them go.
                let _ = gate.lock().expect("not poisoned").recv();
            }
            tell.send(number).expect("the test waits");
        });
        let readers = Readers {
            readers: Pool::start("reader", THREADS, &perform).unwrap(),
            searchers: Pool::start("searcher", SEARCHERS, &perform).unwrap(),
            fetchers: None,
            is_search: Reader::<crate::disk::RealDisk>::is_search,
            at_once: Box::new(|_| None),
        };
        let searches = 10 * (THREADS + SEARCHERS) as u64;
        readers.take((0..searches).map(|number| (number, search())).collect(), |_| panic!("not done"));
        readers.take(vec![(1_000, pull())], |_| panic!("not done"));
        assert_eq!(done.recv_timeout(2 * PATIENCE), Ok(1_000), "while all searches wait");
        drop(release);
        let mut rest: Vec<u64> = done.iter().take(searches as usize).collect();
        rest.sort_unstable();
        assert!(rest.into_iter().eq(0..searches));
    }
}
