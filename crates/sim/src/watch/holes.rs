//! Messages that an operator gives up: consumers may pass them, nobody is served them once that is on record, and they
//! are never denied.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_audit::Queue;
use steadfast_types::LogOffset;

use super::{Gist, Sample, Watch};
use crate::call::{CallId, Pull};
use crate::message::Seen;

/// A message that an operator gives up.
#[derive(Debug)]
pub(super) struct GivenUp {
    log_offset: LogOffset,
    /// The last call before the server had it on record.
    done: Option<CallId>,
}

impl Watch {
    /// Whether the messages that a pull passed by were given up, but for those that it got.
    pub(super) fn are_given_up(&self, pull: &Pull, next: u64, got: &[u64]) -> bool {
        let given_up = self.given_up.get(&pull.queue);
        let is_given_up = |at: &u64| given_up.is_some_and(|offsets| offsets.contains_key(at));
        next >= pull.offset
            && (pull.offset..next).all(|at| got.binary_search(&at).is_ok() || is_given_up(&at))
    }

    /// An operator is about to give a message up.
    pub(crate) fn giving_up(&mut self, queue: &Queue, offset: u64, log_offset: LogOffset) {
        let given_up = GivenUp { log_offset, done: None };
        self.given_up.entry(queue.clone()).or_default().entry(offset).or_insert(given_up);
    }

    /// The server has it on record that these messages were given up.
    pub(crate) fn are_holes(&mut self, holes: &BTreeSet<LogOffset>) {
        let open = self.given_up.values_mut().flat_map(BTreeMap::values_mut).filter(|of| of.done.is_none());
        for given_up in open.filter(|of| holes.contains(&of.log_offset)) {
            given_up.done = Some(self.last_call);
        }
    }

    /// Whether a queue has messages that were given up.
    pub(crate) fn has_holes(&self, is: impl Fn(&Queue) -> bool) -> bool {
        self.given_up.keys().any(is)
    }

    /// Whether a message was given up, or nearly.
    pub(crate) fn is_given_up(&self, number: u64) -> bool {
        let sample = self.samples.iter().find(|sample| sample.number == number);
        sample.is_some_and(|Sample { place, .. }| {
            self.given_up.get(&place.queue).is_some_and(|offsets| offsets.contains_key(&place.offset.get()))
        })
    }

    /// A message was served.
    pub(crate) fn served(&mut self, seen: &Seen) {
        let offsets = self.given_up.get(&seen.place.queue);
        let given_up = offsets.and_then(|offsets| offsets.get(&seen.place.offset.get()));
        if given_up.and_then(|of| of.done).is_some_and(|before| before < self.answering) {
            self.find(Gist::Hole, format!("{} was given up, and message {} is served", seen.place, seen.id));
        }
    }
}
