//! Warnings about what others do wrong, which they may do as often as they like.

use std::time::{Duration, Instant};

/// Least time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Logs at most one line in ten seconds.
#[derive(Debug, Default)]
pub struct RareWarning {
    last: Option<Instant>,
    hidden: u64,
}

impl RareWarning {
    /// Logs a line, or counts it for the next one.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        if self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            self.hidden += 1;
            return;
        }
        match self.hidden {
            0 => tracing::warn!("{}", text()),
            hidden => tracing::warn!("{} ({hidden} similar events before this were not logged)", text()),
        }
        (self.last, self.hidden) = (Some(Instant::now()), 0);
    }
}
