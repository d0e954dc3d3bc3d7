//! A replica that has lost entries: how it notices, what its vote counts, how its leader learns to send them again.

use raft::StateRole;
use steadfast_store::meta::Fence;
use steadfast_types::{LogIndex, Position, Term};

use super::Group;
use crate::ReplicaId;
use crate::fence::{self, Candidate};
use crate::message::{Body, Message};

impl Group {
    /// A leader names what its follower has said to have: if that is not here, it was lost.
    pub(super) fn heartbeat(&mut self, message: Message, commit: LogIndex, read: Option<u64>) {
        let (from, term, last) = (message.from, message.term, self.last());
        if commit > last.index {
            let floor = Position { term, index: LogIndex::new(u64::MAX) };
            let lost = Some(Fence { floor, committed: commit });
            let fence = fence::joined(self.fence, lost);
            self.fence_is_new |= fence != self.fence;
            self.fence = fence;
        }
        // The engine would panic if there was less than is said to be committed.
        let commit = commit.min(last.index);
        self.engine_step(Message { body: Body::Heartbeat { commit, read }, ..message });
        if self.fence.is_some() {
            self.tell(from, Body::Inquiry { nonce: self.start.number, last });
        }
    }

    /// A follower has lost entries. It counts for nothing that it does not have, and is sent what follows its log. A
    /// question that comes late makes it seem to have less than it has, until it answers the next message.
    pub(super) fn inquiry(&mut self, from: ReplicaId, nonce: u64, last: Position) {
        if !self.is_leader() {
            return;
        }
        let own = self.last();
        if let Some(progress) = self.node.raft.mut_prs().get_mut(from)
            && progress.matched > last.index.get()
        {
            progress.matched = 0;
            progress.become_probe();
            progress.next_idx = last.index.min(own.index).get() + 1;
        }
        self.tell(from, Body::Standing { nonce, last: own });
    }

    /// A leader tells how far its log goes. If it is of this replica's term or a later one, it has all that was committed
    /// of what this replica has acknowledged.
    pub(super) fn standing(&mut self, term: Term, nonce: u64, last: Position) {
        if nonce != self.start.number || term < self.term() {
            return;
        }
        if let Some(fence) = &mut self.fence {
            fence.floor = fence.floor.min(last);
        }
        self.look_at_fence();
    }

    /// Whether the log, all of it durable, has everything again. A leader's has.
    pub(super) fn look_at_fence(&mut self) {
        let last = self.last();
        let reached = |fence| self.in_flight.is_none() && fence::is_reached(&fence, last);
        if self.fence.is_some_and(|fence| self.is_leader() || reached(fence)) {
            self.fence = None;
            self.fence_is_new = true;
        }
    }

    /// Somebody has voted, or not.
    pub(super) fn vote_response(
        &mut self,
        message: Message,
        pre: bool,
        answer: (bool, Position, Option<Fence>),
    ) {
        let stands_for = match self.node.raft.state {
            StateRole::PreCandidate => Some(true),
            StateRole::Candidate => Some(false),
            _ => None,
        };
        let is_of_round = stands_for == Some(pre) && (pre || message.term == self.term());
        if !is_of_round {
            return self.engine_step(message);
        }
        let others = self.node.raft.prs().iter().count() - 1;
        let round = (self.term(), pre);
        let candidate = Candidate { round, last: self.last(), fence: self.fence, others };
        for message in self.round.take(&candidate, message, answer) {
            self.engine_step(message);
        }
    }

    /// What is said in this replica's term and hangs on no write.
    fn tell(&mut self, to: ReplicaId, body: Body) {
        let card = self.card(to);
        self.output.messages.push(Message { from: self.id(), to, term: self.term(), card, body });
    }
}
