//! A disk's whole state and the calls on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};

use steadfast_audit::Digest;
use steadfast_store::disk::{BLOCK, Mode, SECTOR};

use super::fault::{Fate, Faults, Latency, Op};
use super::image::sectors;
use super::inode::{Inode, InodeNo, Kind, is_zero};
use super::names::{Names, parent};
use super::window::{Change, Stamp, Step, Window, WindowId};
use crate::clock::Micros;
use crate::rng::Rng;
use crate::trace::Hasher;

/// All files of a disk at some time.
#[derive(Debug, Clone)]
pub struct DiskCopy {
    inodes: BTreeMap<InodeNo, Inode>,
    names: Names,
    dirs: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) inodes: BTreeMap<InodeNo, Inode>,
    pub(super) names: Names,
    dirs: BTreeSet<String>,
    pub(super) faults: Faults,
    pub(super) latency: Latency,
    pub(super) capacity: u64,
    /// Whether calls are done when they return, or when the world says so.
    pub(super) deferred: bool,
    pub(super) windows: BTreeMap<WindowId, Window>,
    pub(super) open: WindowId,
    /// Crashes so far; handles from before one are void.
    pub(super) epoch: u64,
    seq: u64,
    next_inode: InodeNo,
    pub(super) history: Hasher,
}

impl State {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            inodes: BTreeMap::new(),
            names: Names::default(),
            dirs: BTreeSet::from([String::new()]),
            faults: Faults::default(),
            latency: Latency::default(),
            capacity: u64::MAX,
            deferred: false,
            windows: BTreeMap::new(),
            open: WindowId(1),
            epoch: 0,
            seq: 0,
            next_inode: 1,
            history: Hasher::default(),
        }
    }

    pub(super) fn inode(&self, number: InodeNo) -> &Inode {
        self.inodes.get(&number).expect("an open or named file exists")
    }

    pub(super) fn inode_mut(&mut self, number: InodeNo) -> &mut Inode {
        self.inodes.get_mut(&number).expect("an open or named file exists")
    }

    pub(super) fn new_inode(&mut self) -> InodeNo {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, Inode::default());
        number
    }

    /// The open window.
    pub(super) fn window(&mut self) -> &mut Window {
        self.windows.entry(self.open).or_default()
    }

    /// A call begins: it goes into the history, takes its time and meets its fate.
    fn begin(&mut self, op: Op, path: &str, numbers: [u64; 2]) -> Fate {
        self.history.bytes(&[op as u8]);
        self.history.bytes(path.as_bytes());
        numbers.iter().for_each(|number| self.history.number(*number));
        let fate = self.faults.strike(op, path);
        self.spend(fate.stall);
        fate
    }

    fn spend(&mut self, span: Micros) {
        self.window().latency += span;
    }

    fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        Stamp { window: self.open, seq: self.seq }
    }

    /// A call that changes something ends.
    fn done(&mut self, stamp: Stamp, what: Change) {
        self.window().steps.push(Step { seq: stamp.seq, what });
        if !self.deferred {
            let latency = self.window().latency;
            self.settle(self.open);
            self.window().latency = latency;
        }
    }

    pub(super) fn open(&mut self, path: &str, mode: Mode) -> io::Result<InodeNo> {
        let fate = self.begin(Op::Open, path, [0; 2]);
        if fate.error {
            return Err(io_error("opening", path));
        }
        let number = match self.names.get(path) {
            Some(number) => number,
            None if mode == Mode::Read || !self.dirs.contains(parent(path)) => return Err(missing(path)),
            None => {
                let number = self.new_inode();
                let stamp = self.stamp();
                self.names.change(stamp, vec![(path.to_owned(), Some(number))]);
                self.done(stamp, Change::Name);
                number
            }
        };
        self.inode_mut(number).opens += 1;
        Ok(number)
    }

    pub(super) fn close(&mut self, number: InodeNo) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.opens = inode.opens.saturating_sub(1);
        }
        self.collect();
    }

    /// Frees files without a name and without a handle.
    pub(super) fn collect(&mut self) {
        let referenced = self.names.referenced();
        self.inodes.retain(|number, inode| inode.opens > 0 || referenced.contains(number));
    }

    pub(super) fn create_dir(&mut self, path: &str) {
        let mut dir = path;
        while !dir.is_empty() {
            self.dirs.insert(dir.to_owned());
            dir = parent(dir);
        }
    }

    /// Starts anew; numbers go on, so that nothing from before fits.
    pub(super) fn wipe(&mut self) {
        let fresh = Self::new(self.rng.split());
        let old = std::mem::replace(self, fresh);
        self.latency = old.latency;
        self.capacity = old.capacity;
        self.deferred = old.deferred;
        self.history = old.history;
        self.epoch = old.epoch + 1;
        self.open = WindowId(old.open.0 + 1);
        self.seq = old.seq;
        self.next_inode = old.next_inode;
    }

    /// The files as they are; nothing may be under way.
    pub(super) fn copy(&self) -> DiskCopy {
        let mut inodes = self.inodes.clone();
        inodes.values_mut().for_each(|inode| inode.opens = 0);
        DiskCopy { inodes, names: self.names.clone(), dirs: self.dirs.clone() }
    }

    /// As [`State::wipe`], with the files of a copy.
    pub(super) fn restore(&mut self, copy: &DiskCopy) {
        self.wipe();
        let DiskCopy { inodes, names, dirs } = copy.clone();
        (self.inodes, self.names, self.dirs) = (inodes, names, dirs);
    }

    pub(super) fn list(&mut self, dir: &str) -> io::Result<Vec<String>> {
        if self.begin(Op::List, dir, [0; 2]).error {
            return Err(io_error("listing", dir));
        }
        if !self.dirs.contains(dir) {
            return Err(missing(dir));
        }
        let prefix = if dir.is_empty() { 0 } else { dir.len() + 1 };
        let names = self.names.iter().filter(|(path, _)| parent(path) == dir);
        Ok(names.map(|(path, _)| path[prefix..].to_owned()).collect())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        if self.begin(Op::Rename, from, [0; 2]).error {
            return Err(io_error("renaming", from));
        }
        let number = self.names.get(from).ok_or_else(|| missing(from))?;
        if !self.dirs.contains(parent(to)) {
            return Err(missing(to));
        }
        if from != to {
            let stamp = self.stamp();
            self.names.change(stamp, vec![(from.to_owned(), None), (to.to_owned(), Some(number))]);
            self.done(stamp, Change::Name);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        if self.begin(Op::Remove, path, [0; 2]).error {
            return Err(io_error("removing", path));
        }
        self.names.get(path).ok_or_else(|| missing(path))?;
        let stamp = self.stamp();
        self.names.change(stamp, vec![(path.to_owned(), None)]);
        self.done(stamp, Change::Name);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        let fate = self.begin(Op::SyncDir, dir, [0; 2]);
        let latency = Latency::draw(&self.latency.sync, &mut self.rng);
        self.spend(latency);
        if fate.error {
            return Err(io_error("syncing", dir));
        }
        if !self.dirs.contains(dir) {
            return Err(missing(dir));
        }
        if !fate.lost {
            let stamp = self.stamp();
            self.done(stamp, Change::SyncDir(dir.to_owned()));
        }
        Ok(())
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let named: BTreeSet<_> = self.names.iter().map(|(_, number)| number).collect();
        let held = self.inodes.iter().filter(|(number, inode)| inode.opens > 0 || named.contains(number));
        let used: u64 = held.map(|(_, inode)| inode.len()).sum();
        self.capacity.saturating_sub(used)
    }

    pub(super) fn read(&mut self, number: InodeNo, path: &str, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let fate = self.begin(Op::Read, path, [at, buf.len() as u64]);
        let latency = Latency::draw(&self.latency.read, &mut self.rng);
        self.spend(latency);
        if fate.error {
            return Err(io_error("reading", path));
        }
        if fate.misdirected {
            return Ok(self.misread(number, buf, at));
        }
        let read = self.inode(number).read(buf, at);
        if fate.stale && read > 0 {
            let from = self.rng.index(read) / SECTOR * SECTOR;
            buf[from..read].fill(0);
        }
        Ok(read)
    }

    /// Reads from another block of the file; as much as was asked for, if there is.
    fn misread(&mut self, number: InodeNo, buf: &mut [u8], at: u64) -> usize {
        let right = self.inode(number).len().saturating_sub(at).min(buf.len() as u64) as usize;
        let blocks = self.inode(number).len() / BLOCK as u64;
        let shift = if blocks > 0 { self.rng.below(blocks) * BLOCK as u64 } else { 0 };
        let read = self.inode(number).read(&mut buf[..right], shift + at % BLOCK as u64);
        buf[read..right].fill(0);
        right
    }

    pub(super) fn write(
        &mut self,
        number: InodeNo,
        (path, mode): (&str, Mode),
        buf: &[u8],
        at: u64,
    ) -> io::Result<usize> {
        let fate = self.begin(Op::Write, path, [at, buf.len() as u64]);
        if mode == Mode::Read {
            return Err(io::Error::new(
                ErrorKind::PermissionDenied,
                format!("{path} is open for reading only"),
            ));
        }
        self.history.number(if is_zero(buf) { 0 } else { Digest::of(&[buf]).get() });
        self.spend_write(mode, buf.len());
        if buf.is_empty() {
            return Ok(0);
        }
        let mut len = self.room(number, path, mode, buf.len(), at)?;
        if fate.short && len > 1 {
            let parts = (len - 1) / SECTOR;
            len = if parts > 0 { (self.rng.index(parts) + 1) * SECTOR } else { self.rng.index(len - 1) + 1 };
        }
        let kind = match mode {
            Mode::Durable if fate.lost => return Ok(len),
            Mode::Durable => Kind::Direct,
            _ if fate.lost => Kind::Orphaned,
            _ => Kind::Cached,
        };
        let range = sectors(at, len);
        self.check_not_in_flight(number, path, kind, range.clone());
        let (stamp, horizon) = (self.stamp(), self.horizon());
        let mut luck = self.rng.split();
        let take = || !fate.error || luck.percent(50);
        self.inode_mut(number).write((stamp, horizon), kind, (&buf[..len], at), take);
        let direct = kind == Kind::Direct;
        let what = if direct { Change::Direct(number, range) } else { Change::Cached(number, range) };
        self.done(stamp, what);
        if fate.error { Err(io_error("writing", path)) } else { Ok(len) }
    }

    /// The first call that is not settled.
    fn horizon(&self) -> u64 {
        let first = self.windows.values().filter_map(|window| window.steps.first()).map(|step| step.seq);
        first.min().unwrap_or(self.seq)
    }

    fn spend_write(&mut self, mode: Mode, len: usize) {
        let mut span = if mode == Mode::Durable {
            Latency::draw(&self.latency.durable_write, &mut self.rng)
        } else {
            Latency::draw(&self.latency.cached_write, &mut self.rng)
        };
        if mode == Mode::Durable {
            span += Micros::new(self.latency.per_kib * (len as u64).div_ceil(1024));
        }
        self.spend(span);
    }

    /// How many of `len` bytes fit on the disk.
    fn room(&self, number: InodeNo, path: &str, mode: Mode, len: usize, at: u64) -> io::Result<usize> {
        let growth = (at + len as u64).saturating_sub(self.inode(number).len());
        if growth == 0 {
            return Ok(len);
        }
        let excess = growth.saturating_sub(self.free_bytes());
        let room = (len as u64).saturating_sub(excess) as usize;
        let room = if mode == Mode::Durable { room - room % BLOCK } else { room };
        if room == 0 {
            return Err(io::Error::new(ErrorKind::StorageFull, format!("no space left for {path}")));
        }
        Ok(room)
    }

    /// Two writes in flight that share a block could land in any order: the store promises not to do that.
    fn check_not_in_flight(&self, number: InodeNo, path: &str, kind: Kind, range: std::ops::Range<u64>) {
        let in_flight = self.windows.iter().filter(|(id, _)| **id != self.open).find(|(_, window)| {
            window.steps.iter().any(|step| {
                matches!(&step.what, Change::Direct(of, other)
                    if *of == number && other.start < range.end && range.start < other.end)
            })
        });
        if kind == Kind::Direct
            && let Some((other, _)) = in_flight
        {
            let (first, end) = (range.start, range.end);
            panic!("{path}: sectors {first}..{end} are written again while {other:?} still writes to them");
        }
    }

    pub(super) fn sync(&mut self, number: InodeNo, path: &str) -> io::Result<()> {
        let fate = self.begin(Op::Sync, path, [0; 2]);
        let latency = Latency::draw(&self.latency.sync, &mut self.rng);
        self.spend(latency);
        if fate.error {
            self.inode_mut(number).orphan();
            return Err(io_error("syncing", path));
        }
        if !fate.lost {
            let stamp = self.stamp();
            self.done(stamp, Change::Sync(number));
        }
        Ok(())
    }

    /// The calls of a window are done. False if there is none of that name (any more).
    pub(super) fn settle(&mut self, id: WindowId) -> bool {
        let Some(window) = self.windows.remove(&id) else { return false };
        for step in window.steps {
            self.complete(&step);
        }
        true
    }

    /// A step is done.
    pub(super) fn complete(&mut self, step: &Step) {
        match &step.what {
            Change::Cached(..) | Change::Name => {}
            Change::Direct(number, range) => {
                if let Some(inode) = self.inodes.get_mut(number) {
                    inode.settle_direct(step.seq, range.clone());
                }
            }
            Change::Sync(number) => {
                if let Some(inode) = self.inodes.get_mut(number) {
                    inode.settle_sync(step.seq);
                }
            }
            Change::SyncDir(dir) => {
                self.names.settle(dir, step.seq);
                self.collect();
            }
        }
    }
}

fn io_error(doing: &str, path: &str) -> io::Error {
    io::Error::other(format!("input/output error {doing} {path}"))
}

fn missing(path: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{path}: no such file or directory"))
}
