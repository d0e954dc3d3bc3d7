//! Which client of a group holds which queues, for orderly consumption. Only who holds a lock is in the log, not each
//! renewal: after a restart every holder has its full time again, so that no other client takes over too early.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_store::unit::QueueName;
use steadfast_types::QueueId;

use crate::bytes_ext::{Malformed, get_text, put_text};

/// Locks change hands, as a control record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) group: Arc<str>,
    pub(crate) client: Arc<str>,
    pub(crate) queues: Vec<QueueName>,
    /// The client holds them from now on, or, if it does, no more.
    pub(crate) held: bool,
}

/// Holders by group and queue.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    groups: BTreeMap<Arc<str>, BTreeMap<QueueName, Arc<str>>>,
}

impl Lock {
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        put_text(out, &self.group);
        put_text(out, &self.client);
        out.put_u8(u8::from(self.held));
        out.put_u32(self.queues.len() as u32);
        self.queues.iter().for_each(|queue| put_queue(out, queue));
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let (group, client) = (get_text(bytes)?.into(), get_text(bytes)?.into());
        let held = bytes.try_get_u8()? != 0;
        let count = bytes.try_get_u32()?;
        let queues = (0..count).map(|_| get_queue(bytes)).collect::<Result<_, _>>()?;
        Ok(Self { group, client, queues, held })
    }
}

impl Locks {
    /// Who holds a queue for a group.
    pub(crate) fn holder(&self, group: &str, queue: &QueueName) -> Option<&str> {
        self.groups.get(group)?.get(queue).map(|client| &**client)
    }

    /// Every lock: group, queue, holder.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &QueueName, &Arc<str>)> {
        self.groups
            .iter()
            .flat_map(|(group, queues)| queues.iter().map(move |(queue, client)| (group, queue, client)))
    }

    pub(super) fn apply(&mut self, lock: &Lock) {
        let queues = self.groups.entry(lock.group.clone()).or_default();
        for queue in &lock.queues {
            if lock.held {
                queues.insert(queue.clone(), lock.client.clone());
            } else if queues.get(queue) == Some(&lock.client) {
                queues.remove(queue);
            }
        }
        if queues.is_empty() {
            self.groups.remove(&lock.group);
        }
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.groups.retain(|_, queues| {
            queues.retain(|queue, _| *queue.topic != *topic);
            !queues.is_empty()
        });
    }

    pub(super) fn forget_group(&mut self, group: &str) {
        self.groups.remove(group);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.iter().count() as u32);
        for (group, queue, client) in self.iter() {
            put_text(out, group);
            put_text(out, client);
            put_queue(out, queue);
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u32()? {
            let (group, client) = (get_text(bytes)?, get_text(bytes)?);
            let queue = get_queue(bytes)?;
            this.groups.entry(group.into()).or_default().insert(queue, client.into());
        }
        Ok(this)
    }
}

fn put_queue(out: &mut impl BufMut, queue: &QueueName) {
    put_text(out, &queue.topic);
    out.put_u32(queue.queue_id.get());
}

fn get_queue(bytes: &mut &[u8]) -> Result<QueueName, Malformed> {
    let topic = get_text(bytes)?;
    Ok(QueueName::new(topic, QueueId::new(bytes.try_get_u32()?)))
}
