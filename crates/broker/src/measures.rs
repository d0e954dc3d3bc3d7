//! What an operator sees of a broker: figures of one moment, and counts since the process started.

use std::collections::BTreeMap;
use std::sync::Arc;

use steadfast_consensus::PeerProgress;
use steadfast_store::log::Mended;
use steadfast_types::{LogOffset, Term};

/// What a message is to RocketMQ's metrics (`TopicMessageType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// Neither of the others.
    Normal,
    /// With a sharding key: its sender wants an order kept.
    Fifo,
    /// To be delivered later.
    Delay,
}

impl MessageKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Fifo, Self::Delay];

    /// RocketMQ's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Fifo => "fifo",
            Self::Delay => "delay",
        }
    }
}

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes as stored.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: Traffic) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// Messages that became durable in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The topic.
    pub topic: Arc<str>,
    /// What they are.
    pub kind: MessageKind,
    /// How many.
    pub traffic: Traffic,
}

/// Messages that were given to a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// How many.
    pub traffic: Traffic,
    /// Messages of the topic that the group gave up, so that they became dead letters.
    pub dead_letters: u64,
}

/// How far a consumer group is behind in a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lag {
    /// The topic.
    pub topic: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// Messages that are not processed.
    pub messages: u64,
    /// Of these, those that were given to it.
    pub inflight: u64,
    /// Milliseconds since the oldest message that is not processed was stored; None if that cannot be read.
    pub latency: Option<u64>,
    /// Milliseconds since the oldest message that was not given to it was stored.
    pub queueing: Option<u64>,
}

/// Jumps of a consumer group's positions for one cause, since its first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionJumps {
    /// The group.
    pub group: Arc<str>,
    /// The cause: `reset`, `out_of_range`, `expired`, `new_queue` or `commit`.
    pub cause: &'static str,
    /// How many.
    pub jumps: u64,
    /// Messages that the group was not given.
    pub skipped: u64,
    /// Messages that the group was given once more.
    pub repeated: u64,
}

/// Connected clients that are alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKind {
    /// Name of the client's language.
    pub language: &'static str,
    /// Ordinal of its version.
    pub version: i32,
    /// Consumers: the group, and whether it is pushed or pulls (RocketMQ's `ConsumeType`).
    pub group: Option<(String, &'static str)>,
}

/// All figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measures {
    /// It takes messages.
    pub leading: bool,
    /// It takes none until it is restarted.
    pub poisoned: bool,
    /// It may lack entries that it has acknowledged, so that its vote does not count as if it had them; only of a replica
    /// of several.
    pub incomplete: bool,
    /// How far the other replicas are; empty if this one does not lead a group of several.
    pub peers: Vec<PeerProgress>,
    /// Term of the group; grows with every start.
    pub term: Term,
    /// What clients may do.
    pub permission: u32,
    /// Topics.
    pub topics: usize,
    /// Consumer groups with positions or members.
    pub groups: usize,
    /// Messages that became durable.
    pub stored: Vec<Stored>,
    /// Messages that were given to consumers.
    pub delivered: Vec<Delivered>,
    /// Milliseconds since the oldest message was stored; None if there is none, or it cannot be read.
    pub oldest: Option<u64>,
    /// Consumer groups.
    pub lags: Vec<Lag>,
    /// Positions that moved other than by consuming.
    pub jumps: Vec<PositionJumps>,
    /// Consumer groups whose members are at odds, with the cause: `subscriptions` or `client_id`.
    pub conflicts: Vec<(String, &'static str)>,
    /// Connected producers.
    pub producers: BTreeMap<ClientKind, usize>,
    /// Connected consumers.
    pub consumers: BTreeMap<ClientKind, usize>,
    /// Sends that wait to be written.
    pub pending_sends: usize,
    /// Their bytes.
    pub pending_bytes: usize,
    /// Pulls that wait for a message.
    pub held_pulls: usize,
    /// Reads that the disk was asked for.
    pub reads: usize,
    /// Bytes of the log that retention has left.
    pub kept: u64,
    /// Damaged messages that are known, which stop their consumers.
    pub damaged: usize,
    /// Reads that met damage since the process started.
    pub damaged_reads: u64,
    /// Damaged messages that were given up, which consumers pass.
    pub given_up: usize,
    /// Damaged files of the log that are being fetched from other replicas.
    pub repairing: usize,
    /// What was fetched and repaired since the start.
    pub repaired: Mended,
    /// Files of the log that the scrub could not verify.
    pub unverified: usize,
    /// End of the log that is durable and visible.
    pub committed: LogOffset,
    /// End of the log with what is being written.
    pub proposed: LogOffset,
    /// Where the log begins that no checkpoint covers.
    pub checkpointed: LogOffset,
    /// The disk has no space ahead of the log.
    pub disk_full: bool,
}
