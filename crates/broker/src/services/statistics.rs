//! Counters since the process started.

use std::collections::BTreeMap;

use steadfast_types::{QueueId, QueueOffset};

use super::rates::{Count, Rates, Totals};
use crate::measures::{Delivered, Traffic};

/// Most pairs of a group and a topic that are counted apart: names come from clients.
const PAIRS_MAX: usize = 10_000;
/// What the others are counted as.
const OTHERS: &str = "_others_";

/// What was stored and served.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// Messages that became durable.
    pub(crate) stored: Traffic,
    pub(super) served: u64,
    /// Pulls that found messages.
    found: u64,
    /// Pulls that found none, whether they were answered so or waited.
    pub(super) missed: u64,
    rates: Rates,
    by_group: BTreeMap<String, BTreeMap<String, Given>>,
    pairs: usize,
}

/// What a group was given of a topic.
#[derive(Debug, Default)]
struct Given {
    traffic: Traffic,
    dead_letters: u64,
    /// First offset that it was not given, by queue.
    next: BTreeMap<QueueId, QueueOffset>,
}

impl Statistics {
    /// Messages were given to a consumer, which goes on at `next`.
    pub(super) fn served(
        &mut self,
        group: &str,
        (topic, queue, next): (&str, QueueId, QueueOffset),
        traffic: Traffic,
    ) {
        self.served += traffic.messages;
        self.found += 1;
        let given = self.given(group, topic);
        given.traffic.add(traffic);
        given.next.insert(queue, next);
    }

    /// Time passes. To be called before anything is counted in a step.
    pub(crate) fn tick(&mut self, ticks: u64) {
        self.rates.sample(ticks, self.totals());
    }

    /// Averages a second over the last 10, 60 and 600 seconds, as RocketMQ writes them.
    pub(super) fn averages(&self, ticks: u64, counts: &[Count]) -> String {
        self.rates.averages((ticks, self.totals()), counts)
    }

    fn totals(&self) -> Totals {
        [self.stored.messages, self.served, self.found, self.missed]
    }

    /// A group gave a message of a topic up: it is a dead letter.
    pub(crate) fn given_up(&mut self, group: &str, topic: &str) {
        self.given(group, topic).dead_letters += 1;
    }

    fn given(&mut self, group: &str, topic: &str) -> &mut Given {
        let is_known = self.by_group.get(group).is_some_and(|topics| topics.contains_key(topic));
        let (group, topic) =
            if is_known || self.pairs < PAIRS_MAX { (group, topic) } else { (OTHERS, OTHERS) };
        if !is_known {
            self.pairs += 1;
            self.by_group.entry(group.to_owned()).or_default().entry(topic.to_owned()).or_default();
        }
        let topics = self.by_group.get_mut(group).expect("it was made");
        topics.get_mut(topic).expect("it was made")
    }

    /// First offset of a queue that a group was not given, if it was given any.
    pub(super) fn given_up_to(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        self.by_group.get(group)?.get(topic)?.next.get(&queue).copied()
    }

    /// What each group was given, and gave up.
    pub(super) fn delivered(&self) -> impl Iterator<Item = Delivered> {
        self.by_group.iter().flat_map(|(group, topics)| {
            topics.iter().map(|(topic, given)| Delivered {
                topic: topic.clone(),
                group: group.clone(),
                traffic: given.traffic,
                dead_letters: given.dead_letters,
            })
        })
    }
}
