//! What a replica of a group is told when it is opened.

use std::ops::Range;

use raft::Config;
use steadfast_store::log::Layout;

use crate::ReplicaId;

/// Who a replica is and how it behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This replica.
    pub id: ReplicaId,
    /// All replicas of the group, this one too: 1, 3 or 5.
    pub voters: Vec<ReplicaId>,
    /// How the group's log is cut into segments.
    pub layout: Layout,
    /// Where election time-outs come from. It must differ between replicas, or they stand for election at the same time.
    pub seed: u64,
    /// How long things take.
    pub timing: Timing,
    /// What may be held in memory.
    pub limits: Limits,
}

/// Times, in ticks. What a tick is, the caller decides.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between two heartbeats of a leader.
    pub heartbeat: usize,
    /// Without a leader's word a replica stands for election after a time drawn from this range. A leader that a quorum
    /// has not answered for up to twice its start steps down.
    pub election: Range<usize>,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat: 2, election: 20..40 }
    }
}

/// Bounds of what a replica holds and sends.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of applied entries held for peers that are a little behind; what is older is read from the log.
    pub cache: u64,
    /// Bytes of entries in one message; one entry may be larger.
    pub message: u64,
    /// Messages with entries that are sent to a peer before it has answered.
    pub in_flight: usize,
    /// Bytes of entries read from the log at a time.
    pub fetch: u64,
    /// Bytes of entries that a leader takes while no quorum has them.
    pub uncommitted: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cache: 32 << 20, message: 1 << 20, in_flight: 64, fetch: 4 << 20, uncommitted: 64 << 20 }
    }
}

impl Limits {
    /// Of a group of one: it sends nothing, and its batches are bounded by who proposes them.
    pub(crate) fn alone() -> Self {
        Self { cache: 0, message: u64::MAX, in_flight: 1, fetch: 0, uncommitted: u64::MAX }
    }
}

impl Settings {
    pub(crate) fn engine(&self, applied: u64) -> Config {
        Config {
            id: self.id,
            applied,
            heartbeat_tick: self.timing.heartbeat,
            election_tick: self.timing.election.start,
            min_election_tick: self.timing.election.start,
            max_election_tick: self.timing.election.end,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: self.limits.message,
            max_inflight_msgs: self.limits.in_flight,
            max_uncommitted_size: self.limits.uncommitted,
            ..Config::default()
        }
    }
}
