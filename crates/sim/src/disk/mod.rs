//! A disk in memory that fails in every way the store's contract allows, and in some that it calls damage.
//!
//! ```text
//! program          open / write_at / sync / rename …      the Disk contract
//! world            take_window … settle                    when calls are done (see `window`)
//!                  power_cut, process_kill                 what a crash leaves (`crash`)
//!                  plan(Fault), heal, set_capacity         errors, short writes, stalls, lies (`fault`)
//!                  flip, garble, lose, plant, wipe, copy   damage at rest (`damage`)
//! ```
//!
//! By default every call is done when it returns, as on a real disk. A world that lets time pass while the
//! disk works calls [`VirtualDisk::defer`]: then calls show their effect to readers at once, but are done only
//! when the world settles the window they belong to.

mod crash;
mod damage;
mod fault;
mod file;
mod image;
mod inode;
mod names;
mod state;
#[cfg(test)]
mod tests;
mod window;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use steadfast_store::disk::{Disk, Mode, Space};

use crate::rng::Rng;
use crate::trace::Hasher;
use state::State;

pub use damage::Flip;
pub use fault::{Effect, Fault, Latency, Op};
pub use file::VirtualFile;
pub use state::DiskCopy;
pub use window::{Submitted, WindowId};

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct VirtualDisk(Arc<Mutex<State>>);

impl VirtualDisk {
    /// An empty disk without limits. Latencies and the luck of failing writes come from `rng`.
    pub fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(State::new(rng))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside is a failed test, whose report may still want to look at the disk.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on calls are done when their window is settled.
    pub fn defer(&self) {
        self.state().deferred = true;
    }

    /// Sets how long calls take.
    pub fn set_latency(&self, latency: Latency) {
        self.state().latency = latency;
    }

    /// Ends the open window, which holds all calls since the last time; the world lets its latency pass and
    /// then settles it. Several windows may be in flight, one for each thread that writes.
    pub fn take_window(&self) -> Submitted {
        let mut state = self.state();
        let id = state.open;
        let window = state.window();
        let submitted = Submitted { window: id, latency: window.latency, changes: window.steps.len() };
        if submitted.changes == 0 {
            state.windows.remove(&id);
        }
        state.open.0 += 1;
        submitted
    }

    /// The calls of a window are done. False if a crash came first (or if there was nothing to settle).
    pub fn settle(&self, window: WindowId) -> bool {
        self.state().settle(window)
    }

    /// Settles everything, the open window too.
    pub fn settle_all(&self) {
        let mut state = self.state();
        let all: Vec<_> = state.windows.keys().copied().collect();
        for window in all {
            state.settle(window);
        }
    }

    /// How many windows with changes are not settled.
    pub fn in_flight(&self) -> usize {
        self.state().windows.values().filter(|window| !window.steps.is_empty()).count()
    }

    /// The power goes. What is not durable stays or goes, sector by sector and name by name, in any
    /// combination. Open files are void.
    pub fn power_cut(&self, rng: &mut Rng) {
        self.state().power_cut(rng);
    }

    /// The process dies. Buffered writes that returned survive; calls in flight are done, half done or not done.
    /// Open files are void.
    pub fn process_kill(&self, rng: &mut Rng) {
        self.state().process_kill(rng);
    }

    /// The page cache drops some pages that it takes for clean: after a failed sync old content may show again.
    pub fn evict(&self, rng: &mut Rng) {
        self.state().inodes.values_mut().for_each(|inode| inode.evict(rng));
    }

    /// Plans a fault.
    pub fn plan(&self, fault: Fault) {
        self.state().faults.plan(fault);
    }

    /// Drops all planned faults.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// Drops the planned faults that answer reads with what lies elsewhere or was there before.
    pub fn read_right(&self) {
        self.state().faults.read_right();
    }

    /// How many planned faults can still strike.
    pub fn faults(&self) -> usize {
        self.state().faults.pending()
    }

    /// How many calls were struck by faults so far.
    pub fn strikes(&self) -> u64 {
        self.state().faults.strikes
    }

    /// Sets the size in bytes; below what is used, nothing more can be written.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// A copy of the disk as it is now, with everything in flight, to try several crashes on. Handles stay with
    /// the original.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.epoch += 1;
        state.inodes.values_mut().for_each(|inode| inode.opens = 0);
        Self(Arc::new(Mutex::new(state)))
    }

    /// A file's content as a running process sees it.
    pub fn peek(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.inode(state.names.get(path)?);
        let mut content = vec![0; inode.len() as usize];
        inode.read(&mut content, 0);
        Some(content)
    }

    /// Paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.state().names.iter().map(|(path, _)| path.to_owned()).collect()
    }

    /// A hash over all calls so far.
    pub fn history(&self) -> u64 {
        self.state().history.0
    }

    /// A hash over all names and contents, as a running process sees them.
    pub fn digest(&self) -> u64 {
        let mut hasher = Hasher::default();
        for path in self.paths() {
            hasher.bytes(path.as_bytes());
            let content = self.peek(&path).unwrap_or_default();
            hasher.number(content.len() as u64);
            hasher.bytes(&content);
        }
        hasher.0
    }
}

impl Disk for VirtualDisk {
    type File = VirtualFile;

    fn open(&self, path: &str, mode: Mode) -> io::Result<VirtualFile> {
        let mut state = self.state();
        let (inode, epoch) = (state.open(path, mode)?, state.epoch);
        drop(state);
        Ok(VirtualFile::new(self.clone(), inode, path, mode, epoch))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.state().create_dir(path);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.state().list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state().rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.state().remove(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.state().sync_dir(dir)
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state();
        Ok(Space { total: state.capacity, free: state.free_bytes() })
    }
}
