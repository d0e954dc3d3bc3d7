//! What a replica's disk does so that damage is repaired: its own with what others have, and theirs with what it has.

use std::sync::PoisonError;

use bytes::Bytes;
use steadfast_consensus::Fetch;
use steadfast_store::disk::{Disk, DiskFile, Mode};
use steadfast_store::log::{Entry, Mended, Next, WalkError, segment_path};
use steadfast_types::LogOffset;

use super::Reader;
use crate::io::{MendDone, MendJob, PartJob};

impl<D: Disk> Reader<D> {
    /// Entries for another replica, each with the log offset of its frame.
    pub fn fetch(&self, fetch: &Fetch) -> Result<Vec<(Entry, LogOffset)>, WalkError> {
        fetch.perform(&self.disk, self.layout).inspect_err(|error| {
            if let WalkError::Damaged(at) = error {
                self.meet(*at);
            }
        })
    }

    /// Bytes of the log for another replica, as they are here; None if they are not. That they are whole, it sees for itself.
    pub fn part(&self, job: &PartJob) -> Option<Bytes> {
        let (start, len) = (job.stretch.start, job.stretch.end.get() - job.stretch.start.get());
        let base = self.layout.base_of(start);
        if self.is_gone(base) {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        let file = self.disk.open(&segment_path(base), Mode::Read).ok()?;
        let read = file.read_at(&mut bytes, start.get() - base.get()).ok()?;
        (read == bytes.len()).then(|| bytes.into())
    }

    /// Goes on with a segment that is being mended. Never while files are freed.
    pub fn mend(&self, job: MendJob) -> MendDone {
        let MendJob { mut mend, part } = job;
        if self.is_gone(mend.base()) {
            return MendDone { mend, result: Ok(Next::Whole(Mended::default())) };
        }
        let result = mend.go_on(&self.disk, part);
        if let Ok(Next::Whole(_)) = result {
            self.restored(mend.base());
        }
        MendDone { mend, result }
    }

    /// The bytes of a segment are others than they were when they were read or an index run was made of them.
    fn restored(&self, base: LogOffset) {
        self.log.forget(base);
        let is_here = |at: LogOffset| self.layout.base_of(at) == base;
        let mut fenced = self.fenced.write().unwrap_or_else(PoisonError::into_inner);
        let here: Vec<LogOffset> =
            fenced.iter().map(|f| f.unit.log_offset).filter(|at| is_here(*at)).collect();
        fenced.retain(|f| !is_here(f.unit.log_offset));
        drop(fenced);
        for slot in self.slots().iter().filter(|slot| here.iter().any(|at| slot.covers.contains(at))) {
            if let Some(run) = slot.ready() {
                slot.discard(&run);
            }
        }
    }

    /// Damage was met at a place of the log.
    pub(super) fn meet(&self, at: LogOffset) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let last = met.entry(self.layout.base_of(at)).or_default();
        *last = at.max(*last);
    }

    /// Where damage was met since the last call, in each segment the last place.
    pub fn take_met(&self) -> Vec<LogOffset> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *met).into_values().collect()
    }
}
