//! Makes topics by hand, lets them grow, deletes some now and then, and resets consumer groups.

use std::collections::VecDeque;

use steadfast_audit::{Name, Position};
use steadfast_types::{QueueId, QueueOffset};

use super::requests::Target;
use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Call, Outcome};
use crate::clock::Micros;
use crate::message;
use crate::plan::{Group, Making, Topic, Workload};
use crate::stage::{Phase, Stage};

pub(super) struct Operator {
    base: Base,
    topics: Vec<Topic>,
    groups: Vec<Group>,
    /// Resets still to come.
    resets: u32,
    todo: VecDeque<Task>,
}

#[derive(Debug, Clone)]
enum Task {
    /// With so many queues and these attributes.
    Make(Name, u32, &'static str),
    Delete(Name),
    Reset(Position, Target),
}

impl Operator {
    pub(super) fn new(base: Base, workload: &Workload) -> Self {
        let by_hand = workload.topics.iter().filter(|topic| topic.making == Making::Hand);
        let make = |topic: &Topic| {
            let attributes = if topic.protected { "+steadfast.protected=true" } else { "" };
            Task::Make(topic.name.clone(), topic.queues, attributes)
        };
        let todo = by_hand.map(make).collect();
        let groups = workload.groups.iter().filter(|group| group.commits).cloned().collect();
        Self { base, topics: workload.topics.clone(), groups, resets: workload.resets, todo }
    }

    /// Sends a group somewhere else, or deletes a topic that is there for that, and at times makes it again.
    fn change_something(&mut self, stage: &mut Stage) {
        if self.resets > 0 && !self.groups.is_empty() && self.base.rng.percent(50) {
            return self.plan_reset(stage);
        }
        let scratch: Vec<Topic> = self.topics.iter().filter(|topic| topic.scratch).cloned().collect();
        if scratch.is_empty() || stage.phase != Phase::Faults {
            return;
        }
        let topic = self.base.rng.pick(&scratch);
        self.todo.push_back(Task::Delete(topic.name.clone()));
        if topic.making == Making::Hand || self.base.rng.percent(50) {
            self.todo.push_back(Task::Make(topic.name.clone(), topic.queues, ""));
        }
    }

    fn plan_reset(&mut self, stage: &Stage) {
        let rng = &mut self.base.rng;
        let group = rng.pick(&self.groups).clone();
        let topic = self.topics[group.topic].name.clone();
        let queues = stage.watch.queues(&topic);
        if queues == 0 {
            return;
        }
        let queue = message::queue(topic, QueueId::new(rng.below(queues.into()) as u32));
        let target = match rng.below(4) {
            0 => Target::End,
            1 => Target::Time(stage.wall().get().saturating_sub(rng.skewed(0..20_000))),
            _ => Target::Offset(rng.below(stage.watch.floor(&queue) + 1)),
        };
        self.resets -= 1;
        self.todo.push_back(Task::Reset(Position { group: group.name, queue }, target));
    }

    fn next(&mut self, stage: &mut Stage) {
        match self.todo.front().cloned() {
            Some(Task::Make(topic, queues, attributes)) => {
                stage.watch.topic_wanted(&topic, queues);
                let ask = requests::make_topic(&topic, queues, attributes);
                let call = Call::MakeTopic { topic: topic.clone(), queues };
                self.base.call(ask, TIMEOUT, call, stage);
            }
            Some(Task::Delete(topic)) => {
                stage.watch.deleting(&topic);
                let ask = requests::delete_topic(&topic);
                self.base.call(ask, TIMEOUT, Call::DeleteTopic { topic: topic.clone() }, stage);
            }
            Some(Task::Reset(position, target)) => {
                let offset = match target {
                    Target::Offset(offset) => Some(QueueOffset::new(offset)),
                    Target::Time(_) | Target::End => None,
                };
                stage.watch.resetting(&position);
                let ticket = stage.ledger.resetting(&position, offset);
                let ask = requests::reset(&position.group, &position.queue, target);
                self.base.call(ask, TIMEOUT, Call::Reset(ticket), stage);
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
        let once = matches!(self.todo.front(), Some(Task::Delete(_) | Task::Reset(..)));
        // What became of a deletion or a reset is left open; a topic is wanted until it is there.
        match answer {
            Answer::Reply(reply) if reply.outcome() == Outcome::Done || once => {
                self.todo.pop_front();
                self.base.rest(stage);
            }
            Answer::Reply(_) | Answer::NotSent => self.base.back_off(stage),
            Answer::Lost => {
                if once {
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
        self.todo.push_back(Task::Make(topic.name, queues, ""));
        stage.wake(self.base.caller.no, Micros::ZERO);
    }
}
