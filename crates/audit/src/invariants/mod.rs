//! The invariants, one file each.

mod acked;
mod consumed;
mod digests;
mod jumps;
mod keys;
mod never_sent;
mod offsets;
mod positions;
mod readable;
mod real_time;

use std::collections::BTreeMap;

use steadfast_types::QueueOffset;

use crate::final_state::{FinalState, Found};
use crate::ledger::Ledger;
use crate::verdict::{Books, Invariant, Verdict, Violation};
use crate::{MessageId, Name, Place, Queue};

/// A run, indexed for the checks.
pub(crate) struct Run<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) state: &'a FinalState,
    found: BTreeMap<&'a Queue, BTreeMap<QueueOffset, &'a Found>>,
    /// How many copies of a message each topic holds.
    copies: BTreeMap<(&'a MessageId, &'a Name), u32>,
}

impl<'a> Run<'a> {
    fn new(ledger: &'a Ledger, state: &'a FinalState) -> Self {
        let mut found: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        let mut copies = BTreeMap::new();
        for (queue, content) in &state.queues {
            let by_offset = found.entry(queue).or_default();
            for message in &content.messages {
                by_offset.entry(message.offset).or_insert(message);
            }
            for message in by_offset.values() {
                *copies.entry((&message.id, &queue.topic)).or_default() += 1;
            }
        }
        Self { ledger, state, found, copies }
    }

    /// What the full read returned at an offset.
    pub(crate) fn at(&self, queue: &Queue, offset: QueueOffset) -> Option<&'a Found> {
        self.found.get(queue)?.get(&offset).copied()
    }

    /// All messages of the full read, each offset once.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a Queue, &'a Found)> {
        self.found.iter().flat_map(|(queue, by_offset)| by_offset.values().map(|found| (*queue, *found)))
    }

    /// How many copies of a message a topic holds.
    pub(crate) fn copies(&self, id: &MessageId, topic: &Name) -> u32 {
        self.copies.get(&(id, topic)).copied().unwrap_or(0)
    }

    /// The range of a queue, in words.
    pub(crate) fn range(&self, queue: &Queue) -> String {
        match self.state.queues.get(queue) {
            Some(content) => format!("the queue has offsets {} to {}", content.min, content.max),
            None => "the queue was not found at all".to_owned(),
        }
    }

    fn books(&self) -> Books {
        let mut books = Books::default();
        for book in self.ledger.messages.values() {
            books.sent += 1;
            if book.is_acked() {
                books.acked += 1;
            } else if book.is_refused() {
                books.refused += 1;
            } else {
                books.unknown += 1;
            }
        }
        let claims = self.ledger.queues.values().flat_map(BTreeMap::values);
        books.delivered = claims
            .filter(|claims| claims.iter().any(|claim| claim.by != crate::ledger::Witness::Ack))
            .count() as u64;
        books.found = self.all().count() as u64;
        books.copies = self.copies.values().map(|copies| u64::from(copies - 1)).sum();
        books
    }
}

/// The place of a found message.
pub(crate) fn place(queue: &Queue, found: &Found) -> Place {
    Place { queue: queue.clone(), offset: found.offset, log_offset: found.log_offset }
}

/// Where the checks write.
#[derive(Default)]
pub(crate) struct Findings(Vec<Violation>);

impl Findings {
    pub(crate) fn add(
        &mut self,
        invariant: Invariant,
        ids: &[&MessageId],
        place: Option<Place>,
        sentence: String,
    ) {
        let ids = ids.iter().map(|id| (*id).clone()).collect();
        self.0.push(Violation { invariant, ids, place, sentence });
    }
}

/// Runs all checks.
pub(crate) fn check(ledger: &Ledger, state: &FinalState) -> Verdict {
    let run = Run::new(ledger, state);
    let mut findings = Findings::default();
    acked::check(&run, &mut findings);
    never_sent::check(&run, &mut findings);
    offsets::check(&run, &mut findings);
    positions::check(&run, &mut findings);
    jumps::check(&run, &mut findings);
    keys::check(&run, &mut findings);
    digests::check(&run, &mut findings);
    readable::check(&run, &mut findings);
    real_time::check(&run, &mut findings);
    consumed::check(&run, &mut findings);
    Verdict { violations: findings.0, books: run.books() }
}
