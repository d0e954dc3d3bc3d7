//! The broker as a replica of its group: what the group wants is passed on, and its role decides what the broker does.
//!
//! ```text
//! Following ── elected ──▶ Starting ── an entry of its own term is committed, and so all before ──▶ Leading
//!     ▲                       │                                                                        │
//!     └── deposed ────────────┴──── whoever waits is told, the table of next offsets is void ──────────┘
//! ```

use bytes::Bytes;
use steadfast_consensus::{Body, Fetch, Message, Output, ReplicaId, Role, Write};
use steadfast_store::log::{Entry, frame_len};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_types::{LogIndex, LogOffset, Position, Term};
use steadfast_wire::code::response;

use crate::broker::{Broker, Out, Phase, acknowledge, reply};
use crate::io::{Effect, Now};
use crate::membership::Membership;
use crate::pending::{not_stored, unknown};
use crate::services::{Deliveries, LockHolders, refused};

impl Broker {
    /// The last entry that was applied, and what all of them led to: the same bytes on every replica.
    pub fn encoded_state(&self) -> (LogIndex, Bytes) {
        (self.applied.index, self.state.encode())
    }

    /// The last entry that was applied.
    pub fn applied(&self) -> LogIndex {
        self.applied.index
    }

    /// The last entry of its log, whether it is durable yet or not.
    pub fn last(&self) -> Position {
        self.group.last()
    }

    /// Whether it has, as far as it knows, everything that it ever acknowledged ([ADR 9](../../../docs/adr/0009-recovery-of-several.md)).
    pub fn is_complete(&self) -> bool {
        self.group.fence().is_none()
    }

    /// Whether it leads its group, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.takes_part() && self.group.is_leader()
    }

    /// Its id for clients: 0 for who leads, else that of the replica, as RocketMQ's DLedger has it.
    pub(crate) fn broker_id(&self) -> ReplicaId {
        if self.membership.is_alone() || self.is_leader() { 0 } else { self.membership.id }
    }

    /// Whether it still is a part of its group.
    pub(crate) fn takes_part(&self) -> bool {
        !matches!(self.phase, Phase::Poisoned(_) | Phase::Stopped)
    }

    /// Whether its queues' next offsets count.
    pub(crate) fn leads(&self) -> bool {
        matches!(self.phase, Phase::Leading | Phase::Stopping) && self.group.is_leader()
    }

    /// A group of one elects itself. Nothing is written where the filler may still write zeroes, the entry that opens the
    /// term neither.
    pub(crate) fn begin_alone(&mut self, now: Now, out: &mut Out<'_>) {
        let waits = self.phase == Phase::Starting && self.membership.is_alone() && self.group.is_idle();
        if waits && self.group.place(0).end <= self.room.filled_to {
            self.group.campaign();
            self.advance(now, out);
        }
    }

    /// Time goes on for a group of several. A process that stood still has not listened meanwhile: that is one tick, or it
    /// would stand for election before it has read what its leader said.
    pub(crate) fn tick(&mut self, now: Now, out: &mut Out<'_>) {
        if self.membership.is_alone() || !self.takes_part() {
            return;
        }
        let tick = self.membership.tick;
        let next = self.next_tick.get_or_insert(now.ticks + tick);
        if now.ticks >= *next {
            *next = now.ticks + tick;
            self.group.tick();
            self.advance(now, out);
            self.prefer(now, out);
        }
    }

    /// Ticks at which the group's time goes on.
    pub(crate) fn tick_deadline(&self) -> Option<u64> {
        self.next_tick.filter(|_| self.takes_part())
    }

    /// Another replica says something.
    pub(crate) fn message(&mut self, now: Now, message: Message, out: &mut Out<'_>) {
        if !self.takes_part() {
            return;
        }
        let from = message.from;
        match message.body {
            Body::LogRequest { .. } | Body::LogPart { .. } if !self.group.is_for_it(&message) => {}
            Body::LogRequest { number, stretch } => self.part_wanted(from, (number, stretch), out),
            Body::LogPart { number, at, bytes } => self.part_came(now, from, (number, at, bytes), out),
            _ => {
                self.hear_preferred(now, &message);
                self.group.step(message);
                self.advance(now, out);
            }
        }
    }

    /// Entries for another replica were read, or not.
    pub(crate) fn fetched(
        &mut self,
        now: Now,
        number: u64,
        entries: Option<Vec<(Entry, LogOffset)>>,
        out: &mut Out<'_>,
    ) {
        if self.takes_part() {
            self.group.fetched(number, entries);
            self.advance(now, out);
        }
    }

    /// Somebody wants another replica to lead.
    pub(crate) fn transfer(&mut self, now: Now, to: Option<ReplicaId>, out: &mut Out<'_>) {
        if let Some(to) = to.or_else(|| self.group.successor()).filter(|_| self.takes_part()) {
            self.group.transfer(to);
            self.advance(now, out);
        }
    }

    /// Does what the group wants after an input.
    pub(crate) fn advance(&mut self, now: Now, out: &mut Out<'_>) {
        let Output { write, messages, fetches, committed, reads, role, news, halted } = self.group.drain();
        self.pass_on(write, messages, fetches, out);
        news.iter().for_each(|news| self.tell_news(news, out));
        // The next write starts before the answers to this one are made: the disk does not wait for them.
        self.propose(now, out);
        self.apply(now, &committed, out);
        if let Some((term, role)) = role {
            self.has_role(now, term, role, out);
        }
        let is_complete = self.group.fence().is_none();
        if std::mem::replace(&mut self.is_complete, is_complete) != is_complete {
            out(Effect::Complete(is_complete));
        }
        self.confirmed(now, &reads, out);
        if let Some(halt) = halted {
            self.poison(&halt.to_string(), out);
        }
    }

    /// Passes on what the shell has to do.
    pub(crate) fn pass_on(
        &mut self,
        write: Option<Write>,
        messages: Vec<Message>,
        fetches: Vec<Fetch>,
        out: &mut Out<'_>,
    ) {
        if let Some(write) = write {
            self.held_write = Some(write);
            self.write(out);
            // Entries that came while another write was under way may need more space than a filler keeps ready.
            if let Some(held) = &self.held_write
                && !sabotage::is(Sabotage::HeldWriteNotFilled)
            {
                out(Effect::Fill(end_of(held)));
            }
        }
        messages.into_iter().for_each(|message| out(Effect::Message(message)));
        fetches.into_iter().for_each(|fetch| out(Effect::Fetch(fetch)));
    }

    /// Has the write made for which there is space: a follower's leader does not know how far its filler is.
    pub(crate) fn write(&mut self, out: &mut Out<'_>) {
        if let Some(write) = self.held_write.take_if(|write| end_of(write) <= self.room.filled_to) {
            out(Effect::Write(write));
        }
    }

    fn has_role(&mut self, now: Now, term: Term, role: Role, out: &mut Out<'_>) {
        if self.membership.is_alone() {
            return;
        }
        out(Effect::Role(term, role));
        // Whatever it led before was another term.
        self.step_down(out);
        if role == Role::Leader && self.phase == Phase::Following {
            self.phase = Phase::Starting;
            if sabotage::is(Sabotage::LeadsBeforeItHasApplied) {
                self.begin_to_lead(now, out);
            }
        }
    }

    /// Everything before this term is applied: offsets of new messages follow from it.
    pub(crate) fn begin_to_lead(&mut self, now: Now, out: &mut Out<'_>) {
        self.phase = Phase::Leading;
        self.state.topics.queues_mut().for_each(|queue| queue.stamped = queue.end);
        self.deliveries = Deliveries::default();
        self.lock_holders = LockHolders::new(&self.state.locks, now.ticks);
        self.register(out);
    }

    /// It does not lead any more, if it did. What it had proposed may be committed by the next leader, or not.
    fn step_down(&mut self, out: &mut Out<'_>) {
        if matches!(self.phase, Phase::Starting | Phase::Leading) {
            self.phase = Phase::Following;
        }
        let cause = self.not_leading();
        self.leave_unknown(&cause, out);
        self.refuse_pending(response::SERVICE_NOT_AVAILABLE, &cause, out);
        self.turn_away(&cause, out);
        self.reads.forget_deliveries();
    }

    /// Tells whoever waits for what was proposed that nobody knows what becomes of it.
    pub(crate) fn leave_unknown(&mut self, cause: &str, out: &mut Out<'_>) {
        for ack in std::mem::take(&mut self.in_flight).into_iter().flat_map(|in_flight| in_flight.acks) {
            let origin = *ack.origin();
            if sabotage::is(Sabotage::DeposedLeaderAnswersOk) {
                acknowledge(ack, &self.options, out);
            } else if sabotage::is(Sabotage::DeposedLeaderAnswersFailed) {
                let refused = not_stored(response::SERVICE_NOT_AVAILABLE, cause);
                reply(origin, refused, out);
            } else {
                reply(origin, unknown(cause), out);
            }
        }
    }

    /// Answers whoever waits for something that only a leader knows, so that they look for the new one.
    pub(crate) fn turn_away(&mut self, cause: &str, out: &mut Out<'_>) {
        let queries = std::mem::take(&mut self.waiting_queries);
        for (origin, request) in queries.into_iter().chain(self.confirming.give_up()) {
            reply(origin, refused(&request, cause), out);
        }
        self.release_held(cause, out);
    }

    /// Why this replica does not do what a leader does, and what to do about it.
    pub(crate) fn not_leading(&self) -> String {
        let (id, count) = (Membership::name(self.membership.id), self.membership.voters.len());
        let name = &self.options.broker_name;
        match self.group.role() {
            Role::Follower(Some(leader)) => format!(
                "replica {id} of {name} follows {}; ask the leader, which name servers list as broker id 0",
                Membership::name(leader)
            ),
            Role::Leader => format!("replica {id} of {name} has just been elected; ask again"),
            _ => format!(
                "replica {id} of {name} knows no leader: an election is under way, or fewer than {} of {count} replicas \
                 reach each other; ask again, and look after the other replicas if that lasts",
                Membership::quorum(count)
            ),
        }
    }
}

/// Where the log will end.
fn end_of(write: &Write) -> LogOffset {
    let end = |(entry, at): &(Entry, LogOffset)| *at + frame_len(entry.payload.len());
    write.entries.last().map_or(LogOffset::ZERO, end)
}
