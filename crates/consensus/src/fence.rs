//! What a replica that may have lost entries is worth in elections.
//!
//! Raft counts on a voter's log: whoever has acknowledged an entry votes for nobody without it. A replica whose log was cut
//! at a bad frame cannot tell by its log any more, so a [`Fence`] does: it says up to where the replica may have
//! acknowledged entries. Until its log reaches that again, a vote of it counts
//!
//! - for a candidate whose log reaches the floor, as if the replica still had its log; or
//! - if *all* voters have answered in that term and none has a later log than the candidate, nor knows of a committed entry
//!   behind its end. Each has promised with its answer to take nothing more of terms before. Of the quorum that has a
//!   committed entry at least one has not lost it, and the candidate's log is no worse than that one's. So a power cut of
//!   all replicas restarts alone.
//!
//! The same goes for the vote that a candidate has from itself. It is the candidate who decides what a vote counts, as it
//! hears from all.
//!
//! A leader lowers the floor to the end of its own log: whatever the replica has acknowledged in the leader's term or before,
//! and was committed, the leader has (Leader Completeness). That holds for an answer to a question of this life only: what a
//! leader said before may be of before the loss. Having heard from a leader is not enough to vote freely: what is lost may
//! be committed on the leader and this replica alone until the log reaches the floor.
//!
//! A new disk is a log that was lost altogether, and with it the replica's vote. So the first election of a group takes all
//! its replicas, and a replica whose disk was replaced is filled before its vote counts. A vote that it gave before and that
//! is still under way is not known of any more: replacing a disk must take longer than an election and a message do.
//!
//! Whoever leads has been elected by these rules and has all there is.

use std::collections::BTreeMap;

use steadfast_store::meta::Fence;
use steadfast_types::{LogIndex, Position, Term};

use crate::ReplicaId;
use crate::message::Message;

/// Of a directory that was just made: nobody knows what this replica had on another disk.
pub(crate) const OF_A_NEW_DISK: Fence = Fence {
    floor: Position { term: Term::new(u64::MAX), index: LogIndex::new(u64::MAX) },
    committed: LogIndex::ZERO,
};

/// Whether a log that ends with this entry has everything again.
pub(crate) fn is_reached(fence: &Fence, last: Position) -> bool {
    last >= fence.floor && last.index >= fence.committed
}

/// The higher of each.
pub(crate) fn joined(one: Option<Fence>, other: Option<Fence>) -> Option<Fence> {
    let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
    Some(Fence { floor: one.floor.max(other.floor), committed: one.committed.max(other.committed) })
}

/// What a voter has answered.
struct Answer {
    last: Position,
    fence: Option<Fence>,
    /// A vote that does not count by itself.
    held: Option<Message>,
}

/// The answers to a candidate in one round: a term, and whether it only asks if it would get the votes.
#[derive(Default)]
pub(crate) struct Round {
    of: (Term, bool),
    answers: BTreeMap<ReplicaId, Answer>,
}

/// A candidate's log and what it may have lost itself.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) round: (Term, bool),
    pub(crate) last: Position,
    pub(crate) fence: Option<Fence>,
    /// All voters but itself.
    pub(crate) others: usize,
}

impl Round {
    /// Takes a vote, granted or not, and returns those that count now.
    pub(crate) fn take(
        &mut self,
        candidate: &Candidate,
        message: Message,
        (granted, last, fence): (bool, Position, Option<Fence>),
    ) -> Vec<Message> {
        if self.of != candidate.round {
            *self = Self { of: candidate.round, answers: BTreeMap::new() };
        }
        let counts =
            candidate.fence.is_none() && fence.is_none_or(|fence| is_reached(&fence, candidate.last));
        let (from, held) = (message.from, granted && !counts);
        let (at_once, held) = if held { (None, Some(message)) } else { (Some(message), None) };
        self.answers.insert(from, Answer { last, fence, held });
        let mut count: Vec<Message> = at_once.into_iter().collect();
        if self.all_agree(candidate) {
            count.extend(self.answers.values_mut().filter_map(|answer| answer.held.take()));
        }
        count
    }

    /// Whether everybody has answered and nobody knows more than the candidate.
    fn all_agree(&self, candidate: &Candidate) -> bool {
        let knows_more = |fence: Option<Fence>| fence.is_some_and(|f| f.committed > candidate.last.index);
        self.answers.len() == candidate.others
            && !knows_more(candidate.fence)
            && self.answers.values().all(|answer| answer.last <= candidate.last && !knows_more(answer.fence))
    }
}
