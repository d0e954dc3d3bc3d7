//! What waits to be proposed, and what was proposed and waits to be durable.

use std::collections::VecDeque;

use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::{LogOffset, QueueId, QueueOffset, Timestamp};

use crate::control::Control;
use crate::io::Origin;
use crate::measures::MessageKind;
use crate::reply::Reply;
use crate::request::SendRequest;

/// A send that was admitted.
#[derive(Debug)]
pub(crate) struct PendingSend {
    pub(crate) origin: Origin,
    pub(crate) queue_id: QueueId,
    pub(crate) request: Box<SendRequest>,
    /// Ticks at which it was admitted.
    pub(crate) since: u64,
}

/// A send whose topic is being made.
#[derive(Debug)]
pub(crate) struct ParkedSend {
    pub(crate) origin: Origin,
    pub(crate) request: Box<SendRequest>,
    /// Ticks at which it came.
    pub(crate) since: u64,
}

/// A change of state that was admitted.
#[derive(Debug)]
pub(crate) struct PendingControl {
    pub(crate) control: Control,
    /// Who is told when it is durable.
    pub(crate) origin: Option<Origin>,
    pub(crate) since: u64,
}

/// What waits for the write before it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Go first, and may use the reserve.
    pub(crate) controls: VecDeque<PendingControl>,
    pub(crate) sends: VecDeque<PendingSend>,
    /// Bytes of the sends.
    pub(crate) bytes: usize,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.controls.is_empty() && self.sends.is_empty()
    }

    pub(crate) fn push_send(&mut self, send: PendingSend) {
        self.bytes += send.request.len();
        self.sends.push_back(send);
    }

    pub(crate) fn pop_send(&mut self) -> Option<PendingSend> {
        let send = self.sends.pop_front()?;
        self.bytes -= send.request.len();
        Some(send)
    }

    /// Ticks at which the oldest item was admitted.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let controls = self.controls.front().map(|c| c.since);
        let sends = self.sends.front().map(|s| s.since);
        controls.into_iter().chain(sends).min()
    }
}

/// What applying one record does.
#[derive(Debug)]
pub(crate) enum Applied {
    Message {
        queue: QueueName,
        offset: QueueOffset,
        unit: Unit,
        keys: Vec<u64>,
        store_time: Timestamp,
        /// None if it is read again at start, and so not counted.
        kind: Option<MessageKind>,
    },
    Control(Control),
}

impl InFlight {
    /// Whether it sets this position.
    fn sets(&self, group: &str, topic: &str, queue_id: QueueId) -> bool {
        let control = |applied: &Applied| match applied {
            Applied::Control(control) => control.sets(group, topic, queue_id),
            Applied::Message { .. } => false,
        };
        self.applied.iter().any(control)
    }
}

/// Whether an update of this position was admitted and is not durable yet.
pub(crate) fn is_position_under_way(
    pending: &Pending,
    in_flight: Option<&InFlight>,
    (group, topic, queue_id): (&str, &str, QueueId),
) -> bool {
    pending.controls.iter().any(|c| c.control.sets(group, topic, queue_id))
        || in_flight.is_some_and(|f| f.sets(group, topic, queue_id))
}

/// Who is answered when a batch is committed.
#[derive(Debug)]
pub(crate) enum Ack {
    Sent {
        origin: Origin,
        queue_id: QueueId,
        queue_offset: QueueOffset,
        log_offsets: Vec<LogOffset>,
        unique_key: String,
    },
    Done(Origin),
}

impl Ack {
    pub(crate) fn origin(&self) -> &Origin {
        match self {
            Self::Sent { origin, .. } | Self::Done(origin) => origin,
        }
    }
}

/// The batch that is being written.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) number: u64,
    pub(crate) applied: Vec<Applied>,
    pub(crate) acks: Vec<Ack>,
    /// Ticks at which the write was issued.
    pub(crate) since: u64,
}

/// The answer for a request whose write is neither confirmed nor known to have failed.
pub(crate) fn unknown(cause: &str) -> Reply {
    let remark = format!("stored=unknown; retry=same id; cause: {cause}; look the message up by its id");
    Reply::error(steadfast_wire::code::response::SYSTEM_ERROR, remark)
}

/// The answer for a request that certainly changed nothing.
pub(crate) fn not_stored(code: i32, cause: &str) -> Reply {
    Reply::error(code, format!("stored=no; retry=safe; cause: {cause}"))
}
