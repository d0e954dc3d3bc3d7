//! What replicas of a group tell each other: the messages of the Raft paper, of pre-vote (Ongaro's thesis, 9.6) and of
//! leader transfer (3.10), and beside Raft, bytes of the log.

use std::ops::Range;

use bytes::Bytes;
use steadfast_store::log::Entry;
use steadfast_store::meta::{Fence, Start};
use steadfast_types::{LogIndex, LogOffset, Position, Term};

use crate::ReplicaId;
use crate::members::Recorded;

/// Bytes of the log that one [`Body::LogPart`] carries at most.
pub const PART_MAX: u64 = 1 << 20;

/// A message from one replica to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sends it.
    pub from: ReplicaId,
    /// To whom.
    pub to: ReplicaId,
    /// The sender's term; of a pre-vote the one that it would stand for.
    pub term: Term,
    /// By which disks are recognised.
    pub card: Card,
    /// What it says.
    pub body: Body,
}

/// On whose behalf a message comes, beyond the sender's id, and to whom it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Card {
    /// The start of the sender's process.
    pub start: Start,
    /// Whether the sender has everything that it ever acknowledged, as far as it knows.
    pub whole: bool,
    /// The last start of the receiver that the sender's log tells.
    pub known: Option<Recorded>,
    /// The entry with the last start of the sender that it was told and knows to lie behind it.
    pub accounted: LogIndex,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A leader's entries.
    Append(Append),
    /// The answer to [`Body::Append`].
    AppendResponse {
        /// Everything up to here is durable and the same as the leader's; if rejected, the `previous` that did not match.
        index: LogIndex,
        /// Highest index that the sender knows to be committed.
        commit: LogIndex,
        /// If it did not match: where the sender's log may match.
        rejected: Option<Position>,
    },
    /// A candidate asks for a vote.
    RequestVote {
        /// Whether it only asks if it would get it.
        pre: bool,
        /// The candidate's last entry.
        last: Position,
        /// The last entry that it knows to be committed.
        commit: Position,
        /// Whether the leader has told it to stand.
        transfer: bool,
    },
    /// The answer to [`Body::RequestVote`].
    VoteResponse {
        /// Whether it answers a pre-vote.
        pre: bool,
        /// Whether the candidate has it.
        granted: bool,
        /// The last entry that the voter knows to be committed; nothing if granted.
        commit: Position,
        /// The voter's last entry.
        last: Position,
        /// What the voter may have had and lost; it restricts what its vote counts for.
        fence: Option<Fence>,
    },
    /// A leader says that it leads.
    Heartbeat {
        /// Committed, and on the receiver.
        commit: LogIndex,
        /// A read that waits for a quorum to know this leader.
        read: Option<u64>,
    },
    /// The answer to [`Body::Heartbeat`].
    HeartbeatResponse {
        /// Highest index that the sender knows to be committed.
        commit: LogIndex,
        /// The read of the heartbeat.
        read: Option<u64>,
    },
    /// A leader tells its successor to stand for election.
    TimeoutNow,
    /// A replica that has lost entries asks its leader how far the log goes, and tells how far its own does.
    Inquiry {
        /// Drawn for this life of the replica.
        nonce: u64,
        /// Its last entry.
        last: Position,
    },
    /// A leader's answer to [`Body::Inquiry`].
    Standing {
        /// That of the question.
        nonce: u64,
        /// The leader's last entry.
        last: Position,
    },
    /// Asks any replica for bytes of the log, which are the same on all as far as it is committed. It is no part of Raft.
    LogRequest {
        /// To be in the answer.
        number: u64,
        /// Which bytes: at least one, at most [`PART_MAX`].
        stretch: Range<LogOffset>,
    },
    /// The answer to [`Body::LogRequest`].
    LogPart {
        /// That of the question.
        number: u64,
        /// Log offset of the first byte.
        at: LogOffset,
        /// As the sender has them, which may be damaged, and as many as are committed there; none if it has none of them.
        bytes: Bytes,
    },
}

/// A leader's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The entry before them.
    pub previous: Position,
    /// Highest index that the leader knows to be committed.
    pub commit: LogIndex,
    /// Log offset of the first one's frame in the leader's log; the others follow from their lengths.
    pub at: LogOffset,
    /// They follow each other.
    pub entries: Vec<Entry>,
}
