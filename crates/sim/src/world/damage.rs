//! Bits that flipped at rest: what was damaged, and its repair from a copy.

use std::collections::BTreeSet;

use steadfast_types::LogOffset;

use crate::disk::{Flip, VirtualDisk};

/// The damage that was done and not repaired.
#[derive(Debug, Default)]
pub(super) struct Damages {
    flips: Vec<(Flip, u8)>,
    /// Log offsets of messages that recovery reported as damaged.
    fenced: BTreeSet<LogOffset>,
}

impl Damages {
    pub(super) fn is_empty(&self) -> bool {
        self.flips.is_empty()
    }

    /// A bit was flipped just now.
    pub(super) fn add(&mut self, flip: Flip, disk: &VirtualDisk) {
        if let Some(damaged) = disk.on_medium(&flip.path, flip.byte) {
            self.flips.push((flip, damaged));
        }
    }

    /// Restores what is still damaged; tells whether there was any.
    pub(super) fn repair(&mut self, disk: &VirtualDisk) -> bool {
        let any = !self.flips.is_empty();
        for (flip, damaged) in self.flips.drain(..).rev() {
            // The file may have been written again or removed since.
            if disk.on_medium(&flip.path, flip.byte) == Some(damaged) {
                disk.flip(&flip.path, flip.byte, flip.bit);
            }
        }
        any
    }

    /// Recovery warned of something.
    pub(super) fn warned(&mut self, warning: &str) {
        let Some((_, rest)) = warning.split_once("(log offset ") else { return };
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.fenced.extend(digits.parse().map(LogOffset::new));
    }

    /// Log offsets of messages that were served as damaged for a while.
    pub(super) fn fenced(&self) -> &BTreeSet<LogOffset> {
        &self.fenced
    }
}
