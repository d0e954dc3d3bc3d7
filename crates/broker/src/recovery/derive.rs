//! What an entry of the log does, derived from its bytes alone: at start, on a follower, and when an index run is made again.

use steadfast_store::log::{Batch, Head, Scanned, TableEntry, identity};
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::record::{Record, Stamp, StoredMessage, records};
use steadfast_types::{LogOffset, QueueOffset, Timestamp};

use crate::control::Control;
use crate::pending::Applied;
use crate::request::derived;

/// What a batch's table has for the identity of a change of state.
const CONTROL_IDENTITY: u32 = 0;

/// What an entry of the log does.
pub(crate) struct Derived {
    pub(crate) applied: Vec<Applied>,
    pub(crate) fenced: Vec<Fenced>,
    pub(crate) store_time: Timestamp,
    /// Changes of state that are damaged: where the first is, and how many.
    pub(crate) lost: Option<(LogOffset, u64)>,
}

impl Derived {
    fn lose(&mut self, at: LogOffset) {
        self.lost = Some(self.lost.map_or((at, 1), |(first, count)| (first, count + 1)));
    }
}

/// A damaged message whose place is known.
#[derive(Debug, Clone)]
pub(crate) struct Fenced {
    pub(crate) queue: QueueName,
    pub(crate) offset: QueueOffset,
    pub(crate) unit: Unit,
}

/// Derives queues, index and state from an entry. A damaged message whose place can still be read is fenced: its
/// unit carries the checksum that its bytes no longer have, so every read of it says so.
///
/// # Errors
/// The log offset of a damaged record that cannot be identified.
pub(crate) fn derive(found: &Scanned) -> Result<Derived, LogOffset> {
    if let Head::Lost(head) = found.head {
        return derive_headless(found, head);
    }
    let batch = Batch::parse(found.entry.payload.clone()).map_err(|_| found.payload_at)?;
    let mut out = Derived {
        applied: Vec::with_capacity(batch.len()),
        fenced: Vec::new(),
        store_time: batch.store_time(),
        lost: None,
    };
    for (i, TableEntry { range, crc, identity: stated }) in batch.records().enumerate() {
        let log_offset = found.payload_at + range.start as u64;
        let damaged = found.damaged.contains(&i);
        let size = range.len() as u32;
        if damaged && stated == CONTROL_IDENTITY {
            out.lose(log_offset);
            continue;
        }
        let bytes = &batch.payload()[range];
        let applied = match records(bytes).next() {
            Some(Ok((_, Record::Message(message)))) => {
                let message = StoredMessage::decode_verified(message).map_err(|_| log_offset)?;
                let Stamp { queue_id, queue_offset, .. } = message.stamp;
                if identity(message.topic, queue_id, queue_offset) != stated {
                    return Err(log_offset);
                }
                let (tag, keys) =
                    if damaged { (0, Vec::new()) } else { derived(message.topic, message.properties) };
                let queue = QueueName::new(message.topic, message.stamp.queue_id);
                let offset = message.stamp.queue_offset;
                let unit = Unit { log_offset, size, tag, crc };
                if damaged {
                    out.fenced.push(Fenced { queue: queue.clone(), offset, unit });
                }
                Applied::Message {
                    queue,
                    offset,
                    unit,
                    keys,
                    store_time: out.store_time,
                    kind: None,
                    dead_of: None,
                }
            }
            Some(Ok((_, Record::Control(control)))) if !damaged => {
                Applied::Control(Control::decode(control).map_err(|_| log_offset)?)
            }
            _ => return Err(log_offset),
        };
        out.applied.push(applied);
    }
    Ok(out)
}

/// What an entry without a table may have done: each record vouches for its body and its place, so the messages can be
/// told, but not their properties. All of them are fenced.
fn derive_headless(found: &Scanned, head: usize) -> Result<Derived, LogOffset> {
    let mut out =
        Derived { applied: Vec::new(), fenced: Vec::new(), store_time: Timestamp::ZERO, lost: None };
    let bytes = found.entry.payload.get(head..).unwrap_or_default();
    let first = found.payload_at + head as u64;
    for record in records(bytes) {
        let last_known = out.fenced.last().map_or(first, |fenced| fenced.unit.log_offset);
        let (within, record) = record.map_err(|_| last_known)?;
        let log_offset = first + within as u64;
        let Record::Message(bytes) = record else {
            out.lose(log_offset);
            continue;
        };
        let message = StoredMessage::decode(bytes).map_err(|_| log_offset)?;
        let Stamp { queue_id, queue_offset: offset, store_time, .. } = message.stamp;
        if message.stamp.log_offset != log_offset {
            return Err(log_offset);
        }
        out.store_time = store_time;
        let queue = QueueName::new(message.topic, queue_id);
        // No record has this checksum, as far as anybody knows.
        let unit = Unit { log_offset, size: bytes.len() as u32, tag: 0, crc: 0 };
        out.fenced.push(Fenced { queue: queue.clone(), offset, unit });
        let (keys, kind, dead_of) = (Vec::new(), None, None);
        out.applied.push(Applied::Message { queue, offset, unit, keys, store_time, kind, dead_of });
    }
    Ok(out)
}
