//! Which parts of the log are still there. Retention drops whole segments; one that still holds something needed
//! stays while its neighbours go, so there may be holes.

use std::ops::Range;

use steadfast_types::LogOffset;

/// The parts of the log that retention has dropped: ascending, apart from each other, each cut at segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone(Vec<Range<LogOffset>>);

impl Gone {
    /// What lies before and between the segments that are kept, given by their bases in ascending order.
    pub fn around(kept: impl IntoIterator<Item = LogOffset>, segment_size: u64) -> Self {
        let mut gone = Vec::new();
        let mut end = LogOffset::ZERO;
        for base in kept {
            if base > end {
                gone.push(end..base);
            }
            end = base + segment_size;
        }
        Self(gone)
    }

    /// Whether nothing is gone.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the byte at a log offset is gone.
    pub fn contains(&self, at: LogOffset) -> bool {
        let after = self.0.partition_point(|range| range.start <= at);
        after.checked_sub(1).is_some_and(|last| at < self.0[last].end)
    }

    /// The log offset before which nothing is left.
    pub fn head(&self) -> LogOffset {
        self.0
            .first()
            .filter(|first| first.start == LogOffset::ZERO)
            .map_or(LogOffset::ZERO, |first| first.end)
    }

    /// How many bytes of a log that ends at `end` are left.
    pub fn left_before(&self, end: LogOffset) -> u64 {
        self.left_of(LogOffset::ZERO..end).iter().map(|part| part.end.get() - part.start.get()).sum()
    }

    /// The parts of a stretch of the log that are left, ascending.
    pub fn left_of(&self, stretch: Range<LogOffset>) -> Vec<Range<LogOffset>> {
        let mut left = Vec::new();
        let mut at = stretch.start;
        for gone in self.0.iter().filter(|gone| gone.end > stretch.start && gone.start < stretch.end) {
            if gone.start > at {
                left.push(at..gone.start);
            }
            at = gone.end;
        }
        if at < stretch.end {
            left.push(at..stretch.end);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(kept: &[u64]) -> Gone {
        Gone::around(kept.iter().map(|base| LogOffset::new(*base)), 10)
    }

    fn range(start: u64, end: u64) -> Range<LogOffset> {
        LogOffset::new(start)..LogOffset::new(end)
    }

    #[test]
    fn holes_lie_between_what_is_kept() {
        let gone = gone(&[20, 30, 60]);
        assert_eq!(gone.head(), LogOffset::new(20));
        for (at, is_gone) in
            [(0, true), (19, true), (20, false), (39, false), (40, true), (59, true), (60, false)]
        {
            assert_eq!(gone.contains(LogOffset::new(at)), is_gone, "{at}");
        }
        assert!(!gone.contains(LogOffset::new(1000)), "the tail");
        assert_eq!(gone.left_of(range(5, 65)), [range(20, 40), range(60, 65)]);
        assert_eq!(gone.left_of(range(25, 35)), [range(25, 35)]);
        assert_eq!(gone.left_of(range(41, 59)), []);
        assert_eq!(gone.left_before(LogOffset::new(65)), 25);
    }

    #[test]
    fn a_whole_log_has_no_holes() {
        assert!(gone(&[0, 10]).is_empty() && gone(&[]).is_empty());
        assert_eq!(gone(&[0, 20]).head(), LogOffset::ZERO);
    }
}
