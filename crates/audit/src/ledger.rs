//! The record of a run: what clients sent, what they were told, what they saw.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_types::topic::SCHEDULE;
use steadfast_types::{LogOffset, QueueOffset};

use crate::final_state::FinalState;
use crate::invariants;
use crate::{Digest, MessageId, Name, Place, Position, Queue, Verdict};

/// A point in the order of the ledger's records, which stands for time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// One call of a producer's send.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Topic.
    pub topic: Name,
    /// Digest of the content.
    pub digest: Digest,
    /// Everything that the message can be looked up by: its unique key and its business keys.
    pub keys: Vec<Name>,
}

/// Names a position's commit whose outcome is open; see [`Ledger::committing`].
#[derive(Debug, Clone)]
pub struct CommitTicket {
    position: Position,
    index: usize,
}

/// What clients sent, were told and saw. Record in the order in which things happen: a `sent` before the
/// request leaves, an answer after it came.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    clock: u64,
    pub(crate) messages: BTreeMap<MessageId, MessageBook>,
    pub(crate) queues: BTreeMap<Queue, BTreeMap<QueueOffset, Vec<Claim>>>,
    pub(crate) positions: BTreeMap<Position, PositionBook>,
    pub(crate) expired: BTreeMap<Queue, QueueOffset>,
    /// Damaged messages that an operator gave up, or tried to.
    pub(crate) given_up: BTreeMap<Queue, BTreeSet<QueueOffset>>,
    /// Answers that concern messages nobody sent.
    pub(crate) strays: Vec<(MessageId, &'static str)>,
}

/// What is known about one message.
#[derive(Debug, Clone)]
pub(crate) struct MessageBook {
    pub(crate) topic: Name,
    pub(crate) digest: Digest,
    pub(crate) keys: Vec<Name>,
    pub(crate) first_sent: Moment,
    pub(crate) attempts: u32,
    pub(crate) refused: u32,
    pub(crate) acks: Vec<(Place, Moment)>,
    /// The server took it without naming its final place.
    pub(crate) owed: bool,
    /// Copies that the server was asked to make in other topics.
    pub(crate) copies: BTreeMap<Name, u32>,
    /// Those of them that it acknowledged.
    pub(crate) owed_copies: BTreeMap<Name, u32>,
}

impl MessageBook {
    /// How many copies a topic may hold.
    pub(crate) fn allowed_in(&self, topic: &str) -> u32 {
        let sent = if *self.topic == *topic { self.attempts.saturating_sub(self.refused) } else { 0 };
        sent + self.copies.get(topic).copied().unwrap_or(0)
    }

    pub(crate) fn is_acked(&self) -> bool {
        self.owed || !self.acks.is_empty()
    }

    pub(crate) fn is_refused(&self) -> bool {
        !self.is_acked() && self.refused >= self.attempts
    }
}

/// Somebody said that an offset of a queue holds a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) id: MessageId,
    pub(crate) log_offset: LogOffset,
    pub(crate) by: Witness,
}

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Witness {
    /// The acknowledgement to the producer.
    Ack,
    /// A consumer of this group, which saw this content.
    Consumer(Name, Digest),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct PositionBook {
    pub(crate) commits: Vec<Commit>,
    pub(crate) reads: Vec<PositionRead>,
}

/// A position that was set.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    /// Where to; unknown for a reset to a time that was not answered.
    pub(crate) offset: Option<QueueOffset>,
    /// By an operator, not by a consumer.
    pub(crate) reset: bool,
    pub(crate) sent: Moment,
    pub(crate) acked: Option<Moment>,
}

#[derive(Debug, Clone)]
pub(crate) struct PositionRead {
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
    pub(crate) offset: Option<QueueOffset>,
}

impl CommitTicket {
    /// The position that is set.
    pub fn position(&self) -> &Position {
        &self.position
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    fn tick(&mut self) -> Moment {
        self.clock += 1;
        Moment(self.clock)
    }

    /// The present moment, to remember when a read began.
    pub fn now(&mut self) -> Moment {
        self.tick()
    }

    /// A producer is about to send; call it again for every retry under the same id, which must not change the
    /// message.
    pub fn sent(&mut self, id: &MessageId, attempt: Attempt) {
        let now = self.tick();
        if let Some(book) = self.messages.get_mut(id) {
            if book.digest != attempt.digest || book.topic != attempt.topic {
                self.strays.push((id.clone(), "was sent with two different contents under one id"));
            }
            book.attempts += 1;
            return;
        }
        let book = MessageBook {
            topic: attempt.topic,
            digest: attempt.digest,
            keys: attempt.keys,
            first_sent: now,
            attempts: 1,
            refused: 0,
            acks: Vec::new(),
            owed: false,
            copies: BTreeMap::new(),
            owed_copies: BTreeMap::new(),
        };
        self.messages.insert(id.clone(), book);
    }

    /// The server acknowledged an attempt and named the place.
    pub fn acked(&mut self, id: &MessageId, place: Place) {
        let now = self.tick();
        self.claim(&place, Claim { id: id.clone(), log_offset: place.log_offset, by: Witness::Ack });
        match self.messages.get_mut(id) {
            Some(book) => book.acks.push((place, now)),
            None => self.strays.push((id.clone(), "was acknowledged but never sent")),
        }
    }

    /// The server acknowledged an attempt whose final place is decided later: a delayed message, a
    /// transaction that was committed. It must turn up in its topic.
    pub fn owed(&mut self, id: &MessageId) {
        match self.messages.get_mut(id) {
            Some(book) => book.owed = true,
            None => self.strays.push((id.clone(), "was acknowledged but never sent")),
        }
    }

    /// The server said for certain that it has not stored an attempt, and never will; a rolled-back
    /// transaction is the same. Anything less certain is [`Ledger::unknown`].
    pub fn refused(&mut self, id: &MessageId) {
        match self.messages.get_mut(id) {
            Some(book) => book.refused += 1,
            None => self.strays.push((id.clone(), "was refused but never sent")),
        }
    }

    /// An attempt ended without a certain answer: time-out, closed connection, "stored = unknown". Attempts
    /// without any answer count the same, so this only checks that there was one.
    pub fn unknown(&mut self, id: &MessageId) {
        if !self.messages.contains_key(id) {
            self.strays.push((id.clone(), "was answered but never sent"));
        }
    }

    /// A client asked the server to copy a message into another topic: a consumer sent it back for retry, or
    /// it may go to a dead letter topic. Whether the server did so is open.
    pub fn copied(&mut self, id: &MessageId, topic: impl Into<Name>) {
        match self.messages.get_mut(id) {
            Some(book) => *book.copies.entry(topic.into()).or_default() += 1,
            None => self.strays.push((id.clone(), "was sent back but never sent")),
        }
    }

    /// The server said that it made such a copy, or will: it must turn up in that topic.
    pub fn copy_owed(&mut self, id: &MessageId, topic: impl Into<Name>) {
        if let Some(book) = self.messages.get_mut(id) {
            *book.owed_copies.entry(topic.into()).or_default() += 1;
        }
    }

    /// The server said for certain that it has not made such a copy, and never will.
    pub fn copy_refused(&mut self, id: &MessageId, topic: &str) {
        if let Some(copies) = self.messages.get_mut(id).and_then(|book| book.copies.get_mut(topic)) {
            *copies -= 1;
        }
    }

    /// A consumer of `group` got a message.
    pub fn delivered(&mut self, id: &MessageId, place: &Place, digest: Digest, group: &Name) {
        let by = Witness::Consumer(Name::clone(group), digest);
        self.claim(place, Claim { id: id.clone(), log_offset: place.log_offset, by });
    }

    fn claim(&mut self, place: &Place, claim: Claim) {
        if !self.queues.contains_key(&place.queue) {
            self.queues.insert(place.queue.clone(), BTreeMap::new());
        }
        let queue = self.queues.get_mut(&place.queue).expect("inserted above");
        let claims = queue.entry(place.offset).or_default();
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    }

    /// The server announced that it removed the messages of a queue before `first` by its retention rules.
    pub fn expired(&mut self, queue: &Queue, first: QueueOffset) {
        let known = self.expired.entry(queue.clone()).or_default();
        *known = first.max(*known);
    }

    /// An operator is about to give a damaged message up: it may be gone from now on, and its offset stays its own.
    pub fn giving_up(&mut self, queue: &Queue, offset: QueueOffset) {
        self.given_up.entry(queue.clone()).or_default().insert(offset);
    }

    /// A client is about to set a position, forwards or backwards. Without a matching [`Ledger::acknowledge`]
    /// (one-way request, time-out) it may take effect or not.
    pub fn committing(&mut self, position: &Position, offset: QueueOffset) -> CommitTicket {
        self.setting(position, Some(offset), false)
    }

    /// An operator is about to set a position, to an offset or to wherever a time leads.
    pub fn resetting(&mut self, position: &Position, offset: Option<QueueOffset>) -> CommitTicket {
        self.setting(position, offset, true)
    }

    fn setting(&mut self, position: &Position, offset: Option<QueueOffset>, reset: bool) -> CommitTicket {
        let sent = self.tick();
        let book = self.positions.entry(position.clone()).or_default();
        book.commits.push(Commit { offset, reset, sent, acked: None });
        CommitTicket { position: position.clone(), index: book.commits.len() - 1 }
    }

    /// The server acknowledged a reset and said where it led.
    pub fn acknowledge_reset(&mut self, ticket: &CommitTicket, offset: QueueOffset) {
        self.acknowledge(ticket);
        if let Some(book) = self.positions.get_mut(&ticket.position) {
            book.commits[ticket.index].offset = Some(offset);
        }
    }

    /// The server acknowledged a position.
    pub fn acknowledge(&mut self, ticket: &CommitTicket) {
        let now = self.tick();
        let book =
            self.positions.get_mut(&ticket.position).expect("a ticket names a position of this ledger");
        book.commits[ticket.index].acked = Some(now);
    }

    /// [`Ledger::committing`] and [`Ledger::acknowledge`] in one, for a client that nobody competes with.
    pub fn committed(&mut self, position: &Position, offset: QueueOffset) {
        let ticket = self.committing(position, offset);
        self.acknowledge(&ticket);
    }

    /// A client asked for a position at `begun` (see [`Ledger::now`]) and now has the answer.
    pub fn position_read(&mut self, begun: Moment, position: &Position, offset: Option<QueueOffset>) {
        let ended = self.tick();
        let book = self.positions.entry(position.clone()).or_default();
        book.reads.push(PositionRead { begun, ended, offset });
    }

    /// Every (topic, key) under which an acknowledged message must be found, sorted: what to look up for
    /// [`FinalState::lookups`].
    pub fn keys(&self) -> Vec<(Name, Name)> {
        let acked = self.messages.values().filter(|book| book.is_acked());
        let mut keys: Vec<_> = acked
            .flat_map(|book| book.keys.iter().map(|key| (Name::clone(&book.topic), Name::clone(key))))
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Every position that a client set or read: what to ask for [`FinalState::positions`].
    pub fn known_positions(&self) -> impl Iterator<Item = &Position> {
        self.positions.keys()
    }

    /// The highest position in a queue that anybody has asked for; the end of all queues if that is not known.
    pub fn highest_commit(&self, queue: &Queue) -> Option<QueueOffset> {
        const UNKNOWN: QueueOffset = QueueOffset::new(u64::MAX);
        let books = self.positions.iter().filter(|(position, _)| position.queue == *queue);
        books.flat_map(|(_, book)| &book.commits).map(|commit| commit.offset.unwrap_or(UNKNOWN)).max()
    }

    /// Every queue that an acknowledgement or a consumer named.
    pub fn known_queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.keys()
    }

    /// Whether the messages before `offset` may be gone.
    pub(crate) fn may_be_gone(&self, queue: &Queue, offset: QueueOffset) -> bool {
        self.expired.get(queue).is_some_and(|first| offset < *first) || self.is_given_up(queue, offset)
    }

    /// Whether an operator gave a message up, or tried to.
    pub(crate) fn is_given_up(&self, queue: &Queue, offset: QueueOffset) -> bool {
        self.given_up.get(queue).is_some_and(|offsets| offsets.contains(&offset))
    }

    /// Whether some messages of a topic are gone: of a message whose place nobody knows, that may be the fate.
    pub(crate) fn has_expired(&self, topic: &str) -> bool {
        let gone =
            |(queue, first): (&Queue, &QueueOffset)| *queue.topic == *topic && *first > QueueOffset::ZERO;
        // One that was given up while it waited comes nowhere.
        let lost = |queue: &Queue| [topic, SCHEDULE].contains(&&*queue.topic);
        self.expired.iter().any(gone) || self.given_up.keys().any(lost)
    }

    /// Compares the record with what a full read of the healed cluster returned.
    pub fn check(&self, state: &FinalState) -> Verdict {
        invariants::check(self, state)
    }
}
