//! A replica of a group: the engine, driven.

mod losses;
mod ready;
mod starts;

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry as EngineEntry, HardState, Message as EngineMessage, MessageType};
use raft::{Progress, ProgressState, RaftState, RawNode, StateRole};
use steadfast_store::log::{Entry, Layout, Mark, Place};
use steadfast_store::meta::{Fence, Past, Start};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_types::{LogIndex, LogOffset, Position, Term};

use crate::ReplicaId;
use crate::engine::message_to_engine;
use crate::fence::Round;
use crate::members::Recorded;
use crate::message::{Body, Card, Message};
use crate::output::{Halt, Output, PeerProgress, Read, Role, Vote};
use crate::recovery::Standing;
use crate::settings::{Limits, Settings, Timing};
use crate::timeouts::Timeouts;
use crate::view::LogView;

/// Why something could not be proposed. Nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead the group.
    #[error("this replica does not lead the group")]
    NotLeader,
    /// A write is in flight; wait for it.
    #[error("a write is in flight")]
    Busy,
    /// Leadership is being handed over.
    #[error("leadership of the group is being handed over")]
    Transferring,
    /// Too much is not committed yet; wait for the other replicas.
    #[error("too many bytes wait for a quorum of the group")]
    Backlog,
}

/// Why a read could not be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead the group.
    #[error("this replica does not lead the group")]
    NotLeader,
    /// It does, and has not committed an entry of its term yet: it may not know all that is committed.
    #[error("this replica has just become the leader of the group")]
    TooEarly,
}

/// A replica of a group.
pub struct Group {
    node: RawNode<LogView>,
    layout: Layout,
    cache: u64,
    vote: Vote,
    role: (Term, Role),
    timeouts: Timeouts,
    in_flight: Option<InFlight>,
    /// Places that leaders named for entries which have not been taken from the engine yet.
    claims: Vec<Claim>,
    last_read: u64,
    /// Highest index handed out.
    handed_out: u64,
    halted: Option<Halt>,
    /// What this replica may have acknowledged and has lost.
    fence: Option<Fence>,
    /// The meta file does not have it yet.
    fence_is_new: bool,
    /// What was answered to this candidate.
    round: Round,
    /// This start of its process. Its number names it in questions, too.
    start: Start,
    /// What its disk knows of itself.
    past: Past,
    /// The entry that tells of this start, as another replica said.
    confirmed: Option<LogIndex>,
    /// The entry with the last start of this replica that others told, and that its disk remembers.
    accounted: LogIndex,
    /// How each other replica came last.
    heard: BTreeMap<ReplicaId, Card>,
    output: Output,
}

/// A write that is not durable yet.
struct InFlight {
    number: u64,
    /// What may be said once all of it is durable.
    messages: Vec<Message>,
}

/// What a leader says of an entry's place.
struct Claim {
    index: u64,
    term: u64,
    at: LogOffset,
}

impl Group {
    /// A group of this replica alone, whose log, all of it applied, ends at `mark` with an entry of `term`.
    pub fn single(id: ReplicaId, layout: Layout, mark: Mark, term: Term, vote: Vote) -> Self {
        let (timing, limits) = (Timing::default(), Limits::alone());
        let settings = Settings { id, voters: vec![id], layout, seed: id, timing, limits };
        Self::open(&settings, LogView::after(mark, term), vote, mark.index)
    }

    /// A replica whose log recovery has read. Everything up to `applied`, which is known to be committed, has been
    /// applied; what comes after will be handed out.
    ///
    /// # Panics
    /// If the settings make no sense, or if `applied` is not in the log.
    pub fn open(settings: &Settings, mut log: LogView, vote: Vote, applied: LogIndex) -> Self {
        let applied = applied.get();
        let Standing { start, past, fence } = log.standing;
        log.roll.apply(applied);
        log.trim(applied, settings.limits.cache);
        log.set_fetch_bytes(settings.limits.fetch);
        let hard_state =
            HardState { term: vote.term.get(), vote: vote.replica, commit: applied, ..HardState::default() };
        let conf_state = ConfState { voters: settings.voters.clone(), ..ConfState::default() };
        log.state = RaftState { hard_state, conf_state };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node =
            RawNode::new(&settings.engine(applied), log, &logger).expect("the settings make sense");
        let mut timeouts = Timeouts::new(settings.seed, settings.timing.election.clone());
        timeouts.settle(&mut node.raft);
        Self {
            layout: settings.layout,
            cache: settings.limits.cache,
            role: (vote.term, Role::Follower(None)),
            vote,
            timeouts,
            in_flight: None,
            claims: Vec::new(),
            last_read: 0,
            handed_out: applied,
            halted: None,
            fence,
            fence_is_new: false,
            round: Round::default(),
            start,
            past,
            confirmed: None,
            accounted: LogIndex::ZERO,
            heard: BTreeMap::new(),
            output: Output::default(),
            node,
        }
    }

    /// Stands for election; in a group of one it is won at once.
    pub fn campaign(&mut self) {
        // It is refused to a leader, and to nobody else.
        let _ = self.node.campaign();
        self.settle();
    }

    /// Time goes on.
    pub fn tick(&mut self) {
        if self.halted.is_none() {
            self.node.tick();
            self.settle();
            self.record_starts();
        }
    }

    /// Takes a message of a peer. One that is not from this group's replicas, or not to this one, is dropped.
    pub fn step(&mut self, message: Message) {
        if self.halted.is_some() || !self.is_for_it(&message) {
            return;
        }
        self.introduced(&message);
        if self.halted.is_some() {
            return;
        }
        self.take(message);
        self.record_starts();
    }

    fn take(&mut self, message: Message) {
        let Message { from, term, ref body, .. } = message;
        match *body {
            Body::Append(ref append) => {
                let first = append.entries.first();
                self.claims.extend(first.map(|entry| Claim {
                    index: entry.index.get(),
                    term: entry.term.get(),
                    at: append.at,
                }));
            }
            Body::Heartbeat { commit, read } if term >= self.term() => {
                return self.heartbeat(message, commit, read);
            }
            Body::VoteResponse { pre, granted, last, fence, .. } => {
                return self.vote_response(message, pre, (granted, last, fence));
            }
            // It cannot stand for election by a mere word.
            Body::TimeoutNow if self.fence.is_some() => return,
            Body::Inquiry { nonce, last } => return self.inquiry(from, nonce, last),
            Body::Standing { nonce, last } => return self.standing(term, nonce, last),
            _ => {}
        }
        self.engine_step(message);
    }

    /// Whether a message is for this replica, and from another one of its group.
    pub fn is_for_it(&self, message: &Message) -> bool {
        let Message { from, to, .. } = *message;
        to == self.id() && from != to && self.node.raft.prs().get(from).is_some()
    }

    /// Where the next entry will lie if its payload has `payload_len` bytes. Only a leader that is idle knows.
    pub fn place(&self, payload_len: usize) -> Place {
        self.node.store().place(self.layout, payload_len)
    }

    /// Proposes a batch that was stamped for [`Group::place`].
    pub fn propose(&mut self, payload: Bytes) -> Result<(), ProposeError> {
        if !self.is_idle() {
            return Err(ProposeError::Busy);
        }
        // The engine would forward a follower's proposal to the leader, with the wrong stamps.
        if !self.is_leader() {
            return Err(ProposeError::NotLeader);
        }
        if self.node.raft.lead_transferee.is_some() {
            return Err(ProposeError::Transferring);
        }
        // `RawNode::propose` would copy the payload into a vector; a proposal message shares it.
        let entry = EngineEntry { data: payload, ..EngineEntry::default() };
        let mut message = EngineMessage { from: self.id(), ..EngineMessage::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        self.node.raft.step(message).map_err(|_| ProposeError::Backlog)
    }

    /// Tells that a write is durable.
    pub fn persisted(&mut self, number: u64) {
        let Some(write) = self.in_flight.take_if(|write| write.number == number) else { return };
        self.output.messages.extend(write.messages);
        self.node.on_persist_ready(number);
        self.settle();
        self.look_at_fence();
        self.record_starts();
        if sabotage::is(Sabotage::AckBeforeQuorum) && self.is_leader() {
            self.hand_out_too_early();
        }
    }

    /// Entries have been read, or could not be.
    pub fn fetched(&mut self, number: u64, entries: Option<Vec<(Entry, LogOffset)>>) {
        let entries = entries.unwrap_or_default();
        // Without any, the peer is tried again when it answers the next heartbeat.
        let some = !entries.is_empty();
        let waiting = self.node.mut_store().offer(number, entries);
        for context in waiting.into_iter().filter(|_| some) {
            self.node.on_entries_fetched(context);
        }
        // The messages name places, which are known as long as the entries are.
        self.gather();
        self.node.mut_store().forget_read();
    }

    /// The log begins after this entry now, which was applied: retention has dropped it and all before. A peer that needs
    /// any of them gets nothing.
    pub fn drop_head(&mut self, last: LogIndex) {
        self.node.mut_store().drop_head(last.get());
    }

    /// Asks from where on the state machine is current. The answer comes when a quorum has confirmed that this replica
    /// still leads, unless it does not: see [`Output::role`].
    pub fn read_index(&mut self) -> Result<u64, ReadError> {
        if !self.is_leader() {
            return Err(ReadError::NotLeader);
        }
        if !self.node.raft.commit_to_current_term() {
            return Err(ReadError::TooEarly);
        }
        self.last_read += 1;
        let number = self.last_read;
        if sabotage::is(Sabotage::StaleLeaderRead) {
            self.output.reads.push(Read { number, index: self.commit() });
        } else {
            self.node.read_index(number.to_be_bytes().to_vec());
        }
        Ok(number)
    }

    /// Hands leadership over, if this replica has it. It proposes nothing until that is done or an election time-out has
    /// passed.
    pub fn transfer(&mut self, to: ReplicaId) {
        if self.is_leader() {
            self.node.transfer_leader(to);
            self.settle();
        }
    }

    /// The replica to hand leadership over to: of those that answer, the one whose log goes furthest. None if this one
    /// does not lead, or hears nobody.
    pub fn successor(&self) -> Option<ReplicaId> {
        let others = self.node.raft.prs().iter().filter(|(id, _)| **id != self.id());
        let heard = others.filter(|(_, progress)| self.is_leader() && progress.recent_active);
        heard.max_by_key(|(id, progress)| (progress.matched, **id)).map(|(id, _)| *id)
    }

    /// Whether another replica has all of this leader's log but so many entries, as far as it has said, and is sent what
    /// is new as it comes.
    pub fn keeps_up(&self, id: ReplicaId, entries: u64) -> bool {
        let is_near = |progress: &Progress| {
            let end = progress.matched.saturating_add(entries);
            progress.state == ProgressState::Replicate && end >= self.last().index.get()
        };
        self.is_leader() && self.node.raft.prs().get(id).is_some_and(is_near)
    }

    /// How far the other replicas are; empty if this one does not lead.
    pub fn progress(&self) -> Vec<PeerProgress> {
        let others = self.node.raft.prs().iter().filter(|(id, _)| self.is_leader() && **id != self.id());
        let mut all: Vec<_> = others
            .map(|(id, progress)| PeerProgress {
                replica: *id,
                behind: self.node.store().bytes_after(progress.matched),
                answers: progress.recent_active,
            })
            .collect();
        all.sort_unstable_by_key(|progress| progress.replica);
        all
    }

    /// What there is to do. To be called after inputs, before the next [`Group::propose`].
    pub fn drain(&mut self) -> Output {
        self.gather();
        std::mem::take(&mut self.output)
    }

    /// This replica.
    pub fn id(&self) -> ReplicaId {
        self.node.raft.id
    }

    /// Whether this replica leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Whether nothing is being written, so that a batch can be proposed.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.node.raft.raft_log.unstable_entries().is_empty()
    }

    /// Highest index known to be committed.
    pub fn commit(&self) -> LogIndex {
        LogIndex::new(self.node.raft.raft_log.committed)
    }

    /// Current term.
    pub fn term(&self) -> Term {
        Term::new(self.node.raft.term)
    }

    /// Its role.
    pub fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => {
                Role::Follower(Some(self.node.raft.leader_id).filter(|leader| *leader != raft::INVALID_ID))
            }
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        }
    }

    /// The last entry of its log.
    pub fn last(&self) -> Position {
        self.node.store().position()
    }

    /// What it may have acknowledged and lost, until it has that again.
    pub fn fence(&self) -> Option<Fence> {
        self.fence
    }

    /// The last start of a replica that the log tells, to its very end.
    pub fn started(&self, replica: ReplicaId) -> Option<Recorded> {
        self.node.store().roll.started(replica)
    }

    fn engine_step(&mut self, message: Message) {
        if let Some(message) = message_to_engine(message) {
            // It refuses answers of strangers, which are none of them.
            let _ = self.node.step(message);
        }
        self.settle();
    }

    /// The engine has taken an input.
    fn settle(&mut self) {
        self.timeouts.settle(&mut self.node.raft);
        let role = (self.term(), self.role());
        if role != self.role {
            self.role = role;
            self.output.role = Some(role);
            self.look_at_fence();
        }
    }

    fn halt(&mut self, halt: Halt) {
        self.halted = Some(halt);
        self.output.halted = Some(halt);
    }
}
