//! A member of a consumer group: pulls its share of the queues, and sets positions once it has processed what it
//! got. Now and then it forgets everything and goes on from the positions in the broker.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_audit::{Name, Position, Queue};
use steadfast_types::{QueueId, QueueOffset};
use steadfast_wire::code::response;
use steadfast_wire::headers::PullMessageResponse;

use super::requests::Pulling;
use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Call, Pull, Response};
use crate::clock::Micros;
use crate::message;
use crate::plan::{Group, Workload};
use crate::stage::{Phase, Stage};

pub(super) struct Consumer {
    base: Base,
    group: Group,
    topic: Name,
    member: u32,
    /// Whether the broker knows the subscription from heartbeats only.
    by_heartbeat: bool,
    heartbeat_due: bool,
    /// Where each queue goes on; unknown if missing.
    next: BTreeMap<u32, u64>,
    /// Up to where it was processed, and a position is to be set.
    processed: BTreeMap<u32, u64>,
    /// Queues of which nothing is left, now that nobody sends any more.
    drained: BTreeSet<u32>,
    turn: u32,
    all_drained: bool,
}

impl Consumer {
    pub(super) fn new(mut base: Base, workload: &Workload, group: &Group, member: u32) -> Self {
        let by_heartbeat = base.rng.one_in(4);
        Self {
            base,
            group: group.clone(),
            topic: workload.topics[group.topic].name.clone(),
            member,
            by_heartbeat,
            heartbeat_due: true,
            next: BTreeMap::new(),
            processed: BTreeMap::new(),
            drained: BTreeSet::new(),
            turn: 0,
            all_drained: false,
        }
    }

    /// The queues of this member: every so manieth.
    fn queues(&self, stage: &Stage) -> Vec<u32> {
        (0..stage.watch.queues(&self.topic)).filter(|id| id % self.group.members == self.member).collect()
    }

    fn queue(&self, id: u32) -> Queue {
        message::queue(self.topic.clone(), QueueId::new(id))
    }

    fn work(&mut self, stage: &mut Stage) {
        if self.heartbeat_due {
            let ask = requests::heartbeat(self.base.caller.no, &self.group, &self.topic);
            return self.base.call(ask, TIMEOUT, Call::Other, stage);
        }
        let queues = self.queues(stage);
        if stage.phase != Phase::Faults && stage.sending == 0 {
            self.all_drained = queues.iter().all(|id| self.drained.contains(id)) && self.processed.is_empty();
            if self.all_drained {
                return;
            }
        }
        if queues.is_empty() {
            return self.base.back_off(stage);
        }
        self.turn = self.turn.wrapping_add(1);
        let id = queues[self.turn as usize % queues.len()];
        let committing = self.drained.contains(&id) || self.base.rng.one_in(3);
        match (self.next.get(&id).copied(), self.processed.get(&id).copied()) {
            (None, _) => self.ask_position(id, stage),
            (Some(_), Some(processed)) if committing => self.commit(id, processed, stage),
            (Some(next), _) => self.pull(id, next, stage),
        }
    }

    fn ask_position(&mut self, id: u32, stage: &mut Stage) {
        let queue = self.queue(id);
        if !self.group.commits {
            let ask = requests::min_offset(&queue);
            return self.base.call(ask, TIMEOUT, Call::MinOffset { queue: queue.clone() }, stage);
        }
        let begun = stage.ledger.now();
        let ask = requests::position(&self.group.name, &queue, true);
        let position = Position { group: self.group.name.clone(), queue: queue.clone() };
        self.base.call(ask, TIMEOUT, Call::Position(position, begun), stage);
    }

    fn commit(&mut self, id: u32, offset: u64, stage: &mut Stage) {
        let queue = self.queue(id);
        let position = Position { group: self.group.name.clone(), queue: queue.clone() };
        let ticket = stage.ledger.committing(&position, QueueOffset::new(offset));
        self.processed.remove(&id);
        let ask = requests::commit(&self.group.name, &queue, offset);
        if self.base.rng.one_in(5) && stage.phase == Phase::Faults {
            stage.tell(self.base.caller, ask.header, &ask.body);
            return self.base.rest(stage);
        }
        self.base.call(ask, TIMEOUT, Call::Commit(ticket), stage);
    }

    fn pull(&mut self, id: u32, next: u64, stage: &mut Stage) {
        let queue = self.queue(id);
        let rng = &mut self.base.rng;
        let hold = if stage.phase == Phase::Faults && rng.percent(60) { rng.skewed(1..1_500) } else { 0 };
        let commit = self.processed.get(&id).copied().filter(|_| rng.one_in(4));
        if let Some(offset) = commit {
            let position = Position { group: self.group.name.clone(), queue: queue.clone() };
            stage.ledger.committing(&position, QueueOffset::new(offset));
        }
        let expression = self.group.filter.expression();
        let ask = requests::pull(Pulling {
            group: &self.group.name,
            queue: &queue,
            offset: next,
            most: rng.within(1..33) as i32,
            hold,
            commit,
            expression: (!self.by_heartbeat).then_some(&expression),
        });
        let pull = Pull {
            group: self.group.name.clone(),
            queue: queue.clone(),
            offset: next,
            filter: self.group.filter.clone(),
            floor: stage.watch.floor(&queue),
        };
        let timeout = TIMEOUT + Micros::millis(hold);
        self.base.call(ask, timeout, Call::Pull(Box::new(pull)), stage);
    }

    fn pulled(&mut self, pull: &Pull, reply: &Response, stage: &mut Stage) {
        let id = pull.queue.id.get();
        let header = PullMessageResponse::decode(&reply.ext).ok();
        let next = header.and_then(|header| u64::try_from(header.next_begin_offset).ok());
        let (Some(next), true) = (next, moves(reply.code)) else {
            self.heartbeat_due |= reply.code == response::SUBSCRIPTION_NOT_EXIST;
            if is_absent(reply) {
                self.drained.insert(id);
            }
            return self.base.back_off(stage);
        };
        self.next.insert(id, next);
        if next > pull.offset && self.group.commits {
            self.processed.insert(id, next);
        }
        if reply.code == response::PULL_NOT_FOUND && stage.phase != Phase::Faults && stage.sending == 0 {
            self.drained.insert(id);
        } else {
            self.drained.remove(&id);
        }
        // It crashes, too.
        if stage.phase == Phase::Faults && self.base.rng.one_in(40) {
            self.next.clear();
            self.processed.clear();
            self.heartbeat_due = true;
        }
        self.base.rest(stage);
    }
}

/// Whether the answer to a pull tells where to go on.
fn moves(code: i32) -> bool {
    matches!(
        code,
        response::SUCCESS
            | response::PULL_NOT_FOUND
            | response::PULL_RETRY_IMMEDIATELY
            | response::PULL_OFFSET_MOVED
    )
}

/// Whether there is no such queue.
fn is_absent(reply: &Response) -> bool {
    reply.code == response::TOPIC_NOT_EXIST || reply.remark.contains("does not exist")
}

impl Client for Consumer {
    fn wake(&mut self, stage: &mut Stage) {
        if !self.base.busy && !self.all_drained {
            self.work(stage);
        }
    }

    fn answer(&mut self, call: &Call, answer: Answer, stage: &mut Stage) {
        self.base.busy = false;
        let Answer::Reply(reply) = answer else {
            // The broker that comes next knows nothing of this client.
            self.heartbeat_due |= self.by_heartbeat;
            return self.base.back_off(stage);
        };
        match call {
            Call::Pull(pull) => self.pulled(pull, &reply, stage),
            Call::Position(Position { queue, .. }, _) | Call::MinOffset { queue } => {
                match reply.offset().filter(|_| reply.is_ok()) {
                    Some(offset) => {
                        self.next.insert(queue.id.get(), offset);
                        self.base.rest(stage);
                    }
                    None => {
                        if is_absent(&reply) {
                            self.drained.insert(queue.id.get());
                        }
                        self.base.back_off(stage);
                    }
                }
            }
            Call::Commit(_) if !reply.is_ok() => self.base.back_off(stage),
            Call::Other => {
                self.heartbeat_due = !reply.is_ok();
                self.base.rest(stage);
            }
            _ => self.base.rest(stage),
        }
    }

    fn unfinished(&self) -> Option<String> {
        let (no, group) = (self.base.caller.no, &self.group.name);
        (!self.all_drained).then(|| {
            format!("consumer {no} of {group} has drained {:?} only and is at {:?}", self.drained, self.next)
        })
    }
}
