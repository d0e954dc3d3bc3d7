//! A member of a consumer group: pulls its share of the queues, and sets positions once it has processed what it
//! got. Now and then it forgets everything and goes on from the positions in the broker.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use steadfast_audit::{Name, Position, Queue};
use steadfast_types::topic::{dlq_topic, retry_topic};
use steadfast_types::{QueueId, QueueOffset};
use steadfast_wire::code::response;
use steadfast_wire::headers::PullMessageResponse;

use super::requests::Pulling;
use super::{Base, Client, TIMEOUT, requests};
use crate::call::{Answer, Back, Call, Outcome, Pull, Response};
use crate::clock::Micros;
use crate::message;
use crate::plan::{Filter, Group, Workload};
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
    /// Queues whose first messages are gone, in which the broker knows no position of the group.
    unknown: BTreeSet<u32>,
    /// Queues of which nothing is left, now that nobody sends any more.
    drained: BTreeSet<u32>,
    /// Messages that could not be processed, to be sent back; and attempts left for the first of them.
    failed: VecDeque<Rc<Back>>,
    attempts: u32,
    turn: u32,
    /// Nobody was sending any more when the call under way was made: what it finds is the end.
    quiet: bool,
    all_drained: bool,
}

impl Consumer {
    pub(super) fn new(mut base: Base, workload: &Workload, group: &Group, member: u32) -> Self {
        // The last heartbeat counts for a group, and that of its retries has another subscription.
        let by_heartbeat = !group.sends_back && base.rng.one_in(4);
        Self {
            base,
            group: group.clone(),
            topic: workload.topics[group.topic].name.clone(),
            failed: VecDeque::new(),
            attempts: 0,
            member,
            by_heartbeat,
            heartbeat_due: true,
            next: BTreeMap::new(),
            processed: BTreeMap::new(),
            unknown: BTreeSet::new(),
            drained: BTreeSet::new(),
            turn: 0,
            quiet: false,
            all_drained: false,
        }
    }

    /// The member of a group that processes its retries.
    pub(super) fn of_retries(base: Base, workload: &Workload, group: &Group, stage: &mut Stage) -> Self {
        let topic: Name = retry_topic(&group.name).into();
        stage.watch.topic_wanted(&topic, 1);
        stage.watch.topic_wanted(&dlq_topic(&group.name).into(), 1);
        let group = Group { filter: Filter::All, members: 1, ..group.clone() };
        Self { topic, ..Self::new(base, workload, &group, 0) }
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
        if let Some(back) = self.failed.front().cloned() {
            return self.send_back(back, stage);
        }
        let queues = self.queues(stage);
        self.quiet = stage.phase != Phase::Faults && stage.sending == 0;
        if self.quiet {
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
        if !self.group.commits || self.unknown.contains(&id) {
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

    fn send_back(&mut self, back: Rc<Back>, stage: &mut Stage) {
        stage.ledger.copied(&back.id, back.to.clone());
        // The server moves the position if it stands at the message.
        let position = Position { group: self.group.name.clone(), queue: back.place.queue.clone() };
        stage.ledger.committing(&position, back.place.offset.next());
        let ask = requests::send_back(&back);
        self.base.call(ask, TIMEOUT, Call::SendBack(back.clone()), stage);
    }

    /// What was tried with the first of the failed messages.
    fn sent_back(&mut self, outcome: Outcome, stage: &mut Stage) {
        self.attempts += 1;
        if outcome == Outcome::Done || self.attempts >= 6 {
            self.attempts = 0;
            self.failed.pop_front();
            return self.base.rest(stage);
        }
        self.base.back_off(stage);
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

    /// A queue that is not there when nobody sends any more will not come.
    fn absent(&mut self, id: u32, reply: &Response) {
        if is_absent(reply) && self.quiet {
            self.drained.insert(id);
        }
    }

    fn pulled(&mut self, pull: &Pull, reply: &Response, stage: &mut Stage) {
        let id = pull.queue.id.get();
        let header = PullMessageResponse::decode(&reply.ext).ok();
        let next = header.and_then(|header| u64::try_from(header.next_begin_offset).ok());
        let (Some(next), true) = (next, moves(reply.code)) else {
            self.heartbeat_due |= reply.code == response::SUBSCRIPTION_NOT_EXIST;
            self.absent(id, reply);
            return self.base.back_off(stage);
        };
        if self.group.sends_back && stage.phase == Phase::Faults {
            for seen in stage.last_seen.iter().filter(|_| reply.is_ok()) {
                if self.base.rng.one_in(15) {
                    let level = *self.base.rng.pick(&[0, 0, 1, 2, -1]);
                    self.failed.push_back(Rc::new(Back::new(&self.group.name, seen, level)));
                }
            }
        }
        self.next.insert(id, next);
        if reply.code == response::PULL_OFFSET_MOVED {
            // It is sent somewhere else: what it processed before counts no more.
            self.processed.remove(&id);
            self.drained.remove(&id);
            return self.base.rest(stage);
        }
        if next > pull.offset && self.group.commits {
            self.processed.insert(id, next);
        }
        if reply.code == response::PULL_NOT_FOUND && self.quiet {
            self.drained.insert(id);
        } else {
            self.drained.remove(&id);
        }
        // It crashes, too.
        if stage.phase == Phase::Faults && self.base.rng.one_in(40) {
            self.next.clear();
            self.processed.clear();
            self.failed.clear();
            self.attempts = 0;
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
        let Answer::Reply(reply) = &answer else {
            // The broker that comes next knows nothing of this client.
            self.heartbeat_due |= self.by_heartbeat;
            if let Call::SendBack(back) = call {
                if matches!(answer, Answer::NotSent) {
                    stage.ledger.copy_refused(&back.id, &back.to);
                }
                return self.sent_back(Outcome::Unknown, stage);
            }
            return self.base.back_off(stage);
        };
        match call {
            Call::Pull(pull) => self.pulled(pull, reply, stage),
            Call::Position(Position { queue, .. }, _) | Call::MinOffset { queue } => {
                match reply.offset().filter(|_| reply.is_ok()) {
                    Some(offset) => {
                        self.unknown.remove(&queue.id.get());
                        self.next.insert(queue.id.get(), offset);
                        self.base.rest(stage);
                    }
                    None if reply.code == response::QUERY_NOT_FOUND => {
                        self.unknown.insert(queue.id.get());
                        self.base.rest(stage);
                    }
                    None => {
                        self.absent(queue.id.get(), reply);
                        self.base.back_off(stage);
                    }
                }
            }
            Call::SendBack(_) => self.sent_back(reply.outcome(), stage),
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
