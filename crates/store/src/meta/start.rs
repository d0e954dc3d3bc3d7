//! The starts of a replica's process on its disk. What a group remembers of them tells it a disk that went back in time.

/// Starts that a data directory remembers.
const REMEMBERED: usize = 32;

/// One start of a replica's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// Identity of its disk: the number of the first start on it.
    pub disk: u64,
    /// The how-manieth opening of the data directory it was.
    pub life: u64,
    /// Drawn at random for it; 0 if it is not known.
    pub number: u64,
}

/// What a data directory knows of its own past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// Identity of the directory, drawn when it was made, and anew when it is found to be an old copy.
    pub disk: u64,
    /// Numbers of starts, the newest last, 0 for none.
    pub(super) starts: [u64; REMEMBERED],
}

impl Past {
    /// Remembers a start: one on this disk, or one on another disk whose loss this one knows of.
    pub fn remember(&mut self, number: u64) {
        self.starts.rotate_left(1);
        self.starts[REMEMBERED - 1] = number;
    }

    /// Whether a start lies behind this disk.
    pub fn contains(&self, number: u64) -> bool {
        number != 0 && self.starts.contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_starts_are_remembered() {
        let mut past = Past::default();
        assert!(!past.contains(0));
        (1..=40).for_each(|number| past.remember(number));
        assert!((1..=8).all(|number| !past.contains(number)));
        assert!((9..=40).all(|number| past.contains(number)));
    }
}
