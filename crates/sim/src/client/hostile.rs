//! A producer that knows the log: its bodies hold whole frames, each for the very place in the log where it will lie.
//! When such a message is torn by a crash and a later one ends just before one of these frames, recovery finds a frame
//! with the right place, the right index and the right checksum, in which nobody ever put an entry. Only the chain
//! tells that it does not belong there.
//!
//! ```text
//! X ─┬─ frame of the message, torn ─────┬── frame in its body ──┬─┄   first crash
//!    └ leader │ the next message ───────┘                            second crash: what does the log hold?
//! ```

use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use steadfast_broker::request::{self, Edge, Request};
use steadfast_store::disk::BLOCK;
use steadfast_store::log::{BatchBuilder, FRAME_HEADER_LEN, Mark, head_len, identity};
use steadfast_types::record::{Draft, Stamp, stamp};
use steadfast_types::{LogIndex, LogOffset, QueueId, QueueOffset, Timestamp};

use super::requests::Sending;
use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Call};
use crate::message::{self, Message};
use crate::plan::{Making, Plan};
use crate::stage::{Phase, Stage};

/// Bytes of a stored message before its body, between IPv4 hosts (see [`steadfast_types::record`]).
const BEFORE_BODY: u64 = 88;

pub(super) struct Hostile {
    base: Base,
    edge: Edge,
    sending: bool,
}

impl Hostile {
    pub(super) fn new(base: Base, plan: &Plan) -> Self {
        Self { base, edge: plan.edge(0), sending: false }
    }

    fn message(&mut self, stage: &mut Stage) -> Message {
        let mut message = Message {
            number: stage.next_message(),
            topic: "T0".into(),
            body: Bytes::new(),
            tag: None,
            keys: Vec::new(),
            unique_key: Some("hostile".into()),
            flag: 0,
            delay_level: 0,
        };
        let mark = stage.mark;
        let blocks = self.base.rng.within(2..24);
        let end = (mark.end.get() / BLOCK as u64 + 1 + blocks) * BLOCK as u64;
        let fixed = self.stored_len(&message, stage) as u64 + head_len(1) as u64;
        let Some(body) = (end - mark.end.get()).checked_sub(FRAME_HEADER_LEN as u64 + fixed) else {
            return message;
        };
        message.body = self.body(mark, body as usize, stage);
        message
    }

    /// How long the record of a message without a body is.
    fn stored_len(&self, message: &Message, stage: &Stage) -> usize {
        let ask = requests::send(std::slice::from_ref(message), sending(stage));
        let peer = ([10, 0, 0, 1], 1).into();
        match request::decode(&self.edge, peer, stage.wall(), &ask.header, Bytes::new()) {
            Ok(Request::Send(send)) => send.len(),
            _ => 0,
        }
    }

    /// A body with a frame at each block of the log that it will cover.
    fn body(&mut self, mark: Mark, len: usize, stage: &Stage) -> Bytes {
        let mut body = vec![0; len];
        self.base.rng.fill(&mut body);
        let begin = mark.end + FRAME_HEADER_LEN as u64 + head_len(1) as u64 + BEFORE_BODY;
        let queue = message::queue("T0", QueueId::new(0));
        // After a crash that takes this message, a leader's entry and a message come before what is found here; or
        // two leaders' entries.
        let leaders = if self.base.rng.percent(70) { 1 } else { 2 };
        let forged = Forged {
            index: mark.index + 2 + leaders,
            commit: mark.index,
            queue_offset: QueueOffset::new(stage.watch.floor(&queue) + 1),
            store_time: stage.wall(),
        };
        let mut at = begin.get().next_multiple_of(BLOCK as u64);
        while let Some(target) = body.get_mut((at - begin.get()) as usize..) {
            let frame = forged.frame(LogOffset::new(at), self.base.rng.next_u64());
            let Some(target) = target.get_mut(..frame.len()) else { break };
            target.copy_from_slice(&frame);
            at += BLOCK as u64;
        }
        body.into()
    }
}

fn sending(stage: &Stage) -> Sending {
    Sending { queue: 0, making: Making::Hand, topic_queues: 1, born: stage.wall().get(), long: false }
}

/// An entry that nobody proposed.
struct Forged {
    index: LogIndex,
    commit: LogIndex,
    queue_offset: QueueOffset,
    store_time: Timestamp,
}

impl Forged {
    /// Its frame for a place in the log, as in `store`'s log, but for the chain.
    fn frame(&self, at: LogOffset, chain: u64) -> Vec<u8> {
        let mut record = BytesMut::new();
        let (host, body) = (([6, 6, 6, 6], 666).into(), b"nobody sent this");
        Draft {
            topic: "T0",
            flag: 0,
            sys_flag: 0,
            born_time: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: "",
        }
        .encode(&mut record);
        let mut batch = BatchBuilder::new(at, self.commit, self.store_time, 1, record.len());
        let (queue_id, queue_offset, store_time) = (QueueId::new(0), self.queue_offset, self.store_time);
        batch.push(identity("T0", queue_id, queue_offset), |log_offset, buf| {
            stamp(&mut record, Stamp { queue_id, queue_offset, log_offset, store_time });
            buf.extend_from_slice(&record);
        });
        let payload = batch.finish();
        let mut header = vec![0; 8];
        header.put_u32(payload.len() as u32);
        header.put_u32(head_len(1) as u32);
        header.put_u32(crc32c::crc32c(&payload[..head_len(1)]));
        header.put_u32(chain as u32);
        header.put_u64(1);
        header.put_u64(self.index.get());
        header.put_u64(at.get());
        header.put_u64(self.commit.get());
        header.put_slice(&[1, 1, 0, 0, 0, 0, 0, 0]);
        header[..4].copy_from_slice(&0x5346_454E_u32.to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..4]), &header[8..]);
        header[4..8].copy_from_slice(&crc.to_be_bytes());
        header.extend_from_slice(&payload);
        header
    }
}

impl Client for Hostile {
    fn wake(&mut self, stage: &mut Stage) {
        if self.base.busy || stage.phase != Phase::Faults {
            return;
        }
        self.sending = true;
        let messages = Rc::new(vec![self.message(stage)]);
        stage.ledger.sent(&messages[0].id(), messages[0].attempt());
        let ask = requests::send(&messages, sending(stage));
        let epoch = stage.watch.epoch("T0");
        self.base.call(ask, TIMEOUT, Call::Send { messages: messages.clone(), epoch }, stage);
    }

    fn answer(&mut self, _: &Call, answer: Answer, stage: &mut Stage) {
        self.base.busy = false;
        self.sending = false;
        match answer {
            Answer::Reply(_) => self.base.rest(stage),
            _ => self.base.back_off(stage),
        }
    }

    fn unfinished(&self) -> Option<String> {
        self.sending.then(|| "the hostile producer still sends".to_owned())
    }
}
