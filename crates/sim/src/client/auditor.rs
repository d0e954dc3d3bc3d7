//! Reads everything once all is healed: every queue from its first message to its last, every key, every
//! position. What it asks for must come, and soon.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use steadfast_audit::{
    FinalState, Found, Jump, Lookup, MessageId, Name, Place, Position, Queue, QueueContent,
};
use steadfast_types::topic::SCHEDULE;
use steadfast_types::{QueueId, QueueOffset, Timestamp, limits};
use steadfast_wire::body::{Body, ConsumeStats, KVTable};
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{Boundary, PullMessageResponse};

use super::requests::{Pulling, Sending};
use super::{Base, Client, TIMEOUT, requests};
use crate::call::{self, Answer, Call, Pull, Response};
use crate::clock::Micros;
use crate::message::{self, Message, Waiting};
use crate::plan::{Filter, Group, Making, Plan};
use crate::rng::Rng;
use crate::stage::Stage;
use crate::watch::Gist;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) state: FinalState,
    /// The tag code of each message.
    pub(crate) tags: BTreeMap<Place, i32>,
    /// The delayed messages, each with its level's number from 0.
    pub(crate) waited: Vec<(u32, Waiting)>,
    /// The first of them are gone.
    pub(crate) waits_removed: bool,
    /// When each message was stored in a topic, each time.
    pub(crate) stored: BTreeMap<(MessageId, Name), Vec<Timestamp>>,
}

pub(crate) struct Auditor {
    base: Base,
    audit: Audit,
    /// Consumer groups with positions, and their topics.
    groups: Vec<(Name, Name)>,
    todo: VecDeque<Task>,
    /// Store times of the queue that is being read, in its order.
    times: Vec<u64>,
    look_up: bool,
    /// How often the task at hand has failed.
    failures: u32,
    /// It was not answered.
    gave_up: bool,
}

#[derive(Debug, Clone)]
enum Task {
    /// Wait until every delayed message has been delivered.
    Settled,
    /// Read the delayed messages of a level.
    Delayed(u32, u64),
    /// Make sure that a topic has all its queues.
    Topic(Name, u32),
    /// Send one message to a queue: it must still take some.
    Send(Rc<Vec<Message>>, u32),
    Min(Queue),
    Max(Queue),
    Read(Queue, u64),
    /// Search for the offset that belongs to a time, and what must be found.
    Search(Queue, u64, Boundary, u64),
    /// Plan what needs to know the queues.
    Rest,
    Lookup(Name, Name),
    Position(Position),
    /// The jumps of a group in a topic.
    Jumps(Name, Name),
}

/// Tries of one task, and the pause between them: much longer than anything may take without faults.
const TRIES: u32 = 100;
const PAUSE: Micros = Micros::millis(200);

impl Auditor {
    pub(crate) fn new(no: usize, plan: &Plan, stage: &mut Stage) -> Self {
        let mut todo = VecDeque::from([Task::Settled]);
        let topics = stage.watch.topics();
        for (topic, queues) in &topics {
            todo.push_back(Task::Topic(topic.clone(), *queues));
        }
        for (topic, queues) in &topics {
            for id in 0..*queues {
                let queue = message::queue(topic.clone(), QueueId::new(id));
                todo.push_back(Task::Send(Rc::new(vec![canary(topic, stage)]), id));
                todo.extend([Task::Min(queue.clone()), Task::Max(queue)]);
            }
        }
        todo.push_back(Task::Rest);
        // What was sent so far is what groups with a topic of their own must have got.
        let mut audit = Audit::default();
        let now = stage.ledger.now();
        let group = |group: &Group| (group.name.clone(), plan.workload.topics[group.topic].name.clone());
        let groups: Vec<_> = plan.workload.groups.iter().filter(|group| group.commits).collect();
        let unfiltered = groups.iter().filter(|group| group.filter == Filter::All);
        audit.state.drained.extend(unfiltered.map(|of| (group(of), now)));
        let groups = groups.into_iter().map(group).collect();
        stage.wake(no, Micros::ZERO);
        Self {
            base: Base::new(no, plan, Rng::new(u64::from(stage.operations))),
            audit,
            groups,
            todo,
            times: Vec::new(),
            look_up: plan.workload.look_up,
            failures: 0,
            gave_up: false,
        }
    }

    /// What can only be planned when the queues were read.
    fn plan_rest(&mut self, stage: &Stage) {
        self.todo.push_back(Task::Delayed(0, 0));
        self.audit.state.positions = Some(BTreeMap::new());
        self.todo.extend(stage.ledger.known_positions().cloned().map(Task::Position));
        self.audit.state.jumps = Some(BTreeMap::new());
        self.todo.extend(self.groups.iter().map(|(group, topic)| Task::Jumps(group.clone(), topic.clone())));
        if self.look_up {
            self.audit.state.lookups = Some(BTreeMap::new());
            self.todo.extend(stage.ledger.keys().into_iter().map(|(topic, key)| Task::Lookup(topic, key)));
        }
    }

    fn next(&mut self, stage: &mut Stage) {
        if let Some(Task::Rest) = self.todo.front() {
            self.todo.pop_front();
            self.plan_rest(stage);
        }
        let Some(task) = self.todo.front().cloned() else { return };
        let Base { caller, .. } = self.base;
        let (ask, call) = match &task {
            Task::Settled => (requests::plain(request::GET_BROKER_RUNTIME_INFO), Call::Other),
            Task::Delayed(level, offset) => {
                let queue = message::queue(SCHEDULE, QueueId::new(*level));
                let ask = requests::pull(reading(&queue, *offset));
                self.base.busy = true;
                return stage.call(caller, ask.header, &ask.body, TIMEOUT, Call::Other);
            }
            Task::Topic(topic, queues) => {
                let call = Call::MakeTopic { topic: topic.clone(), queues: *queues };
                (requests::make_topic(topic, (*queues).max(1), ""), call)
            }
            Task::Send(messages, queue) => {
                stage.ledger.sent(&messages[0].id(), messages[0].attempt());
                let sending = Sending {
                    queue: *queue as i32,
                    making: Making::Hand,
                    topic_queues: 1,
                    born: stage.wall().get(),
                    long: false,
                };
                let epoch = stage.watch.epoch(&messages[0].topic);
                (requests::send(messages, sending), Call::Send { messages: messages.clone(), epoch })
            }
            Task::Min(queue) => (requests::min_offset(queue), Call::MinOffset { queue: queue.clone() }),
            Task::Max(queue) => {
                let floor = stage.watch.floor(queue);
                (requests::max_offset(queue), Call::MaxOffset { queue: queue.clone(), floor })
            }
            Task::Read(queue, offset) => read(queue, *offset, stage),
            Task::Search(queue, time, boundary, _) => {
                (requests::search(queue, *time, *boundary), Call::Other)
            }
            Task::Lookup(topic, key) => {
                let call = Call::Lookup { topic: topic.clone(), key: key.clone(), expected: None };
                (requests::look_up(topic, key), call)
            }
            Task::Position(position) => {
                let begun = stage.ledger.now();
                let ask = requests::position(&position.group, &position.queue, false);
                (ask, Call::Position(position.clone(), begun))
            }
            Task::Jumps(group, topic) => (requests::consume_stats(group, topic), Call::Other),
            Task::Rest => return,
        };
        self.base.busy = true;
        stage.call(caller, ask.header, &ask.body, TIMEOUT, call);
    }

    /// Takes what an answer brings; false if it is none that counts.
    fn take(&mut self, task: &Task, reply: &Response, stage: &mut Stage) -> bool {
        let offset = reply.offset();
        match (task, reply.code, offset) {
            (Task::Settled, response::SUCCESS, _) => return is_settled(reply),
            (Task::Delayed(level, offset), ..) => return self.take_delayed(*level, *offset, reply),
            (Task::Topic(..) | Task::Send(..), response::SUCCESS, _) => {}
            (Task::Min(queue), response::SUCCESS, Some(min)) => {
                let min = QueueOffset::new(min);
                let content = QueueContent { min, max: min, messages: Vec::new() };
                self.audit.state.queues.insert(queue.clone(), content);
                // Deletions are all that removes messages; whether they may have is the watch's to judge.
                stage.ledger.expired(queue, min);
            }
            (Task::Max(queue), response::SUCCESS, Some(max)) => {
                let Some(content) = self.audit.state.queues.get_mut(queue) else { return false };
                content.max = QueueOffset::new(max);
                self.times.clear();
                self.todo.insert(1, Task::Read(queue.clone(), content.min.get()));
            }
            // Without a message: those there were given up.
            (Task::Read(queue, from), response::SUCCESS | response::PULL_RETRY_IMMEDIATELY, _) => {
                return self.take_messages(queue, *from, reply, stage);
            }
            (Task::Search(queue, time, boundary, expected), response::SUCCESS, Some(found)) => {
                if found != *expected {
                    let text = format!(
                        "the {boundary:?} search of {queue} for {time} found {found}, not {expected}"
                    );
                    stage.watch.find(Gist::Answer, text);
                }
            }
            (Task::Lookup(topic, key), response::SUCCESS | response::QUERY_NOT_FOUND, _) => {
                let Ok(seen) = message::messages(&reply.body) else { return false };
                let limited = call::is_limited(seen.len(), reply.body.len());
                let lookup = Lookup { found: seen.into_iter().map(|seen| seen.id).collect(), limited };
                let lookups = self.audit.state.lookups.get_or_insert_default();
                lookups.insert((topic.clone(), key.clone()), lookup);
            }
            (Task::Position(position), response::SUCCESS, Some(offset)) => {
                let positions = self.audit.state.positions.get_or_insert_default();
                positions.insert(position.clone(), QueueOffset::new(offset));
            }
            (Task::Position(_), response::QUERY_NOT_FOUND, _) => {}
            (Task::Jumps(group, topic), response::SUCCESS, _) => return self.take_jumps(group, topic, reply),
            _ => return false,
        }
        true
    }

    /// Takes what waited in a queue of a level; all levels have been read when there is no such queue.
    fn take_delayed(&mut self, level: u32, offset: u64, reply: &Response) -> bool {
        match reply.code {
            response::SUCCESS | response::PULL_RETRY_IMMEDIATELY => {
                let (Ok(waited), Some(next)) = (message::waiting(&reply.body), begins(reply)) else {
                    return false;
                };
                if next <= offset {
                    return false;
                }
                self.audit.waited.extend(waited.into_iter().map(|waited| (level, waited)));
                self.todo.insert(1, Task::Delayed(level, next));
            }
            response::PULL_NOT_FOUND => self.todo.insert(1, Task::Delayed(level + 1, 0)),
            response::PULL_OFFSET_MOVED => {
                let Some(begins) = begins(reply).filter(|begins| *begins > offset) else { return false };
                self.audit.waits_removed = true;
                self.todo.insert(1, Task::Delayed(level, begins));
            }
            response::TOPIC_NOT_EXIST => {}
            _ => return reply.remark.contains("does not exist"),
        }
        true
    }

    fn take_jumps(&mut self, group: &Name, topic: &Name, reply: &Response) -> bool {
        let Ok(stats) = ConsumeStats::decode(&reply.body) else { return false };
        let offset = |offset: i64| QueueOffset::new(offset as u64);
        for jump in stats.position_jumps {
            let queue = message::queue(topic.clone(), QueueId::new(jump.queue_id as u32));
            let position = Position { group: group.clone(), queue };
            let seen = Jump { cause: jump.cause.into(), from: jump.from.map(offset), to: offset(jump.to) };
            self.audit.state.jumps.get_or_insert_default().entry(position).or_default().push(seen);
        }
        true
    }

    fn take_messages(&mut self, queue: &Queue, from: u64, reply: &Response, stage: &mut Stage) -> bool {
        let (Some(next), Some(content)) = (begins(reply), self.audit.state.queues.get_mut(queue)) else {
            return false;
        };
        for seen in stage.last_seen.drain(..) {
            let (offset, log_offset) = (seen.place.offset, seen.place.log_offset);
            let key = (seen.id.clone(), queue.topic.clone());
            self.audit.stored.entry(key).or_default().push(seen.store_time);
            content.messages.push(Found { offset, log_offset, id: seen.id, digest: seen.digest });
            self.audit.tags.insert(seen.place, seen.tag);
            self.times.push(seen.store_time.get());
        }
        let (first, max) = (content.min.get(), content.max.get());
        if next < max && next > from {
            self.todo.insert(1, Task::Read(queue.clone(), next));
        } else {
            self.plan_searches(queue, first, stage);
        }
        true
    }

    /// A few searches by time, now that the times are known.
    fn plan_searches(&mut self, queue: &Queue, first: u64, stage: &mut Stage) {
        if !self.times.is_sorted() {
            stage.watch.find(Gist::Answer, format!("store times in {queue} go back: {:?}", self.times));
        }
        // Which of its neighbours a hole counts as, the broker's own tests say.
        if stage.watch.has_holes(|other| other == queue) {
            return;
        }
        let (Some(oldest), Some(newest)) = (self.times.first(), self.times.last()) else { return };
        let rng = &mut self.base.rng;
        for _ in 0..2 {
            let time = rng.within(oldest.saturating_sub(2)..newest + 3);
            let time = if rng.percent(50) { *rng.pick(&self.times) } else { time };
            let lower = first + self.times.partition_point(|at| *at < time) as u64;
            let upper = first + (self.times.partition_point(|at| *at <= time) as u64).saturating_sub(1);
            self.todo.insert(1, Task::Search(queue.clone(), time, Boundary::Lower, lower));
            self.todo.insert(1, Task::Search(queue.clone(), time, Boundary::Upper, upper));
        }
    }
}

/// Where the answer to a pull says to go on.
fn begins(reply: &Response) -> Option<u64> {
    let header = PullMessageResponse::decode(&reply.ext).ok()?;
    u64::try_from(header.next_begin_offset).ok()
}

/// Whether every delayed message has been delivered, by the server's figures.
fn is_settled(reply: &Response) -> bool {
    let Ok(figures) = KVTable::decode(&reply.body) else { return false };
    figures.table.iter().all(|(key, value)| match key.as_str() {
        "scheduleMessagesPassedOver" => value == "0",
        key if key.starts_with("scheduleMessageOffset_") => {
            value.split_once(',').is_some_and(|(next, end)| next == end)
        }
        _ => true,
    })
}

fn reading(queue: &Queue, offset: u64) -> Pulling<'_> {
    let most = limits::PULL_MESSAGES as i32;
    Pulling { group: "audit", queue, offset, most, hold: 0, commit: None, expression: Some("*") }
}

fn read<'a>(queue: &'a Queue, offset: u64, stage: &Stage) -> (requests::Ask<'a>, Call) {
    let pulling = reading(queue, offset);
    let floor = stage.watch.floor(queue);
    let pull = Pull { group: "audit".into(), queue: queue.clone(), offset, filter: Filter::All, floor };
    (requests::pull(pulling), Call::Pull(Box::new(pull)))
}

fn canary(topic: &Name, stage: &mut Stage) -> Message {
    Message {
        number: stage.next_message(),
        topic: topic.clone(),
        body: Bytes::from_static(b"still alive"),
        tag: None,
        keys: Vec::new(),
        unique_key: None,
        flag: 0,
        delay_level: 0,
    }
}

impl Client for Auditor {
    fn wake(&mut self, stage: &mut Stage) {
        if !self.base.busy {
            self.next(stage);
        }
    }

    fn answer(&mut self, _: &Call, answer: Answer, stage: &mut Stage) {
        self.base.busy = false;
        let Some(task) = self.todo.front().cloned() else { return };
        let taken = matches!(&answer, Answer::Reply(reply) if self.take(&task, reply, stage));
        if taken {
            self.failures = 0;
            self.todo.pop_front();
            return self.next(stage);
        }
        self.failures += 1;
        if self.failures < TRIES {
            return stage.wake(self.base.caller.no, PAUSE);
        }
        stage.watch.find(Gist::Stuck, format!("the audit's {task:?} is not answered: {answer:?}"));
        self.gave_up = true;
        self.todo.clear();
    }

    fn unfinished(&self) -> Option<String> {
        self.todo.front().map(|task| format!("the audit is at {task:?}"))
    }

    fn take_audit(&mut self) -> Option<Audit> {
        (!self.gave_up).then(|| std::mem::take(&mut self.audit))
    }
}
