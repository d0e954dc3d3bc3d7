//! The order of events: a virtual clock and a queue. Events at the same time come in an order that the seed
//! decides, so that no code can rely on one.

use std::collections::BTreeMap;

use crate::clock::Micros;
use crate::rng::Rng;

/// Names a planned event, so that it can be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    at: Micros,
    tie: u64,
    number: u64,
}

/// Plans events and hands them out in the order of time.
#[derive(Debug)]
pub struct Scheduler<E> {
    now: Micros,
    planned: BTreeMap<EventId, E>,
    ties: Rng,
    number: u64,
}

impl<E> Scheduler<E> {
    /// A clock at zero with nothing planned.
    pub fn new(seed: u64) -> Self {
        Self { now: Micros::ZERO, planned: BTreeMap::new(), ties: Rng::stream(seed, "scheduler"), number: 0 }
    }

    /// The time of the last event handed out.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Plans an event; a time in the past means now.
    pub fn at(&mut self, at: Micros, event: E) -> EventId {
        self.number += 1;
        let id = EventId { at: at.max(self.now), tie: self.ties.next_u64(), number: self.number };
        self.planned.insert(id, event);
        id
    }

    /// Plans an event for later.
    pub fn after(&mut self, delay: Micros, event: E) -> EventId {
        self.at(self.now + delay, event)
    }

    /// Takes back an event; None if it is past.
    pub fn cancel(&mut self, id: EventId) -> Option<E> {
        self.planned.remove(&id)
    }

    /// Moves the clock to the next event and hands it out; None if nothing is planned.
    pub fn pop(&mut self) -> Option<(Micros, E)> {
        let (id, event) = self.planned.pop_first()?;
        self.now = id.at;
        Some((id.at, event))
    }

    /// Like [`Scheduler::pop`], but leaves events after `end` alone and then moves the clock to `end`.
    pub fn pop_until(&mut self, end: Micros) -> Option<(Micros, E)> {
        if self.planned.first_key_value().is_some_and(|(id, _)| id.at <= end) {
            return self.pop();
        }
        self.now = self.now.max(end);
        None
    }

    /// Takes back all events that `drop` says are void, as those of a machine that crashed.
    pub fn cancel_if(&mut self, mut drop: impl FnMut(&E) -> bool) {
        self.planned.retain(|_, event| !drop(event));
    }

    /// How many events are planned.
    pub fn len(&self) -> usize {
        self.planned.len()
    }

    /// Whether nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<u32> {
        let mut scheduler = Scheduler::new(seed);
        for event in 0..20 {
            scheduler.at(Micros::new(u64::from(event) / 10), event);
        }
        std::iter::from_fn(|| scheduler.pop()).map(|(_, event)| event).collect()
    }

    #[test]
    fn time_orders_and_the_seed_breaks_ties() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut early = order(1);
        let late = early.split_off(10);
        assert!(early.iter().all(|event| *event < 10) && late.iter().all(|event| *event >= 10));
    }

    #[test]
    fn the_clock_follows_events_and_the_past_is_now() {
        let mut scheduler = Scheduler::new(1);
        scheduler.after(Micros::millis(5), "a");
        assert_eq!(scheduler.pop(), Some((Micros::millis(5), "a")));
        scheduler.at(Micros::millis(1), "b");
        assert_eq!(scheduler.pop(), Some((Micros::millis(5), "b")));
        scheduler.after(Micros::millis(5), "c");
        assert_eq!(scheduler.pop_until(Micros::millis(9)), None);
        assert_eq!(scheduler.now(), Micros::millis(9));
        assert_eq!(scheduler.pop_until(Micros::millis(10)), Some((Micros::millis(10), "c")));
    }

    #[test]
    fn cancelled_events_do_not_come() {
        let mut scheduler = Scheduler::new(1);
        let a = scheduler.after(Micros::new(1), 1);
        for event in [2, 3, 4] {
            scheduler.after(Micros::new(1), event);
        }
        assert_eq!(scheduler.cancel(a), Some(1));
        assert_eq!(scheduler.cancel(a), None);
        scheduler.cancel_if(|event| *event != 3);
        assert_eq!(scheduler.pop(), Some((Micros::new(1), 3)));
        assert!(scheduler.is_empty());
    }
}
