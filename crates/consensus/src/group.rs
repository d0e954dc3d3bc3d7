//! A replica of a group: the engine, driven.

use bytes::Bytes;
use raft::eraftpb::ConfState;
use raft::eraftpb::{Entry as EngineEntry, HardState, Message as EngineMessage, MessageType};
use raft::{RaftState, RawNode, Ready, StateRole};
use steadfast_store::log::{Entry, FRAME_HEADER_LEN, Keep, Layout, Mark, Place, frame_len};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_types::{LogIndex, LogOffset, Term};

use crate::ReplicaId;
use crate::engine::{entry_from_engine, message_from_engine, message_to_engine};
use crate::message::{Body, Message};
use crate::output::{Committed, Halt, Output, Read, Role, Vote, Write};
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
    output: Output,
}

/// A write that is not durable yet.
struct InFlight {
    number: u64,
    /// Entries that are to be written after it.
    rest: Vec<(Entry, LogOffset)>,
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
        }
    }

    /// Takes a message of a peer. One that is not from this group's replicas, or not to this one, is dropped.
    pub fn step(&mut self, message: Message) {
        let known = message.to == self.id() && message.from != self.id();
        if self.halted.is_some() || !known || self.node.raft.prs().get(message.from).is_none() {
            return;
        }
        let last = self.node.raft.raft_log.last_index();
        match &message.body {
            Body::Append(append) => {
                let first = append.entries.first();
                self.claims.extend(first.map(|entry| Claim {
                    index: entry.index.get(),
                    term: entry.term.get(),
                    at: append.at,
                }));
            }
            // The engine would panic. A leader names what its follower has said to have.
            Body::Heartbeat { commit, .. } if message.term >= self.term() && commit.get() > last => {
                return self.halt(Halt::LogLost { committed: *commit, last: LogIndex::new(last) });
            }
            _ => {}
        }
        // It refuses answers of strangers, which are none of them.
        let _ = self.node.step(message_to_engine(message));
        self.settle();
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
        if !write.rest.is_empty() {
            return self.write(number, None, None, write.rest, write.messages);
        }
        self.output.messages.extend(write.messages);
        self.node.on_persist_ready(number);
        self.settle();
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

    /// The engine has taken an input.
    fn settle(&mut self) {
        self.timeouts.settle(&mut self.node.raft);
        let role = (self.term(), self.role());
        if role != self.role {
            self.role = role;
            self.output.role = Some(role);
        }
    }

    fn halt(&mut self, halt: Halt) {
        self.halted = Some(halt);
        self.output.halted = Some(halt);
    }

    /// Takes what the engine has, but for what is to be written while a write is in flight.
    fn gather(&mut self) {
        while self.halted.is_none() && self.may_take() && self.node.has_ready() {
            self.take_ready();
        }
        let wanted = self.node.mut_store().take_wanted();
        self.output.fetches.extend(wanted);
    }

    fn may_take(&self) -> bool {
        let raft = &self.node.raft;
        let vote = Vote { term: Term::new(raft.term), replica: raft.vote };
        self.in_flight.is_none() || (vote == self.vote && raft.raft_log.unstable_entries().is_empty())
    }

    fn take_ready(&mut self) {
        let mut ready = self.node.ready();
        let number = ready.number();
        let vote = self.take_vote(&ready);
        let Some((keep, entries)) = self.take_entries(ready.take_entries()) else { return };
        let reads = ready.take_read_states().into_iter().filter_map(|state| {
            let number = u64::from_be_bytes(*state.request_ctx.first_chunk()?);
            Some(Read { number, index: LogIndex::new(state.index) })
        });
        self.output.reads.extend(reads);
        let at_once = self.messages(ready.take_messages());
        let later = self.messages(ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        self.node.advance_append_async(ready);
        self.output.messages.extend(at_once);
        if vote.is_some() || !entries.is_empty() {
            let early = keep.is_some() && sabotage::is(Sabotage::TruncationNotPersisted);
            let messages = if early { self.say(later) } else { later };
            self.write(number, vote, keep, entries, messages);
        } else if let Some(write) = &mut self.in_flight {
            // It may depend on what is being written.
            write.messages.extend(later);
        } else {
            self.output.messages.extend(later);
            self.node.on_persist_ready(number);
        }
        self.hand_out(committed);
    }

    /// Has as much written as may be written together. A torn write can leave any of its frames: if one told that an entry
    /// of the same write is committed, recovery would take that one, torn, for a damaged entry.
    fn write(
        &mut self,
        number: u64,
        vote: Option<Vote>,
        keep: Option<Keep>,
        mut entries: Vec<(Entry, LogOffset)>,
        messages: Vec<Message>,
    ) {
        let first = entries.first().map(|(entry, _)| entry.index);
        let tells = |(entry, _): &(Entry, LogOffset)| Some(entry.commit()) >= first;
        let together = entries.iter().skip(1).position(tells).map_or(entries.len(), |position| position + 1);
        let rest = entries.split_off(together);
        self.in_flight = Some(InFlight { number, rest, messages });
        // It is on the medium before the entries are, so it must not be of them.
        let raft_log = &self.node.raft.raft_log;
        let commit = LogIndex::new(raft_log.committed.min(raft_log.persisted));
        self.output.write = Some(Write { number, vote, commit, keep, entries });
    }

    /// Messages leave at once; nothing is left of them.
    fn say(&mut self, messages: Vec<Message>) -> Vec<Message> {
        self.output.messages.extend(messages);
        Vec::new()
    }

    fn take_vote(&mut self, ready: &Ready) -> Option<Vote> {
        let vote = ready.hs().map(|hs| Vote { term: Term::new(hs.term), replica: hs.vote });
        let vote = vote.filter(|vote| *vote != self.vote)?;
        self.vote = vote;
        (!sabotage::is(Sabotage::VoteNotPersisted)).then_some(vote)
    }

    /// Gives the new entries their places; the log goes back if they replace others. None if a place is not the leader's.
    #[allow(clippy::type_complexity)]
    fn take_entries(&mut self, new: Vec<EngineEntry>) -> Option<(Option<Keep>, Vec<(Entry, LogOffset)>)> {
        let claims = std::mem::take(&mut self.claims);
        let log = self.node.mut_store();
        let first = new.first().map(|entry| entry.index);
        let keep = first.filter(|first| *first <= log.last_held()).map(|first| log.truncate(first - 1));
        let mut entries = Vec::with_capacity(new.len());
        for entry in new {
            let own = self.layout.place(log.end(), entry.data.len()).at;
            let claim = claims.iter().find(|claim| (claim.index, claim.term) == (entry.index, entry.term));
            if let Some(claim) = claim.filter(|claim| claim.at != own) {
                let (index, leader) = (LogIndex::new(entry.index), claim.at);
                self.halt(Halt::Misplaced { index, leader, own });
                return None;
            }
            log.append(entry.clone(), own);
            entries.push((entry_from_engine(entry), own));
        }
        Some((keep, entries))
    }

    fn messages(&self, messages: Vec<EngineMessage>) -> Vec<Message> {
        let log = self.node.store();
        messages.into_iter().filter_map(|m| message_from_engine(m, |index| log.place_of(index))).collect()
    }

    fn hand_out(&mut self, entries: Vec<EngineEntry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        for entry in entries.into_iter().filter(|entry| entry.index > self.handed_out) {
            let at = self.node.store().place_of(entry.index).expect("an entry is held until it is applied");
            self.output.committed.push(committed(entry, at));
        }
        self.handed_out = self.handed_out.max(last);
        self.node.advance_apply_to(last);
        self.node.mut_store().trim(last, self.cache);
    }

    /// Hands out what only this replica has.
    fn hand_out_too_early(&mut self) {
        for index in self.handed_out + 1..=self.node.raft.raft_log.persisted {
            let Some((entry, at)) = self.node.store().get(index).cloned() else { return };
            self.output.committed.push(committed(entry, at));
            self.handed_out = index;
        }
    }
}

fn committed(entry: EngineEntry, at: LogOffset) -> Committed {
    let entry = entry_from_engine(entry);
    let end = at + frame_len(entry.payload.len());
    Committed { entry, payload_at: at + FRAME_HEADER_LEN as u64, end }
}
