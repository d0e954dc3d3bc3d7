//! The replicated state: what applying the log leads to. It is the same on every replica and after every
//! restart; a snapshot is its encoding. What one leader only remembers (connections, held pulls) is elsewhere.

mod delays;
pub(crate) mod groups;
mod positions;
mod queue;
mod topics;

use bytes::{Buf, BufMut, Bytes};
pub(crate) use delays::{Delays, Delivered, Delivery};
pub(crate) use groups::Groups;
pub(crate) use positions::Positions;
pub(crate) use queue::Queue;
use steadfast_types::{LogOffset, topic};
pub use topics::TopicConfig;
pub(crate) use topics::{Topic, Topics};

use crate::bytes_ext::Malformed;
use crate::control::Control;

/// Version of the encoding below.
const VERSION: u16 = 3;

/// Everything that the log decides.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: Topics,
    pub(crate) positions: Positions,
    pub(crate) groups: Groups,
    pub(crate) delays: Delays,
}

impl State {
    /// Applies a control record; tells whether topics changed.
    pub(crate) fn apply(&mut self, control: &Control) -> bool {
        match control {
            Control::PutTopic(config) => self.topics.put(config.clone()),
            Control::DeleteTopic(topic) => {
                self.positions.forget_topic(topic);
                self.topics.delete(topic);
            }
            Control::Position(position) => {
                self.positions.set(position);
                return false;
            }
            Control::Processed(position) => {
                self.positions.pass(position);
                return false;
            }
            Control::PutGroup(config) => {
                self.groups.put(config);
                return false;
            }
            Control::DeleteGroup { group, with_positions } => {
                self.groups.delete(group);
                if *with_positions {
                    self.positions.forget_group(group);
                }
                return false;
            }
            Control::Delivered(delivered) => {
                self.delays.delivered(delivered);
                return false;
            }
        }
        true
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
        out.into()
    }

    /// Reads what [`State::encode`] wrote.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes = &mut bytes;
        if bytes.try_get_u16()? != VERSION {
            return Err(Malformed);
        }
        Ok(Self {
            topics: Topics::decode(bytes)?,
            positions: Positions::decode(bytes)?,
            groups: Groups::decode(bytes)?,
            delays: Delays::decode(bytes)?,
        })
    }
}
