//! Who a message is and where it stands.

use std::fmt;
use std::sync::Arc;

use steadfast_types::{LogOffset, QueueId, QueueOffset};

/// A name that is shared by many records: broker, topic, group, key.
pub type Name = Arc<str>;

/// What a producer calls a message; all attempts to send it share it. A benchmark numbers its messages, which
/// costs no memory beyond these 16 bytes; real runs use the text of the unique key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageId {
    /// The number of a message in one run.
    Number(u64),
    /// The unique key.
    Text(Name),
}

const _: () = assert!(size_of::<MessageId>() == 16);

impl From<u64> for MessageId {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for MessageId {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for MessageId {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "#{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A queue of a cluster: RocketMQ's `MessageQueue`. Log offsets are unique within one broker only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// Name of the broker group (`brokerName`).
    pub broker: Name,
    /// Topic.
    pub topic: Name,
    /// Number of the queue in its topic on that broker.
    pub id: QueueId,
}

impl Queue {
    /// A queue by its three names.
    pub fn new(broker: impl Into<Name>, topic: impl Into<Name>, id: u32) -> Self {
        Self { broker: broker.into(), topic: topic.into(), id: QueueId::new(id) }
    }

    /// A place in this queue.
    pub fn place(&self, offset: u64, log_offset: u64) -> Place {
        Place {
            queue: self.clone(),
            offset: QueueOffset::new(offset),
            log_offset: LogOffset::new(log_offset),
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.broker, self.topic, self.id)
    }
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The queue.
    pub queue: Queue,
    /// Position in the queue.
    pub offset: QueueOffset,
    /// Position in the broker's log.
    pub log_offset: LogOffset,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} (log {})", self.queue, self.offset, self.log_offset)
    }
}

/// What a consumer group's position is kept for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Consumer group.
    pub group: Name,
    /// The queue it reads.
    pub queue: Queue,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.group, self.queue)
    }
}
