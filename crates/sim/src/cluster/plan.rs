//! What a seed decides before a run of a group begins. Each seed enables a random part of the faults.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use steadfast_consensus::{Limits, ReplicaId, Timing};

use crate::clock::Micros;
use crate::disk::Latency;
use crate::rng::Rng;
use crate::scenario::aim_named;

/// The danger that the worlds of a run are built around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterAim {
    /// None in particular.
    #[default]
    Anything,
    /// Whoever has just voted loses its power, and is back at once.
    Elections,
    /// A leader that is cut off goes on writing, and loses its power just when its entries are replaced.
    Replacement,
    /// A leader that is cut off is read from, while the others write.
    Reads,
    /// Logs of a minority are damaged while their replicas are down, and those fail again while they are refilled.
    Damage,
    /// A disk is replaced while all machines are off, and whoever led is back last.
    Wipe,
    /// The same, with an older copy of the disk.
    Restore,
    /// Replicas fall behind, none starts again, and what they must write at once then is more than there is space for.
    Space,
}

impl ClusterAim {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Anything,
        Self::Elections,
        Self::Replacement,
        Self::Reads,
        Self::Damage,
        Self::Wipe,
        Self::Restore,
        Self::Space,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Anything => "anything",
            Self::Elections => "elections",
            Self::Replacement => "replacement",
            Self::Reads => "reads",
            Self::Damage => "damage",
            Self::Wipe => "wipe",
            Self::Restore => "restore",
            Self::Space => "space",
        }
    }

    /// Kinds of faults that there are in any case.
    fn kinds(self) -> &'static [FaultKind] {
        match self {
            Self::Anything => &[],
            Self::Elections => &[FaultKind::Isolate, FaultKind::Transfer],
            Self::Replacement => &[FaultKind::Isolate; 4],
            Self::Reads => &[FaultKind::Isolate],
            Self::Damage => &[FaultKind::Damage, FaultKind::Damage, FaultKind::Damage, FaultKind::Crash],
            Self::Wipe => &[FaultKind::Wipe; 4],
            Self::Restore => &[FaultKind::Restore; 6],
            Self::Space => &[FaultKind::Stall, FaultKind::Stall, FaultKind::Isolate, FaultKind::Pause],
        }
    }
}

impl fmt::Display for ClusterAim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ClusterAim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        aim_named(&Self::ALL, Self::name, text)
            .map_err(|names| format!("there is no such aim for a cluster; there are {names}"))
    }
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// A process dies, or its machine loses its power.
    Crash,
    /// All machines lose their power.
    PowerCut,
    /// The leader, or another replica, is cut off.
    Isolate,
    /// The replicas fall into two parts.
    Split,
    /// A replica hears and is not heard, or the other way round.
    OneWay,
    /// The replicas fall into two parts, and one reaches both.
    Bridge,
    /// A process stands still.
    Pause,
    /// A disk refuses a call.
    DiskError,
    /// A disk takes its time.
    Stall,
    /// Leadership is handed over.
    Transfer,
    /// A process dies, or all machines lose their power, and a log is damaged before its replica starts again.
    Damage,
    /// A machine comes back with an empty disk.
    Wipe,
    /// A copy of a disk is made, or its machine comes back with it.
    Restore,
}

impl FaultKind {
    const ALL: [Self; 13] = [
        Self::Crash,
        Self::PowerCut,
        Self::Isolate,
        Self::Split,
        Self::OneWay,
        Self::Pause,
        Self::DiskError,
        Self::Stall,
        Self::Transfer,
        Self::Damage,
        Self::Wipe,
        Self::Bridge,
        Self::Restore,
    ];

    /// What a cut of this kind is called, and the ways that nothing goes then; from the victim or to it, if it is of one way.
    pub(super) fn cut(
        self,
        victim: ReplicaId,
        replicas: u64,
        rng: &mut Rng,
    ) -> (&'static str, Vec<(ReplicaId, ReplicaId)>) {
        let (name, side): (_, Vec<bool>) = match self {
            Self::Split => ("partition", (0..=replicas).map(|_| rng.percent(50)).collect()),
            Self::OneWay => ("one-way cut", (0..=replicas).map(|id| id == victim).collect()),
            Self::Bridge => ("bridge", (0..=replicas).map(|_| rng.percent(50)).collect()),
            _ => ("isolation", (0..=replicas).map(|id| id == victim).collect()),
        };
        let both = self != Self::OneWay;
        let out = both || rng.percent(50);
        let ways = (1..=replicas).flat_map(|from| (1..=replicas).map(move |to| (from, to)));
        // Whoever is the bridge reaches both sides.
        let ways = ways.filter(|(from, to)| self != Self::Bridge || (*from != victim && *to != victim));
        let ways = ways.filter(|(from, to)| {
            let (from, to) = (side[*from as usize], side[*to as usize]);
            from != to && (both || from == out)
        });
        (name, ways.collect())
    }
}

/// The plan of a run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) aim: ClusterAim,
    pub(super) replicas: u64,
    /// The replica that leads whenever it can, if there is one.
    pub(super) preferred: Option<ReplicaId>,
    pub(super) disk: Latency,
    /// Microseconds that a message is under way.
    pub(super) delay: Range<u64>,
    /// Messages that are lost or doubled, in percent.
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) timing: Timing,
    pub(super) limits: Limits,
    /// Bytes of a record.
    pub(super) sizes: Range<u64>,
    /// Microseconds between two proposals, and between two reads.
    pub(super) propose_every: Range<u64>,
    pub(super) read_every: Range<u64>,
    pub(super) faults: Vec<FaultKind>,
    /// Milliseconds between two of them.
    pub(super) fault_every: Range<u64>,
    /// When the faults end.
    pub(super) healed_at: Micros,
    /// Whether all machines lose their power then.
    pub(super) last_power_cut: bool,
}

impl Plan {
    pub(super) fn new(seed: u64, aim: ClusterAim) -> Self {
        let mut rng = Rng::stream(seed, "cluster plan");
        let share = if aim == ClusterAim::Space { 0 } else { 40 };
        let mut faults: Vec<FaultKind> = FaultKind::ALL.into_iter().filter(|_| rng.percent(share)).collect();
        faults.extend(aim.kinds());
        let disk = Latency::default().slower(*rng.pick(&[1, 1, 4]));
        let start = rng.within(8..20) as usize;
        // Entries of one size lie where the ones lay that they replace.
        let sizes = match rng.below(4) {
            0 => 8..9,
            1 => 8..2_000,
            2 => 300..301,
            _ => 8..40_000,
        };
        let often = rng.skewed(20_000..200_000);
        // Of three, two decide: the one that replaces entries, and its leader.
        let replicas = if aim == ClusterAim::Replacement { 3 } else { *rng.pick(&[3, 3, 5]) };
        let mut choice = Rng::stream(seed, "preferred leader");
        let mut plan = Self {
            aim,
            replicas,
            preferred: choice.one_in(2).then(|| choice.within(1..replicas + 1)),
            disk,
            delay: 20..rng.skewed(200..20_000),
            lost: *rng.pick(&[0, 0, 1, 5, 20]),
            doubled: *rng.pick(&[0, 0, 2, 10]),
            timing: Timing { heartbeat: rng.within(1..4) as usize, election: start..2 * start + 4 },
            limits: Limits {
                cache: *rng.pick(&[0, 20_000, 1 << 20]),
                message: *rng.pick(&[1, 4_000, 100_000]),
                in_flight: rng.within(1..9) as usize,
                fetch: *rng.pick(&[1, 10_000, 300_000]),
                uncommitted: *rng.pick(&[200_000, 4 << 20]),
            },
            sizes,
            propose_every: 1_000..often,
            read_every: if aim == ClusterAim::Reads { 1_000..20_000 } else { 1_000..2 * often },
            faults,
            fault_every: 50..rng.skewed(300..3_000),
            healed_at: Micros::millis(
                rng.within(3_000..8_000)
                    + if matches!(aim, ClusterAim::Wipe | ClusterAim::Restore) { 8_000 } else { 0 },
            ),
            last_power_cut: rng.one_in(3) && aim != ClusterAim::Space,
        };
        if aim == ClusterAim::Space {
            // As much as there can be comes while a write is under way.
            (plan.limits.message, plan.limits.in_flight, plan.limits.uncommitted) = (100_000, 256, 4 << 20);
        }
        plan
    }
}

impl Plan {
    /// Whom a fault strikes. Most interesting is what happens to leaders.
    pub(super) fn victim(&self, leader: Option<ReplicaId>, rng: &mut Rng) -> ReplicaId {
        let victim = rng.within(1..self.replicas + 1);
        let often = match self.aim {
            ClusterAim::Anything => 50,
            // Who falls behind follows.
            ClusterAim::Space => 10,
            _ => 90,
        };
        leader.filter(|_| rng.percent(often)).unwrap_or(victim)
    }

    /// This one, if it may lose what it has although these have, or one of them: what a majority has lost nobody can bring
    /// back.
    pub(super) fn of_a_minority(&self, struck: &[ReplicaId], victim: ReplicaId, rng: &mut Rng) -> ReplicaId {
        let another = (struck.len() as u64) < (self.replicas - 1) / 2;
        if another { victim } else { *rng.pick(struck) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} replicas, elections after {:?} ticks, messages take {:?} us, {} % lost, {} % doubled",
            self.replicas, self.timing.election, self.delay, self.lost, self.doubled
        )?;
        writeln!(
            f,
            "records of {:?} bytes, one every {:?} us; {:?}",
            self.sizes, self.propose_every, self.limits
        )?;
        if let Some(preferred) = self.preferred {
            writeln!(f, "replica {preferred} is preferred to lead")?;
        }
        write!(f, "faults every {:?} ms until {}: {:?}", self.fault_every, self.healed_at, self.faults)?;
        if self.last_power_cut { f.write_str(", then all lose their power") } else { Ok(()) }
    }
}
