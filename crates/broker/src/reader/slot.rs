//! One stretch of the log and its index run, which one thread at a time makes again if it has to be.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_store::disk::Disk;
use steadfast_store::run::Run;
use steadfast_types::LogOffset;

use super::Late;

/// Between two questions of a thread that waits whether it is late.
const LOOK_UP: Duration = Duration::from_millis(20);

/// A stretch and its run.
pub(super) struct Slot<D: Disk> {
    pub(super) covers: Range<LogOffset>,
    run: Mutex<State<D>>,
    /// Told when a run is complete, or was given up.
    settled: Condvar,
}

enum State<D: Disk> {
    Ready(Arc<Run<D>>),
    /// Damaged, or not there.
    Missing,
    /// A thread makes it again.
    InTheMaking,
}

/// Why there is no run.
pub(super) enum NoRun<E> {
    Late,
    Failed(E),
}

impl<D: Disk> Slot<D> {
    pub(super) fn new(covers: Range<LogOffset>, run: Option<Run<D>>) -> Self {
        let state = run.map_or(State::Missing, |run| State::Ready(Arc::new(run)));
        Self { covers, run: Mutex::new(state), settled: Condvar::new() }
    }

    /// The run, if it can be used as it is. Does not wait.
    pub(super) fn ready(&self) -> Option<Arc<Run<D>>> {
        match &*self.lock() {
            State::Ready(run) => Some(Arc::clone(run)),
            State::Missing | State::InTheMaking => None,
        }
    }

    /// Whether nobody makes the run again, although it is missing.
    pub(super) fn is_missing(&self) -> bool {
        matches!(*self.lock(), State::Missing)
    }

    /// A page of `damaged` does not verify. It may have been replaced meanwhile.
    pub(super) fn discard(&self, damaged: &Run<D>) {
        let mut state = self.lock();
        if matches!(&*state, State::Ready(run) if std::ptr::eq(&**run, damaged)) {
            *state = State::Missing;
        }
    }

    /// The run; if there is none, `make` makes it. Waits while another thread does, until it is late.
    pub(super) fn get_or_make<E>(
        &self,
        late: Late<'_>,
        make: impl FnOnce() -> Result<Arc<Run<D>>, NoRun<E>>,
    ) -> Result<Arc<Run<D>>, NoRun<E>> {
        let mut state = self.lock();
        loop {
            match &*state {
                State::Ready(run) => return Ok(Arc::clone(run)),
                _ if late() => return Err(NoRun::Late),
                State::Missing => break,
                State::InTheMaking => {
                    let waited = self.settled.wait_timeout(state, LOOK_UP);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        *state = State::InTheMaking;
        drop(state);
        let made = make();
        *self.lock() = match &made {
            Ok(run) => State::Ready(Arc::clone(run)),
            Err(_) => State::Missing,
        };
        self.settled.notify_all();
        made
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
