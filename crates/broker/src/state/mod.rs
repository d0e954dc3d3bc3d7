//! The replicated state: what applying the log leads to. It is the same on every replica and after every
//! restart; a snapshot is its encoding. What one leader only remembers (connections, held pulls) is elsewhere.

pub(crate) mod attributes;
mod delays;
pub(crate) mod groups;
mod jumps;
mod locks;
mod positions;
mod queue;
mod removal;
mod segments;
mod terms;
mod topics;

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
pub(crate) use delays::{Delays, Delivered, Delivery};
pub(crate) use groups::Groups;
pub(crate) use jumps::{Jumped, Jumps};
pub(crate) use locks::{Lock, Locks};
pub(crate) use positions::Positions;
pub(crate) use queue::Queue;
use segments::Segments;
use steadfast_consensus::Members;
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::snapshot::Undecodable;
use steadfast_types::{LogOffset, Timestamp, topic};
use terms::Terms;
pub use topics::TopicConfig;
pub(crate) use topics::{Topic, Topics};

use crate::bytes_ext::Malformed;
use crate::control::{Control, Position};
use crate::jump::{Jump, JumpCause, Move};

/// Version of the encoding below.
const VERSION: u16 = 10;

/// Everything that the log decides.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: Topics,
    pub(crate) positions: Positions,
    pub(crate) groups: Groups,
    pub(crate) delays: Delays,
    pub(crate) jumps: Jumps,
    pub(crate) locks: Locks,
    pub(crate) segments: Segments,
    pub(crate) terms: Terms,
    /// The replicas themselves.
    pub(crate) members: Members,
    /// Records of retention's last decision that hold; 0 once it is complete.
    expiring: u32,
}

/// What a control record changed that somebody outside the state must know of.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Topics were made, changed or removed.
    pub(crate) topics: bool,
    /// Positions jumped.
    pub(crate) jumps: Vec<Jump>,
}

impl State {
    /// Applies a control record of an entry that was stored at `at`.
    pub(crate) fn apply(&mut self, control: &Control, at: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        match control {
            Control::PutTopic(config) => {
                self.topics.put(config.clone());
                outcome.topics = true;
            }
            Control::DeleteTopic(topic) => {
                self.positions.forget_topic(topic);
                self.jumps.forget_topic(topic);
                self.locks.forget_topic(topic);
                self.topics.delete(topic);
                outcome.topics = true;
            }
            Control::Position(position) => outcome.jumps = self.commit(position, at),
            Control::Jump(jump) => outcome.jumps.extend(self.jump(jump, at)),
            Control::Processed(position) => self.positions.pass(position),
            Control::PutGroup(config) => self.groups.put(config),
            Control::DeleteGroup { group, with_positions } => {
                self.groups.delete(group);
                self.locks.forget_group(group);
                if *with_positions {
                    self.positions.forget_group(group);
                    self.jumps.forget_group(group);
                }
            }
            Control::Lock(lock) => self.lock(lock),
            Control::Delivered(delivered) => {
                self.delays.delivered(delivered);
                self.forget_given_up(delivered.queue_id);
            }
            Control::Hole(hole) => self.give_up(hole),
            Control::Expire(expire) => outcome.jumps = self.expire(expire, at),
        }
        outcome
    }

    fn commit(&mut self, position: &Position, at: Timestamp) -> Vec<Jump> {
        let Position { group, topic, queue_id, .. } = position;
        // The topic may have been deleted since the commit was admitted.
        let Some(queue) = self.topics.queue(topic, *queue_id) else { return Vec::new() };
        let (min, has_holes) = (queue.min, !queue.holes().is_empty());
        let from = self.positions.get(group, topic, *queue_id);
        let moved = self.positions.commit(position, min);
        let jump = moved.map(|(cause, moved)| self.note(group, topic, cause, vec![moved], at));
        let from = from.filter(|_| has_holes).map(|from| from.max(min));
        let passed = from.and_then(|from| self.pass_holes(position, from, at));
        jump.into_iter().chain(passed).collect()
    }

    fn jump(&mut self, jump: &Jump, at: Timestamp) -> Option<Jump> {
        self.topics.get(&jump.topic)?;
        let moves = self.positions.jump(jump);
        (!moves.is_empty()).then(|| self.note(&jump.group, &jump.topic, jump.cause, moves, at))
    }

    fn lock(&mut self, lock: &Lock) {
        if sabotage::is(Sabotage::LockNotRecorded) {
            return;
        }
        // A topic may have been deleted since its queue was locked.
        let mut lock = lock.clone();
        lock.queues.retain(|queue| self.topics.queue(&queue.topic, queue.queue_id).is_some());
        self.locks.apply(&lock);
    }

    fn note(
        &mut self,
        group: &Arc<str>,
        topic: &Arc<str>,
        cause: JumpCause,
        moves: Vec<Move>,
        at: Timestamp,
    ) -> Jump {
        for moved in moves.iter().filter(|_| !sabotage::is(Sabotage::JumpNotRecorded)) {
            self.jumps.push(group, topic, Jumped { cause, moved: *moved, at });
        }
        Jump { group: group.clone(), topic: topic.clone(), cause, moves }
    }

    /// Where the oldest delayed message lies in the log, at the earliest, that was not delivered yet: the log may not
    /// be dropped from there on. None if there is none.
    pub(crate) fn delayed_from(&self) -> Option<LogOffset> {
        self.delays.pending_from(&self.topics.get(topic::SCHEDULE)?.queues)
    }

    /// What promise P2 forbids: forgets how long the queues are.
    pub(crate) fn without_ends(mut self) -> Self {
        self.topics.queues_mut().for_each(|queue| *queue = Queue::new(queue.name.clone()));
        self
    }

    /// The state as bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_u16(VERSION);
        self.topics.encode(&mut out);
        self.positions.encode(&mut out);
        self.groups.encode(&mut out);
        self.delays.encode(&mut out);
        self.jumps.encode(&mut out);
        self.locks.encode(&mut out);
        self.segments.encode(&mut out);
        self.terms.encode(&mut out);
        self.members.encode(&mut out);
        out.put_u32(self.expiring);
        out.into()
    }

    /// Reads what [`State::encode`] wrote.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Undecodable> {
        match bytes.try_get_u16() {
            Ok(VERSION) => Self::decode_fields(&mut bytes).map_err(|Malformed| Undecodable::Malformed),
            Ok(found) if found > VERSION => {
                Err(Undecodable::Newer { found: found.into(), known: VERSION.into() })
            }
            _ => Err(Undecodable::Malformed),
        }
    }

    fn decode_fields(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            topics: Topics::decode(bytes)?,
            positions: Positions::decode(bytes)?,
            groups: Groups::decode(bytes)?,
            delays: Delays::decode(bytes)?,
            jumps: Jumps::decode(bytes)?,
            locks: Locks::decode(bytes)?,
            segments: Segments::decode(bytes)?,
            terms: Terms::decode(bytes)?,
            members: Members::decode(bytes)?,
            expiring: bytes.try_get_u32()?,
        })
    }
}
