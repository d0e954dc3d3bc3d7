//! The broker's clock: the wall clock, except that it never goes back. When the wall clock is set back, this one goes
//! on at half its speed until the other has caught up. So what is stamped later has the later time, and a message
//! that waits for a time is neither early by the stamps in the log nor late by as much as the wall clock was set.

use steadfast_types::Timestamp;

use crate::io::Now;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    time: Timestamp,
    /// Ticks that are accounted for in `time`.
    ticks: Option<u64>,
}

impl Clock {
    /// Goes on to now, and at least to `floor`, the newest stamp in the log.
    pub(crate) fn advance(&mut self, now: Now, floor: Timestamp) {
        let ticks = self.ticks.get_or_insert(now.ticks);
        let slow = now.ticks.saturating_sub(*ticks) / 2;
        *ticks += 2 * slow;
        self.time = now.wall.max(self.time + slow).max(floor);
    }

    /// The time it shows.
    pub(crate) fn time(&self) -> Timestamp {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, ticks: u64) -> Now {
        Now { wall: Timestamp::new(wall), ticks }
    }

    #[test]
    fn it_follows_the_wall_clock_and_never_goes_back() {
        let mut clock = Clock::default();
        let mut shown = |wall, ticks| {
            clock.advance(at(wall, ticks), Timestamp::new(900));
            clock.time().get()
        };
        assert_eq!(shown(500, 0), 900, "not before what the log has");
        assert_eq!(shown(1_000, 10), 1_000);
        assert_eq!(shown(5_000, 20), 5_000, "set forward");
        assert_eq!(shown(2_000, 21), 5_000, "set back");
        assert_eq!(shown(2_001, 22), 5_001, "it goes on at half speed");
        assert_eq!(shown(2_999, 1_020), 5_500);
        assert_eq!(shown(8_000, 6_020), 8_000, "caught up");
    }
}
