//! Producers: sync sends and batches, sent again under the same id when nobody knows what became of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use steadfast_audit::Name;
use steadfast_net::client::Response;
use steadfast_sim::rng::Rng;
use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::SendMessageResponse;
use tokio::sync::watch;

use super::link::{Link, Session};
use super::message::{self, Message};
use super::{Journal, PASSING_TOPICS, Phase, QUEUES, TOPICS};

/// Largest body in bytes, alone and in a batch.
const BODY: u64 = 200 * 1024;
const BATCHED_BODY: u64 = 16 * 1024;
const BATCH: u64 = 8;
/// Pause after a refusal.
const PAUSE: Duration = Duration::from_millis(2);

/// Sends one request after the other.
pub(crate) struct Lane {
    name: String,
    made: u64,
    rng: Rng,
    link: Arc<Link>,
    journal: Arc<Journal>,
    phase: watch::Receiver<Phase>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Refused,
    Unknown,
}

impl Lane {
    pub(crate) fn new(
        name: String,
        rng: Rng,
        link: Arc<Link>,
        journal: Arc<Journal>,
        phase: watch::Receiver<Phase>,
    ) -> Lane {
        Lane { name, made: 0, rng, link, journal, phase }
    }

    pub(crate) async fn run(mut self) {
        while self.is_on() {
            let (topic, queue_id) = self.draw_queue();
            let messages = self.draw_messages();
            self.send(&topic, queue_id, &messages).await;
        }
    }

    /// One attempt.
    pub(crate) async fn send_once(mut self) -> Outcome {
        let (topic, queue_id) = self.draw_queue();
        let messages = self.draw_messages();
        let body = message::send_body(&messages);
        let link = Arc::clone(&self.link);
        self.attempt(&link.session().await, &topic, queue_id, &messages, &body).await
    }

    fn is_on(&self) -> bool {
        *self.phase.borrow() == Phase::Load
    }

    fn draw_queue(&mut self) -> (Name, i32) {
        if self.rng.one_in(40) {
            let number = self.rng.below(PASSING_TOPICS);
            return (passing_topic(number), 0);
        }
        let queue_id = self.rng.below(u64::from(QUEUES) + 1) as i32 - 1;
        ((*self.rng.pick(&TOPICS)).into(), queue_id)
    }

    fn draw_messages(&mut self) -> Vec<Message> {
        let (count, max_body) =
            if self.rng.one_in(4) { (self.rng.within(2..BATCH), BATCHED_BODY) } else { (1, BODY) };
        let draw = |_| {
            self.made += 1;
            let id = format!("{}-{}", self.name, self.made);
            // One key is the message's own, the other one is shared with some.
            let keys = format!("k{id} order-{}-{}", self.name, self.made / 10);
            Message::draw(id, keys, &mut self.rng, max_body)
        };
        (0..count).map(draw).collect()
    }

    /// Sends until there is a certain answer; now and then gives up on an uncertain one.
    async fn send(&mut self, topic: &Name, queue_id: i32, messages: &[Message]) {
        let body = message::send_body(messages);
        loop {
            let link = Arc::clone(&self.link);
            let session = tokio::select! {
                session = link.session() => session,
                _ = self.phase.wait_for(|phase| *phase != Phase::Load) => return,
            };
            match self.attempt(&session, topic, queue_id, messages, &body).await {
                Outcome::Acked => return,
                Outcome::Unknown if self.rng.one_in(4) => return,
                Outcome::Unknown => {}
                Outcome::Refused => tokio::time::sleep(PAUSE).await,
            }
            if !self.is_on() {
                return;
            }
        }
    }

    async fn attempt(
        &self,
        session: &Session<'_>,
        topic: &Name,
        queue_id: i32,
        messages: &[Message],
        body: &Bytes,
    ) -> Outcome {
        {
            let mut ledger = self.journal.ledger();
            messages.iter().for_each(|message| ledger.sent(&message.id(), message.attempt(topic)));
        }
        let mut ext = ExtFields::default();
        let header = message::send_header(topic, queue_id, messages);
        let code = if header.batch { request::SEND_BATCH_MESSAGE } else { request::SEND_MESSAGE_V2 };
        header.encode_v2(&mut ext);
        let answer = session.ask(code, ext, body).await;
        let journal = &self.journal;
        let (outcome, count) = match &answer {
            Some(answer) if answer.code == response::SUCCESS => {
                self.acked(topic, queue_id, messages, answer);
                (Outcome::Acked, &journal.acked)
            }
            Some(answer) if answer.remark().starts_with("stored=no") => (Outcome::Refused, &journal.refused),
            Some(answer) => {
                let remark = answer.remark();
                assert!(remark.starts_with("stored=unknown"), "{} {remark}", answer.code);
                (Outcome::Unknown, &journal.answered_unknown)
            }
            None => (Outcome::Unknown, &journal.cut_off),
        };
        count.fetch_add(1, Relaxed);
        let mut ledger = journal.ledger();
        for id in messages.iter().map(Message::id) {
            match outcome {
                Outcome::Acked => {}
                Outcome::Refused => ledger.refused(&id),
                Outcome::Unknown => ledger.unknown(&id),
            }
        }
        outcome
    }

    fn acked(&self, topic: &Name, queue_id: i32, messages: &[Message], answer: &Response) {
        let header = answer.header().expect("a header");
        let fields = SendMessageResponse::decode(&header.ext).expect("the fields of an acknowledgement");
        assert!(queue_id < 0 || queue_id == fields.queue_id, "sent to {queue_id}: {fields:?}");
        assert_eq!(fields.transaction_id.as_deref(), Some(messages[0].id.as_str()));
        let places: Vec<_> = fields.msg_id.split(',').collect();
        assert_eq!(places.len(), messages.len(), "{fields:?}");
        let queue = message::queue(Name::clone(topic), fields.queue_id as u32);
        let mut ledger = self.journal.ledger();
        for (i, (message, place)) in messages.iter().zip(places).enumerate() {
            let (_, log_offset) = parse_offset_msg_id(place).expect("a message id");
            ledger.acked(&message.id(), queue.place(fields.queue_offset as u64 + i as u64, log_offset.get()));
        }
    }
}

/// A topic that a message makes.
pub(crate) fn passing_topic(number: u64) -> Name {
    format!("passing-{number}").into()
}
