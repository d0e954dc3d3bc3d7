//! Election time-outs from a seed. The engine draws them from the thread's random source; each is replaced before it can
//! count.

use std::ops::Range;

use raft::{Raft, StateRole, Storage};

pub(crate) struct Timeouts {
    /// State of SplitMix64.
    state: u64,
    range: Range<usize>,
    /// Term, role and leader for which the current one was drawn: the engine draws when one of them changes.
    drawn_for: Option<(u64, StateRole, u64)>,
    current: usize,
}

impl Timeouts {
    pub(crate) fn new(seed: u64, range: Range<usize>) -> Self {
        Self { state: seed, current: range.start, range, drawn_for: None }
    }

    /// To be called whenever the engine may have drawn one.
    pub(crate) fn settle<T: Storage>(&mut self, raft: &mut Raft<T>) {
        let now = (raft.term, raft.state, raft.leader_id);
        if self.drawn_for != Some(now) {
            self.drawn_for = Some(now);
            let span = (self.range.end - self.range.start) as u64;
            self.current = self.range.start + (self.next() % span) as usize;
        }
        raft.set_randomized_election_timeout(self.current);
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
