//! Which replica of its group a broker is.

use steadfast_consensus::{Limits, ReplicaId, Settings, Timing};
use steadfast_store::log::Layout;

/// A replica and its group.
#[derive(Debug, Clone)]
pub struct Membership {
    /// This replica; not 0.
    pub id: ReplicaId,
    /// All replicas of the group, this one too: 1, 3 or 5.
    pub voters: Vec<ReplicaId>,
    /// The one of them that leads whenever it can; None if that is left to the election.
    pub preferred: Option<ReplicaId>,
    /// Where election time-outs come from, and what names this start of the replica's process to the others: to be drawn
    /// at random for each start, and not 0.
    pub seed: u64,
    /// Milliseconds of a tick.
    pub tick: u64,
    /// How long things take, in ticks.
    pub timing: Timing,
    /// What may be held in memory for the other replicas.
    pub limits: Limits,
}

impl Membership {
    /// A group of one.
    pub fn alone() -> Self {
        Self::of(1, vec![1])
    }

    /// A replica of a group, with the usual times and limits.
    pub fn of(id: ReplicaId, voters: Vec<ReplicaId>) -> Self {
        let (timing, limits) = (Timing::default(), Limits::default());
        Self { id, voters, preferred: None, seed: id, tick: 50, timing, limits }
    }

    /// Whether there is no other replica.
    pub fn is_alone(&self) -> bool {
        self.voters.len() == 1
    }

    /// What a replica is called in texts, as in RocketMQ's DLedger: `nK` is number K + 1.
    pub fn name(id: ReplicaId) -> String {
        format!("n{}", id.saturating_sub(1))
    }

    /// How many of so many replicas acknowledge and elect.
    pub fn quorum(count: usize) -> usize {
        count / 2 + 1
    }

    /// What becomes of damage, for a person who reads of it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self.is_alone() {
            true => "restore its file from a copy, or see `steadfast repair`",
            false => "it is fetched from another replica",
        }
    }

    /// What the meta file says of it: its id, or 0 for a group of one.
    pub(crate) fn meta_id(&self) -> ReplicaId {
        if self.is_alone() { 0 } else { self.id }
    }

    /// Whether there can be such a group with this replica in it.
    pub(crate) fn is_possible(&self) -> bool {
        let mut distinct = self.voters.clone();
        distinct.sort_unstable();
        distinct.dedup();
        matches!(distinct.len(), 1 | 3 | 5)
            && distinct.len() == self.voters.len()
            && !distinct.contains(&0)
            && distinct.contains(&self.id)
            && self.tick > 0
    }

    pub(crate) fn settings(&self, layout: Layout) -> Settings {
        Settings {
            id: self.id,
            voters: self.voters.clone(),
            layout,
            seed: self.seed,
            timing: self.timing.clone(),
            limits: self.limits,
        }
    }
}
