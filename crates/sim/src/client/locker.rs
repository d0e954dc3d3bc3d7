//! An orderly consumer, as far as its locks go: takes and gives back queues. No two of them may hold one at a time,
//! whatever the server goes through in between.

use std::collections::BTreeSet;

use steadfast_audit::{Name, Queue};
use steadfast_types::QueueId;

use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Call};
use crate::message;
use crate::plan::Workload;
use crate::stage::{Phase, Stage};

pub(super) struct Locker {
    base: Base,
    topics: Vec<Name>,
    /// Queues that it was granted, and has not begun to give back.
    held: BTreeSet<Queue>,
}

impl Locker {
    pub(super) fn new(base: Base, workload: &Workload) -> Self {
        // The locks of a topic go with it.
        let topics = workload.topics.iter().filter(|topic| !topic.scratch);
        Self { base, topics: topics.map(|topic| topic.name.clone()).collect(), held: BTreeSet::new() }
    }

    fn give_back(&mut self, queue: &Queue, stage: &mut Stage) {
        let no = self.base.caller.no;
        self.held.remove(queue);
        stage.watch.unlocking(queue, no);
        let ask = requests::lock(no, queue, false);
        self.base.call(ask, TIMEOUT, Call::Other, stage);
    }

    fn take(&mut self, queue: Queue, stage: &mut Stage) {
        let ask = requests::lock(self.base.caller.no, &queue, true);
        self.base.call(ask, TIMEOUT, Call::Lock { queue }, stage);
    }
}

impl Client for Locker {
    fn wake(&mut self, stage: &mut Stage) {
        if self.base.busy || stage.phase != Phase::Faults || self.topics.is_empty() {
            return;
        }
        let rng = &mut self.base.rng;
        if !self.held.is_empty() && rng.one_in(6) {
            let held: Vec<Queue> = self.held.iter().cloned().collect();
            let queue = rng.pick(&held).clone();
            return self.give_back(&queue, stage);
        }
        // Few queues, so that they quarrel.
        let queue = message::queue(rng.pick(&self.topics).clone(), QueueId::new(rng.below(2) as u32));
        self.take(queue, stage);
    }

    fn answer(&mut self, call: &Call, answer: Answer, stage: &mut Stage) {
        self.base.busy = false;
        match (call, &answer) {
            (Call::Lock { queue }, Answer::Reply(reply)) if requests::is_locked(reply, queue) => {
                stage.watch.locked(queue, self.base.caller.no);
                self.held.insert(queue.clone());
                self.base.rest(stage);
            }
            (_, Answer::Reply(reply)) if reply.is_ok() => self.base.rest(stage),
            _ => self.base.back_off(stage),
        }
    }

    fn unfinished(&self) -> Option<String> {
        None
    }
}
