//! What may not go, whatever the rules say: messages that somebody still has to process.

use std::collections::BTreeMap;
use std::sync::Arc;

use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::QueueName;
use steadfast_types::QueueOffset;
use steadfast_types::topic::{DLQ_PREFIX, RETRY_PREFIX, SCHEDULE};

use crate::io::Extent;
use crate::state::{Queue, State, Topic};

/// The messages of a queue from an offset on are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) queue: QueueName,
    pub(crate) from: QueueOffset,
    /// Who needs them.
    pub(crate) holder: Holder,
}

/// Who needs messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A consumer group, which has processed the least.
    Group(Arc<str>),
    /// The topic is protected and no consumer group has a position in it.
    Nobody,
    /// They are delayed and not due, or could not be read when they were.
    Delay,
}

impl Pin {
    /// Whether it needs some of its queue's messages with these offsets.
    pub(crate) fn needs(&self, offsets: &std::ops::Range<QueueOffset>) -> bool {
        !offsets.is_empty() && offsets.end > self.from
    }

    /// The extent of its queue.
    pub(crate) fn extent<'a>(&self, extents: &'a [Extent]) -> Option<&'a Extent> {
        let at = extents.binary_search_by(|extent| extent.queue.cmp(&self.queue)).ok()?;
        extents.get(at)
    }
}

impl State {
    /// Everything that is needed, by queue.
    pub(crate) fn pins(&self) -> Vec<Pin> {
        let holding = self.topics.iter().filter(|topic| self.holds(topic));
        holding.flat_map(|topic| self.pins_of(topic)).map(|(_, pin)| pin).collect()
    }

    /// What groups still have to process of topics that are not protected: a full disk alone does not take it from them.
    /// A group's retries wait for it from the first one on, long before it has a position among them.
    pub(crate) fn awaited(&self) -> Vec<Pin> {
        let mut waiting: BTreeMap<&str, Vec<Arc<str>>> = BTreeMap::new();
        for (group, topic) in self.positions.pairs() {
            waiting.entry(topic).or_default().push(group.clone());
        }
        for topic in self.topics.iter() {
            let name = &*topic.config.name;
            if let Some(group) = name.strip_prefix(RETRY_PREFIX).filter(|group| self.is_known(group)) {
                waiting.entry(name).or_default().push(group.into());
            }
        }
        let topics = waiting.iter().filter_map(|(topic, groups)| Some((self.topics.get(topic)?, groups)));
        let others = topics.filter(|(topic, _)| !self.holds(topic));
        let queues = others.flat_map(|(topic, groups)| topic.queues.iter().map(move |queue| (queue, groups)));
        queues.filter_map(|(queue, groups)| self.pin_of(queue, groups.iter())).collect()
    }

    /// Whether a group was made, or has processed something.
    fn is_known(&self, group: &str) -> bool {
        self.groups.get(group).is_some() || self.positions.topics(group).next().is_some()
    }

    /// Whether messages of a topic may be needed.
    pub(crate) fn holds(&self, topic: &Topic) -> bool {
        *topic.config.name == *SCHEDULE || self.is_protected(topic)
    }

    /// Whether the messages of a topic stay until they are processed. What a group failed to process of a protected
    /// topic lies in its retry and dead letter topics, and stays too.
    pub(crate) fn is_protected(&self, topic: &Topic) -> bool {
        if sabotage::is(Sabotage::PinIgnored) {
            return false;
        }
        if topic.config.attributes.is_protected() {
            return true;
        }
        let name = &*topic.config.name;
        let Some(group) = name.strip_prefix(RETRY_PREFIX).or(name.strip_prefix(DLQ_PREFIX)) else {
            return false;
        };
        let mut topics = self.positions.topics(group).filter_map(|topic| self.topics.get(topic));
        topics.any(|topic| topic.config.attributes.is_protected())
    }

    /// What is needed of the queues of a topic that holds messages.
    fn pins_of<'a>(&'a self, topic: &'a Topic) -> impl Iterator<Item = (&'a Queue, Pin)> {
        // Once for all of its queues: all groups are looked through.
        let groups: Vec<&Arc<str>> = self.positions.groups_of(&topic.config.name).collect();
        let pin = move |queue| Some((queue, self.pin_among(queue, groups.iter().copied())?));
        topic.queues.iter().filter_map(pin)
    }

    /// What is needed of a queue whose topic holds messages; None if all of it is processed.
    pub(crate) fn pin(&self, queue: &Queue) -> Option<Pin> {
        self.pin_among(queue, self.positions.groups_of(&queue.name.topic))
    }

    /// The same, where the groups with positions in the topic are known.
    fn pin_among<'a>(&self, queue: &Queue, groups: impl Iterator<Item = &'a Arc<str>>) -> Option<Pin> {
        let name = &queue.name;
        if *name.topic == *SCHEDULE {
            let from = self.delays.oldest_pending(name.queue_id).max(queue.min);
            return (from < queue.end).then(|| Pin { queue: name.clone(), from, holder: Holder::Delay });
        }
        self.pin_of(queue, groups)
    }

    /// What these groups, or nobody, have still to process of a queue.
    fn pin_of<'a>(&self, queue: &Queue, groups: impl Iterator<Item = &'a Arc<str>>) -> Option<Pin> {
        let name = &queue.name;
        let positions = groups.map(|group| {
            let position = self.positions.get(group, &name.topic, name.queue_id);
            (position.unwrap_or(queue.min).max(queue.min), group)
        });
        let (from, holder) = match positions.min() {
            Some((from, group)) => (from, Holder::Group(group.clone())),
            None => (queue.min, Holder::Nobody),
        };
        (from < queue.end).then(|| Pin { queue: name.clone(), from, holder })
    }

    /// About how many bytes of messages of a topic are needed: as if all its messages had the same size.
    pub(crate) fn pinned_bytes(&self, topic: &Topic) -> u64 {
        self.pins_of(topic).map(|(queue, pin)| queue.bytes_from(pin.from)).sum()
    }
}
