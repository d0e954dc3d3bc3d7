//! Newtypes for every position, id and time, so that a log offset can never be taken for a queue offset.

use std::fmt;
use std::ops::Add;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($inner);

        impl $name {
            /// The zero value.
            pub const ZERO: Self = Self(0);

            /// Wraps a plain number.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The plain number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The next value.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl Add<$inner> for $name {
            type Output = Self;
            fn add(self, rhs: $inner) -> Self {
                Self(self.0 + rhs)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Byte position in a group's log: RocketMQ's "physical offset" or "commit log offset".
    LogOffset(u64)
}
number! {
    /// Position of a message in one queue, counted in messages from 0.
    QueueOffset(u64)
}
number! {
    /// Raft log index; the first entry has 1.
    LogIndex(u64)
}
number! {
    /// Raft term.
    Term(u64)
}
number! {
    /// Number of a queue within its topic, from 0.
    QueueId(u32)
}
number! {
    /// Wall-clock time in milliseconds since 1970-01-01 UTC.
    Timestamp(u64)
}

/// An entry of a log, by term and index: no two entries share both. The later of two is that of the later term, or of the
/// same term with the higher index: so the logs of candidates are compared (Raft paper, 5.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Its term.
    pub term: Term,
    /// Its index.
    pub index: LogIndex,
}

impl Timestamp {
    /// Milliseconds from `earlier` to `self`, 0 if `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
