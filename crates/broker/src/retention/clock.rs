//! The time by which retention goes. A wall clock that jumps forwards must not make messages old: time passes here no
//! faster than ticks do, and a jump counts once it has lasted for a day.

use steadfast_types::Timestamp;

use crate::io::Now;

/// How far the wall clock may be ahead before that is called a jump, in milliseconds: clocks are slewed.
const SLACK: u64 = 60_000;
/// Milliseconds after which a jump counts.
const DOUBT: u64 = 24 * 3_600_000;

/// A wall time and the ticks at which it was.
#[derive(Debug, Clone, Copy)]
struct Pace {
    wall: Timestamp,
    ticks: u64,
}

impl Pace {
    fn now(self, ticks: u64) -> Timestamp {
        self.wall + ticks.saturating_sub(self.ticks)
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct AgeClock {
    trusted: Option<Pace>,
    /// A jump that may turn out to be right.
    doubted: Option<Pace>,
}

impl AgeClock {
    /// The time. `newest` is the newest store time in the log: at the first call the wall clock is believed that far,
    /// as nobody knows for how long the broker was down.
    pub(crate) fn now(&mut self, now: Now, newest: Timestamp) -> Timestamp {
        let Now { wall, ticks } = now;
        let trusted = self.trusted.get_or_insert(Pace { wall: newest, ticks });
        let expected = trusted.now(ticks);
        if wall <= expected + SLACK {
            *trusted = Pace { wall: wall.max(trusted.wall), ticks };
            self.doubted = None;
            return wall;
        }
        let doubted = self.doubted.get_or_insert(Pace { wall, ticks });
        if doubted.now(ticks).since(wall).max(wall.since(doubted.now(ticks))) > SLACK {
            *doubted = Pace { wall, ticks };
        }
        if ticks - doubted.ticks >= DOUBT {
            *trusted = Pace { wall, ticks };
            self.doubted = None;
            return wall;
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_000 * HOUR;

    fn at(wall_hours: u64, hours: u64) -> Now {
        Now { wall: Timestamp::new(START + wall_hours * HOUR), ticks: hours * HOUR }
    }

    fn now(clock: &mut AgeClock, wall_hours: u64, hours: u64) -> u64 {
        let newest = Timestamp::new(START);
        (clock.now(at(wall_hours, hours), newest).get() - START) / HOUR
    }

    #[test]
    fn a_jump_forwards_counts_after_a_day() {
        let mut clock = AgeClock::default();
        assert_eq!(now(&mut clock, 0, 0), 0);
        assert_eq!(now(&mut clock, 2, 2), 2);
        assert_eq!(now(&mut clock, 1_000, 3), 3, "a jump");
        assert_eq!(now(&mut clock, 1_020, 23), 23, "it has lasted for 20 hours");
        assert_eq!(now(&mut clock, 1_024, 27), 1_024, "for a day");
    }

    #[test]
    fn a_jump_that_jumps_again_starts_anew() {
        let mut clock = AgeClock::default();
        now(&mut clock, 0, 0);
        assert_eq!(now(&mut clock, 1_000, 1), 1);
        assert_eq!(now(&mut clock, 5_000, 20), 20);
        assert_eq!(now(&mut clock, 5_010, 30), 30);
        assert_eq!(now(&mut clock, 31, 31), 31, "it was wrong");
        assert_eq!(now(&mut clock, 8_000, 32), 32);
    }

    #[test]
    fn after_a_start_the_time_goes_on_from_the_newest_message() {
        let mut clock = AgeClock::default();
        assert_eq!(now(&mut clock, 500, 0), 0, "down for 500 hours, or a wrong clock");
        assert_eq!(now(&mut clock, 510, 10), 10);
        assert_eq!(now(&mut clock, 524, 24), 524);
    }

    #[test]
    fn backwards_is_young() {
        let mut clock = AgeClock::default();
        assert_eq!(now(&mut clock, 0, 0), 0);
        assert_eq!(now(&mut clock, 10, 10), 10);
        assert_eq!(now(&mut clock, 5, 11), 5);
        assert_eq!(now(&mut clock, 6, 12), 6);
    }
}
