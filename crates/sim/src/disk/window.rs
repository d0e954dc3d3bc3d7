//! What one writer did, call by call, and has not been told the end of.
//!
//! A simulated program calls the disk and has its answer at once, but the world lets time pass before it acts
//! on that answer. All calls between two [`VirtualDisk::take_window`](super::VirtualDisk::take_window) form a
//! window: one thread's calls, one after the other. Until the world settles the window a crash may fall
//! between any two of them or into one: what came before is done, what came after never happened.

use std::ops::Range;

use super::inode::InodeNo;
use crate::clock::Micros;

/// Names a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct WindowId(pub(super) u64);

/// What [`VirtualDisk::take_window`](super::VirtualDisk::take_window) returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// To settle it later.
    pub window: WindowId,
    /// How long the calls take, all together.
    pub latency: Micros,
    /// How many of them change something; 0 means there is nothing to settle.
    pub changes: usize,
}

/// Which call something is from: the window and the call's number on this disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    pub(super) window: WindowId,
    pub(super) seq: u64,
}

/// A call that changes something.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) seq: u64,
    pub(super) what: Change,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A write into the page cache, to these sectors.
    Cached(InodeNo, Range<u64>),
    /// A write to the medium.
    Direct(InodeNo, Range<u64>),
    /// A sync of a file.
    Sync(InodeNo),
    /// A file was created, renamed or removed.
    Name,
    /// A sync of a directory.
    SyncDir(String),
}

/// The calls of a window that change something.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) steps: Vec<Step>,
    pub(super) latency: Micros,
}
