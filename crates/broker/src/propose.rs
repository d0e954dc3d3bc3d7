//! Stamps what waits and proposes it as one batch. One write is in flight at a time: what arrives meanwhile
//! shares the next one, so a lone sender waits for no timer and many senders share one synced write.

use bytes::BytesMut;
use steadfast_consensus::Output;
use steadfast_store::log::{BatchBuilder, CONTROL_ROOM, head_len, identity};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::record::{self, PREFIX_LEN, Stamp};
use steadfast_types::{LogOffset, QueueId, QueueOffset};
use steadfast_wire::code::response;

use crate::broker::{Broker, Out, acknowledge, reply};
use crate::control::Control;
use crate::io::{Effect, Now};
use crate::pending::{Ack, Applied, Bundle, InFlight, PendingControl, PendingSend, Told, not_stored};
use crate::reply::Reply;
use crate::request::PreparedRecord;

/// Bytes of records after which a batch is closed.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of control records after which a batch takes no more of them: a flood of them leaves room for messages.
const BATCH_CONTROL_BYTES: usize = CONTROL_ROOM / 2;

const DISK_FULL: &str = "the disk is full; free space or add some, service resumes by itself";

/// A batch under construction, before its place is known.
#[derive(Default)]
struct Selection {
    controls: Vec<(Control, BytesMut, Option<Told>)>,
    sends: Vec<PendingSend>,
    bundles: Vec<Bundle>,
    records: usize,
    bytes: usize,
}

impl Selection {
    fn payload_len(&self) -> usize {
        head_len(self.records) + self.bytes
    }
}

impl Broker {
    /// Proposes a batch of what waits, if no write is in flight.
    pub(crate) fn propose(&mut self, now: Now, out: &mut Out<'_>) {
        if self.pending.is_empty() || !self.leads() || !self.group.is_idle() {
            return;
        }
        let mut selection = Selection::default();
        self.select_controls(&mut selection, out);
        let alone = selection.records;
        if self.pending.bundles_first {
            self.select_bundles(&mut selection, alone, out);
            self.select_sends(&mut selection, alone, out);
        } else {
            self.select_sends(&mut selection, alone, out);
            self.select_bundles(&mut selection, alone, out);
        }
        self.pending.bundles_first = !self.pending.bundles_first;
        if selection.records == 0 {
            return;
        }
        self.propose_batch(now, selection, out);
    }

    fn select_controls(&mut self, selection: &mut Selection, out: &mut Out<'_>) {
        while selection.payload_len() < BATCH_CONTROL_BYTES {
            let Some(pending) = self.pending.controls.front() else { return };
            let mut payload = BytesMut::new();
            pending.control.encode(&mut payload);
            let len = PREFIX_LEN + payload.len();
            if head_len(1) + len > CONTROL_ROOM {
                let Some(pending) = self.pending.controls.pop_front() else { return };
                let cause = format!("the change takes {len} bytes in the log, the limit is {CONTROL_ROOM}");
                match pending.answer {
                    Some((origin, _)) => reply(origin, not_stored(response::SYSTEM_ERROR, &cause), out),
                    None => out(Effect::Warn(format!("a change of state is not made: {cause}"))),
                }
                continue;
            }
            if !self.fits(selection.records + 1, selection.bytes + len, 0) {
                return;
            }
            if let Some(pending) = self.pending.controls.pop_front() {
                selection.controls.push((pending.control, payload, pending.answer));
                selection.records += 1;
                selection.bytes += len;
            }
        }
    }

    /// Takes sends. The first goes whatever its size if there are only `alone` records, those of changes of state,
    /// in the batch: it was checked to fit beside them.
    fn select_sends(&mut self, selection: &mut Selection, alone: usize, out: &mut Out<'_>) {
        while let Some(send) = self.pending.sends.front() {
            let (records, len) = (send.request.records.len(), send.request.len());
            if selection.records > alone && selection.bytes + len > BATCH_BYTES {
                return;
            }
            if !self.fits(selection.records + records, selection.bytes + len, self.options.control_reserve) {
                if self.room.disk_full {
                    self.refuse_sends(response::SERVICE_NOT_AVAILABLE, DISK_FULL, out);
                }
                return;
            }
            let Some(send) = self.pending.pop_send() else { return };
            if self.state.topics.queue(&send.request.topic, send.queue_id).is_none() {
                let cause = format!("topic {} was deleted meanwhile", send.request.topic);
                reply(send.origin, not_stored(response::TOPIC_NOT_EXIST, &cause), out);
                continue;
            }
            selection.records += records;
            selection.bytes += len;
            selection.sends.push(send);
        }
    }

    /// Takes bundles, by the rule of [`Broker::select_sends`].
    fn select_bundles(&mut self, selection: &mut Selection, alone: usize, out: &mut Out<'_>) {
        while let Some(bundle) = self.pending.bundles.front_mut() {
            if sabotage::is(Sabotage::DeliveredWithoutPosition) {
                let (controls, since) = (bundle.controls.drain(..), bundle.since);
                let later = controls.map(|control| PendingControl { control, answer: None, since });
                self.pending.controls.extend(later);
            }
            let controls = encoded(&bundle.controls);
            let records = controls.len() + bundle.messages.len();
            let len = bundle.len() + controls.iter().map(|payload| PREFIX_LEN + payload.len()).sum::<usize>();
            if selection.records > alone && selection.bytes + len > BATCH_BYTES {
                return;
            }
            if !self.fits(selection.records + records, selection.bytes + len, self.options.control_reserve) {
                if self.room.disk_full
                    && let Some(bundle) = self.pending.pop_bundle()
                {
                    self.abandon(bundle, (response::SERVICE_NOT_AVAILABLE, DISK_FULL), out);
                    continue;
                }
                return;
            }
            let Some(bundle) = self.pending.pop_bundle() else { return };
            selection.records += records;
            selection.bytes += len;
            selection.bundles.push(bundle);
        }
    }

    /// Whether a batch fits into the log space that is allocated, leaving `reserve` bytes of it.
    fn fits(&self, records: usize, bytes: usize, reserve: u64) -> bool {
        let end = self.group.place(head_len(records) + bytes).end;
        end + reserve <= self.room.filled_to
    }

    fn propose_batch(&mut self, now: Now, selection: Selection, out: &mut Out<'_>) {
        self.store_time = self.clock.time();
        let place = self.group.place(selection.payload_len());
        let commit = self.group.commit();
        let builder =
            BatchBuilder::new(place.at, commit, self.store_time, selection.records, selection.bytes);
        let mut stamper = Stamper { broker: self, builder, applied: Vec::with_capacity(selection.records) };
        let mut acks = Vec::with_capacity(selection.sends.len());
        for (control, payload, answer) in selection.controls {
            stamper.control(control, &payload);
            acks.extend(answer.map(|(origin, reply)| Ack::Done(origin, reply)));
        }
        for send in selection.sends {
            acks.push(stamper.send(send));
        }
        for bundle in selection.bundles {
            acks.extend(stamper.bundle(bundle));
        }
        let Stamper { builder, applied, .. } = stamper;
        let payload = builder.finish();
        if let Err(error) = self.group.propose(payload.clone()) {
            return self.not_proposed(now, &applied, acks, &error.to_string(), out);
        }
        let Output { write, messages, fetches, .. } = self.group.drain();
        let entry = write.as_ref().and_then(|write| write.entries.last()).map(|(entry, _)| entry);
        let (index, term) =
            entry.map(|entry| (entry.index, entry.term)).expect("what is proposed is written");
        self.pass_on(write, messages, fetches, out);
        let store_time = self.store_time;
        let mut in_flight = InFlight { index, term, applied, acks, since: now.ticks, store_time };
        if sabotage::is(Sabotage::AckBeforeSync) {
            in_flight.acks.drain(..).for_each(|ack| acknowledge(ack, &self.options, out));
        }
        if sabotage::is(Sabotage::ReadableBeforeCommit) {
            self.hot.push(place.at, payload);
            self.show_too_early(now, &mut in_flight, out);
        }
        self.in_flight.push_back(in_flight);
    }

    /// The group does not take a batch now: nothing of it is stored, and its offsets are free again.
    fn not_proposed(
        &mut self,
        now: Now,
        applied: &[Applied],
        acks: Vec<Ack>,
        cause: &str,
        out: &mut Out<'_>,
    ) {
        for record in applied.iter().rev() {
            match record {
                Applied::Message { queue, offset, .. } => {
                    if let Some(queue) = self.state.topics.queue_mut(&queue.topic, queue.queue_id) {
                        queue.stamped = *offset;
                    }
                }
                Applied::Control(control) => self.deliveries.abandoned(control, now.ticks),
            }
        }
        for ack in acks {
            reply(*ack.origin(), not_stored(response::SERVICE_NOT_AVAILABLE, cause), out);
        }
    }
}

impl Broker {
    /// What promise P2 forbids; see [`Sabotage::ReadableBeforeCommit`].
    fn show_too_early(&mut self, now: Now, in_flight: &mut InFlight, out: &mut Out<'_>) {
        let changes = self.apply_all(std::mem::take(&mut in_flight.applied), in_flight.store_time);
        for queue in changes.queues {
            self.wake(now, &queue, out);
        }
    }
}

/// Gives each record its place.
struct Stamper<'a> {
    broker: &'a mut Broker,
    builder: BatchBuilder,
    applied: Vec<Applied>,
}

impl Stamper<'_> {
    fn control(&mut self, control: Control, payload: &[u8]) {
        self.builder.push(0, |_, buf| record::encode_control(payload, buf));
        self.applied.push(Applied::Control(control));
    }

    fn send(&mut self, send: PendingSend) -> Ack {
        let PendingSend { origin, queue_id, told_queue, request, .. } = send;
        let (queue, first) = self.reserve(&request.topic, queue_id, request.records.len());
        let mut log_offsets = Vec::with_capacity(request.records.len());
        for (i, record) in request.records.into_iter().enumerate() {
            log_offsets.push(self.message(&queue, first + i as u64, record));
        }
        let unique_key = request.unique_key;
        Ack::Sent { origin, queue_id: told_queue, queue_offset: first, log_offsets, unique_key }
    }

    fn bundle(&mut self, bundle: Bundle) -> Option<Ack> {
        for (queue, record) in bundle.messages {
            let (queue, offset) = self.reserve(&queue.topic, queue.queue_id, 1);
            self.message(&queue, offset, record);
        }
        for (control, payload) in bundle.controls.iter().zip(encoded(&bundle.controls)) {
            self.control(control.clone(), &payload);
        }
        bundle.origin.map(|origin| Ack::Done(origin, Reply::ok()))
    }

    /// The next offsets of a queue.
    fn reserve(&mut self, topic: &str, queue_id: QueueId, count: usize) -> (QueueName, QueueOffset) {
        let queue = self.broker.state.topics.queue_mut(topic, queue_id);
        let queue = queue.expect("who queued the message checked that the queue exists; a queue stays");
        let first = queue.stamped;
        queue.stamped = first + count as u64;
        (queue.name.clone(), first)
    }

    fn message(&mut self, queue: &QueueName, offset: QueueOffset, record: PreparedRecord) -> LogOffset {
        let PreparedRecord { bytes, tag, keys, kind, dead_of } = record;
        let store_time = self.broker.store_time;
        let mut placed = LogOffset::ZERO;
        let identity = identity(&queue.topic, queue.queue_id, offset);
        let (size, crc) = self.builder.push(identity, |log_offset, buf| {
            placed = log_offset;
            let start = buf.len();
            buf.extend_from_slice(&bytes);
            let stamp = Stamp { queue_id: queue.queue_id, queue_offset: offset, log_offset, store_time };
            record::stamp(&mut buf[start..], stamp);
        });
        let unit = Unit { log_offset: placed, size, tag, crc };
        let queue = queue.clone();
        self.applied.push(Applied::Message { queue, offset, unit, keys, store_time, kind, dead_of });
        placed
    }
}

/// The payloads of control records.
fn encoded(controls: &[Control]) -> Vec<BytesMut> {
    let encode = |control: &Control| {
        let mut payload = BytesMut::new();
        control.encode(&mut payload);
        payload
    };
    controls.iter().map(encode).collect()
}
