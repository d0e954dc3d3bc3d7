//! What the engine wants done, turned into [`Output`](crate::Output): what depends on a write stays inside until that is
//! durable.

use raft::Ready;
use raft::eraftpb::{Entry as EngineEntry, Message as EngineMessage};
use steadfast_store::log::{Entry, FRAME_HEADER_LEN, Keep, frame_len};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_types::{LogIndex, LogOffset, Term};

use super::{Group, InFlight};
use crate::engine::{entry_from_engine, message_from_engine};
use crate::message::Message;
use crate::output::{Committed, Halt, Read, Vote, Write};

impl Group {
    /// Takes what the engine has, but for what is to be written while a write is in flight.
    pub(super) fn gather(&mut self) {
        while self.halted.is_none() && self.may_take() && self.node.has_ready() {
            self.take_ready();
        }
        let wanted = self.node.mut_store().take_wanted();
        self.output.fetches.extend(wanted);
    }

    fn may_take(&self) -> bool {
        let raft = &self.node.raft;
        let vote = Vote { term: Term::new(raft.term), replica: raft.vote };
        let idle = vote == self.vote && !self.fence_is_new && raft.raft_log.unstable_entries().is_empty();
        self.in_flight.is_none() || idle
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

    fn write(
        &mut self,
        number: u64,
        vote: Option<Vote>,
        keep: Option<Keep>,
        entries: Vec<(Entry, LogOffset)>,
        messages: Vec<Message>,
    ) {
        self.in_flight = Some(InFlight { number, messages });
        // It is on the medium before the entries are, so it must not be of them.
        let raft_log = &self.node.raft.raft_log;
        let commit = LogIndex::new(raft_log.committed.min(raft_log.persisted));
        let (fence, past) = (self.fence, vote.map(|_| Box::new(self.past)));
        self.output.write = Some(Write { number, vote, commit, fence, past, keep, entries });
    }

    /// Messages leave at once; nothing is left of them.
    fn say(&mut self, messages: Vec<Message>) -> Vec<Message> {
        self.output.messages.extend(messages);
        Vec::new()
    }

    fn take_vote(&mut self, ready: &Ready) -> Option<Vote> {
        let vote = ready.hs().map(|hs| Vote { term: Term::new(hs.term), replica: hs.vote });
        let vote = vote.unwrap_or(self.vote);
        let is_new = (vote != self.vote) | std::mem::take(&mut self.fence_is_new);
        self.vote = vote;
        (is_new && !sabotage::is(Sabotage::VoteNotPersisted)).then_some(vote)
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
        let own = (log.position(), self.fence);
        let message = |m: EngineMessage| {
            let card = self.card(m.to);
            message_from_engine(m, own, card, |index| log.place_of(index))
        };
        messages.into_iter().filter_map(message).collect()
    }

    fn hand_out(&mut self, entries: Vec<EngineEntry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        for entry in entries.into_iter().filter(|entry| entry.index > self.handed_out) {
            let at = self.node.store().place_of(entry.index).expect("an entry is held until it is applied");
            self.output.committed.push(committed(entry, at));
        }
        self.handed_out = self.handed_out.max(last);
        self.node.advance_apply_to(last);
        let log = self.node.mut_store();
        log.roll.apply(last);
        log.trim(last, self.cache);
    }

    /// Hands out what only this replica has.
    pub(super) fn hand_out_too_early(&mut self) {
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
