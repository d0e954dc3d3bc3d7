//! Which segments have served their time: RocketMQ's rules, and a limit in bytes.

use steadfast_store::disk::Space;
use steadfast_types::{LogOffset, Timestamp};

/// An operator's rules. The names of RocketMQ's keys are in brackets; ratios are in percent of the disk.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Milliseconds that messages are kept (`fileReservedTime`).
    pub reserved: u64,
    /// Hours of the day in which old messages are removed (`deleteWhen`).
    pub hours: Vec<u8>,
    /// The hour of the day at a time, where the broker stands: [`utc_hour`], unless the shell knows of time zones.
    pub hour_of: fn(Timestamp) -> u8,
    /// Bytes of log above which the oldest go, 0 for no limit (`retentionBytes`).
    pub bytes: u64,
    /// Milliseconds between two looks (`cleanResourceInterval`).
    pub every: u64,
    /// Above this, old messages are removed at any hour (`diskMaxUsedSpaceRatio`).
    pub clean_above: u32,
    /// Above this, the oldest that nobody still has to process are removed whatever their age
    /// (`diskSpaceCleanForciblyRatio`); 100 is never (`cleanFileForciblyEnable=false`).
    pub force_above: u32,
    /// Above this, messages are refused (`diskSpaceWarningLevelRatio`).
    pub refuse_above: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            reserved: 72 * 3_600_000,
            hours: vec![4],
            hour_of: utc_hour,
            bytes: 0,
            every: 10_000,
            clean_above: 75,
            force_above: 85,
            refuse_above: 90,
        }
    }
}

/// The hour of the day in UTC.
pub fn utc_hour(at: Timestamp) -> u8 {
    (at.get() / 3_600_000 % 24) as u8
}

/// What the rules look at.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    /// The time, and the time by the wall clock.
    pub(super) now: Timestamp,
    pub(super) wall: Timestamp,
    pub(super) space: Space,
    pub(super) segment_size: u64,
    /// All segments with their newest store times, ascending.
    pub(super) segments: &'a [(LogOffset, Timestamp)],
}

/// What should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Demand {
    /// Segments whose newest message is older than this.
    pub(super) older_than: Timestamp,
    /// So many at least, the oldest ones, whatever their age.
    pub(super) at_least: usize,
    /// So many at least if every group has processed them.
    pub(super) processed: usize,
}

impl Demand {
    /// Whether a segment should go, when `taken` others do.
    pub(super) fn wants(&self, newest: Timestamp, taken: usize) -> bool {
        self.insists(newest, taken) || taken < self.processed
    }

    /// Whether it should go even if groups of unprotected topics have messages in it to process.
    pub(super) fn insists(&self, newest: Timestamp, taken: usize) -> bool {
        newest < self.older_than || taken < self.at_least
    }

    /// How many should go whatever their age.
    pub(super) fn count(&self) -> usize {
        self.at_least.max(self.processed)
    }
}

impl Retention {
    /// What should go now.
    pub(super) fn demand(&self, standing: &Standing<'_>) -> Demand {
        let Standing { now, wall, space, segment_size, segments } = *standing;
        let used = space.used_percent();
        let cleaning = self.hours.contains(&(self.hour_of)(wall)) || used > self.clean_above;
        let older_than = if cleaning { now.get().saturating_sub(self.reserved) } else { 0 };
        let kept = segments.len() as u64 * segment_size;
        let too_long = if self.bytes == 0 { 0 } else { kept.saturating_sub(self.bytes) };
        let too_full = if used > self.force_above {
            let may_use = u128::from(space.total) * u128::from(self.force_above) / 100;
            space.used().saturating_sub(may_use as u64)
        } else {
            0
        };
        let segments = |bytes: u64| bytes.div_ceil(segment_size) as usize;
        Demand {
            older_than: Timestamp::new(older_than),
            at_least: segments(too_long),
            processed: segments(too_full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAYS: u64 = 24 * HOUR;

    /// Ten segments of 10 bytes, one filled each day; the last one at day 10.
    fn demand(rules: &Retention, wall: u64, used: u64) -> Demand {
        let segments: Vec<_> =
            (1..=10).map(|day| (LogOffset::new(day * 10), Timestamp::new(day * DAYS))).collect();
        rules.demand(&Standing {
            now: Timestamp::new(wall),
            wall: Timestamp::new(wall),
            space: Space { total: 1_000, free: 1_000 - used },
            segment_size: 10,
            segments: &segments,
        })
    }

    #[test]
    fn the_old_go_at_their_hour_or_when_space_is_short() {
        let rules = Retention::default();
        let at_four = 10 * DAYS + 4 * HOUR;
        assert_eq!(demand(&rules, at_four, 100).older_than.get(), at_four - 3 * DAYS);
        assert_eq!(demand(&rules, at_four + HOUR, 750), Demand::default());
        assert_eq!(demand(&rules, at_four + HOUR, 751).older_than.get(), at_four + HOUR - 3 * DAYS);
        let eastwards = Retention { hour_of: |at| utc_hour(at + 8 * HOUR), ..rules };
        assert_eq!(demand(&eastwards, at_four, 100), Demand::default(), "it is noon there");
        assert!(
            demand(&eastwards, 10 * DAYS + 20 * HOUR, 100).older_than > Timestamp::ZERO,
            "it is four there"
        );
    }

    #[test]
    fn the_oldest_go_as_far_as_a_limit_demands() {
        let at = 10 * DAYS;
        let rules = Retention { bytes: 65, ..Retention::default() };
        assert_eq!(demand(&rules, at, 100).at_least, 4);
        let rules = Retention::default();
        assert_eq!(demand(&rules, at, 850).processed, 0);
        let full = demand(&rules, at, 871);
        assert_eq!((full.at_least, full.processed), (0, 3), "21 bytes too many");
        let rules = Retention { force_above: 100, ..Retention::default() };
        assert_eq!(demand(&rules, at, 1_000).processed, 0, "never by force");
        assert!(demand(&rules, at, 1_000).older_than > Timestamp::ZERO, "but by age");
    }
}
