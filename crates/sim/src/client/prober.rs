//! Asks all kinds of questions while the others work.

use steadfast_types::QueueId;
use steadfast_wire::code::request;
use steadfast_wire::headers::Boundary;

use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Call};
use crate::message;
use crate::stage::{Phase, Stage};

pub(super) struct Prober {
    base: Base,
}

impl Prober {
    pub(super) fn new(base: Base) -> Self {
        Self { base }
    }

    /// About a message that was acknowledged; tells whether there is one.
    fn ask_about_message(&mut self, stage: &mut Stage) -> bool {
        let rng = &mut self.base.rng;
        let Some(sample) = stage.watch.sample(rng) else { return false };
        let number = sample.number;
        if rng.percent(60) && !sample.keys.is_empty() {
            let key = rng.pick(&sample.keys).clone();
            let topic = sample.place.queue.topic.clone();
            let ask = requests::look_up(&topic, &key);
            let call = Call::Lookup { topic: topic.clone(), key: key.clone(), expected: Some(number) };
            self.base.call(ask, TIMEOUT, call, stage);
        } else {
            let ask = requests::view(&sample.place.queue.topic, sample.place.log_offset.get());
            self.base.call(ask, TIMEOUT, Call::View { number, place: sample.place.clone() }, stage);
        }
        true
    }

    fn ask_about_queue(&mut self, stage: &mut Stage) -> bool {
        let rng = &mut self.base.rng;
        let topics = stage.watch.topics();
        if topics.is_empty() {
            return false;
        }
        let (topic, queues) = rng.pick(&topics).clone();
        let queue = message::queue(topic.clone(), QueueId::new(rng.below(u64::from(queues.max(1))) as u32));
        let about = |code| (requests::about_topic(code, &topic), Call::Other);
        let (ask, call) = match rng.below(7) {
            0 | 1 => {
                let floor = stage.watch.floor(&queue);
                (requests::max_offset(&queue), Call::MaxOffset { queue: queue.clone(), floor })
            }
            2 => (requests::min_offset(&queue), Call::MinOffset { queue: queue.clone() }),
            3 => (requests::earliest(&queue), Call::Other),
            4 => {
                let time = stage.wall().get().saturating_sub(rng.skewed(0..100_000));
                let boundary = if rng.percent(50) { Boundary::Lower } else { Boundary::Upper };
                (requests::search(&queue, time, boundary), Call::Other)
            }
            5 => about(request::GET_TOPIC_STATS_INFO),
            _ => about(request::QUERY_TOPIC_CONSUME_BY_WHO),
        };
        self.base.call(ask, TIMEOUT, call, stage);
        true
    }

    /// Any offset of the log will do: mostly there is nothing, but it must be said.
    fn ask_about_log(&mut self, stage: &mut Stage) {
        let rng = &mut self.base.rng;
        let at = match rng.below(4) {
            0 => rng.below(stage.mark.end.get() + 1),
            1 => rng.below(10_000),
            2 => stage.watch.sample(rng).map_or(0, |sample| sample.place.log_offset.get() + rng.below(100)),
            // What the leader of a term wrote first.
            _ if stage.starts.is_empty() => 4096,
            _ => *rng.pick(&stage.starts),
        };
        self.base.call(requests::view("", at), TIMEOUT, Call::Other, stage);
    }

    fn ask_about_server(&mut self, stage: &mut Stage) {
        let code = *self.base.rng.pick(&[request::GET_BROKER_CONFIG, request::GET_BROKER_RUNTIME_INFO, 9999]);
        self.base.call(requests::plain(code), TIMEOUT, Call::Other, stage);
    }
}

impl Client for Prober {
    fn wake(&mut self, stage: &mut Stage) {
        if self.base.busy || stage.phase != Phase::Faults {
            return;
        }
        let asked = match self.base.rng.below(12) {
            0..6 => self.ask_about_message(stage),
            6..9 => self.ask_about_queue(stage),
            _ => false,
        };
        match asked {
            true => {}
            false if self.base.rng.percent(50) => self.ask_about_log(stage),
            false => self.ask_about_server(stage),
        }
    }

    fn answer(&mut self, _: &Call, answer: Answer, stage: &mut Stage) {
        self.base.busy = false;
        match answer {
            Answer::Reply(_) => self.base.rest(stage),
            _ => self.base.back_off(stage),
        }
    }

    fn unfinished(&self) -> Option<String> {
        None
    }
}
