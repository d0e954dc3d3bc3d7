//! When a message arrives, if at all. Each takes its own time, so they overtake each other.

use std::collections::BTreeSet;

use steadfast_consensus::ReplicaId;

use super::plan::Plan;
use crate::clock::Micros;
use crate::rng::Rng;

/// See the module's page.
pub(super) struct Network {
    rng: Rng,
    delay: std::ops::Range<u64>,
    lost: u64,
    doubled: u64,
    /// Ways that nothing goes: from, to.
    cut: BTreeSet<(ReplicaId, ReplicaId)>,
}

impl Network {
    pub(super) fn new(rng: Rng, plan: &Plan) -> Self {
        let (delay, lost, doubled) = (plan.delay.clone(), plan.lost, plan.doubled);
        Self { rng, delay, lost, doubled, cut: BTreeSet::new() }
    }

    /// How long each copy of a message is under way; none if it does not arrive.
    pub(super) fn arrivals(&mut self, from: ReplicaId, to: ReplicaId) -> Vec<Micros> {
        if self.is_cut(from, to) || self.rng.percent(self.lost) {
            return Vec::new();
        }
        let copies = if self.rng.percent(self.doubled) { 2 } else { 1 };
        // Now and then one comes when nobody expects it any more.
        let late = |rng: &mut Rng| if rng.one_in(500) { rng.below(2_000_000) } else { 0 };
        (0..copies).map(|_| Micros::new(self.rng.skewed(self.delay.clone()) + late(&mut self.rng))).collect()
    }

    pub(super) fn is_cut(&self, from: ReplicaId, to: ReplicaId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Nothing goes these ways any more, until it is healed.
    pub(super) fn cut(&mut self, ways: impl IntoIterator<Item = (ReplicaId, ReplicaId)>) {
        self.cut.extend(ways);
    }

    /// Everything goes again.
    pub(super) fn join(&mut self) {
        self.cut.clear();
    }

    /// Nothing is lost or doubled any more.
    pub(super) fn heal(&mut self) {
        self.join();
        (self.lost, self.doubled) = (0, 0);
    }
}
