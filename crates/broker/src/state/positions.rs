//! How far each consumer group has processed each queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_types::{QueueId, QueueOffset};

use crate::bytes_ext::{Malformed, get_text, put_text};
use crate::control::Position;
use crate::jump::{Jump, JumpCause, Move};

/// A position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: QueueOffset,
    /// It was reset and no client has followed yet: what clients commit meanwhile is from before the reset.
    reset: bool,
}

type Queues = BTreeMap<QueueId, Place>;

/// Positions by group, topic and queue.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Queues>>,
    /// How many of them were reset and are not followed.
    resets: usize,
}

impl Positions {
    /// The position of a group in a queue, if it has one.
    pub(crate) fn get(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        self.place(group, topic, queue).map(|place| place.offset)
    }

    /// Where a client of the group must go on in a queue because of a reset, until it has done so.
    pub(crate) fn reset_to(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        if self.resets == 0 {
            return None;
        }
        self.place(group, topic, queue).filter(|place| place.reset).map(|place| place.offset)
    }

    fn place(&self, group: &str, topic: &str, queue: QueueId) -> Option<Place> {
        self.groups.get(group)?.get(topic)?.get(&queue).copied()
    }

    /// All positions of a group in a topic.
    pub(crate) fn queues(&self, group: &str, topic: &str) -> impl Iterator<Item = (QueueId, QueueOffset)> {
        let queues = self.groups.get(group).and_then(|topics| topics.get(topic));
        queues.into_iter().flatten().map(|(queue, place)| (*queue, place.offset))
    }

    /// Whether a group has positions in a topic.
    pub(crate) fn knows(&self, group: &str, topic: &str) -> bool {
        self.groups.get(group).is_some_and(|topics| topics.contains_key(topic))
    }

    /// Topics in which a group has positions.
    pub(crate) fn topics(&self, group: &str) -> impl Iterator<Item = &Arc<str>> {
        self.groups.get(group).into_iter().flat_map(BTreeMap::keys)
    }

    /// Groups with positions in a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> impl Iterator<Item = &Arc<str>> {
        self.groups.iter().filter(move |(_, topics)| topics.contains_key(topic)).map(|(group, _)| group)
    }

    /// Every group, with every topic in which it has positions.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.groups.iter().flat_map(|(group, topics)| topics.keys().map(move |topic| (group, topic)))
    }

    /// Takes over what a client committed; `min` is the queue's oldest offset. Returns the jump, if it is one.
    pub(super) fn commit(&mut self, position: &Position, min: QueueOffset) -> Option<(JumpCause, Move)> {
        let Position { group, topic, queue_id, offset } = position;
        let queues = self.groups.entry(group.clone()).or_default().entry(topic.clone()).or_default();
        let Some(place) = queues.get_mut(queue_id) else {
            queues.insert(*queue_id, Place { offset: *offset, reset: false });
            return None;
        };
        let from = place.offset;
        if place.reset {
            if *offset != from {
                return None;
            }
            self.resets -= 1;
        }
        *place = Place { offset: *offset, reset: false };
        let moved = |to| Move { queue_id: *queue_id, from: Some(from), to };
        if *offset < from {
            Some((JumpCause::Commit, moved(*offset)))
        } else if from < min {
            // What was between them is gone: the client was told to go on at the oldest message.
            Some((JumpCause::OutOfRange, moved(min.min(*offset))))
        } else {
            None
        }
    }

    /// Carries out the moves of a jump whose positions are still where they were; returns those. A reset counts from
    /// wherever the position is by then.
    pub(super) fn jump(&mut self, jump: &Jump) -> Vec<Move> {
        let queues =
            self.groups.entry(jump.group.clone()).or_default().entry(jump.topic.clone()).or_default();
        let mut done = Vec::with_capacity(jump.moves.len());
        for moved in &jump.moves {
            let before = queues.get(&moved.queue_id).copied();
            let from = before.map(|place| place.offset);
            if from != moved.from && jump.cause != JumpCause::Reset {
                continue;
            }
            // A reset that nobody has followed stays one, wherever else the position is moved.
            let was_reset = before.is_some_and(|place| place.reset);
            let reset = was_reset || jump.cause == JumpCause::Reset;
            self.resets += usize::from(reset && !was_reset);
            queues.insert(moved.queue_id, Place { offset: moved.to, reset });
            done.push(Move { from, ..*moved });
        }
        done
    }

    /// Moves a position by one if it is this one.
    pub(crate) fn pass(&mut self, position: &Position) {
        let topics = self.groups.get_mut(&position.group);
        let queues = topics.and_then(|topics| topics.get_mut(&position.topic));
        if let Some(place) = queues.and_then(|queues| queues.get_mut(&position.queue_id))
            && place.offset == position.offset
            && !place.reset
        {
            place.offset = place.offset.next();
        }
    }

    /// Moves the positions in a queue that are before `min` there.
    pub(super) fn raise(
        &mut self,
        topic: &str,
        queue_id: QueueId,
        min: QueueOffset,
    ) -> Vec<(Arc<str>, Move)> {
        let mut raised = Vec::new();
        for (group, topics) in &mut self.groups {
            let place = topics.get_mut(topic).and_then(|queues| queues.get_mut(&queue_id));
            if let Some(place) = place.filter(|place| place.offset < min) {
                raised.push((group.clone(), Move { queue_id, from: Some(place.offset), to: min }));
                place.offset = min;
            }
        }
        raised
    }

    /// Removes every position in a topic.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.groups.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
        self.count_resets();
    }

    fn count_resets(&mut self) {
        let places = self.groups.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values);
        self.resets = places.filter(|place| place.reset).count();
    }

    /// Removes every position of a group.
    pub(crate) fn forget_group(&mut self, group: &str) {
        self.groups.remove(group);
        self.count_resets();
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let entries = self.groups.values().map(BTreeMap::len).sum::<usize>();
        out.put_u32(entries as u32);
        for (group, topics) in &self.groups {
            for (topic, queues) in topics {
                put_text(out, group);
                put_text(out, topic);
                out.put_u32(queues.len() as u32);
                for (queue, place) in queues {
                    out.put_u32(queue.get());
                    out.put_u64(place.offset.get());
                    out.put_u8(u8::from(place.reset));
                }
            }
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u32()? {
            let (group, topic) = (get_text(bytes)?, get_text(bytes)?);
            let mut queues = Queues::new();
            for _ in 0..bytes.try_get_u32()? {
                let queue = QueueId::new(bytes.try_get_u32()?);
                let offset = QueueOffset::new(bytes.try_get_u64()?);
                queues.insert(queue, Place { offset, reset: bytes.try_get_u8()? != 0 });
            }
            this.groups.entry(group.into()).or_default().insert(topic.into(), queues);
        }
        this.count_resets();
        Ok(this)
    }
}
