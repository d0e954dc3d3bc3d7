//! What clients do in a run.

use std::fmt;

use steadfast_audit::Name;

use crate::clock::Micros;
use crate::rng::Rng;

/// How large messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Up to half a KiB.
    Small,
    /// Mostly small, some of 64 KiB.
    Mixed,
    /// Some of hundreds of KiB, one in a while of a MiB.
    Large,
    /// Up to the limit of the protocol, 4 MiB.
    Huge,
    /// Around multiples of sectors and blocks.
    Aligned,
}

impl Sizes {
    /// Bytes of a body.
    pub(crate) fn draw(self, rng: &mut Rng) -> usize {
        let size = match self {
            Self::Small => rng.skewed(0..512),
            Self::Mixed if rng.one_in(10) => rng.below(64 << 10),
            Self::Mixed => rng.skewed(0..4096),
            Self::Large if rng.one_in(100) => rng.below(1 << 20),
            Self::Large if rng.one_in(8) => rng.below(200 << 10),
            Self::Large => rng.skewed(0..8192),
            Self::Huge if rng.one_in(30) => rng.below(4 << 20) + 1,
            Self::Huge => rng.skewed(0..2048),
            Self::Aligned => {
                let unit = *rng.pick(&[512, 4096]);
                (unit * rng.within(1..9)).saturating_sub(rng.below(400))
            }
        };
        size as usize
    }

    /// The largest.
    pub(crate) fn largest(self) -> usize {
        match self {
            Self::Small => 512,
            Self::Mixed => 64 << 10,
            Self::Large => 1 << 20,
            Self::Huge => 4 << 20,
            Self::Aligned => 64 << 10,
        }
    }
}

/// How a topic comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Making {
    /// By an operator's request.
    Hand,
    /// By the first message to it.
    First,
}

/// A topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: Name,
    pub(crate) queues: u32,
    pub(crate) making: Making,
    /// It is deleted and made again now and then.
    pub(crate) scratch: bool,
    /// Its messages stay until they are processed.
    pub(crate) protected: bool,
}

/// What a consumer group wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Everything.
    All,
    /// Messages with one of these tags.
    Tags(Vec<&'static str>),
}

impl Filter {
    /// RocketMQ's expression.
    pub(crate) fn expression(&self) -> String {
        match self {
            Self::All => "*".to_owned(),
            Self::Tags(tags) => tags.join(" || "),
        }
    }
}

/// A consumer group of one topic.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: Name,
    pub(crate) topic: usize,
    pub(crate) filter: Filter,
    /// Each takes a part of the queues.
    pub(crate) members: u32,
    /// Whether it keeps its positions in the broker.
    pub(crate) commits: bool,
    /// Whether it sends messages back that it could not process.
    pub(crate) sends_back: bool,
}

/// The tags that messages have.
pub(crate) const TAGS: [&str; 3] = ["TagA", "TagB", "标签"];

/// What clients do.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Client operations until the faults are over.
    pub(crate) operations: u32,
    pub(crate) topics: Vec<Topic>,
    pub(crate) producers: u32,
    pub(crate) groups: Vec<Group>,
    pub(crate) probers: u32,
    pub(crate) sizes: Sizes,
    /// Messages of one batch at most; 1 for no batches.
    pub(crate) batch: u64,
    /// Percentage of delayed messages.
    pub(crate) delayed: u64,
    /// Percentage of oneway sends.
    pub(crate) oneway: u64,
    /// Different business keys.
    pub(crate) keys: u64,
    /// Microseconds between two operations of a client, at most.
    pub(crate) pause: u64,
    /// Bodies look like the log itself; see [`crate::client::hostile`].
    pub(crate) hostile: bool,
    /// Resets of consumer groups' positions by the operator.
    pub(crate) resets: u32,
    /// Old messages are removed.
    pub(crate) retaining: bool,
    /// The pause of the scrub after each segment, if there is one; what it finds is given up at times.
    pub(crate) scrub: Option<Micros>,
    /// Whether every key is looked up at the end; it takes time.
    pub(crate) look_up: bool,
}

impl Workload {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let topics: Vec<Topic> = (0..rng.within(1..5)).map(|n| topic(n, rng)).collect();
        let groups = groups(&topics, rng);
        Self {
            operations: rng.within(200..900) as u32,
            topics,
            producers: rng.within(1..7) as u32,
            groups,
            probers: rng.below(3) as u32,
            sizes: *rng.pick(&[
                Sizes::Small,
                Sizes::Small,
                Sizes::Mixed,
                Sizes::Mixed,
                Sizes::Mixed,
                Sizes::Large,
                Sizes::Huge,
                Sizes::Aligned,
                Sizes::Aligned,
            ]),
            batch: *rng.pick(&[1, 1, 4, 20]),
            delayed: 0,
            oneway: *rng.pick(&[0, 0, 10]),
            keys: *rng.pick(&[3, 50, 10_000]),
            pause: rng.skewed(100..50_000),
            hostile: false,
            retaining: false,
            scrub: None,
            look_up: rng.one_in(3),
            resets: *rng.pick(&[0, 0, 2, 6]),
        }
    }

    /// Has messages delayed and sent back.
    pub(super) fn with_moves(mut self, rng: &mut Rng) -> Self {
        self.delayed = *rng.pick(&[0, 0, 10, 60]);
        for group in self.groups.iter_mut().filter(|group| group.commits) {
            group.sends_back = rng.one_in(2);
        }
        self
    }

    /// Old messages are removed in this run, and those of some topics are not.
    pub(super) fn retain(&mut self, rng: &mut Rng) {
        self.retaining = true;
        self.topics.iter_mut().for_each(|topic| topic.protect(rng));
    }

    /// One producer that knows the log, so that it can put frames into its bodies where recovery looks for some.
    pub(super) fn hostile(rng: &mut Rng) -> Self {
        let topic =
            Topic { name: "T0".into(), queues: 1, making: Making::Hand, scratch: false, protected: false };
        Self {
            operations: rng.within(40..120) as u32,
            topics: vec![topic],
            producers: 1,
            groups: Vec::new(),
            probers: 0,
            sizes: Sizes::Mixed,
            batch: 1,
            delayed: 0,
            oneway: 0,
            keys: 3,
            pause: 1_000,
            hostile: true,
            retaining: false,
            scrub: None,
            look_up: false,
            resets: 0,
        }
    }
}

fn topic(number: u64, rng: &mut Rng) -> Topic {
    Topic {
        name: format!("T{number}").into(),
        queues: rng.skewed(1..7) as u32,
        making: *rng.pick(&[Making::Hand, Making::First]),
        // The first one stays, so that there is something to lose.
        scratch: number > 0 && rng.one_in(3),
        protected: false,
    }
}

impl Topic {
    /// At times it is protected: then it is made by hand, and stays.
    fn protect(&mut self, rng: &mut Rng) {
        self.protected = rng.percent(40);
        if self.protected {
            (self.making, self.scratch) = (Making::Hand, false);
        }
    }
}

fn groups(topics: &[Topic], rng: &mut Rng) -> Vec<Group> {
    let mut groups = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        for copy in 0..rng.below(3) {
            let filter = if rng.one_in(4) {
                let mut tags = TAGS.to_vec();
                rng.shuffle(&mut tags);
                tags.truncate(rng.within(1..3) as usize);
                Filter::Tags(tags)
            } else {
                Filter::All
            };
            groups.push(Group {
                name: format!("G{number}{copy}").into(),
                topic: number,
                filter,
                members: rng.within(1..3) as u32,
                // Positions go with their topic, which the ledger knows nothing of.
                commits: !topic.scratch,
                sends_back: false,
            });
        }
    }
    groups
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retaining = if self.retaining {
            let protected = self.topics.iter().filter(|topic| topic.protected).count();
            format!(", old messages are removed, but not of {protected} topics")
        } else {
            String::new()
        };
        let hostile = if self.hostile { ", bodies that look like the log" } else { "" };
        let scrub = if self.scrub.is_some() { ", the log is scrubbed and damage given up" } else { "" };
        write!(
            f,
            "{} operations, {} topics, {} producers, {} consumer groups, {} probers, {:?} messages, batches up to \
             {}, {}% delayed, {}% oneway{hostile}{retaining}{scrub}",
            self.operations,
            self.topics.len(),
            self.producers,
            self.groups.len(),
            self.probers,
            self.sizes,
            self.batch,
            self.delayed,
            self.oneway,
        )
    }
}
