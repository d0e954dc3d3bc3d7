//! Which start of which disk a replica is, so that one that went back in time is recognised.
//!
//! Each start of a process draws a number, which its disk remembers ([`Past`](steadfast_store::meta::Past)). A leader records
//! the start of each replica that has everything, itself too, in the log; every message tells its receiver which start of it the
//! sender's log has. A receiver whose disk does not remember that start goes on from an older copy of its disk, or from
//! another one, and may lack what it acknowledged since: it is fenced like a new disk ([`fence`](crate::fence)) before it
//! answers, so before any vote of it counts. Once refilled it is recorded anew.
//!
//! A process whose start was recorded, and which then hears of another one, was not there first: another process runs on a
//! copy of its disk, or under its id. Two voters of one name may not be, so it stops.

use raft::eraftpb::{Entry as EngineEntry, EntryType};
use steadfast_store::meta::Start;
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_types::LogIndex;

use super::Group;
use crate::ReplicaId;
use crate::fence::{self, OF_A_NEW_DISK};
use crate::members::{Change, Recorded};
use crate::message::{Card, Message};
use crate::output::{Halt, News};

impl Group {
    /// What goes with a message to a peer.
    pub(super) fn card(&self, to: ReplicaId) -> Card {
        let known = self.started(to);
        Card { start: self.start, whole: self.fence.is_none(), known, accounted: self.accounted }
    }

    /// A peer says with which start it comes, and which one of this replica it knows.
    pub(super) fn introduced(&mut self, message: &Message) {
        let card = message.card;
        if self.start.number == 0 {
            return;
        }
        if card.start.number != 0 {
            self.heard(message.from, card);
        }
        let is_blind = sabotage::is(Sabotage::OldCopyVotes) || sabotage::is(Sabotage::NewDiskVotes);
        if let Some(known) = card.known.filter(|_| !is_blind) {
            self.is_known_as(known);
        }
    }

    fn heard(&mut self, from: ReplicaId, card: Card) {
        let before = self.heard.insert(from, card).map(|before| before.start);
        let recorded = self.started(from).map(|recorded| recorded.start.disk);
        let is_other = recorded.is_some_and(|disk| disk != card.start.disk);
        if self.is_leader() && is_other && !card.whole && before != Some(card.start) {
            self.output.news.push(News::OtherDisk { replica: from, start: card.start });
        }
    }

    /// A peer's log has this start of this replica.
    fn is_known_as(&mut self, known: Recorded) {
        let (Recorded { start: recorded, at }, own) = (known, self.start);
        if recorded.number == own.number {
            self.confirmed = Some(at);
        }
        if self.past.contains(recorded.number) {
            self.accounted = self.accounted.max(at);
            return;
        }
        match self.confirmed {
            Some(confirmed) if at < confirmed => {}
            Some(_) => self.halt(Halt::Superseded { other: recorded, own, at }),
            None => self.has_lost(recorded, at),
        }
    }

    /// The disk is an older copy, or another one. It is told once, and what was lost with that start is known of from now on.
    fn has_lost(&mut self, recorded: Start, at: LogIndex) {
        let own = self.start;
        self.past.remember(recorded.number);
        self.accounted = self.accounted.max(at);
        if recorded.disk == own.disk {
            // A copy is another disk from now on.
            self.past.disk = own.number;
            self.start.disk = own.number;
        }
        self.fence_is_new = true;
        // Who leads was elected with what its voters knew.
        if !self.is_leader() {
            self.fence = fence::joined(self.fence, Some(OF_A_NEW_DISK));
        }
        self.output.news.push(News::LostStart { recorded, own });
    }

    /// A leader records the starts of replicas that have everything, one entry at a time.
    pub(super) fn record_starts(&mut self) {
        let raft = &self.node.raft;
        let may_record = self.start.number != 0
            && self.is_leader()
            && self.is_idle()
            && raft.commit_to_current_term()
            && raft.lead_transferee.is_none()
            && raft.pending_conf_index <= raft.raft_log.applied;
        if !may_record {
            return;
        }
        let own = (self.id(), Card { accounted: LogIndex::new(u64::MAX), ..self.card(self.id()) });
        let others = self.heard.iter().map(|(id, card)| (*id, *card));
        let due = std::iter::once(own).chain(others).find(|(id, card)| self.is_to_be_recorded(*id, card));
        if let Some((replica, card)) = due {
            self.append_change(&Change::Started(replica, card.start));
        }
    }

    /// Whether the log is to tell a start: it is not the one that it tells, and goes on from that.
    fn is_to_be_recorded(&self, replica: ReplicaId, card: &Card) -> bool {
        let recorded = self.started(replica);
        card.whole
            && self.node.raft.prs().get(replica).is_some()
            && recorded.is_none_or(|known| known.start != card.start && card.accounted >= known.at)
    }

    /// Appends an entry of the group itself. The engine would parse a proposal as protobuf; this is what it does with one.
    fn append_change(&mut self, change: &Change) {
        let mut entry = EngineEntry { data: change.encode(), ..EngineEntry::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        let raft = &mut self.node.raft;
        // Too much that is not committed: there will be another occasion.
        if raft.append_entry(&mut [entry]) {
            raft.pending_conf_index = raft.raft_log.last_index();
            raft.bcast_append();
            self.settle();
        }
    }
}
