//! The clock of an open loop: which request is due when, and a thread that wakes the connections on time.
//!
//! The runtime's timers are precise to a millisecond only, which is longer than a synced write takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// Connections are woken no more often than this: a request may be late by so much.
const TICK: Duration = Duration::from_micros(100);

/// When requests are due. Request `k` of all is due at `start + k x interval`, on connection `k` modulo their number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    start: Instant,
    /// Requests a second, of all connections.
    rate: f64,
    connections: u64,
}

impl Pace {
    /// `rate` counts requests a second.
    pub(super) fn new(start: Instant, rate: f64, connections: u32) -> Self {
        Self { start, rate, connections: connections.into() }
    }

    /// When the `nth` request of a connection is due.
    pub(super) fn due(&self, connection: u64, nth: u64) -> Instant {
        self.due_of_all(nth * self.connections + connection)
    }

    fn due_of_all(&self, k: u64) -> Instant {
        self.start + Duration::from_secs_f64(k as f64 / self.rate)
    }
}

/// Wakes each connection, through its sender, when one of its requests is due, until `stop`.
pub(super) fn wake_on_time(pace: Pace, wakers: Vec<mpsc::Sender<()>>, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut k = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = pace.due_of_all(k);
            let now = Instant::now();
            if due > now {
                thread::sleep((due - now).max(TICK).min(Duration::from_millis(100)));
                continue;
            }
            // A full channel means that the connection is awake already.
            let _ = wakers[(k % pace.connections) as usize].try_send(());
            k += 1;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns() {
        let start = Instant::now();
        let pace = Pace::new(start, 1000.0, 4);
        assert_eq!(pace.due(0, 0), start);
        assert_eq!(pace.due(3, 0), start + Duration::from_millis(3));
        assert_eq!(pace.due(1, 2), start + Duration::from_millis(9));
    }
}
