//! Control records: every change of the broker's state that is not a message. They go through the same log as
//! messages do (promise P5), so there are no side files that could disagree with it.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use steadfast_types::{LogOffset, QueueId, QueueOffset};
use steadfast_wire::body::SubscriptionGroupConfig;

use crate::bytes_ext::{Malformed, get_text, put_text};
use crate::jump::Jump;
use crate::state::groups::{get_group, put_group};
use crate::state::{Delivered, Lock, TopicConfig};

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// A topic is made or changed.
    PutTopic(TopicConfig),
    /// A topic is removed, with the positions of its consumers.
    DeleteTopic(Arc<str>),
    /// A consumer group has processed a queue up to here.
    Position(Position),
    /// A consumer group has processed the message at this position: if it stands there, it goes on by one.
    Processed(Position),
    /// A consumer group gets settings or others.
    PutGroup(Box<SubscriptionGroupConfig>),
    /// A consumer group's settings are removed and, if so asked, its positions.
    DeleteGroup { group: Arc<str>, with_positions: bool },
    /// Delayed messages are delivered, by the messages that stand in the same entry.
    Delivered(Delivered),
    /// A consumer group's positions jump (promise P6).
    Jump(Jump),
    /// Queues are locked for a client of a consumer group, or released.
    Lock(Lock),
    /// Retention removes old messages.
    Expire(Expire),
    /// A damaged message is given up by its operator: consumers pass it.
    Hole(Hole),
}

/// A message that nobody can read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: QueueId,
    pub(crate) offset: QueueOffset,
    /// Where it was in the log.
    pub(crate) log_offset: LogOffset,
}

/// Old messages go. A decision may take several records, one for each so many queues; the last one drops the segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expire {
    /// Which record of its decision this is, from 0. It holds only if those before it do.
    pub(crate) part: u32,
    /// Queues that begin later now.
    pub(crate) starts: Vec<QueueStart>,
    /// Bases of segments that are no longer part of the log.
    pub(crate) segments: Vec<LogOffset>,
}

/// Where a queue begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueStart {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: QueueId,
    pub(crate) min: QueueOffset,
}

/// The position of a consumer group in a queue: everything before it is processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: QueueId,
    pub(crate) offset: QueueOffset,
}

const PUT_TOPIC: u8 = 1;
const DELETE_TOPIC: u8 = 2;
const POSITION: u8 = 3;
const EXPIRE: u8 = 16;
const HOLE: u8 = 17;
const PUT_GROUP: u8 = 4;
const DELETE_GROUP: u8 = 5;
const DELIVERED: u8 = 6;
const PROCESSED: u8 = 7;
const JUMP: u8 = 8;
const LOCK: u8 = 9;

impl Position {
    fn encode(&self, out: &mut BytesMut) {
        put_text(out, &self.group);
        put_text(out, &self.topic);
        out.put_u32(self.queue_id.get());
        out.put_u64(self.offset.get());
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            group: get_text(bytes)?.into(),
            topic: get_text(bytes)?.into(),
            queue_id: QueueId::new(bytes.try_get_u32()?),
            offset: QueueOffset::new(bytes.try_get_u64()?),
        })
    }
}

impl Control {
    /// Whether it sets this position.
    pub(crate) fn sets(&self, group: &str, topic: &str, queue: QueueId) -> bool {
        match self {
            Self::Position(p) | Self::Processed(p) => {
                p.queue_id == queue && *p.group == *group && *p.topic == *topic
            }
            Self::Jump(jump) => jump.sets(group, topic, queue),
            _ => false,
        }
    }

    /// Appends the payload of the control record.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::PutTopic(config) => {
                out.put_u8(PUT_TOPIC);
                config.encode(out);
            }
            Self::DeleteTopic(topic) => {
                out.put_u8(DELETE_TOPIC);
                put_text(out, topic);
            }
            Self::Position(position) => {
                out.put_u8(POSITION);
                position.encode(out);
            }
            Self::Processed(position) => {
                out.put_u8(PROCESSED);
                position.encode(out);
            }
            Self::PutGroup(config) => {
                out.put_u8(PUT_GROUP);
                put_group(out, config);
            }
            Self::DeleteGroup { group, with_positions } => {
                out.put_u8(DELETE_GROUP);
                put_text(out, group);
                out.put_u8(u8::from(*with_positions));
            }
            Self::Delivered(delivered) => {
                out.put_u8(DELIVERED);
                delivered.encode(out);
            }
            Self::Jump(jump) => {
                out.put_u8(JUMP);
                jump.encode(out);
            }
            Self::Lock(lock) => {
                out.put_u8(LOCK);
                lock.encode(out);
            }
            Self::Expire(expire) => {
                out.put_u8(EXPIRE);
                expire.encode(out);
            }
            Self::Hole(hole) => {
                out.put_u8(HOLE);
                put_text(out, &hole.topic);
                out.put_u32(hole.queue_id.get());
                out.put_u64(hole.offset.get());
                out.put_u64(hole.log_offset.get());
            }
        }
    }

    /// Reads what [`Control::encode`] wrote.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes = &mut bytes;
        match bytes.try_get_u8()? {
            PUT_TOPIC => TopicConfig::decode(bytes).map(Self::PutTopic),
            DELETE_TOPIC => Ok(Self::DeleteTopic(get_text(bytes)?.into())),
            POSITION => Position::decode(bytes).map(Self::Position),
            PROCESSED => Position::decode(bytes).map(Self::Processed),
            PUT_GROUP => get_group(bytes).map(|config| Self::PutGroup(Box::new(config))),
            DELETE_GROUP => Ok(Self::DeleteGroup {
                group: get_text(bytes)?.into(),
                with_positions: bytes.try_get_u8()? != 0,
            }),
            DELIVERED => Delivered::decode(bytes).map(Self::Delivered),
            JUMP => Jump::decode(bytes).map(Self::Jump),
            LOCK => Lock::decode(bytes).map(Self::Lock),
            EXPIRE => Expire::decode(bytes).map(Self::Expire),
            HOLE => Ok(Self::Hole(Hole {
                topic: get_text(bytes)?.into(),
                queue_id: QueueId::new(bytes.try_get_u32()?),
                offset: QueueOffset::new(bytes.try_get_u64()?),
                log_offset: LogOffset::new(bytes.try_get_u64()?),
            })),
            _ => Err(Malformed),
        }
    }
}

impl Expire {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.part);
        out.put_u32(self.starts.len() as u32);
        for QueueStart { topic, queue_id, min } in &self.starts {
            put_text(out, topic);
            out.put_u32(queue_id.get());
            out.put_u64(min.get());
        }
        out.put_u32(self.segments.len() as u32);
        self.segments.iter().for_each(|base| out.put_u64(base.get()));
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self { part: bytes.try_get_u32()?, starts: Vec::new(), segments: Vec::new() };
        for _ in 0..bytes.try_get_u32()? {
            let topic = get_text(bytes)?.into();
            let queue_id = QueueId::new(bytes.try_get_u32()?);
            this.starts.push(QueueStart { topic, queue_id, min: QueueOffset::new(bytes.try_get_u64()?) });
        }
        for _ in 0..bytes.try_get_u32()? {
            this.segments.push(LogOffset::new(bytes.try_get_u64()?));
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jump::{JumpCause, Move};
    use crate::state::Delivery;
    use steadfast_store::unit::QueueName;

    #[test]
    fn survives_encoding() {
        let position = Position {
            group: "g".into(),
            topic: "t".into(),
            queue_id: QueueId::new(3),
            offset: QueueOffset::new(u64::MAX),
        };
        let config = TopicConfig::new("订单", 4, 8);
        let group =
            SubscriptionGroupConfig { group_name: "g".into(), retry_max_times: 3, ..Default::default() };
        let before =
            Delivery::Before { next: QueueOffset::new(5), from: steadfast_types::LogOffset::new(1 << 40) };
        let late = Delivery::Late(QueueOffset::new(3));
        let moves = [None, Some(QueueOffset::new(7))].map(|from| Move {
            queue_id: QueueId::new(1),
            from,
            to: QueueOffset::new(9),
        });
        let jump =
            Jump { group: "g".into(), topic: "t".into(), cause: JumpCause::Reset, moves: moves.into() };
        let lock = Lock {
            group: "g".into(),
            client: "10.0.0.1@1".into(),
            queues: vec![QueueName::new("t", QueueId::new(3))],
            held: true,
        };
        let delivered = |what| Control::Delivered(Delivered { queue_id: QueueId::new(17), what });
        let start = QueueStart { topic: "t".into(), queue_id: QueueId::new(1), min: QueueOffset::new(9) };
        let segments = vec![LogOffset::ZERO, LogOffset::new(1 << 30)];
        let expire = Expire { part: 3, starts: vec![start], segments };
        let hole = Hole {
            topic: "t".into(),
            queue_id: QueueId::new(2),
            offset: QueueOffset::new(7),
            log_offset: LogOffset::new(1 << 40),
        };
        for control in [
            Control::Hole(hole),
            Control::Expire(expire),
            Control::Position(position.clone()),
            Control::Processed(position),
            Control::DeleteTopic("x".into()),
            Control::Jump(jump),
            Control::Lock(lock),
            Control::PutTopic(config),
            Control::PutGroup(Box::new(group)),
            Control::DeleteGroup { group: "g".into(), with_positions: true },
            delivered(before),
            delivered(Delivery::PassOver),
            delivered(late),
        ] {
            let mut bytes = BytesMut::new();
            control.encode(&mut bytes);
            assert_eq!(Control::decode(&bytes), Ok(control));
            assert_eq!(Control::decode(&bytes[..bytes.len() - 1]), Err(Malformed));
        }
    }
}
