//! Makes topics by hand, lets them grow, and deletes some now and then.

use std::collections::VecDeque;

use steadfast_audit::Name;

use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Call, Outcome};
use crate::clock::Micros;
use crate::plan::{Making, Topic, Workload};
use crate::stage::{Phase, Stage};

pub(super) struct Operator {
    base: Base,
    topics: Vec<Topic>,
    todo: VecDeque<Task>,
}

#[derive(Debug, Clone)]
enum Task {
    Make(Name, u32),
    Delete(Name),
}

impl Operator {
    pub(super) fn new(base: Base, workload: &Workload) -> Self {
        let by_hand = workload.topics.iter().filter(|topic| topic.making == Making::Hand);
        let todo = by_hand.map(|topic| Task::Make(topic.name.clone(), topic.queues)).collect();
        Self { base, topics: workload.topics.clone(), todo }
    }

    /// Deletes a topic that is there for that, and at times makes it again.
    fn change_something(&mut self, stage: &mut Stage) {
        let scratch: Vec<Topic> = self.topics.iter().filter(|topic| topic.scratch).cloned().collect();
        if scratch.is_empty() || stage.phase != Phase::Faults {
            return;
        }
        let topic = self.base.rng.pick(&scratch);
        self.todo.push_back(Task::Delete(topic.name.clone()));
        if topic.making == Making::Hand || self.base.rng.percent(50) {
            self.todo.push_back(Task::Make(topic.name.clone(), topic.queues));
        }
    }

    fn next(&mut self, stage: &mut Stage) {
        match self.todo.front().cloned() {
            Some(Task::Make(topic, queues)) => {
                stage.watch.topic_wanted(&topic, queues);
                let ask = requests::make_topic(&topic, queues);
                let call = Call::MakeTopic { topic: topic.clone(), queues };
                self.base.call(ask, TIMEOUT, call, stage);
            }
            Some(Task::Delete(topic)) => {
                stage.watch.deleting(&topic);
                let ask = requests::delete_topic(&topic);
                self.base.call(ask, TIMEOUT, Call::DeleteTopic { topic: topic.clone() }, stage);
            }
            None if stage.phase == Phase::Faults => {
                self.change_something(stage);
                let pause = Micros::millis(self.base.rng.skewed(1..2_000));
                stage.wake(self.base.caller.no, pause);
            }
            None => {}
        }
    }
}

impl Client for Operator {
    fn wake(&mut self, stage: &mut Stage) {
        if !self.base.busy {
            self.next(stage);
        }
    }

    fn answer(&mut self, _: &Call, answer: Answer, stage: &mut Stage) {
        self.base.busy = false;
        let deleting = matches!(self.todo.front(), Some(Task::Delete(_)));
        // What became of a deletion is left open; a topic is wanted until it is there.
        match answer {
            Answer::Reply(reply) if reply.outcome() == Outcome::Done || deleting => {
                self.todo.pop_front();
                self.base.rest(stage);
            }
            Answer::Reply(_) | Answer::NotSent => self.base.back_off(stage),
            Answer::Lost => {
                if deleting {
                    self.todo.pop_front();
                }
                self.base.back_off(stage);
            }
        }
    }

    fn unfinished(&self) -> Option<String> {
        (!self.todo.is_empty()).then(|| format!("the operator has {:?} to do", self.todo))
    }

    fn grow(&mut self, stage: &mut Stage) {
        let topic = self.base.rng.pick(&self.topics).clone();
        let queues = stage.watch.queues(&topic.name).max(topic.queues) + self.base.rng.within(1..4) as u32;
        self.todo.push_back(Task::Make(topic.name, queues));
        stage.wake(self.base.caller.no, Micros::ZERO);
    }
}
