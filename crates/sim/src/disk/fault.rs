//! Faults by plan: which call, on which file, when, how often, and what happens.

use crate::clock::Micros;
use crate::rng::Rng;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Any of them.
    Any,
    /// Opening, for whatever mode.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Renaming a file; the path is the old name.
    Rename,
    /// Removing a file.
    Remove,
    /// Syncing a directory.
    SyncDir,
    /// Listing a directory.
    List,
}

/// What a fault does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It fails with an I/O error. A failed write has reached any of its sectors or none; after a failed sync
    /// the kernel takes what was dirty for clean, so that a second sync succeeds without writing it.
    Error,
    /// A write takes only a part, in whole sectors, and says so.
    Short,
    /// It takes so much longer.
    Stall(Micros),
    /// It says that all is well and does nothing: a lying disk. Buffered writes stay readable until the page
    /// cache is gone. Writes, syncs and directory syncs only.
    Lost,
    /// A read is answered with what lies elsewhere in the file, and nobody says so.
    Misdirected,
    /// A read is answered, from some sector on, with what was there before anything was written: zeroes.
    Stale,
}

impl Effect {
    fn is_misreading(self) -> bool {
        matches!(self, Self::Misdirected | Self::Stale)
    }
}

/// A planned fault.
#[derive(Debug, Clone)]
pub struct Fault {
    op: Op,
    path: String,
    skip: u32,
    times: Option<u32>,
    effect: Effect,
}

impl Fault {
    /// Strikes one call.
    pub fn once(op: Op, effect: Effect) -> Self {
        Self { op, path: String::new(), skip: 0, times: Some(1), effect }
    }

    /// Strikes every call until it is healed.
    pub fn sticky(op: Op, effect: Effect) -> Self {
        Self { times: None, ..Self::once(op, effect) }
    }

    /// Only files whose path contains `part`.
    #[must_use]
    pub fn on(self, part: &str) -> Self {
        Self { path: part.to_owned(), ..self }
    }

    /// Spares the next `calls` calls that it would strike.
    #[must_use]
    pub fn after(self, calls: u32) -> Self {
        Self { skip: calls, ..self }
    }

    /// Strikes so many calls.
    #[must_use]
    pub fn times(self, calls: u32) -> Self {
        Self { times: Some(calls), ..self }
    }

    /// What it is called in statistics.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.effect, self.times) {
            (Effect::Error, Some(_)) => "disk error",
            (Effect::Error, None) => "lasting disk error",
            (Effect::Short, _) => "short write",
            (Effect::Stall(_), _) => "stall",
            (Effect::Lost, _) => "lost write",
            (Effect::Misdirected | Effect::Stale, _) => "misread",
        }
    }

    /// What happens to this call, if it is struck.
    fn strike(&mut self, op: Op, path: &str) -> Option<Effect> {
        if (self.op != Op::Any && self.op != op) || !path.contains(&self.path) || self.times == Some(0) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times = self.times.map(|times| times - 1);
        Some(self.effect)
    }
}

/// The faults of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    /// How many calls were struck.
    pub(super) strikes: u64,
}

/// What the faults make of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fate {
    pub(super) stall: Micros,
    pub(super) error: bool,
    pub(super) short: bool,
    pub(super) lost: bool,
    pub(super) misdirected: bool,
    pub(super) stale: bool,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    pub(super) fn heal(&mut self) {
        self.planned.clear();
    }

    pub(super) fn read_right(&mut self) {
        self.planned.retain(|fault| !fault.effect.is_misreading());
    }

    /// Faults that have not struck out yet.
    pub(super) fn pending(&self) -> usize {
        self.planned.iter().filter(|fault| fault.times != Some(0)).count()
    }

    pub(super) fn strike(&mut self, op: Op, path: &str) -> Fate {
        let mut fate = Fate::default();
        if self.planned.is_empty() {
            return fate;
        }
        for fault in &mut self.planned {
            let struck = fault.strike(op, path);
            self.strikes += u64::from(struck.is_some());
            match struck {
                Some(Effect::Error) => fate.error = true,
                Some(Effect::Short) => fate.short = true,
                Some(Effect::Lost) => fate.lost = true,
                Some(Effect::Misdirected) => fate.misdirected = true,
                Some(Effect::Stale) => fate.stale = true,
                Some(Effect::Stall(span)) => fate.stall += span,
                None => {}
            }
        }
        self.planned.retain(|fault| fault.times != Some(0));
        fate
    }
}

/// How long calls take without faults: ranges in microseconds, skewed to their start.
#[derive(Debug, Clone)]
pub struct Latency {
    /// A read.
    pub read: std::ops::Range<u64>,
    /// A write into the page cache.
    pub cached_write: std::ops::Range<u64>,
    /// A write to the medium.
    pub durable_write: std::ops::Range<u64>,
    /// Further time for each KiB written to the medium.
    pub per_kib: u64,
    /// A sync of a file or directory.
    pub sync: std::ops::Range<u64>,
}

impl Default for Latency {
    /// A solid state disk with a tail, as measured for the design.
    fn default() -> Self {
        Self { read: 20..500, cached_write: 2..20, durable_write: 50..5_000, per_kib: 1, sync: 100..20_000 }
    }
}

impl Latency {
    /// No call takes any time.
    pub fn none() -> Self {
        Self { read: 0..1, cached_write: 0..1, durable_write: 0..1, per_kib: 0, sync: 0..1 }
    }

    /// A disk that takes so many times as long for what reaches the medium.
    #[must_use]
    pub(crate) fn slower(self, times: u64) -> Self {
        let scale = |range: std::ops::Range<u64>| range.start * times..range.end * times;
        Self {
            read: scale(self.read),
            durable_write: scale(self.durable_write),
            per_kib: self.per_kib * times,
            sync: scale(self.sync),
            ..self
        }
    }

    pub(super) fn draw(range: &std::ops::Range<u64>, rng: &mut Rng) -> Micros {
        Micros::new(rng.skewed(range.clone()))
    }
}
