//! Small histories for the tests of the invariants: one queue, messages called "a", "b", …; the message at queue
//! offset n has log offset 100 + n.

use std::collections::BTreeSet;

use steadfast_types::QueueOffset;

use crate::{
    Attempt, Digest, FinalState, Found, Invariant, Jump, Ledger, Lookup, MessageId, Name, Place, Position,
    Queue,
};

/// A history and its end.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) ledger: Ledger,
    pub(crate) state: FinalState,
}

pub(crate) fn queue() -> Queue {
    Queue::new("b0", "T", 0)
}

pub(crate) fn place(offset: u64) -> Place {
    queue().place(offset, 100 + offset)
}

pub(crate) fn position() -> Position {
    Position { group: "g".into(), queue: queue() }
}

pub(crate) fn jump(cause: &str, from: u64, to: u64) -> Jump {
    Jump { cause: cause.into(), from: Some(at(from)), to: at(to) }
}

pub(crate) fn at(offset: u64) -> QueueOffset {
    QueueOffset::new(offset)
}

pub(crate) fn found(id: &str, offset: u64) -> Found {
    let place = place(offset);
    Found { offset: place.offset, log_offset: place.log_offset, id: id.into(), digest: digest(id) }
}

/// The digest of the content that a message is sent with.
pub(crate) fn digest(id: &str) -> Digest {
    Digest::of(&[id.as_bytes()])
}

impl History {
    pub(crate) fn send(&mut self, id: &str) {
        let keys = vec![format!("key-{id}").into()];
        self.ledger.sent(&id.into(), Attempt { topic: "T".into(), digest: digest(id), keys });
    }

    pub(crate) fn ack(&mut self, id: &str, offset: u64) {
        self.ledger.acked(&id.into(), place(offset));
    }

    pub(crate) fn deliver(&mut self, id: &str, offset: u64) {
        self.ledger.delivered(&id.into(), &place(offset), digest(id), &"g".into());
    }

    pub(crate) fn store(&mut self, id: &str, offset: u64) {
        self.state.push(&queue(), found(id, offset));
    }

    /// Sent, acknowledged and still there.
    pub(crate) fn settled(&mut self, id: &str, offset: u64) {
        self.send(id);
        self.ack(id, offset);
        self.store(id, offset);
    }

    /// The group consumed to the end.
    pub(crate) fn drain(&mut self) {
        let now = self.ledger.now();
        self.state.drained.insert(("g".into(), "T".into()), now);
    }

    pub(crate) fn lookup(&mut self, id: &str, found: &[&str], limited: bool) {
        let found: BTreeSet<MessageId> = found.iter().map(|id| MessageId::from(*id)).collect();
        let names: (Name, Name) = ("T".into(), format!("key-{id}").into());
        let lookups = self.state.lookups.get_or_insert_default();
        lookups.insert(names, Lookup { found, limited });
    }

    pub(crate) fn assert_clean(&self) {
        let verdict = self.ledger.check(&self.state);
        assert!(verdict.is_clean(), "{verdict}");
    }

    /// Exactly this is broken, and the report says so.
    pub(crate) fn assert_broken(&self, invariant: Invariant, sentences: &[&str]) {
        let verdict = self.ledger.check(&self.state);
        let got: Vec<_> = verdict.of(invariant).map(|violation| violation.sentence.as_str()).collect();
        assert_eq!(got, sentences, "{verdict}");
    }
}
