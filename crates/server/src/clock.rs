//! The process's clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use steadfast_broker::io::Now;
use steadfast_types::Timestamp;

/// Tells the wall clock's time and the milliseconds since it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Clock { started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: self.wall(), ticks: self.ticks() }
    }

    /// Milliseconds that never go back.
    pub(crate) fn ticks(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Microseconds that never go back.
    pub(crate) fn micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// The time since a reading of [`Clock::micros`].
    pub(crate) fn since(&self, micros: u64) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_micros(micros))
    }

    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::new(
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        )
    }
}
