//! A ledger of 32 bytes per acknowledged message, for load tests with tens of millions of them. It checks that
//! acknowledged messages are there once and whole (L, D), that nothing else is (N), and that no offset was
//! given twice (O). It does not keep what was merely sent: whatever is neither acknowledged nor reported as
//! unknown must not be found. Texts are kept as 64-bit digests, so that a wrong message goes unnoticed with
//! probability 2^-64.

use std::collections::BTreeMap;

use steadfast_types::QueueOffset;

use crate::verdict::{Books, Invariant, Verdict, Violation};
use crate::{Digest, Found, MessageId, Place, Queue};

/// A queue's number in the book.
type QueueNo = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PackedAck {
    queue: QueueNo,
    offset: QueueOffset,
    id: u64,
    digest: Digest,
    found: bool,
}

const _: () = assert!(size_of::<PackedAck>() == 32);

/// The record of a run.
#[derive(Debug, Clone, Default)]
pub struct AckBook {
    numbers: BTreeMap<Queue, QueueNo>,
    acks: Vec<PackedAck>,
    unknown: BTreeMap<u64, Open>,
    refused: u64,
}

/// A message with attempts of unknown outcome.
#[derive(Debug, Clone)]
struct Open {
    digest: Digest,
    /// How many copies of it are explained by these attempts and not yet found.
    copies: u32,
}

fn pack(id: &MessageId) -> u64 {
    match id {
        MessageId::Number(number) => *number,
        MessageId::Text(text) => Digest::of(&[text.as_bytes()]).get(),
    }
}

fn unpack(id: u64) -> MessageId {
    MessageId::Number(id)
}

impl AckBook {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// The server acknowledged a message.
    pub fn acked(&mut self, id: &MessageId, digest: Digest, queue: &Queue, offset: QueueOffset) {
        let queue = match self.numbers.get(queue) {
            Some(number) => *number,
            None => {
                let number = self.numbers.len() as QueueNo;
                self.numbers.insert(queue.clone(), number);
                number
            }
        };
        self.acks.push(PackedAck { queue, found: false, offset, id: pack(id), digest });
    }

    /// An attempt ended without a certain answer; one call for each such attempt.
    pub fn unknown(&mut self, id: &MessageId, digest: Digest) {
        let open = self.unknown.entry(pack(id)).or_insert(Open { digest, copies: 0 });
        open.copies += 1;
    }

    /// The server said for certain that it has not stored an attempt.
    pub fn refused(&mut self) {
        self.refused += 1;
    }

    /// How many acknowledgements are recorded.
    pub fn len(&self) -> usize {
        self.acks.len()
    }

    /// Whether no acknowledgement is recorded.
    pub fn is_empty(&self) -> bool {
        self.acks.is_empty()
    }

    /// Ends the recording; the full read can be reported message by message.
    pub fn audit(mut self) -> Audit {
        self.acks.sort_unstable();
        let mut audit = Audit { names: Vec::new(), verdict: Verdict::default(), book: self };
        let mut names: Vec<_> =
            audit.book.numbers.iter().map(|(queue, number)| (*number, queue.clone())).collect();
        names.sort();
        audit.names = names.into_iter().map(|(_, queue)| queue).collect();
        audit.check_twice_given();
        let acked = audit.book.acks.len() as u64;
        let (refused, unknown) = (audit.book.refused, audit.book.unknown.len() as u64);
        audit.verdict.books =
            Books { sent: acked + refused + unknown, acked, refused, unknown, ..Books::default() };
        audit
    }
}

/// A full read that is compared with the book as it goes.
#[derive(Debug, Clone)]
pub struct Audit {
    book: AckBook,
    names: Vec<Queue>,
    verdict: Verdict,
}

impl Audit {
    fn check_twice_given(&mut self) {
        for i in 1..self.book.acks.len() {
            let (a, b) = (self.book.acks[i - 1], self.book.acks[i]);
            if (a.queue, a.offset) == (b.queue, b.offset) && a.id != b.id {
                let place = self.place_of(a);
                let (a, b) = (unpack(a.id), unpack(b.id));
                let text = format!("{place} was given to message {a} and to message {b}");
                self.add(Invariant::Offsets, vec![a, b], place, text);
            }
        }
    }

    /// The full read returned a message.
    pub fn found(&mut self, queue: &Queue, found: &Found) {
        self.verdict.books.found += 1;
        let id = pack(&found.id);
        if let Some(ack) = self.ack_at(queue, found.offset, id) {
            let (twice, sent) = (ack.found, ack.digest);
            ack.found = true;
            if twice {
                let text = format!("a read of {queue} returned offset {} more than once", found.offset);
                self.add_found(Invariant::Offsets, queue, found, text);
            }
            self.compare(queue, found, sent);
            return;
        }
        match self.book.unknown.get_mut(&id) {
            Some(open) if open.copies > 0 => {
                open.copies -= 1;
                let sent = open.digest;
                self.compare(queue, found, sent);
            }
            _ => {
                let text = format!(
                    "message {} is stored at {queue}@{}, but no acknowledged or open attempt explains it",
                    found.id, found.offset
                );
                self.add_found(Invariant::NeverSent, queue, found, text);
            }
        }
    }

    /// The acknowledgement of a message at an offset.
    fn ack_at(&mut self, queue: &Queue, offset: QueueOffset, id: u64) -> Option<&mut PackedAck> {
        let number = *self.book.numbers.get(queue)?;
        let key = (number, offset);
        let first = self.book.acks.partition_point(|ack| (ack.queue, ack.offset) < key);
        self.book.acks[first..]
            .iter_mut()
            .take_while(|ack| (ack.queue, ack.offset) == key)
            .find(|ack| ack.id == id)
    }

    fn compare(&mut self, queue: &Queue, found: &Found, sent: Digest) {
        if found.digest != sent {
            let text = format!(
                "message {} at {queue}@{} has digest {}, but was sent with {sent}",
                found.id, found.offset, found.digest
            );
            self.add_found(Invariant::Digests, queue, found, text);
        }
    }

    /// Ends the read: what was acknowledged and not found is lost.
    pub fn finish(mut self) -> Verdict {
        let mut last = None;
        for i in 0..self.book.acks.len() {
            let ack = self.book.acks[i];
            // A retry under one id may be answered with the same place; it counts once.
            let again =
                last.replace((ack.queue, ack.offset, ack.id)) == Some((ack.queue, ack.offset, ack.id));
            if !ack.found && !again {
                let (place, id) = (self.place_of(ack), unpack(ack.id));
                let text = format!("message {id}, acknowledged at {place}, is missing");
                self.add(Invariant::Acked, vec![id], place, text);
            }
        }
        self.verdict
    }

    fn place_of(&self, ack: PackedAck) -> Place {
        self.names[ack.queue as usize].place(ack.offset.get(), 0)
    }

    fn add_found(&mut self, invariant: Invariant, queue: &Queue, found: &Found, sentence: String) {
        let place = queue.place(found.offset.get(), found.log_offset.get());
        self.add(invariant, vec![found.id.clone()], place, sentence);
    }

    fn add(&mut self, invariant: Invariant, ids: Vec<MessageId>, place: Place, sentence: String) {
        self.verdict.violations.push(Violation { invariant, ids, place: Some(place), sentence });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{at, digest, found, queue};

    fn book(acks: &[(&str, u64)]) -> AckBook {
        let mut book = AckBook::new();
        for (id, offset) in acks {
            book.acked(&(*id).into(), digest(id), &queue(), at(*offset));
        }
        book
    }

    fn letters(book: AckBook, read: &[(&str, u64)]) -> String {
        let mut audit = book.audit();
        for (id, offset) in read {
            audit.found(&queue(), &found(id, *offset));
        }
        audit.finish().violations.iter().map(|violation| violation.invariant.letter()).collect()
    }

    #[test]
    fn closed_books_pass() {
        let mut closed = book(&[("b", 1), ("a", 0), ("a", 0)]);
        // A retry that was stored twice, and one that was not stored.
        closed.unknown(&"a".into(), digest("a"));
        closed.unknown(&"c".into(), digest("c"));
        closed.refused();
        assert_eq!(closed.len(), 3);
        assert_eq!(letters(closed, &[("a", 0), ("b", 1), ("a", 2)]), "");
    }

    #[test]
    fn every_kind_of_trouble_is_caught() {
        assert_eq!(letters(book(&[("a", 0), ("b", 1)]), &[("a", 0)]), "L");
        assert_eq!(letters(book(&[("a", 0)]), &[("a", 0), ("ghost", 1)]), "N");
        assert_eq!(letters(book(&[("a", 0)]), &[("a", 0), ("a", 1)]), "N", "a copy without an open attempt");
        assert_eq!(letters(book(&[("a", 0), ("b", 0)]), &[("a", 0)]), "OL");
        assert_eq!(letters(book(&[("a", 0)]), &[("a", 0), ("a", 0)]), "O");
        let mut audit = book(&[("a", 0)]).audit();
        audit.found(&queue(), &Found { digest: digest("x"), ..found("a", 0) });
        assert!(audit.finish().to_string().contains("[D] message a at b0/T/0@0 has digest"));
    }

    #[test]
    fn numbers_need_no_texts() {
        let mut book = AckBook::new();
        for number in 0..1000u64 {
            book.acked(&number.into(), Digest::new(number), &queue(), at(number));
        }
        let mut audit = book.audit();
        for number in (0..1000u64).filter(|number| *number != 77) {
            let found = Found { id: number.into(), digest: Digest::new(number), ..found("", number) };
            audit.found(&queue(), &found);
        }
        let verdict = audit.finish();
        assert_eq!(
            verdict.violations[0].sentence,
            "message #77, acknowledged at b0/T/0@77 (log 0), is missing"
        );
        assert_eq!((verdict.violations.len(), verdict.books.found), (1, 999));
    }
}
