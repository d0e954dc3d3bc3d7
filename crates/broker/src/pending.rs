//! What waits to be proposed, and what was proposed and waits to be durable.

use std::collections::VecDeque;
use std::sync::Arc;

use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::{LogIndex, LogOffset, QueueId, QueueOffset, Term, Timestamp};

use crate::control::Control;
use crate::io::{Now, Origin};
use crate::measures::MessageKind;
use crate::reply::Reply;
use crate::request::{PreparedRecord, Request, SendRequest};

/// A send that was admitted.
#[derive(Debug)]
pub(crate) struct PendingSend {
    pub(crate) origin: Origin,
    pub(crate) queue_id: QueueId,
    /// The queue that the sender is told: a delayed message is stored in another one than it is for.
    pub(crate) told_queue: QueueId,
    pub(crate) request: Box<SendRequest>,
    /// Ticks at which it was admitted.
    pub(crate) since: u64,
}

/// Changes of state and messages that become durable together: all of them in one entry, or none.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) controls: Vec<Control>,
    pub(crate) messages: Vec<(QueueName, PreparedRecord)>,
    /// Who is told when it is durable.
    pub(crate) origin: Option<Origin>,
    /// Ticks at which it was admitted.
    pub(crate) since: u64,
}

impl Bundle {
    /// Bytes of its messages.
    pub(crate) fn len(&self) -> usize {
        self.messages.iter().map(|(_, record)| record.bytes.len()).sum()
    }
}

/// A request that waits until a topic has been made.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) origin: Origin,
    pub(crate) request: Request,
    pub(crate) topic: String,
    /// Ticks at which it came.
    pub(crate) since: u64,
}

/// Who is told what when a change is durable.
pub(crate) type Told = (Origin, Reply);

/// A change of state that was admitted.
#[derive(Debug)]
pub(crate) struct PendingControl {
    pub(crate) control: Control,
    /// Who is told what when it is durable.
    pub(crate) answer: Option<Told>,
    pub(crate) since: u64,
}

/// What waits for the write before it. A replica that does not lead has nothing that waits.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Go first, and may use the reserve.
    pub(crate) controls: VecDeque<PendingControl>,
    pub(crate) sends: VecDeque<PendingSend>,
    pub(crate) bundles: VecDeque<Bundle>,
    /// Bytes of the messages in them.
    pub(crate) bytes: usize,
    /// Sends and bundles take turns in being first in a batch.
    pub(crate) bundles_first: bool,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.controls.is_empty() && self.sends.is_empty() && self.bundles.is_empty()
    }

    /// Admits a change of state; `answer` is who is told what when it is durable.
    pub(crate) fn push_control(&mut self, now: Now, control: Control, answer: Option<Told>) {
        self.controls.push_back(PendingControl { control, answer, since: now.ticks });
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

    pub(crate) fn push_bundle(&mut self, bundle: Bundle) {
        self.bytes += bundle.len();
        self.bundles.push_back(bundle);
    }

    pub(crate) fn pop_bundle(&mut self) -> Option<Bundle> {
        let bundle = self.bundles.pop_front()?;
        self.bytes -= bundle.len();
        Some(bundle)
    }

    /// Ticks at which the oldest item was admitted that somebody waits for.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let controls = self.controls.front().map(|c| c.since);
        let sends = self.sends.front().map(|s| s.since);
        let bundles = self.bundles.iter().filter(|b| b.origin.is_some()).map(|b| b.since);
        bundles.chain(controls).chain(sends).min()
    }

    /// Every change of state that was admitted.
    pub(crate) fn all_controls(&self) -> impl Iterator<Item = &Control> {
        let bundled = self.bundles.iter().flat_map(|bundle| &bundle.controls);
        self.controls.iter().map(|pending| &pending.control).chain(bundled)
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
        /// Topic that a dead letter was of.
        dead_of: Option<Arc<str>>,
    },
    Control(Control),
}

impl Applied {
    /// The change of state, if it is one.
    pub(crate) fn control(&self) -> Option<&Control> {
        match self {
            Self::Control(control) => Some(control),
            Self::Message { .. } => None,
        }
    }
}

/// Whether an update of this position was admitted and is not durable yet.
pub(crate) fn is_position_under_way(
    pending: &Pending,
    in_flight: &VecDeque<InFlight>,
    (group, topic, queue_id): (&str, &str, QueueId),
) -> bool {
    let in_flight = in_flight.iter().flat_map(|f| &f.applied).filter_map(Applied::control);
    pending.all_controls().chain(in_flight).any(|control| control.sets(group, topic, queue_id))
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
    Done(Origin, Reply),
}

impl Ack {
    pub(crate) fn origin(&self) -> &Origin {
        match self {
            Self::Sent { origin, .. } | Self::Done(origin, _) => origin,
        }
    }
}

/// A batch that was proposed and is not committed yet.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// The entry that it became.
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
    pub(crate) applied: Vec<Applied>,
    pub(crate) acks: Vec<Ack>,
    /// Ticks at which it was proposed.
    pub(crate) since: u64,
    /// Store time of its records.
    pub(crate) store_time: Timestamp,
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
