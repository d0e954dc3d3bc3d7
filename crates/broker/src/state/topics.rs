//! Topics and their queues. Queues of a deleted topic are remembered by their ends: a topic of the same name
//! that is made later goes on from there, so that an offset never names two messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_store::unit::QueueName;
use steadfast_types::topic::{PERM_READ, PERM_WRITE};
use steadfast_types::{QueueId, limits};

use super::attributes::Attributes;
use super::queue::Queue;
use crate::bytes_ext::{Malformed, get_text, put_text};

/// Settings of a topic (RocketMQ's `TopicConfig`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Name.
    pub name: Arc<str>,
    /// Queues that consumers read.
    pub read_queues: u32,
    /// Queues that producers write.
    pub write_queues: u32,
    /// See `steadfast_types::topic`.
    pub perm: u32,
    /// RocketMQ's topic flags.
    pub sys_flag: i32,
    /// Whether the name servers announce an order configuration.
    pub order: bool,
    /// What `updateTopic -a` has set.
    pub attributes: Attributes,
}

impl TopicConfig {
    /// A readable and writable topic.
    pub fn new(name: impl Into<Arc<str>>, read_queues: u32, write_queues: u32) -> Self {
        let perm = PERM_READ | PERM_WRITE;
        Self {
            name: name.into(),
            read_queues,
            write_queues,
            perm,
            sys_flag: 0,
            order: false,
            attributes: Attributes::default(),
        }
    }

    /// Whether consumers may read.
    pub fn is_readable(&self) -> bool {
        self.perm & PERM_READ != 0
    }

    /// Whether producers may write.
    pub fn is_writable(&self) -> bool {
        self.perm & PERM_WRITE != 0
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        put_text(out, &self.name);
        out.put_u32(self.read_queues);
        out.put_u32(self.write_queues);
        out.put_u32(self.perm);
        out.put_i32(self.sys_flag);
        out.put_u8(u8::from(self.order));
        self.attributes.encode(out);
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let name = get_text(bytes)?.into();
        let read_queues = bytes.try_get_u32()?;
        let write_queues = bytes.try_get_u32()?;
        if read_queues.max(write_queues) > limits::QUEUES {
            return Err(Malformed);
        }
        let perm = bytes.try_get_u32()?;
        let sys_flag = bytes.try_get_i32()?;
        let order = bytes.try_get_u8()? != 0;
        let attributes = Attributes::decode(bytes)?;
        Ok(Self { name, read_queues, write_queues, perm, sys_flag, order, attributes })
    }
}

/// A topic with its queues. There are at least as many queues as the settings name; shrinking keeps them.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) config: TopicConfig,
    pub(crate) queues: Vec<Queue>,
}

/// All topics, and what is left of deleted ones.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    live: BTreeMap<Arc<str>, Topic>,
    deleted: BTreeMap<Arc<str>, Vec<Queue>>,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.live.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.live.values()
    }

    /// Every queue, also of deleted topics: their newest messages must still reach an index run.
    pub(crate) fn queues_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        let live = self.live.values_mut().flat_map(|topic| topic.queues.iter_mut());
        live.chain(self.deleted.values_mut().flatten())
    }

    pub(crate) fn queue(&self, name: &str, id: QueueId) -> Option<&Queue> {
        self.live.get(name)?.queues.get(id.get() as usize)
    }

    /// The queue that a message in the log belongs to, even if its topic was deleted after it was stamped.
    pub(crate) fn queue_mut(&mut self, name: &str, id: QueueId) -> Option<&mut Queue> {
        let queues = match self.live.get_mut(name) {
            Some(topic) => &mut topic.queues,
            None => self.deleted.get_mut(name)?,
        };
        queues.get_mut(id.get() as usize)
    }

    pub(super) fn put(&mut self, config: TopicConfig) {
        let name = config.name.clone();
        let topic = match self.live.remove(&name) {
            Some(topic) => topic,
            None => Topic { config: config.clone(), queues: self.deleted.remove(&name).unwrap_or_default() },
        };
        let mut topic = Topic { config, ..topic };
        topic.ensure_queues();
        self.live.insert(name, topic);
    }

    pub(super) fn delete(&mut self, name: &str) {
        if let Some((name, topic)) = self.live.remove_entry(name) {
            let mut queues = topic.queues;
            queues.iter_mut().for_each(Queue::end_life);
            self.deleted.insert(name, queues);
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.live.len() as u32);
        for topic in self.live.values() {
            topic.config.encode(out);
            encode_queues(&topic.queues, out);
        }
        out.put_u32(self.deleted.len() as u32);
        for (name, queues) in &self.deleted {
            put_text(out, name);
            encode_queues(queues, out);
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u32()? {
            let config = TopicConfig::decode(bytes)?;
            let name = config.name.clone();
            let mut topic = Topic { queues: decode_queues(&name, bytes)?, config };
            topic.ensure_queues();
            this.live.insert(name, topic);
        }
        for _ in 0..bytes.try_get_u32()? {
            let name: Arc<str> = get_text(bytes)?.into();
            let queues = decode_queues(&name, bytes)?;
            this.deleted.insert(name, queues);
        }
        Ok(this)
    }
}

impl Topic {
    fn ensure_queues(&mut self) {
        let wanted = self.config.read_queues.max(self.config.write_queues) as usize;
        for id in self.queues.len()..wanted {
            let name = QueueName::new(self.config.name.clone(), QueueId::new(id as u32));
            self.queues.push(Queue::new(name));
        }
    }
}

fn encode_queues(queues: &[Queue], out: &mut Vec<u8>) {
    out.put_u32(queues.len() as u32);
    for queue in queues {
        queue.encode(out);
    }
}

fn decode_queues(topic: &Arc<str>, bytes: &mut &[u8]) -> Result<Vec<Queue>, Malformed> {
    let count = bytes.try_get_u32()?;
    (0..count).map(|id| Queue::decode(QueueName::new(topic.clone(), QueueId::new(id)), bytes)).collect()
}
