//! Jumps: a consumer group's position moves without the messages in between being processed in order. None of them
//! is silent (promise P6): each is in the log with its cause and range, is counted, and can be asked for.

use std::sync::Arc;

use bytes::{Buf, BufMut};
use steadfast_types::{QueueId, QueueOffset};

use crate::bytes_ext::{Malformed, get_text, put_text};

/// Why a position jumped. The numbers are those of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum JumpCause {
    /// An operator set it (INVOKE_BROKER_TO_RESET_OFFSET).
    Reset = 1,
    /// The group asked for messages that the queue does not have any more, or not yet.
    OutOfRange = 2,
    /// Retention removed messages that the group had not processed.
    Expired = 3,
    /// The queue is new to a group that has positions in the topic: it starts at the oldest message.
    NewQueue = 4,
    /// A client committed a position before the last one: what is between is delivered again.
    Commit = 5,
    /// A damaged message was given up by an operator.
    Hole = 6,
}

impl JumpCause {
    const ALL: [Self; 6] =
        [Self::Reset, Self::OutOfRange, Self::Expired, Self::NewQueue, Self::Commit, Self::Hole];

    /// Its name in figures and answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::OutOfRange => "out_of_range",
            Self::Expired => "expired",
            Self::NewQueue => "new_queue",
            Self::Commit => "commit",
            Self::Hole => "hole",
        }
    }

    pub(crate) fn encode(self, out: &mut impl BufMut) {
        out.put_u8(self as u8);
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let number = bytes.try_get_u8()?;
        Self::ALL.into_iter().find(|cause| *cause as u8 == number).ok_or(Malformed)
    }
}

/// A jump of a group's positions in a topic, all queues or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) cause: JumpCause,
    pub(crate) moves: Vec<Move>,
}

/// How the position in one queue jumps. Unless it is a reset, it counts only if the position is still `from` when its
/// turn comes in the log: a commit that got there first is newer. A reset always counts; its `from` in the log is where
/// the position was when the reset came, and the history in the state has where it was in fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) queue_id: QueueId,
    /// None if the group had no position in the queue.
    pub(crate) from: Option<QueueOffset>,
    pub(crate) to: QueueOffset,
}

impl Move {
    /// Messages between the positions that the group is not given.
    pub(crate) fn skipped(&self) -> u64 {
        self.from.map_or(0, |from| self.to.get().saturating_sub(from.get()))
    }

    /// Messages between the positions that the group is given once more.
    pub(crate) fn repeated(&self) -> u64 {
        self.from.map_or(0, |from| from.get().saturating_sub(self.to.get()))
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(self.queue_id.get());
        match self.from {
            None => out.put_u8(0),
            Some(from) => {
                out.put_u8(1);
                out.put_u64(from.get());
            }
        }
        out.put_u64(self.to.get());
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let queue_id = QueueId::new(bytes.try_get_u32()?);
        let from = match bytes.try_get_u8()? {
            0 => None,
            1 => Some(QueueOffset::new(bytes.try_get_u64()?)),
            _ => return Err(Malformed),
        };
        Ok(Self { queue_id, from, to: QueueOffset::new(bytes.try_get_u64()?) })
    }
}

impl Jump {
    /// A jump in one queue.
    pub(crate) fn one(group: &str, topic: &str, cause: JumpCause, moved: Move) -> Self {
        Self { group: group.into(), topic: topic.into(), cause, moves: vec![moved] }
    }

    /// A line for the operator's log.
    pub(crate) fn describe(&self) -> String {
        use std::fmt::Write as _;
        let mut line = format!("group {} jumps in topic {} ({}):", self.group, self.topic, self.cause.name());
        for moved in &self.moves {
            let (queue, to) = (moved.queue_id, moved.to);
            let _ = match moved.from {
                None => write!(line, " queue {queue} starts at {to};"),
                Some(from) => {
                    let (skipped, repeated) = (moved.skipped(), moved.repeated());
                    let what = format!("{skipped} not delivered, {repeated} delivered again");
                    write!(line, " queue {queue} from {from} to {to} ({what});")
                }
            };
        }
        line
    }

    /// Whether it moves this position.
    pub(crate) fn sets(&self, group: &str, topic: &str, queue_id: QueueId) -> bool {
        *self.group == *group && *self.topic == *topic && self.moves.iter().any(|m| m.queue_id == queue_id)
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        put_text(out, &self.group);
        put_text(out, &self.topic);
        self.cause.encode(out);
        out.put_u32(self.moves.len() as u32);
        self.moves.iter().for_each(|moved| moved.encode(out));
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let (group, topic) = (get_text(bytes)?.into(), get_text(bytes)?.into());
        let cause = JumpCause::decode(bytes)?;
        let count = bytes.try_get_u32()?;
        let moves = (0..count).map(|_| Move::decode(bytes)).collect::<Result<_, _>>()?;
        Ok(Self { group, topic, cause, moves })
    }
}
