//! What may never be, whatever strikes, and what must be when all is well again.

use std::collections::BTreeMap;
use std::ops::Range;

use steadfast_audit::{Books, Digest};
use steadfast_consensus::{Body, Committed, Message, ReplicaId, Role, Write};
use steadfast_store::log::{Batch, Entry, FRAME_HEADER_LEN, Kind};
use steadfast_types::record::{Record, records};
use steadfast_types::{LogIndex, LogOffset, Position, Term};

use super::replica::{Found, number_of};
use crate::watch::{Finding, Gist};

/// Findings that are kept; more say nothing new.
const KEPT: usize = 20;

/// What is known for ever once it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fact {
    term: Term,
    at: LogOffset,
    digest: u64,
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) findings: Vec<Finding>,
    /// By index, from 1 on.
    committed: Vec<Fact>,
    leaders: BTreeMap<Term, ReplicaId>,
    /// Whom each replica has said to have voted for.
    votes: BTreeMap<(ReplicaId, Term), ReplicaId>,
    /// The highest term that each replica has said to be in.
    told: BTreeMap<ReplicaId, Term>,
    /// The terms of the entries that each replica has durably, by index.
    durable: BTreeMap<ReplicaId, Vec<Term>>,
    /// The same of replicas that were damaged, as it was before, each time.
    damaged: BTreeMap<ReplicaId, Vec<Vec<Term>>>,
    /// Where each acknowledged record is.
    acked: BTreeMap<u64, LogIndex>,
    /// The last entry with an acknowledged record.
    last_acked: LogIndex,
    pub(super) books: Books,
}

impl Checks {
    pub(super) fn find(&mut self, gist: Gist, sentence: String) {
        if self.findings.len() < KEPT {
            self.findings.push(Finding { gist, sentence });
        }
    }

    /// A replica has a role from now on.
    pub(super) fn role(&mut self, id: ReplicaId, term: Term, role: Role) {
        if role != Role::Leader {
            return;
        }
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            self.find(Gist::Leaders, format!("replicas {first} and {id} both lead in term {term}"));
        }
    }

    /// A message leaves: what it says must hold from now on.
    pub(super) fn said(&mut self, message: &Message) {
        let Message { from, to, term, ref body, .. } = *message;
        let vote = match body {
            // These promise nothing.
            Body::RequestVote { pre: true, .. } | Body::VoteResponse { pre: true, .. } => return,
            Body::Inquiry { .. } | Body::Standing { .. } => return,
            Body::RequestVote { .. } => Some(from),
            Body::VoteResponse { granted: true, .. } => Some(to),
            _ => None,
        };
        let told = self.told.entry(from).or_default();
        *told = term.max(*told);
        let Some(vote) = vote else { return };
        let first = *self.votes.entry((from, term)).or_insert(vote);
        if first != vote {
            let text = format!("replica {from} voted for {first} in term {term}, and then for {vote}");
            self.find(Gist::Vote, text);
        }
    }

    /// A process has started.
    pub(super) fn started(&mut self, id: ReplicaId, found: &Found) {
        let told = self.told.get(&id).copied().unwrap_or_default();
        let term = found.vote.term;
        if term < told {
            self.find(Gist::Vote, format!("replica {id} was in term {told} and is back in term {term}"));
        }
        let voted = self.votes.get(&(id, term)).copied().filter(|voted| *voted != found.vote.replica);
        if let Some(voted) = voted {
            self.find(
                Gist::Vote,
                format!("replica {id} has forgotten that it voted for {voted} in term {term}"),
            );
        }
        self.durable.insert(id, found.entries.iter().map(|(entry, _)| entry.term).collect());
        let known = found.entries.iter().take_while(|(entry, _)| entry.index <= found.committed);
        for (entry, at) in known {
            self.fact(id, entry, *at);
        }
    }

    /// A replica is damaged, now. Returns the last entry that it had: a quorum may still count on it, as the replica
    /// votes for nobody without it.
    pub(super) fn damaged(&mut self, id: ReplicaId) -> Position {
        let had = self.durable.get(&id).cloned().unwrap_or_default();
        let last = Position {
            term: had.last().copied().unwrap_or_default(),
            index: LogIndex::new(had.len() as u64),
        };
        self.damaged.entry(id).or_default().push(had);
        last
    }

    /// Its disk is replaced: it cannot know what it has said.
    pub(super) fn forgets(&mut self, id: ReplicaId) {
        self.told.remove(&id);
        self.votes.retain(|(voter, _), _| *voter != id);
    }

    /// It has everything again.
    pub(super) fn refilled(&mut self, id: ReplicaId) {
        self.damaged.remove(&id);
    }

    /// A write is durable.
    pub(super) fn wrote(&mut self, id: ReplicaId, write: &Write) {
        let log = self.durable.entry(id).or_default();
        if let Some(keep) = write.keep {
            log.truncate(keep.index().get() as usize);
        }
        log.extend(write.entries.iter().map(|(entry, _)| entry.term));
    }

    /// A replica was handed out an entry.
    pub(super) fn committed(&mut self, id: ReplicaId, after: LogIndex, committed: &Committed) {
        let index = committed.entry.index;
        if index != after.next() {
            self.find(Gist::Committed, format!("replica {id} was handed out entry {index} after {after}"));
        }
        let at = LogOffset::new(committed.payload_at.get() - FRAME_HEADER_LEN as u64);
        self.fact(id, &committed.entry, at);
    }

    fn fact(&mut self, id: ReplicaId, entry: &Entry, at: LogOffset) {
        let fact = Fact { term: entry.term, at, digest: Digest::of(&[&entry.payload[..]]).get() };
        let position = entry.index.get() as usize - 1;
        match self.committed.get(position) {
            Some(known) if *known == fact => {}
            Some(known) => {
                let index = entry.index;
                self.find(
                    Gist::Committed,
                    format!("entry {index} was {known:?} and is {fact:?} on replica {id}"),
                );
            }
            None if position == self.committed.len() => self.committed.push(fact),
            None => {
                let text =
                    format!("replica {id} knows entry {} to be committed before the one before", entry.index);
                self.find(Gist::Committed, text);
            }
        }
    }

    /// Records are acknowledged: a quorum must have them, durably.
    pub(super) fn acknowledged(&mut self, replicas: u64, entry: &Entry, numbers: &[u64]) {
        let position = entry.index.get() as usize - 1;
        let has = |log: &Vec<Term>| log.get(position) == Some(&entry.term);
        let have = (1..=replicas).filter(|id| {
            let damaged = self.damaged.get(id).into_iter().flatten();
            self.durable.get(id).into_iter().chain(damaged).any(has)
        });
        let have = have.count() as u64;
        if have * 2 <= replicas {
            let text = format!("entry {} was acknowledged with {have} of {replicas} replicas", entry.index);
            self.find(Gist::Quorum, text);
        }
        self.last_acked = self.last_acked.max(entry.index);
        self.books.acked += numbers.len() as u64;
        self.acked.extend(numbers.iter().map(|number| (*number, entry.index)));
    }

    /// What a read that begins now must not miss.
    pub(super) fn read_begins(&self) -> LogIndex {
        self.last_acked
    }

    /// A read is answered.
    pub(super) fn read(&mut self, id: ReplicaId, must_see: LogIndex, sees: LogIndex) {
        self.books.delivered += 1;
        if sees < must_see {
            let text =
                format!("replica {id} answered a read as of entry {sees}, after {must_see} was acknowledged");
            self.find(Gist::Stale, text);
        }
    }

    /// Compares the logs of all replicas, as they are on their disks in the end.
    pub(super) fn judge(&mut self, logs: &[(ReplicaId, Vec<(Entry, LogOffset)>)]) {
        let Some(((first, log), others)) = logs.split_first() else { return };
        for (id, other) in others.iter().filter(|(_, other)| other != log) {
            let same = log.iter().zip(other).take_while(|(one, another)| one == another).count();
            let text = format!(
                "replicas {first} and {id} have {} and {} entries, of which the first {same} are the same",
                log.len(),
                other.len()
            );
            self.find(Gist::Replicas, text);
        }
        for (entry, at) in log.iter().take(self.committed.len()) {
            self.fact(*first, entry, *at);
        }
        let mut places: BTreeMap<u64, Vec<LogIndex>> = BTreeMap::new();
        for (entry, _) in log {
            for number in numbers(entry) {
                places.entry(number).or_default().push(entry.index);
            }
        }
        self.books.found = places.len() as u64;
        for (number, index) in self.acked.clone() {
            let found = places.get(&number).cloned().unwrap_or_default();
            if found != [index] {
                let text = format!("record {number} was acknowledged at entry {index} and is at {found:?}");
                self.find(Gist::Lost, text);
            }
        }
        let twice = places.iter().find(|(_, places)| places.len() > 1);
        if let Some((number, places)) = twice.map(|(number, places)| (*number, places.clone())) {
            self.find(Gist::Lost, format!("record {number} was sent once and is at {places:?}"));
        }
    }
}

/// The numbers of the records in an entry.
fn numbers(entry: &Entry) -> Vec<u64> {
    if entry.kind != Kind::Batch {
        return Vec::new();
    }
    let Ok(batch) = Batch::parse(entry.payload.clone()) else { return Vec::new() };
    let number = |range: Range<usize>| match records(&batch.payload()[range]).next() {
        Some(Ok((_, Record::Control(content)))) => number_of(content),
        _ => None,
    };
    batch.records().filter_map(|record| number(record.range)).collect()
}
