//! The story of a run: a hash over every event, to prove that a seed replays bit for bit, and the events as
//! text for the seeds that fail.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use crate::clock::Micros;

/// What to keep as text. The hash covers all events in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// The last so many events.
    Last(usize),
    /// Everything.
    All,
}

/// The record of a run.
#[derive(Debug, Clone)]
pub struct Trace {
    hash: Hasher,
    events: u64,
    keep: Keep,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty record.
    pub fn new(keep: Keep) -> Self {
        Self { hash: Hasher::default(), events: 0, keep, lines: VecDeque::new() }
    }

    /// Records an event of a part of the world (such as "node 1" or "disk 2").
    pub fn event(&mut self, now: Micros, part: &str, what: fmt::Arguments<'_>) {
        self.events += 1;
        // Formatting into the hasher allocates nothing; the line break keeps events apart.
        let written = writeln!(self.hash, "{now} {part}: {what}");
        debug_assert!(written.is_ok(), "hashing cannot fail");
        match self.keep {
            Keep::Nothing => return,
            Keep::Last(most) if self.lines.len() >= most => drop(self.lines.pop_front()),
            Keep::Last(_) | Keep::All => {}
        }
        if self.keep != Keep::Last(0) {
            self.lines.push_back(format!("{now} {part}: {what}"));
        }
    }

    /// Records a number that stands for more than a line tells, such as a digest of a disk.
    pub fn digest(&mut self, value: u64) {
        self.hash.bytes(&value.to_le_bytes());
    }

    /// The hash over everything so far.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The kept events, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// 64-bit FNV-1a.
#[derive(Debug, Clone)]
pub(crate) struct Hasher(pub(crate) u64);

impl Default for Hasher {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }
}

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keep: Keep, last: u32) -> Trace {
        let mut trace = Trace::new(keep);
        for event in [1, 2, last] {
            trace.event(Micros::millis(7), "node 1", format_args!("event {event}"));
        }
        trace
    }

    #[test]
    fn the_hash_depends_on_events_and_not_on_what_is_kept() {
        assert_eq!(run(Keep::All, 3).hash(), run(Keep::Nothing, 3).hash());
        assert_ne!(run(Keep::All, 3).hash(), run(Keep::All, 4).hash());
        let mut trace = run(Keep::All, 3);
        trace.digest(5);
        assert_ne!(trace.hash(), run(Keep::All, 3).hash());
    }

    #[test]
    fn the_last_lines_tell_the_story() {
        assert_eq!(run(Keep::Last(1), 3).lines().collect::<Vec<_>>(), ["0.007000s node 1: event 3"]);
        assert_eq!(run(Keep::Last(0), 3).lines().count(), 0);
        assert_eq!(run(Keep::All, 3).lines().count(), 3);
        assert_eq!(run(Keep::Nothing, 3).events(), 3);
    }
}
