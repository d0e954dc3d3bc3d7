//! Sends messages, each under one id until its fate is known or patience ends.

use std::rc::Rc;

use bytes::Bytes;
use steadfast_audit::Name;

use super::requests::Sending;
use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Call, Outcome};
use crate::message::Message;
use crate::plan::{Sizes, TAGS, Topic, Workload};
use crate::rng::Rng;
use crate::stage::{Phase, Stage};

pub(super) struct Producer {
    base: Base,
    topics: Vec<Topic>,
    sizes: Sizes,
    batch: u64,
    delayed: u64,
    oneway: u64,
    keys: u64,
    /// What is being sent.
    current: Option<Current>,
}

struct Current {
    messages: Rc<Vec<Message>>,
    sending: Sending,
    /// Attempts left whose outcome may be unknown.
    attempts: u32,
    /// Further ones that were certainly not stored.
    refusals: u32,
}

impl Producer {
    pub(super) fn new(base: Base, workload: &Workload) -> Self {
        Self {
            base,
            topics: workload.topics.clone(),
            sizes: workload.sizes,
            batch: workload.batch,
            delayed: workload.delayed,
            oneway: workload.oneway,
            keys: workload.keys,
            current: None,
        }
    }

    fn begin(&mut self, stage: &mut Stage) -> Current {
        let rng = &mut self.base.rng;
        let topic = rng.pick(&self.topics).clone();
        let count = if self.batch > 1 && rng.one_in(3) { rng.within(2..self.batch + 1) } else { 1 };
        stage.watch.topic_wanted(&topic.name, topic.queues);
        let mut room = self.sizes.largest();
        let mut messages = Vec::new();
        for _ in 0..count {
            let size = self.sizes.draw(rng).min(room);
            // All of a batch must fit where one message does.
            room = (room - size).saturating_sub(1_000);
            messages.push(message(&topic.name, size, self.keys, rng, stage));
        }
        // With a topic that is deleted its messages go, delayed ones at a time that nobody knows.
        if let [message] = &mut messages[..]
            && !topic.scratch
            && self.delayed > 0
            && rng.percent(self.delayed)
        {
            message.delay_level = rng.within(1..8) as u32;
        }
        let queue = if rng.one_in(5) { -1 } else { rng.below(u64::from(topic.queues)) as i32 };
        let sending = Sending {
            queue,
            making: topic.making,
            topic_queues: topic.queues,
            born: stage.wall().get(),
            long: rng.percent(30),
        };
        let attempts = rng.within(1..5) as u32;
        Current { messages: Rc::new(messages), sending, attempts, refusals: 60 }
    }

    fn attempt(&mut self, stage: &mut Stage) {
        let Some(current) = &self.current else { return };
        let messages = current.messages.clone();
        for message in messages.iter() {
            stage.ledger.sent(&message.id(), message.attempt());
        }
        let ask = requests::send(&messages, current.sending);
        if self.base.rng.percent(self.oneway) {
            if !stage.tell(self.base.caller, ask.header, &ask.body) {
                messages.iter().for_each(|message| stage.ledger.refused(&message.id()));
            }
            self.current = None;
            return self.base.rest(stage);
        }
        let epoch = stage.watch.epoch(&messages[0].topic);
        let call = Call::Send { messages: messages.clone(), epoch };
        self.base.call(ask, TIMEOUT, call, stage);
    }
}

/// A message of `size` bytes.
fn message(topic: &Name, size: usize, keys: u64, rng: &mut Rng, stage: &mut Stage) -> Message {
    let number = stage.next_message();
    let mut body = vec![0; size];
    match rng.below(4) {
        // Zeroes are what the log's unwritten space holds.
        0 => {}
        1 => body.fill(b'S'),
        _ => rng.fill(&mut body),
    }
    Message {
        number,
        topic: topic.clone(),
        body: Bytes::from(body),
        tag: rng.percent(70).then(|| *rng.pick(&TAGS)),
        keys: (0..rng.below(3)).map(|_| format!("key-{}", rng.below(keys)).into()).collect(),
        unique_key: rng.percent(95).then(|| format!("0A0000010000SFMQ{number:016X}").into()),
        flag: rng.below(100) as i32,
        delay_level: 0,
    }
}

impl Client for Producer {
    fn wake(&mut self, stage: &mut Stage) {
        if self.base.busy {
            return;
        }
        if self.current.is_none() {
            if stage.phase != Phase::Faults {
                return;
            }
            self.current = Some(self.begin(stage));
            stage.sending += 1;
        }
        self.attempt(stage);
        stage.sending -= u32::from(self.current.is_none());
    }

    fn answer(&mut self, _: &Call, answer: Answer, stage: &mut Stage) {
        self.base.busy = false;
        let Some(current) = &mut self.current else { return };
        let outcome = match &answer {
            Answer::Reply(reply) => reply.outcome(),
            Answer::Lost => Outcome::Unknown,
            Answer::NotSent => Outcome::NotDone,
        };
        let left = match outcome {
            Outcome::Done => 0,
            Outcome::NotDone => {
                current.refusals -= 1;
                current.refusals
            }
            Outcome::Unknown => {
                current.attempts -= 1;
                current.attempts
            }
        };
        if left == 0 {
            self.current = None;
            stage.sending -= 1;
            self.base.rest(stage);
        } else {
            self.base.back_off(stage);
        }
    }

    fn unfinished(&self) -> Option<String> {
        let current = self.current.as_ref()?;
        Some(format!("producer {} still sends #{}", self.base.caller.no, current.messages[0].number))
    }
}
