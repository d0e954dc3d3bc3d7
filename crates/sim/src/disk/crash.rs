//! What a crash leaves behind.

use super::inode::keep_percent;
use super::state::State;
use super::window::{Change, Step};
use crate::rng::Rng;

impl State {
    /// The process dies: the page cache survives, calls in flight are cut off.
    pub(super) fn process_kill(&mut self, rng: &mut Rng) {
        self.cut_windows(rng);
        for inode in self.inodes.values_mut() {
            inode.evict(rng);
            inode.opens = 0;
        }
        self.epoch += 1;
        self.collect();
    }

    /// The power goes: the page cache is gone, too.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        self.cut_windows(rng);
        let keep = keep_percent(rng);
        self.names.cut(keep, rng);
        for inode in self.inodes.values_mut() {
            let keep = keep_percent(rng);
            inode.cut(keep, rng);
        }
        self.epoch += 1;
        self.collect();
    }

    /// Each writer is somewhere in its window: before the first call, after the last, or in one of them.
    fn cut_windows(&mut self, rng: &mut Rng) {
        for (id, window) in std::mem::take(&mut self.windows) {
            let steps = window.steps;
            let cut = match rng.below(4) {
                0 => 0,
                1 => steps.len(),
                _ => rng.index(steps.len() + 1),
            };
            steps[..cut].iter().for_each(|step| self.complete(step));
            if let Some(step) = steps.get(cut) {
                self.inodes.values_mut().for_each(|inode| inode.undo_after(id, step.seq));
                self.names.undo_after(id, step.seq);
                self.tear(step, rng);
            }
        }
        self.open.0 += 1;
    }

    /// A call was cut off.
    fn tear(&mut self, step: &Step, rng: &mut Rng) {
        match &step.what {
            Change::Cached(number, range) => {
                if let Some(inode) = self.inodes.get_mut(number) {
                    inode.tear_cached(step.seq, range.clone(), rng);
                }
            }
            Change::Direct(number, range) => {
                if let Some(inode) = self.inodes.get_mut(number) {
                    inode.tear_direct(step.seq, range.clone(), rng);
                }
            }
            Change::Name => {
                if rng.percent(50) {
                    self.names.undo(step.seq);
                }
            }
            // Some of it may have been written: as with any dirty data.
            Change::Sync(_) | Change::SyncDir(_) => {}
        }
    }
}
