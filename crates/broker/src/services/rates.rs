//! How much a second: averages over the last 10, 60 and 600 seconds, as RocketMQ's `StoreStatsService` tells them.

use std::collections::VecDeque;

/// Milliseconds from one sample to the next, at least.
const EVERY: u64 = 1_000;
/// Milliseconds that each average is over.
const SPANS: [u64; 3] = [10_000, 60_000, 600_000];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// Messages that became durable.
    Stored,
    /// Messages that were given to consumers.
    Served,
    /// Pulls that found messages.
    Found,
    /// Pulls that found none.
    Missed,
}

/// All counts since the start.
pub(super) type Totals = [u64; 4];

/// The counts as they were in the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Counts and the ticks when they were taken, before anything was counted in that millisecond's step.
    samples: VecDeque<(u64, Totals)>,
}

impl Rates {
    /// Notes the counts, if it is time. To be called before anything is counted at `ticks`.
    pub(super) fn sample(&mut self, ticks: u64, totals: Totals) {
        if self.samples.back().is_some_and(|(at, _)| ticks < at + EVERY) {
            return;
        }
        self.samples.push_back((ticks, totals));
        while self.samples.get(1).is_some_and(|(at, _)| at + SPANS[2] <= ticks) {
            self.samples.pop_front();
        }
    }

    /// The averages a second of some counts together; of the time since the start, if that is shorter.
    pub(super) fn averages(&self, now: (u64, Totals), counts: &[Count]) -> String {
        SPANS.map(|span| format!("{:.2}", self.average(span, now, counts))).join(" ")
    }

    fn average(&self, span: u64, now: (u64, Totals), counts: &[Count]) -> f64 {
        let Some((first, _)) = self.samples.front() else { return 0.0 };
        let from = now.0.saturating_sub(span).max(*first);
        let grown: f64 =
            counts.iter().map(|count| now.1[*count as usize] as f64 - self.at(from, now, *count)).sum();
        grown * 1000.0 / (now.0 - from).max(EVERY) as f64
    }

    /// A count at a time that is not before the first sample. What was counted after a sample was counted within
    /// [`EVERY`] milliseconds, or there would be another one.
    fn at(&self, time: u64, now: (u64, Totals), count: Count) -> f64 {
        let next = self.samples.partition_point(|(at, _)| *at <= time);
        let Some((at, before)) = next.checked_sub(1).and_then(|i| self.samples.get(i)) else { return 0.0 };
        let (until, after) = self.samples.get(next).copied().unwrap_or(now);
        let span = EVERY.min(until - at).max(1);
        let share = (time - at).min(span) as f64 / span as f64;
        let (before, after) = (before[count as usize] as f64, after[count as usize] as f64);
        before + (after - before) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn averages(rates: &Rates, ticks: u64, stored: u64) -> String {
        rates.averages((ticks, [stored, 0, 0, 0]), &[Count::Stored])
    }

    /// Five a second, then none: the average falls as the time with them leaves its span.
    #[test]
    fn each_average_is_over_its_own_span() {
        let mut rates = Rates::default();
        for step in 0..=1_200 {
            rates.sample(step * 100, [step / 2, 0, 0, 0]);
        }
        assert_eq!(averages(&rates, 120_000, 600), "5.00 5.00 5.00", "of the two minutes since the start");
        // Nobody calls while nothing happens.
        assert_eq!(averages(&rates, 125_000, 600), "2.50 4.58 4.80");
        assert_eq!(averages(&rates, 600_000, 600), "0.00 0.00 1.00");
        rates.sample(1_000_000, [600, 0, 0, 0]);
        assert_eq!(averages(&rates, 1_000_000, 600), "0.00 0.00 0.00");
        assert_eq!(averages(&rates, 1_000_500, 630), "3.00 0.50 0.05");
        assert_eq!(rates.samples.len(), 2, "one is enough for what was before");
    }

    #[test]
    fn a_start_is_not_a_rush() {
        let mut rates = Rates::default();
        assert_eq!(averages(&rates, 0, 0), "0.00 0.00 0.00");
        rates.sample(7, [0; 4]);
        assert_eq!(averages(&rates, 8, 3), "3.00 3.00 3.00");
    }
}
