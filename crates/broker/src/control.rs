//! Control records: every change of the broker's state that is not a message. They go through the same log as
//! messages do (promise P5), so there are no side files that could disagree with it.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use steadfast_types::{QueueId, QueueOffset};

use crate::bytes_ext::{Malformed, get_text, put_text};
use crate::state::TopicConfig;

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// A topic is made or changed.
    PutTopic(TopicConfig),
    /// A topic is removed, with the positions of its consumers.
    DeleteTopic(Arc<str>),
    /// A consumer group has processed a queue up to here.
    Position(Position),
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

impl Control {
    /// Whether it sets this position.
    pub(crate) fn sets(&self, group: &str, topic: &str, queue: QueueId) -> bool {
        matches!(self, Self::Position(p) if p.queue_id == queue && *p.group == *group && *p.topic == *topic)
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
                put_text(out, &position.group);
                put_text(out, &position.topic);
                out.put_u32(position.queue_id.get());
                out.put_u64(position.offset.get());
            }
        }
    }

    /// Reads what [`Control::encode`] wrote.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes = &mut bytes;
        match bytes.try_get_u8()? {
            PUT_TOPIC => TopicConfig::decode(bytes).map(Self::PutTopic),
            DELETE_TOPIC => Ok(Self::DeleteTopic(get_text(bytes)?.into())),
            POSITION => Ok(Self::Position(Position {
                group: get_text(bytes)?.into(),
                topic: get_text(bytes)?.into(),
                queue_id: QueueId::new(bytes.try_get_u32()?),
                offset: QueueOffset::new(bytes.try_get_u64()?),
            })),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_encoding() {
        let position = Position {
            group: "g".into(),
            topic: "t".into(),
            queue_id: QueueId::new(3),
            offset: QueueOffset::new(u64::MAX),
        };
        let config = TopicConfig::new("订单", 4, 8);
        for control in
            [Control::Position(position), Control::DeleteTopic("x".into()), Control::PutTopic(config)]
        {
            let mut bytes = BytesMut::new();
            control.encode(&mut bytes);
            assert_eq!(Control::decode(&bytes), Ok(control));
            assert_eq!(Control::decode(&bytes[..bytes.len() - 1]), Err(Malformed));
        }
    }
}
