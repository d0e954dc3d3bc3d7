//! How far each consumer group has processed each queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_types::{QueueId, QueueOffset};

use crate::bytes_ext::{Malformed, get_text, put_text};
use crate::control::Position;

type Queues = BTreeMap<QueueId, QueueOffset>;

/// Positions by group, topic and queue.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Queues>>,
}

impl Positions {
    /// The position of a group in a queue, if it has one.
    pub(crate) fn get(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        self.groups.get(group)?.get(topic)?.get(&queue).copied()
    }

    /// All positions of a group in a topic.
    pub(crate) fn of_topic(&self, group: &str, topic: &str) -> Option<&Queues> {
        self.groups.get(group)?.get(topic)
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

    /// Sets a position.
    pub(crate) fn set(&mut self, position: &Position) {
        let topics = self.groups.entry(position.group.clone()).or_default();
        let queues = topics.entry(position.topic.clone()).or_default();
        queues.insert(position.queue_id, position.offset);
    }

    /// Moves a position by one if it is this one.
    pub(crate) fn pass(&mut self, position: &Position) {
        let topics = self.groups.get_mut(&position.group);
        let queues = topics.and_then(|topics| topics.get_mut(&position.topic));
        if let Some(offset) = queues.and_then(|queues| queues.get_mut(&position.queue_id))
            && *offset == position.offset
        {
            *offset = offset.next();
        }
    }

    /// Removes every position in a topic.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.groups.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
    }

    /// Removes every position of a group.
    pub(crate) fn forget_group(&mut self, group: &str) {
        self.groups.remove(group);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let entries = self.groups.values().map(BTreeMap::len).sum::<usize>();
        out.put_u32(entries as u32);
        for (group, topics) in &self.groups {
            for (topic, queues) in topics {
                put_text(out, group);
                put_text(out, topic);
                out.put_u32(queues.len() as u32);
                for (queue, offset) in queues {
                    out.put_u32(queue.get());
                    out.put_u64(offset.get());
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
                queues.insert(queue, QueueOffset::new(bytes.try_get_u64()?));
            }
            this.groups.entry(group.into()).or_default().insert(topic.into(), queues);
        }
        Ok(this)
    }
}
