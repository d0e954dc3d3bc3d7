//! What a seed decides about a group of brokers, beside what it decides about a group and about a broker.

use std::fmt;

use steadfast_broker::Flush;

use crate::clock::Micros;
use crate::cluster::plan::{ClusterAim, FaultKind, Plan as GroupPlan};
use crate::plan::Plan as BrokerPlan;
use crate::rng::Rng;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What strikes a group without brokers, too.
    Group(FaultKind),
    /// The wall clock of a machine jumps.
    Clock,
    /// Each process is stopped and started again, one after the other.
    Rolling,
    /// A disk fills up, and has space again later.
    Full,
    /// The connection of a client breaks.
    Disconnect,
    /// Old parts of the log of a replica rot while it runs, or are lost.
    Rot,
    /// A disk answers reads of the log with what lies elsewhere, or with what was there before the last writes.
    Misread,
}

impl Kind {
    const OF_BROKERS: [Self; 5] = [Self::Clock, Self::Rolling, Self::Full, Self::Disconnect, Self::Misread];

    /// Under ASYNC_FLUSH an acknowledged message is with the operating systems: what loses the memory of one loses it.
    fn is_allowed(self, flush: Flush) -> bool {
        use FaultKind::{Damage, DiskError, PowerCut, Wipe};
        let loses = matches!(self, Self::Rot | Self::Group(PowerCut | DiskError | Damage | Wipe));
        flush == Flush::Sync || !loses
    }
}

/// The plan of a run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) group: GroupPlan,
    pub(super) broker: BrokerPlan,
    pub(super) faults: Vec<Kind>,
    /// How far the wall clock of each machine is from where it should be at first, in milliseconds.
    pub(super) skews: Vec<i64>,
}

impl Plan {
    pub(super) fn new(seed: u64, aim: ClusterAim) -> Self {
        let mut rng = Rng::stream(seed, "brokers' plan");
        let mut broker = BrokerPlan::for_group(seed, aim);
        let mut group = GroupPlan::new(seed, aim);
        let flush = broker.options.flush;
        group.last_power_cut &= flush == Flush::Sync;
        let share = if aim == ClusterAim::Space { 0 } else { 40 };
        let more = Kind::OF_BROKERS.into_iter().filter(|_| rng.percent(share));
        let mut faults: Vec<Kind> =
            group.faults.iter().copied().map(Kind::Group).chain(more.collect::<Vec<_>>()).collect();
        let mut rot = Rng::stream(seed, "rot");
        let often = if aim == ClusterAim::Damage { 60 } else { 30 };
        if !matches!(aim, ClusterAim::Wipe | ClusterAim::Space) && rot.percent(often) {
            // What rots must be whole elsewhere. Somebody has to look at what nobody reads.
            faults.retain(|kind| !matches!(kind, Kind::Group(FaultKind::Damage | FaultKind::Wipe)));
            faults.extend([Kind::Rot; 3]);
            broker.workload.scrub.get_or_insert(Micros::millis(500));
        }
        let most = *rng.pick(&[0, 0, 50, 5_000, 3_600_000]);
        Self {
            faults: faults.into_iter().filter(|kind| kind.is_allowed(flush)).collect(),
            skews: (0..group.replicas).map(|_| drift(most, &mut rng)).collect(),
            group,
            broker,
        }
    }
}

/// So many milliseconds back or forth, at most.
pub(super) fn drift(most: u64, rng: &mut Rng) -> i64 {
    rng.below(2 * most + 1) as i64 - most as i64
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead = self.broker.ahead >> 10;
        writeln!(f, "{}\n{}", self.group, self.broker)?;
        write!(f, "{ahead} KiB ahead of the log, clocks off by {:?} ms, faults {:?}", self.skews, self.faults)
    }
}
