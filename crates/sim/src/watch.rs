//! Checks that need no full read: what an answer may not say, given what other answers said before. What must
//! hold at the end is the ledger's.

mod holes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use steadfast_audit::{FinalState, Ledger, Name, Place, Position, Queue};
use steadfast_types::QueueOffset;
use steadfast_types::java_hash::hash_code;
use steadfast_wire::code::response;
use steadfast_wire::headers::PullMessageResponse;

use crate::call::{CallId, ClientNo, Outcome, Pull};
use crate::message::{Message, Seen};
use crate::plan::{Filter, Workload};
use crate::rng::Rng;
use holes::GivenUp;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gist {
    /// An invariant of the ledger, by its letter.
    Ledger(char),
    /// An answer contradicts itself or one that was given before.
    Answer,
    /// A queue ended before a message that was acknowledged or seen, or began after one.
    Bounds,
    /// A consumer was led past a message.
    Skip,
    /// A delayed message came too early, or not as often as it was stored.
    Delay,
    /// An acknowledged message or topic is denied.
    Lookup,
    /// A message was removed that somebody needed.
    Removed,
    /// A message that was given up is served, or another one in its place.
    Hole,
    /// Two clients may consume a queue at a time, though it is locked.
    Lock,
    /// Two replicas lead in one term.
    Leaders,
    /// A replica voted twice in a term, or has forgotten its term or vote.
    Vote,
    /// What was committed changed, is not the same on two replicas, or was handed out in disorder.
    Committed,
    /// Something was acknowledged that no quorum has durably.
    Quorum,
    /// An acknowledged record is not there once, at its place.
    Lost,
    /// A read missed what was acknowledged before it.
    Stale,
    /// The logs of two replicas are not the same in the end.
    Replicas,
    /// What is said to be repaired is damaged.
    Repair,
    /// The server does not start, though nothing is damaged.
    Start,
    /// Something takes longer than it may, though nothing is broken.
    Stuck,
    /// The server panicked.
    Panic,
    /// The same seed was not the same run.
    Replay,
}

impl fmt::Display for Gist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger(letter) => write!(f, "{letter}"),
            other => write!(f, "{}", format!("{other:?}").to_lowercase()),
        }
    }
}

/// Something that may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub gist: Gist,
    /// What was seen.
    pub sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.gist, self.sentence)
    }
}

/// What is known of a topic.
#[derive(Debug, Default)]
struct TopicBook {
    /// Its making was acknowledged, or a message to it: calls after this one find it.
    made_at: Option<CallId>,
    /// Most queues that anybody asked for.
    queues: u32,
    /// Deletions that were begun.
    deletions: u32,
    /// Deletions whose end is not known.
    open: u32,
}

/// A pull with a filter: what it passed over is judged when all messages are known.
#[derive(Debug)]
struct FilteredPull {
    group: Name,
    queue: Queue,
    from: u64,
    next: u64,
    tags: Vec<i32>,
    got: Vec<u64>,
}

/// A message that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) number: u64,
    pub(crate) place: Place,
    pub(crate) keys: Vec<Name>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The last call that anybody made.
    pub(crate) last_call: CallId,
    /// The call whose answer is being judged.
    pub(crate) answering: CallId,
    samples: Vec<Sample>,
    findings: Vec<Finding>,
    /// The end of each queue as far as anybody was told.
    floors: BTreeMap<Queue, u64>,
    topics: BTreeMap<Name, TopicBook>,
    filtered: Vec<FilteredPull>,
    /// Positions that an operator set, or tried to.
    resets: BTreeSet<Position>,
    /// Several replicas serve.
    several: bool,
    /// Old messages are removed in this run.
    retaining: bool,
    /// Topics whose messages stay until they are processed.
    protected: BTreeSet<Name>,
    /// Messages that were denied, by number, where some are removed: by retention, or with their topic.
    denied: Vec<(u64, String)>,
    /// Who was granted a queue and has not begun to give it back. No run is so long that a lock expires.
    locks: BTreeMap<Queue, ClientNo>,
    /// Stretches of the log that were damaged at some time.
    damaged: Vec<Range<u64>>,
    /// Messages that an operator gives up, by offset.
    given_up: BTreeMap<Queue, BTreeMap<u64, GivenUp>>,
    /// The lowest offset, in queues of topics that are deleted at times, that no deletion can have reached.
    safe_from: BTreeMap<Queue, u64>,
}

impl Watch {
    pub(crate) fn new(workload: &Workload) -> Self {
        let protected = workload.topics.iter().filter(|topic| topic.protected);
        let protected = protected.map(|topic| topic.name.clone()).collect();
        Self { retaining: workload.retaining, protected, ..Self::default() }
    }

    /// In a group of several a leader that was cut off may still serve messages that are there, and does not know where
    /// their queue ends.
    pub(crate) fn of_a_group(mut self) -> Self {
        self.several = true;
        self
    }

    /// Notes a finding; the first ones tell the most.
    pub(crate) fn find(&mut self, gist: Gist, sentence: String) {
        const KEPT: usize = 100;
        if self.findings.len() < KEPT {
            self.findings.push(Finding { gist, sentence });
        }
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What the end of a queue is known to be at least.
    pub(crate) fn floor(&self, queue: &Queue) -> u64 {
        self.floors.get(queue).copied().unwrap_or(0)
    }

    fn raise(&mut self, queue: &Queue, end: u64) {
        let floor = self.floors.entry(queue.clone()).or_default();
        *floor = end.max(*floor);
    }

    fn is_stable(&self, topic: &str) -> bool {
        self.topics.get(topic).is_none_or(|book| book.deletions == 0)
    }

    pub(crate) fn max_offset(&mut self, queue: &Queue, floor: u64, max: u64) {
        if max < floor {
            let text = format!("{queue} is said to end at {max}, it was said to end at {floor} before");
            self.find(Gist::Bounds, text);
        }
        self.raise(queue, max);
    }

    pub(crate) fn min_offset(&mut self, queue: &Queue, min: u64) {
        if min > 0 && self.is_stable(&queue.topic) && !self.retaining {
            self.find(Gist::Bounds, format!("{queue} is said to begin at {min}, but nothing was removed"));
        }
    }

    /// A client was granted a queue.
    pub(crate) fn locked(&mut self, queue: &Queue, client: ClientNo) {
        let before = self.locks.insert(queue.clone(), client);
        if let Some(other) = before.filter(|other| *other != client)
            && self.damaged.is_empty()
        {
            let text =
                format!("client {client} may consume {queue}, which client {other} has not given back");
            self.find(Gist::Lock, text);
        }
    }

    /// A client is about to give a queue back.
    pub(crate) fn unlocking(&mut self, queue: &Queue, client: ClientNo) {
        if self.locks.get(queue) == Some(&client) {
            self.locks.remove(queue);
        }
    }

    /// An error code that somebody got for a topic.
    pub(crate) fn topic_answer(&mut self, topic: &Name, code: i32) {
        let stays = self.topics.get(topic).is_some_and(|book| {
            book.deletions == 0 && book.made_at.is_some_and(|made| made < self.answering)
        });
        if code == response::TOPIC_NOT_EXIST && stays {
            self.find(Gist::Lookup, format!("topic {topic}, which was made, is denied"));
        }
    }

    /// Somebody asks for a topic with so many queues.
    pub(crate) fn topic_wanted(&mut self, topic: &Name, queues: u32) {
        let book = self.topics.entry(topic.clone()).or_default();
        book.queues = book.queues.max(queues);
    }

    pub(crate) fn topic_made(&mut self, topic: &Name, queues: u32) {
        self.topic_wanted(topic, queues);
        let last_call = self.last_call;
        self.topics.entry(topic.clone()).or_default().made_at.get_or_insert(last_call);
    }

    /// How many queues a topic may have by now.
    pub(crate) fn queues(&self, topic: &str) -> u32 {
        self.topics.get(topic).map_or(0, |book| book.queues)
    }

    /// Names of all topics that anybody asked for.
    pub(crate) fn topics(&self) -> Vec<(Name, u32)> {
        self.topics.iter().map(|(name, book)| (name.clone(), book.queues)).collect()
    }

    /// A topic is about to be deleted.
    pub(crate) fn deleting(&mut self, topic: &Name) {
        let book = self.topics.entry(topic.clone()).or_default();
        book.deletions += 1;
        book.open += 1;
        self.safe_from.retain(|queue, _| queue.topic != *topic);
    }

    pub(crate) fn topic_deleted(&mut self, topic: &Name, outcome: Outcome) {
        if outcome != Outcome::Unknown {
            self.topics.entry(topic.clone()).or_default().open -= 1;
        }
    }

    /// A number that changes whenever a deletion of the topic begins; None while one may be under way.
    pub(crate) fn epoch(&self, topic: &str) -> Option<u32> {
        match self.topics.get(topic) {
            Some(book) if book.open > 0 => None,
            Some(book) => Some(book.deletions),
            None => Some(0),
        }
    }

    /// Some message that was acknowledged.
    pub(crate) fn sample(&self, rng: &mut Rng) -> Option<Sample> {
        (!self.samples.is_empty()).then(|| rng.pick(&self.samples).clone())
    }

    /// A message was acknowledged that left in this epoch of its topic.
    pub(crate) fn acked(&mut self, message: &Message, place: &Place, epoch: Option<u32>) {
        let keys = message.unique_key.iter().chain(&message.keys).cloned().collect();
        self.samples.push(Sample { number: message.number, place: place.clone(), keys });
        self.raise(&place.queue, place.offset.get() + 1);
        self.topic_made(&message.topic, 0);
        if epoch.is_some() && self.epoch(&message.topic) == epoch {
            let offset = place.offset.get();
            let first = self.safe_from.entry(place.queue.clone()).or_insert(offset);
            *first = offset.min(*first);
        }
    }

    pub(crate) fn pulled(&mut self, pull: &Pull, code: i32, header: &PullMessageResponse, seen: &[Seen]) {
        let number = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        let (next, max) = (number(header.next_begin_offset), number(header.max_offset));
        self.min_offset(&pull.queue, number(header.min_offset));
        let is_inside = matches!(code, response::SUCCESS | response::PULL_RETRY_IMMEDIATELY);
        let floor = if self.several && is_inside { 0 } else { pull.floor };
        self.max_offset(&pull.queue, floor, max);
        let stable = self.is_stable(&pull.queue.topic);
        let problem = match code {
            response::SUCCESS => self.messages_problem(pull, next, max, seen),
            response::PULL_NOT_FOUND if next < pull.offset || next > max => {
                Some("moves the consumer".to_owned())
            }
            response::PULL_NOT_FOUND if pull.filter == Filter::All && next < pull.floor && stable => {
                Some(format!("finds nothing, though the queue goes on to {}", pull.floor))
            }
            response::PULL_RETRY_IMMEDIATELY
                if pull.filter == Filter::All && (next > max || !self.are_given_up(pull, next, &[])) =>
            {
                Some(format!("leads to {next} without a message"))
            }
            response::PULL_OFFSET_MOVED if self.retaining && next == number(header.min_offset) => None,
            response::PULL_OFFSET_MOVED if stable && !self.was_reset(pull) => {
                Some(format!("moves the consumer to {next}"))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            let text =
                format!("a pull by {} of {}@{} {problem} ({header:?})", pull.group, pull.queue, pull.offset);
            self.find(Gist::Skip, text);
        }
        if let Filter::Tags(tags) = &pull.filter
            && code != response::PULL_OFFSET_MOVED
        {
            self.filtered.push(FilteredPull {
                group: pull.group.clone(),
                queue: pull.queue.clone(),
                from: pull.offset,
                next,
                tags: tags.iter().map(|tag| hash_code(tag)).collect(),
                got: seen.iter().map(|seen| seen.place.offset.get()).collect(),
            });
        }
    }

    /// An operator is about to set a position.
    pub(crate) fn resetting(&mut self, position: &Position) {
        self.resets.insert(position.clone());
    }

    fn was_reset(&self, pull: &Pull) -> bool {
        self.resets.contains(&Position { group: pull.group.clone(), queue: pull.queue.clone() })
    }

    /// What is wrong with the messages of a pull.
    fn messages_problem(&self, pull: &Pull, next: u64, max: u64, seen: &[Seen]) -> Option<String> {
        let offsets: Vec<u64> = seen.iter().map(|seen| seen.place.offset.get()).collect();
        let Some(last) = offsets.last() else { return Some("succeeds without a message".to_owned()) };
        if let Some(stray) = seen.iter().find(|seen| seen.place.queue != pull.queue) {
            return Some(format!("returns a message of {}", stray.place.queue));
        }
        let in_range =
            offsets.is_sorted_by(|a, b| a < b) && offsets[0] >= pull.offset && next > *last && next <= max;
        let right = match &pull.filter {
            Filter::All => in_range && self.are_given_up(pull, next, &offsets),
            Filter::Tags(tags) => seen
                .iter()
                .all(|seen| tags.iter().any(|tag| hash_code(tag) == seen.tag) || self.was_damaged(seen)),
        };
        (!in_range || !right).then(|| format!("returns offsets {offsets:?} and goes on at {next}"))
    }

    /// Whether old messages are removed in this run.
    pub(crate) fn is_retaining(&self) -> bool {
        self.retaining
    }

    /// A key of an acknowledged message does not find it: it may have gone with its topic.
    pub(crate) fn not_found(&mut self, topic: &str, number: u64, text: String) {
        if self.is_stable(topic) {
            self.denied(number, text);
        } else {
            self.denied.push((number, text));
        }
    }

    /// An acknowledged message is denied.
    pub(crate) fn denied(&mut self, number: u64, text: String) {
        if self.retaining {
            self.denied.push((number, text));
        } else {
            self.find(Gist::Lookup, text);
        }
    }

    /// Judges, at the end, what retention and deletions did.
    pub(crate) fn judge_removals(&mut self, state: &FinalState, ledger: &Ledger) {
        let begins = |queue: &Queue| state.queues.get(queue).map_or(0, |content| content.min.get());
        let mut found = Vec::new();
        for (number, text) in &self.denied {
            let sample = self.samples.iter().find(|sample| sample.number == *number);
            if sample.is_none_or(|sample| sample.place.offset.get() >= begins(&sample.place.queue)) {
                found.push((Gist::Lookup, text.clone()));
            }
        }
        for queue in state.queues.keys().filter(|queue| self.protected.contains(&queue.topic)) {
            let processed = ledger.highest_commit(queue).map_or(0, QueueOffset::get);
            if begins(queue) > processed {
                let text = format!(
                    "{queue} is protected and begins at {}, though nobody has processed more than {processed}",
                    begins(queue)
                );
                found.push((Gist::Removed, text));
            }
        }
        found.into_iter().for_each(|(gist, text)| self.find(gist, text));
    }

    /// A stretch of the log is damaged.
    pub(crate) fn damaged(&mut self, stretch: Range<u64>) {
        self.damaged.push(stretch);
    }

    /// Whether a message may have been damaged for a while: its tag is not known to the server since.
    fn was_damaged(&self, seen: &Seen) -> bool {
        let start = seen.place.log_offset.get();
        self.damaged.iter().any(|stretch| stretch.start < start + seen.size && start < stretch.end)
    }

    /// Judges, now that all messages are known, what only then can be judged.
    pub(crate) fn finish(&mut self, state: &FinalState, tags: &BTreeMap<Place, i32>) {
        let by_offset: BTreeMap<(&Queue, u64), i32> =
            tags.iter().map(|(place, tag)| ((&place.queue, place.offset.get()), *tag)).collect();
        let mut found = Vec::new();
        for pull in &self.filtered {
            let passed = by_offset.range((&pull.queue, pull.from)..(&pull.queue, pull.next.max(pull.from)));
            for ((queue, offset), tag) in passed {
                if pull.tags.contains(tag) && !pull.got.contains(offset) {
                    found.push(format!("a pull by {} passed over {queue}@{offset}", pull.group));
                }
            }
        }
        found.into_iter().for_each(|text| self.find(Gist::Skip, text));
        let mut early = Vec::new();
        for (queue, content) in &state.queues {
            let (floor, max, min) = (self.floor(queue), content.max.get(), content.min.get());
            if max < floor {
                early.push(format!("{queue} ends at {max} at the end, it was said to end at {floor} before"));
            }
            let safe = self.safe_from.get(queue).filter(|safe| min > **safe && !self.retaining);
            if let Some(safe) = safe {
                early.push(format!("{queue} begins at {min}, but no deletion can have reached {safe}"));
            }
        }
        early.into_iter().for_each(|text| self.find(Gist::Bounds, text));
    }
}
