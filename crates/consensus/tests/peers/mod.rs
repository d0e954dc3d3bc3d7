//! Replicas in memory whose messages and writes a test can hold back. Every message goes through the codec.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use steadfast_consensus::{
    Committed, Group, Limits, LogView, Message, Output, Read, ReplicaId, Settings, Timing, Vote, Write,
    decode, encode,
};
use steadfast_store::log::{Entry, Layout, Mark};
use steadfast_types::{LogIndex, LogOffset, Term};

pub(crate) const LAYOUT: Layout = Layout { segment_size: 16 << 20 };
pub(crate) const GROUP: u64 = 77;

/// A replica with a log that is never lost.
pub(crate) struct Peer {
    pub(crate) group: Group,
    pub(crate) log: Vec<(Entry, LogOffset)>,
    pub(crate) vote: Vote,
    /// The write that is not durable yet.
    pub(crate) writing: Option<Write>,
    /// Its disk stands still.
    pub(crate) stalled: bool,
    pub(crate) committed: Vec<Committed>,
    pub(crate) reads: Vec<Read>,
    /// What it wanted in the last steps that [`Peers::run`] does not do.
    pub(crate) last: Output,
    pub(crate) fetched: usize,
    pub(crate) replaced: usize,
    pub(crate) writes: usize,
}

pub(crate) struct Peers {
    pub(crate) all: Vec<Peer>,
    pub(crate) wire: VecDeque<Message>,
    /// Replicas that nothing reaches or leaves.
    pub(crate) cut: BTreeSet<ReplicaId>,
    settings: Vec<Settings>,
    /// Largest sum of payloads under way to one replica.
    pub(crate) most_under_way: usize,
}

impl Peers {
    pub(crate) fn new(count: u64, limits: Limits) -> Self {
        let voters: Vec<ReplicaId> = (1..=count).collect();
        let settings = voters.iter().map(|id| Settings {
            id: *id,
            voters: voters.clone(),
            layout: LAYOUT,
            seed: 40 + id,
            timing: Timing::default(),
            limits,
        });
        let settings: Vec<Settings> = settings.collect();
        let all = settings.iter().map(|settings| Peer::open(settings, Vec::new(), Vote::default())).collect();
        Self { all, wire: VecDeque::new(), cut: BTreeSet::new(), settings, most_under_way: 0 }
    }

    pub(crate) fn peer(&mut self, id: ReplicaId) -> &mut Peer {
        &mut self.all[id as usize - 1]
    }

    /// Starts a replica again, with this log.
    pub(crate) fn restart(&mut self, id: ReplicaId, log: Vec<(Entry, LogOffset)>) {
        let vote = self.peer(id).vote;
        let peer = Peer::open(&self.settings[id as usize - 1], log, vote);
        *self.peer(id) = peer;
    }

    /// Carries out everything until nothing is left to do.
    pub(crate) fn run(&mut self) {
        loop {
            for peer in &mut self.all {
                self.wire.extend(peer.work());
            }
            self.measure();
            let Some(message) = self.wire.pop_front() else { return };
            if !self.cut.contains(&message.from) && !self.cut.contains(&message.to) {
                let bytes: Vec<u8> = encode(GROUP, &message).pieces().flatten().copied().collect();
                assert_eq!(decode(GROUP, Bytes::from(bytes)).unwrap(), message);
                self.peer(message.to).group.step(message);
            }
        }
    }

    fn measure(&mut self) {
        for to in 1..=self.all.len() as u64 {
            let to_it = self.wire.iter().filter(|message| message.to == to);
            let bytes = to_it.map(|message| encode(GROUP, message).len()).sum();
            self.most_under_way = self.most_under_way.max(bytes);
        }
    }

    /// Lets time pass for all.
    pub(crate) fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.all.iter_mut().for_each(|peer| peer.group.tick());
            self.run();
        }
    }

    /// The leader of the newest term, after as much time as an election may take.
    pub(crate) fn leader(&mut self) -> ReplicaId {
        for _ in 0..40 {
            self.tick(10);
            let reachable = self.all.iter().filter(|peer| !self.cut.contains(&peer.group.id()));
            let leader = reachable.filter(|peer| peer.group.is_leader()).max_by_key(|peer| peer.group.term());
            if let Some(leader) = leader {
                return leader.group.id();
            }
        }
        panic!("nobody leads");
    }

    /// Proposes at a replica.
    pub(crate) fn propose(&mut self, id: ReplicaId, payload: Vec<u8>) {
        self.peer(id).group.propose(Bytes::from(payload)).unwrap();
        self.run();
    }

    /// What a replica was handed out, without what leaders add.
    pub(crate) fn applied(&mut self, id: ReplicaId) -> Vec<Bytes> {
        let payloads = self.peer(id).committed.iter().map(|committed| committed.entry.payload.clone());
        payloads.filter(|payload| !payload.is_empty()).collect()
    }
}

impl Peer {
    fn open(settings: &Settings, log: Vec<(Entry, LogOffset)>, vote: Vote) -> Self {
        let mut view = LogView::after(Mark::default(), Term::ZERO);
        log.iter().for_each(|(entry, at)| view.push(entry.clone(), *at));
        Self {
            group: Group::open(settings, view, vote, LogIndex::ZERO),
            log,
            vote,
            writing: None,
            stalled: false,
            committed: Vec::new(),
            reads: Vec::new(),
            last: Output::default(),
            fetched: 0,
            replaced: 0,
            writes: 0,
        }
    }

    /// Does what its group wants; returns what it sends.
    fn work(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let mut output = self.group.drain();
            messages.append(&mut output.messages);
            self.committed.append(&mut output.committed);
            self.reads.append(&mut output.reads);
            if let Some(write) = output.write.take() {
                assert!(self.writing.replace(write).is_none(), "one write at a time");
            }
            let fetches = std::mem::take(&mut output.fetches);
            if output.role.is_some() || output.halted.is_some() {
                self.last = output;
            }
            for fetch in &fetches {
                self.fetched += 1;
                let read = self.log.iter().filter(|(entry, _)| fetch.indexes.contains(&entry.index));
                let mut left = fetch.max_bytes as usize;
                let read = read.take_while(|(entry, _)| {
                    let more = left > 0;
                    left = left.saturating_sub(entry.payload.len());
                    more
                });
                let read = read.cloned().collect();
                self.group.fetched(fetch.number, Some(read));
            }
            let persisted = !self.stalled && self.persist();
            if fetches.is_empty() && !persisted {
                return messages;
            }
        }
    }

    /// The write under way becomes durable.
    pub(crate) fn persist(&mut self) -> bool {
        let Some(write) = self.writing.take() else { return false };
        self.writes += 1;
        self.vote = write.vote.unwrap_or(self.vote);
        if let Some(keep) = write.keep {
            self.replaced += self.log.len() - keep.index().get() as usize;
            self.log.truncate(keep.index().get() as usize);
        }
        for (entry, at) in write.entries {
            assert_eq!(entry.index.get(), self.log.len() as u64 + 1, "entries follow each other");
            self.log.push((entry, at));
        }
        self.group.persisted(write.number);
        true
    }
}
