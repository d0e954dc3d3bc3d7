//! Stamps what waits and proposes it as one batch. One write is in flight at a time: what arrives meanwhile
//! shares the next one, so a lone sender waits for no timer and many senders share one synced write.

use bytes::BytesMut;
use steadfast_store::log::{BatchBuilder, CONTROL_ROOM, head_len, identity};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::record::{self, PREFIX_LEN, Stamp};
use steadfast_types::{LogOffset, QueueOffset};
use steadfast_wire::code::response;

use crate::broker::{Broker, Out, Phase, acknowledge, reply};
use crate::control::Control;
use crate::io::{Effect, Now, Origin};
use crate::pending::{Ack, Applied, InFlight, PendingSend, not_stored};

/// Bytes of records after which a batch is closed.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of control records after which a batch takes no more of them: a flood of them leaves room for messages.
const BATCH_CONTROL_BYTES: usize = CONTROL_ROOM / 2;

/// A batch under construction, before its place is known.
#[derive(Default)]
struct Selection {
    controls: Vec<(Control, BytesMut, Option<Origin>)>,
    sends: Vec<PendingSend>,
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
        let may = matches!(self.phase, Phase::Leading | Phase::Stopping) && self.group.is_idle();
        if !may || self.pending.is_empty() {
            return;
        }
        let mut selection = Selection::default();
        self.select_controls(&mut selection);
        self.select_sends(&mut selection, out);
        if selection.records == 0 {
            return;
        }
        self.propose_batch(now, selection, out);
    }

    fn select_controls(&mut self, selection: &mut Selection) {
        while selection.payload_len() < BATCH_CONTROL_BYTES {
            let Some(pending) = self.pending.controls.front() else { return };
            let mut payload = BytesMut::new();
            pending.control.encode(&mut payload);
            let len = PREFIX_LEN + payload.len();
            if !self.fits(selection.records + 1, selection.bytes + len, 0) {
                return;
            }
            if let Some(pending) = self.pending.controls.pop_front() {
                selection.controls.push((pending.control, payload, pending.origin));
                selection.records += 1;
                selection.bytes += len;
            }
        }
    }

    fn select_sends(&mut self, selection: &mut Selection, out: &mut Out<'_>) {
        while let Some(send) = self.pending.sends.front() {
            let (records, len) = (send.request.records.len(), send.request.len());
            // The first send goes whatever its size; it was checked to fit beside control records.
            if !selection.sends.is_empty() && selection.bytes + len > BATCH_BYTES {
                return;
            }
            if !self.fits(selection.records + records, selection.bytes + len, self.options.control_reserve) {
                if self.room.disk_full {
                    let cause = "the disk is full; free space or add some, service resumes by itself";
                    self.refuse_sends(response::SERVICE_NOT_AVAILABLE, cause, out);
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

    /// Whether a batch fits into the log space that is allocated, leaving `reserve` bytes of it.
    fn fits(&self, records: usize, bytes: usize, reserve: u64) -> bool {
        let end = self.group.place(head_len(records) + bytes).end;
        end + reserve <= self.room.filled_to
    }

    fn propose_batch(&mut self, now: Now, selection: Selection, out: &mut Out<'_>) {
        self.store_time = self.store_time.max(now.wall);
        let place = self.group.place(selection.payload_len());
        let commit = self.group.commit();
        let builder =
            BatchBuilder::new(place.at, commit, self.store_time, selection.records, selection.bytes);
        let mut stamper = Stamper { broker: self, builder, applied: Vec::with_capacity(selection.records) };
        let mut acks = Vec::with_capacity(selection.sends.len());
        for (control, payload, origin) in selection.controls {
            stamper.control(control, &payload);
            acks.extend(origin.map(Ack::Done));
        }
        for send in selection.sends {
            acks.push(stamper.send(send));
        }
        let Stamper { builder, applied, .. } = stamper;
        let payload = builder.finish();
        match self.group.propose(payload.clone()) {
            Ok(write) => {
                let number = write.number;
                out(Effect::Write(write));
                let mut in_flight = InFlight { number, applied, acks, since: now.ticks };
                if sabotage::is(Sabotage::AckBeforeSync) {
                    in_flight.acks.drain(..).for_each(|ack| acknowledge(ack, &self.options, out));
                }
                if sabotage::is(Sabotage::ReadableBeforeCommit) {
                    self.hot.push(place.at, payload);
                    self.show_too_early(now, &mut in_flight, out);
                }
                self.in_flight = Some(in_flight);
            }
            // Leadership was checked; if the engine disagrees nothing was stored.
            Err(error) => {
                for ack in acks {
                    let answer = not_stored(response::SERVICE_NOT_AVAILABLE, &error.to_string());
                    reply(*ack.origin(), answer, out);
                }
            }
        }
    }
}

impl Broker {
    /// What promise P2 forbids; see [`Sabotage::ReadableBeforeCommit`].
    fn show_too_early(&mut self, now: Now, in_flight: &mut InFlight, out: &mut Out<'_>) {
        let changes = self.apply_all(std::mem::take(&mut in_flight.applied));
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
        let PendingSend { origin, queue_id, request, .. } = send;
        let queue = self.broker.state.topics.queue_mut(&request.topic, queue_id);
        let queue = queue.expect("the selection checked that the queue exists");
        let first = queue.stamped;
        queue.stamped = first + request.records.len() as u64;
        let name = queue.name.clone();
        let mut log_offsets = Vec::with_capacity(request.records.len());
        for (i, prepared) in request.records.into_iter().enumerate() {
            let offset = first + i as u64;
            let (unit, keys) = self.message(&name, offset, &prepared.bytes, prepared.tag, prepared.keys);
            log_offsets.push(unit.log_offset);
            let (queue, store_time) = (name.clone(), self.broker.store_time);
            let kind = Some(prepared.kind);
            self.applied.push(Applied::Message { queue, offset, unit, keys, store_time, kind });
        }
        Ack::Sent { origin, queue_id, queue_offset: first, log_offsets, unique_key: request.unique_key }
    }

    fn message(
        &mut self,
        queue: &QueueName,
        queue_offset: QueueOffset,
        bytes: &[u8],
        tag: i32,
        keys: Vec<u64>,
    ) -> (Unit, Vec<u64>) {
        let store_time = self.broker.store_time;
        let mut placed = LogOffset::ZERO;
        let identity = identity(&queue.topic, queue.queue_id, queue_offset);
        let (size, crc) = self.builder.push(identity, |log_offset, buf| {
            placed = log_offset;
            let start = buf.len();
            buf.extend_from_slice(bytes);
            let queue_id = queue.queue_id;
            record::stamp(&mut buf[start..], Stamp { queue_id, queue_offset, log_offset, store_time });
        });
        (Unit { log_offset: placed, size, tag, crc }, keys)
    }
}
