//! The delays that a message may ask for by their number (RocketMQ's `messageDelayLevel`).

use std::fmt;
use std::str::FromStr;

use steadfast_types::{QueueId, limits};

/// Delays in milliseconds; the first is level 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayLevels(Vec<u64>);

/// Why a text is not a list of delays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLevels {
    /// One of them cannot be read.
    #[error("{0:?} is not a delay; write a number and s, m, h or d, such as 30s, at most {max}d", max = DelayLevels::MAX_DAYS)]
    Delay(String),
    /// There are none, or too many.
    #[error("there are {0} levels; there must be 1 to {max}", max = DelayLevels::MAX_COUNT)]
    Count(usize),
}

impl DelayLevels {
    /// Most levels: each has a queue.
    pub const MAX_COUNT: usize = limits::QUEUES as usize;
    /// Longest delay, in days.
    pub const MAX_DAYS: u64 = 365;

    /// Levels of these milliseconds.
    ///
    /// # Errors
    /// If there are none, too many, or one is longer than a year.
    pub fn new(millis: Vec<u64>) -> Result<Self, InvalidLevels> {
        if !(1..=Self::MAX_COUNT).contains(&millis.len()) {
            return Err(InvalidLevels::Count(millis.len()));
        }
        match millis.iter().find(|ms| **ms > DELAY_MAX) {
            Some(ms) => Err(InvalidLevels::Delay(format!("{ms} ms"))),
            None => Ok(Self(millis)),
        }
    }

    /// The queue for messages that ask for a level, which is not 0: one above the highest means the highest.
    pub(crate) fn queue(&self, level: u32) -> QueueId {
        QueueId::new(level.clamp(1, self.count()) - 1)
    }

    /// Milliseconds that the messages of a queue wait. A queue of a level that the settings had once waits as long as
    /// the highest one.
    pub fn delay(&self, queue: QueueId) -> u64 {
        let at = queue.get().min(self.count() - 1);
        self.0[at as usize]
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.0.len() as u32
    }
}

/// RocketMQ's 18 levels.
impl Default for DelayLevels {
    fn default() -> Self {
        let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 60, 120];
        Self(
            [1, 5, 10, 30]
                .into_iter()
                .chain(minutes.map(|m| m * 60))
                .map(|seconds| seconds * 1_000)
                .collect(),
        )
    }
}

/// Reads delays separated by spaces, such as `1s 5m 2h 1d`.
impl FromStr for DelayLevels {
    type Err = InvalidLevels;

    fn from_str(text: &str) -> Result<Self, InvalidLevels> {
        Self::new(text.split_whitespace().map(delay).collect::<Result<_, _>>()?)
    }
}

fn delay(text: &str) -> Result<u64, InvalidLevels> {
    let invalid = || InvalidLevels::Delay(text.to_owned());
    let (number, unit) = text.split_at_checked(text.len() - 1).ok_or_else(invalid)?;
    let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?.1;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(invalid)
}

const DELAY_MAX: u64 = DelayLevels::MAX_DAYS * 86_400_000;

/// Units and their milliseconds.
const UNITS: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl fmt::Display for DelayLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ms) in self.0.iter().enumerate() {
            let (unit, of) = UNITS.iter().find(|(_, of)| *ms > 0 && ms % of == 0).unwrap_or(&UNITS[3]);
            write!(f, "{}{}{unit}", if i > 0 { " " } else { "" }, ms / of)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROCKETMQ: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

    #[test]
    fn the_default_is_rocketmqs() {
        assert_eq!(DelayLevels::default().to_string(), ROCKETMQ);
        assert_eq!(ROCKETMQ.parse(), Ok(DelayLevels::default()));
    }

    #[test]
    fn levels_out_of_range_are_the_nearest() {
        let levels: DelayLevels = "2s  1d".parse().unwrap();
        assert_eq!(levels.queue(1), QueueId::new(0));
        assert_eq!(levels.queue(99), QueueId::new(1));
        assert_eq!((levels.delay(QueueId::new(0)), levels.delay(QueueId::new(7))), (2_000, 86_400_000));
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["1x", "s", "-1s", "1.5s", "1s é", "366d", "99999999999999999999s"] {
            assert!(matches!(text.parse::<DelayLevels>(), Err(InvalidLevels::Delay(_))), "{text}");
        }
        assert_eq!("".parse::<DelayLevels>(), Err(InvalidLevels::Count(0)));
    }
}
