//! The faults of a run.

use std::fmt;

use steadfast_broker::{Flush, Options};

use super::damage::Damage;
use super::workload::Workload;
use crate::clock::Micros;
use crate::disk::{Effect, Fault as DiskFault, Op};
use crate::rng::Rng;

/// A process that dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    /// With the machine it runs on: the page cache is lost, too.
    pub(crate) power: bool,
    /// While the log is being written, if that happens soon.
    pub(crate) writing: bool,
    /// How often the next starts crash as well.
    pub(crate) again: u32,
    /// Time until it is started again.
    pub(crate) down: Micros,
}

impl Crash {
    pub(crate) fn draw(power: bool, rng: &mut Rng) -> Self {
        Self {
            power: power && rng.percent(50),
            writing: rng.percent(60),
            again: if rng.one_in(4) { rng.within(1..4) as u32 } else { 0 },
            down: Micros::new(rng.skewed(1_000..2_000_000)),
        }
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The process dies.
    Crash(Crash),
    /// The process is stopped cleanly and started again.
    Stop {
        /// Time until it is started again.
        down: Micros,
    },
    /// The disk misbehaves until it is healed.
    Disk {
        /// How.
        fault: DiskFault,
        /// Until it is healed.
        lasts: Micros,
    },
    /// The disk fills up, but for so many bytes, and has space again later.
    Full {
        /// Bytes left.
        left: u64,
        /// How long.
        lasts: Micros,
    },
    /// Data is damaged at rest.
    Damage(Damage),
    /// The wall clock jumps by so many milliseconds.
    Clock(i64),
    /// The connection of a random client breaks.
    Disconnect,
    /// The topics' settings change: one gets more queues.
    Grow,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(Crash { power, writing, again, down }) => {
                let what = if *power { "power cut" } else { "kill of the process" };
                let when = if *writing { " while it writes" } else { "" };
                write!(f, "{what}{when}, restart after {down}")?;
                if *again > 0 { write!(f, ", {again} more crashes while it starts") } else { Ok(()) }
            }
            Self::Stop { down } => write!(f, "clean stop, restart after {down}"),
            Self::Disk { fault, lasts } => write!(f, "{fault:?} for {lasts}"),
            Self::Full { left, lasts } => write!(f, "disk full but for {left} bytes for {lasts}"),
            Self::Damage(damage) => damage.fmt(f),
            Self::Clock(ms) => write!(f, "the clock jumps by {ms} ms"),
            Self::Disconnect => f.write_str("a connection breaks"),
            Self::Grow => f.write_str("a topic grows"),
        }
    }
}

/// Kinds of faults, of which a seed takes some.
const KINDS: [Kind; 13] = [
    Kind::Kill,
    Kind::Power,
    Kind::Stop,
    Kind::Error,
    Kind::Sticky,
    Kind::Short,
    Kind::Stall,
    Kind::Full,
    Kind::Damage,
    Kind::Damage,
    Kind::Clock,
    Kind::Disconnect,
    Kind::Grow,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Power,
    Stop,
    Error,
    Sticky,
    Short,
    Stall,
    Full,
    Damage,
    Clock,
    Disconnect,
    Grow,
}

impl Kind {
    /// Under ASYNC_FLUSH an acknowledged message is with the operating system: what loses its cache, or makes it
    /// forget dirty pages, loses messages.
    fn is_allowed(self, flush: Flush) -> bool {
        flush == Flush::Sync
            || !matches!(self, Self::Power | Self::Error | Self::Sticky | Self::Short | Self::Damage)
    }

    fn draw(self, rng: &mut Rng) -> Fault {
        match self {
            Self::Kill => Fault::Crash(Crash::draw(false, rng)),
            Self::Power => Fault::Crash(Crash { power: true, ..Crash::draw(true, rng) }),
            Self::Stop => Fault::Stop { down: Micros::millis(rng.skewed(1..1_000)) },
            Self::Error => disk(Effect::Error, false, rng),
            Self::Sticky => disk(Effect::Error, true, rng),
            Self::Short => disk(Effect::Short, false, rng),
            Self::Stall => disk(Effect::Stall(Micros::millis(rng.skewed(50..9_000))), false, rng),
            Self::Full => {
                let left = if rng.percent(30) { 0 } else { rng.skewed(1..4 << 20) };
                Fault::Full { left, lasts: Micros::millis(rng.skewed(50..20_000)) }
            }
            Self::Damage => Fault::Damage(Damage::draw(rng)),
            Self::Clock => {
                let most = *rng.pick(&[100, 10_000, 86_400_000]);
                let jump = rng.below(2 * most) as i64 - most as i64;
                Fault::Clock(jump)
            }
            Self::Disconnect => Fault::Disconnect,
            Self::Grow => Fault::Grow,
        }
    }
}

fn disk(effect: Effect, sticky: bool, rng: &mut Rng) -> Fault {
    let op = match effect {
        Effect::Short => Op::Write,
        Effect::Stall(_) => *rng.pick(&[Op::Write, Op::Read, Op::Sync]),
        _ => *rng.pick(&[
            Op::Write,
            Op::Write,
            Op::Sync,
            Op::Read,
            Op::Read,
            Op::SyncDir,
            Op::Rename,
            Op::Remove,
            Op::Open,
            Op::List,
        ]),
    };
    let fault = if sticky { DiskFault::sticky(op, effect) } else { DiskFault::once(op, effect) };
    let part = *rng.pick(&["", "", "log/", "log/", "snapshot/", "index/", "meta"]);
    let fault = fault.on(part).after(rng.skewed(0..20) as u32);
    Fault::Disk { fault, lasts: Micros::millis(rng.skewed(100..20_000)) }
}

pub(super) fn draw(options: &Options, workload: &Workload, rng: &mut Rng) -> Vec<(u32, Fault)> {
    let share = rng.within(15..70);
    let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|kind| kind.is_allowed(options.flush)).collect();
    kinds.retain(|_| rng.percent(share));
    // Without a crash there is little to see.
    let crash = if options.flush == Flush::Sync && rng.percent(60) { Kind::Power } else { Kind::Kill };
    let mut faults: Vec<(u32, Fault)> = (0..rng.within(1..6)).map(|_| (0, crash.draw(rng))).collect();
    if !kinds.is_empty() {
        faults.extend((0..rng.within(1..9)).map(|_| (0, rng.pick(&kinds).draw(rng))));
    }
    place(&mut faults, workload.operations, rng);
    faults
}

/// Crashes, one after the other: what one leaves behind must mislead the next start.
pub(super) fn hostile(workload: &Workload, rng: &mut Rng) -> Vec<(u32, Fault)> {
    let crash = |rng: &mut Rng| {
        let down = Micros::millis(rng.within(1..20));
        (0, Fault::Crash(Crash { power: rng.percent(70), writing: true, again: 0, down }))
    };
    let mut faults: Vec<_> = (0..workload.operations / 3).map(|_| crash(rng)).collect();
    place(&mut faults, workload.operations, rng);
    faults
}

fn place(faults: &mut [(u32, Fault)], operations: u32, rng: &mut Rng) {
    for (at, _) in faults.iter_mut() {
        *at = rng.below(u64::from(operations)) as u32;
    }
    faults.sort_by_key(|(at, _)| *at);
}

/// Damage of the log, for the scrub to find.
pub(super) fn for_the_scrub(rng: &mut Rng) -> Vec<Fault> {
    (0..rng.within(1..5)).map(|_| Fault::Damage(Damage::of_log(rng))).collect()
}

/// Has further faults strike at random moments.
pub(super) fn add(faults: &mut Vec<(u32, Fault)>, more: Vec<Fault>, workload: &Workload, rng: &mut Rng) {
    faults.extend(more.into_iter().map(|fault| (rng.below(u64::from(workload.operations)) as u32, fault)));
    faults.sort_by_key(|(at, _)| *at);
}
