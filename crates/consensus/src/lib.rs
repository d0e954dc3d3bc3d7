//! One Raft group whose log is the message log. The only crate that names the Raft engine (`raft`, of TiKV).
//!
//! ```text
//! place(len) ─▶ the caller stamps records for that place ─▶ propose(payload) ─▶ Write ─▶ log writer
//!                                       committed entries ◀── persisted(number) ◀── durable ◀┘
//! ```
//!
//! There is one write in flight at a time: what arrives meanwhile becomes the next batch, so that a lone sender
//! pays one synced write and many senders share one.

mod cache;

use bytes::Bytes;
use cache::EntryCache;
use raft::eraftpb::{Entry as EngineEntry, EntryType, HardState, Message, MessageType};
use raft::{Config, RawNode, StateRole};
use steadfast_store::log::{Entry, FRAME_HEADER_LEN, Kind, Layout, Mark, Place};
use steadfast_types::{LogIndex, LogOffset, Term};

/// Identity of a replica within its group; not 0.
pub type ReplicaId = u64;

/// The durable part of a replica's Raft state that is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vote {
    /// Current term.
    pub term: Term,
    /// Whom this replica voted for in it, 0 for nobody.
    pub replica: ReplicaId,
}

/// What must become durable before anything that depends on it may leave the process.
#[derive(Debug, Clone)]
pub struct Write {
    /// To be given to [`Group::persisted`].
    pub number: u64,
    /// If set, to be written to the meta file before the entries.
    pub vote: Option<Vote>,
    /// Entries with the log offset of each frame, in order.
    pub entries: Vec<(Entry, LogOffset)>,
}

/// An entry that a quorum has.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The entry.
    pub entry: Entry,
    /// Log offset of its payload's first byte.
    pub payload_at: LogOffset,
    /// Log offset after its frame.
    pub end: LogOffset,
}

/// Why something could not be proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead the group.
    #[error("this replica does not lead the group")]
    NotLeader,
    /// A write is in flight; wait for it.
    #[error("a write is in flight")]
    Busy,
}

/// A replica of a group.
pub struct Group {
    node: RawNode<EntryCache>,
    layout: Layout,
    /// Log offset after the last entry, persisted or not.
    end: LogOffset,
    in_flight: Option<u64>,
    vote: Vote,
}

impl Group {
    /// A group of this replica alone, whose log, all of it applied, ends at `mark` with an entry of `term`.
    pub fn single(id: ReplicaId, layout: Layout, mark: Mark, term: Term, vote: Vote) -> Self {
        let last = mark.index.get();
        let hard_state =
            HardState { term: vote.term.get(), vote: vote.replica, commit: last, ..HardState::default() };
        let cache = EntryCache::new(id, last, term.get(), hard_state);
        let config = Config {
            id,
            applied: last,
            pre_vote: true,
            check_quorum: true,
            // One batch is one entry and is bounded by its proposer; the engine must not cut it further.
            max_size_per_msg: u64::MAX,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, cache, &logger).expect("the configuration is constant and valid");
        Self { node, layout, end: mark.end, in_flight: None, vote }
    }

    /// Stands for election; in a group of one it is won at once. The write opens the new term.
    pub fn campaign(&mut self) -> Result<Write, ProposeError> {
        self.node.campaign().map_err(|_| ProposeError::NotLeader)?;
        Ok(self.drain())
    }

    /// Whether this replica leads.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Whether nothing is being written, so that a batch can be proposed.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Highest index known to be committed.
    pub fn commit(&self) -> LogIndex {
        LogIndex::new(self.node.raft.raft_log.committed)
    }

    /// Current term.
    pub fn term(&self) -> Term {
        Term::new(self.node.raft.term)
    }

    /// Where the next entry will lie if its payload has `payload_len` bytes.
    pub fn place(&self, payload_len: usize) -> Place {
        self.layout.place(self.end, payload_len)
    }

    /// Proposes a batch that was stamped for [`Group::place`].
    pub fn propose(&mut self, payload: Bytes) -> Result<Write, ProposeError> {
        if !self.is_idle() {
            return Err(ProposeError::Busy);
        }
        // The engine would forward a follower's proposal to the leader, with the wrong stamps.
        if !self.is_leader() {
            return Err(ProposeError::NotLeader);
        }
        // `RawNode::propose` would copy the payload into a vector; a proposal message shares it.
        let entry = EngineEntry { data: payload, ..EngineEntry::default() };
        let mut message = Message { from: self.node.raft.id, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        self.node.raft.step(message).map_err(|_| ProposeError::NotLeader)?;
        Ok(self.drain())
    }

    /// Tells that a write is durable; returns what is committed now, in order.
    pub fn persisted(&mut self, number: u64) -> Vec<Committed> {
        debug_assert_eq!(self.in_flight, Some(number));
        self.in_flight = None;
        self.node.on_persist_ready(number);
        let mut committed = Vec::new();
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            let entries = ready.take_committed_entries();
            self.node.advance_append_async(ready);
            let Some(last) = entries.last().map(|e| e.index) else { continue };
            committed.extend(entries.into_iter().map(|e| self.committed_entry(e)));
            self.node.advance_apply_to(last);
            self.node.mut_store().forget_through(last);
        }
        committed
    }

    fn committed_entry(&self, entry: EngineEntry) -> Committed {
        let at =
            self.node.store().place_of(entry.index).expect("an entry keeps its place until it is applied");
        let entry = from_engine(entry);
        let end = at + steadfast_store::log::frame_len(entry.payload.len());
        Committed { entry, payload_at: at + FRAME_HEADER_LEN as u64, end }
    }

    /// Takes what the engine wants persisted.
    fn drain(&mut self) -> Write {
        let mut ready = self.node.ready();
        let number = ready.number();
        let vote = ready
            .hs()
            .map(|hs| Vote { term: Term::new(hs.term), replica: hs.vote })
            .filter(|vote| *vote != self.vote);
        if let Some(vote) = vote {
            self.vote = vote;
        }
        let mut entries = Vec::with_capacity(ready.entries().len());
        for entry in ready.take_entries() {
            let place = self.layout.place(self.end, entry.data.len());
            self.end = place.end;
            self.node.mut_store().append(entry.clone(), place.at);
            entries.push((from_engine(entry), place.at));
        }
        self.node.advance_append_async(ready);
        self.in_flight = Some(number);
        Write { number, vote, entries }
    }
}

fn from_engine(entry: EngineEntry) -> Entry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Kind::Leader,
        EntryType::EntryNormal => Kind::Batch,
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => Kind::Membership,
    };
    Entry { index: LogIndex::new(entry.index), term: Term::new(entry.term), kind, payload: entry.data }
}
