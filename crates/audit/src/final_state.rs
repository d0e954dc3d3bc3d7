//! What a full read of the cluster returned after all faults were healed.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_types::{LogOffset, QueueOffset};

use crate::{Digest, MessageId, Moment, Name, Position, Queue};

/// A message as the full read returned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Position in the queue.
    pub offset: QueueOffset,
    /// Position in the broker's log.
    pub log_offset: LogOffset,
    /// Who it says it is.
    pub id: MessageId,
    /// Digest of what was read.
    pub digest: Digest,
}

/// One queue, read from its first message to its last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueContent {
    /// The server's minimum offset: the first message that it still has.
    pub min: QueueOffset,
    /// The server's maximum offset: one after the last message.
    pub max: QueueOffset,
    /// What was read, in the order it came.
    pub messages: Vec<Found>,
}

/// The answer to a lookup by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Ids of the messages found.
    pub found: BTreeSet<MessageId>,
    /// Whether the answer said that it stopped at its limit and there is more.
    pub limited: bool,
}

/// Everything that the invariants need to know about the end of a run.
#[derive(Debug, Clone, Default)]
pub struct FinalState {
    /// All queues that were read. A queue that the ledger knows and that is missing here counts as empty.
    pub queues: BTreeMap<Queue, QueueContent>,
    /// Answers by topic and key; None if keys were not looked up in this run. See [`crate::Ledger::keys`].
    pub lookups: Option<BTreeMap<(Name, Name), Lookup>>,
    /// Positions as the server reports them, a missing one left out; None if they were not read in this run.
    pub positions: Option<BTreeMap<Position, QueueOffset>>,
    /// The jumps of positions that the server has on record, in its order; None if they were not read in this run.
    pub jumps: Option<BTreeMap<Position, Vec<Jump>>>,
    /// The (consumer group, topic) pairs whose consumers ran until nothing was left to consume, and when that was.
    pub drained: BTreeMap<(Name, Name), Moment>,
}

/// A position moved other than by consuming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// Why, in the server's words; `reset` is an operator's.
    pub cause: Name,
    /// The position before, if there was one.
    pub from: Option<QueueOffset>,
    /// The position after.
    pub to: QueueOffset,
}

impl FinalState {
    /// Adds a message to a queue, and widens the queue's bounds to hold it.
    pub fn push(&mut self, queue: &Queue, found: Found) {
        let content = self.queues.entry(queue.clone()).or_insert_with(|| QueueContent {
            min: found.offset,
            max: found.offset,
            messages: Vec::new(),
        });
        content.min = content.min.min(found.offset);
        content.max = content.max.max(found.offset.next());
        content.messages.push(found);
    }
}
