//! What a replica wants done.

use steadfast_store::log::{Entry, FRAME_HEADER_LEN, Keep};
use steadfast_store::meta::{Fence, Past, Start};
use steadfast_types::{LogIndex, LogOffset, Term};

use crate::ReplicaId;
use crate::fetch::Fetch;
use crate::message::Message;

/// What there is to do after some inputs, in any order; each part is empty if there is nothing.
#[derive(Debug, Default)]
pub struct Output {
    /// To be made durable by [`crate::GroupWriter`]. There is no other one before [`crate::Group::persisted`].
    pub write: Option<Write>,
    /// To be sent, each on its own, as far as possible in this order. They may be lost, late, twice or in disorder.
    pub messages: Vec<Message>,
    /// Entries to be read from the log for peers that are far behind.
    pub fetches: Vec<Fetch>,
    /// Entries to be applied, in order: a quorum has them, and this replica too. Each is handed out once.
    pub committed: Vec<Committed>,
    /// Reads that may be answered.
    pub reads: Vec<Read>,
    /// The role that this replica has from now on, if it or the term changed. Of what a former leader had proposed and not
    /// seen committed nobody knows what becomes of it: whoever waits is told "unknown". Reads it had asked for are void.
    pub role: Option<(Term, Role)>,
    /// What an operator should know.
    pub news: Vec<News>,
    /// This replica must stop; it takes no inputs any more.
    pub halted: Option<Halt>,
}

/// What must become durable before anything that depends on it may leave the process. In this order: the vote, the
/// cut, the entries.
#[derive(Debug, Clone)]
pub struct Write {
    /// To be given to [`crate::Group::persisted`]. The next write may have the same one.
    pub number: u64,
    /// If set, to be written to the meta file.
    pub vote: Option<Vote>,
    /// An index that is committed and durable here; goes with the vote.
    pub commit: LogIndex,
    /// What the replica may have lost; goes with the vote.
    pub fence: Option<Fence>,
    /// What its disk knows of itself; goes with the vote.
    pub past: Option<Box<Past>>,
    /// If set, the log goes back so far: the entries replace what came after.
    pub keep: Option<Keep>,
    /// Entries with the log offset of each frame, in order.
    pub entries: Vec<(Entry, LogOffset)>,
}

/// The durable part of a replica's Raft state that is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vote {
    /// Current term.
    pub term: Term,
    /// Whom this replica voted for in it, 0 for nobody.
    pub replica: ReplicaId,
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

impl Committed {
    /// Log offset of its frame.
    pub fn at(&self) -> LogOffset {
        LogOffset::new(self.payload_at.get() - FRAME_HEADER_LEN as u64)
    }
}

/// A read may be answered from a state machine that has applied everything up to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// What [`crate::Group::read_index`] returned.
    pub number: u64,
    /// Everything that was acknowledged before the read was asked for is at or below it.
    pub index: LogIndex,
}

/// What a replica is to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows, if it knows whom.
    Follower(Option<ReplicaId>),
    /// It stands for election.
    Candidate,
}

/// How far another replica is, as the leader knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerProgress {
    /// The other replica.
    pub replica: ReplicaId,
    /// Bytes of the leader's log that it is not known to have, durable; up to 1 MiB more if it is far behind.
    pub behind: u64,
    /// Whether it has answered within the last election time-out.
    pub answers: bool,
}

/// What was found out about a disk. Texts of whoever runs the group say which replica "this" is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The log has a start of this replica that does not lie behind its disk: the disk is an older copy, or another one.
    LostStart {
        /// The one that the log has.
        recorded: Start,
        /// This one.
        own: Start,
    },
    /// A leader hears a replica that comes with another disk than the one that the log has, and refills it.
    OtherDisk {
        /// Which.
        replica: ReplicaId,
        /// With what.
        start: Start,
    },
}

/// Why a replica must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The same entry lies at different places here and on the leader: the logs are not the same.
    #[error("entry {index} belongs at log offset {own} here and was written at {leader} by its leader")]
    Misplaced {
        /// The entry.
        index: LogIndex,
        /// Its place in the leader's log.
        leader: LogOffset,
        /// Its place here.
        own: LogOffset,
    },
    /// Another process came in this replica's name, on a copy of its disk or on another one.
    #[error(
        "another process was started as this replica, on {} (start {} of it, recorded in entry {at}): of two the one that was          started last stays",
        if other.disk == own.disk { "a copy of this disk" } else { "another disk" }, other.life
    )]
    Superseded {
        /// The other one's start.
        other: Start,
        /// This one's.
        own: Start,
        /// Where it is recorded.
        at: LogIndex,
    },
}
