//! The outcome of a check.

use std::fmt;

use crate::{MessageId, Place};

/// What must hold after every run. The letters are short names for logs and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// L: acknowledged messages are there, each at its place and no more often than it was sent.
    Acked,
    /// N: nothing is served that was never sent or that the server said it had not stored.
    NeverSent,
    /// O: an offset names one message for ever, and offsets have no holes.
    Offsets,
    /// P: an acknowledged position of a consumer group stays until a client moves it.
    Positions,
    /// J: positions that did not move by consuming are on record, with cause and range.
    Jumps,
    /// K: every acknowledged message is found by each of its keys.
    Keys,
    /// D: what is delivered is what was sent, bit for bit.
    Digests,
    /// V: what a consumer saw once stays at its place.
    Readable,
    /// R: of two messages in a queue, one acknowledged before the other was sent stands before it.
    RealTime,
    /// C: a group that consumed to the end got every message, but for those that a recorded jump went over.
    Consumed,
}

impl Invariant {
    /// The short name.
    pub const fn letter(self) -> char {
        match self {
            Self::Acked => 'L',
            Self::NeverSent => 'N',
            Self::Offsets => 'O',
            Self::Positions => 'P',
            Self::Jumps => 'J',
            Self::Keys => 'K',
            Self::Digests => 'D',
            Self::Readable => 'V',
            Self::RealTime => 'R',
            Self::Consumed => 'C',
        }
    }

    /// What holds, in a few words.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Acked => "an acknowledged message is there, once and whole",
            Self::NeverSent => "nothing is served that was never sent or that was refused",
            Self::Offsets => "an offset names one message for ever",
            Self::Positions => "an acknowledged position stays until a client moves it",
            Self::Jumps => "no position moves without a recorded cause and range",
            Self::Keys => "an acknowledged message is found by each of its keys",
            Self::Digests => "what is delivered is what was sent",
            Self::Readable => "what a consumer saw once stays at its place",
            Self::RealTime => "queues keep the order of acknowledgements",
            Self::Consumed => {
                "a group that consumed to the end got every message that no recorded jump went over"
            }
        }
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// The messages concerned.
    pub ids: Vec<MessageId>,
    /// The place concerned, if there is one.
    pub place: Option<Place>,
    /// What was seen, as a sentence that names ids and places.
    pub sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {} (broken: {})", self.invariant.letter(), self.sentence, self.invariant.promise())
    }
}

/// The sums of a run. In a closed book `sent = acked + refused + unknown`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Different messages sent.
    pub sent: u64,
    /// Of these: acknowledged at least once.
    pub acked: u64,
    /// Of these: every attempt was refused.
    pub refused: u64,
    /// Of these: neither, so that either may be true.
    pub unknown: u64,
    /// Places of queues that consumers saw a message at.
    pub delivered: u64,
    /// Messages that the full read returned.
    pub found: u64,
    /// Of these: further copies of a message, from retries with an unknown outcome.
    pub copies: u64,
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} = acked {} + refused {} + unknown {}; delivered {}; found {}, of these {} further copies",
            self.sent, self.acked, self.refused, self.unknown, self.delivered, self.found, self.copies
        )
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// What was broken; empty is what everybody hopes for.
    pub violations: Vec<Violation>,
    /// The sums, which tell a run that proved something from one that did nothing.
    pub books: Books,
}

impl Verdict {
    /// Whether nothing was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The violations of one invariant.
    pub fn of(&self, invariant: Invariant) -> impl Iterator<Item = &Violation> {
        self.violations.iter().filter(move |violation| violation.invariant == invariant)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A lost disk would print millions of lines.
        const SHOWN: usize = 50;
        writeln!(f, "{}", self.books)?;
        for violation in self.violations.iter().take(SHOWN) {
            writeln!(f, "{violation}")?;
        }
        match self.violations.len() {
            0 => f.write_str("no violation"),
            1 => f.write_str("1 violation"),
            all @ 1..=SHOWN => write!(f, "{all} violations"),
            all => write!(f, "{all} violations, {} not shown", all - SHOWN),
        }
    }
}
