//! What a run counts: latencies, outcomes, and the acknowledgements that are audited afterwards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use steadfast_wire::code::response;

/// Longest latency that is told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(600);

/// Latencies in nanoseconds, precise to 3 digits.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        Self(Histogram::new_with_bounds(1, longest, 3).expect("the bounds and the precision are legal"))
    }

    /// Counts `count` messages with the same latency.
    pub(super) fn record(&mut self, latency: Duration, count: u64) {
        self.0.saturating_record_n(latency.as_nanos() as u64, count);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

/// A request that was acknowledged: `count` messages from `first_id` and from `offset` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) first_id: u64,
    pub(super) offset: u64,
    /// Number of the broker in the target's list.
    pub(super) broker: u16,
    pub(super) queue: u16,
    pub(super) count: u32,
}

/// What an error response says about the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was not stored.
    Refused,
    /// It was stored or not; also when it is stored but weaker than asked for.
    Unknown,
}

/// The meaning of a response code other than SUCCESS.
pub(super) fn outcome(code: i32) -> Outcome {
    match code {
        response::SYSTEM_BUSY
        | response::REQUEST_CODE_NOT_SUPPORTED
        | response::MESSAGE_ILLEGAL
        | response::SERVICE_NOT_AVAILABLE
        | response::VERSION_NOT_SUPPORTED
        | response::NO_PERMISSION
        | response::TOPIC_NOT_EXIST
        | response::INVALID_PARAMETER
        | response::FLOW_CONTROL => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// What the connections of one thread saw.
#[derive(Debug)]
pub(super) struct Stats {
    /// Of messages that were due in the measured time.
    pub(super) latencies: Latencies,
    /// Messages acknowledged in the measured time.
    pub(super) measured: u64,
    /// When the last of them was acknowledged.
    pub(super) last_ack: Option<Instant>,
    /// All acknowledgements, also those of the warm-up.
    pub(super) acks: Vec<Ack>,
    /// Messages with an unknown outcome.
    pub(super) unknown: Vec<u64>,
    /// Messages that were certainly not stored.
    pub(super) refused: u64,
    /// Messages that were due when the run ended, and not sent yet.
    pub(super) unsent: u64,
    /// What went wrong, and for how many messages.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            latencies: Latencies::new(),
            measured: 0,
            last_ack: None,
            acks: Vec::new(),
            unknown: Vec::new(),
            refused: 0,
            unsent: 0,
            errors: BTreeMap::new(),
        }
    }

    /// Counts messages that met an error.
    pub(super) fn error(&mut self, what: String, messages: u64) {
        /// Remarks may name ids or times, so that each is different.
        const DIFFERENT: usize = 20;
        if self.errors.len() < DIFFERENT || self.errors.contains_key(&what) {
            *self.errors.entry(what).or_default() += messages;
        } else {
            *self.errors.entry("other".to_owned()).or_default() += messages;
        }
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.latencies.merge(&other.latencies);
        self.measured += other.measured;
        self.last_ack = self.last_ack.max(other.last_ack);
        self.acks.append(&mut other.acks);
        self.unknown.append(&mut other.unknown);
        self.refused += other.refused;
        self.unsent += other.unsent;
        for (what, messages) in other.errors {
            self.error(what, messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros), 1);
        }
        let mut other = Latencies::new();
        other.record(Duration::from_secs(3), 1);
        latencies.merge(&other);
        let p50 = latencies.quantile(0.5).as_secs_f64() * 1e6;
        assert!((498.0..503.0).contains(&p50), "{p50}");
        assert_eq!(latencies.count(), 1001);
        assert!(latencies.max() >= Duration::from_secs(3));
    }

    #[test]
    fn many_different_errors_take_bounded_room() {
        let mut stats = Stats::new();
        (0..100).for_each(|i| stats.error(format!("error {i}"), 2));
        assert_eq!(stats.errors.len(), 21);
        assert_eq!(stats.errors["other"], 160);
    }
}
