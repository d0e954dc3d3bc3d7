//! Pulls that wait for a message (RocketMQ's long polling). They are woken after the commit of a message that
//! their filter matches, never before.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_store::unit::QueueName;
use steadfast_types::{QueueId, QueueOffset};
use steadfast_wire::code::response;

use super::Answer;
use super::pull::outcome;
use crate::broker::{Broker, Out, Phase, STOPPING, reply};
use crate::filter::TagFilter;
use crate::io::{ConnId, Now, Origin};
use crate::reply::Reply;
use crate::request::{PullRequest, Request};
use crate::state::State;

/// A pull that waits.
#[derive(Debug)]
struct Held {
    origin: Origin,
    pull: PullRequest,
    filter: TagFilter,
    deadline: u64,
}

/// All pulls that wait. Each queue lists the numbers of its own.
#[derive(Debug, Default)]
pub(crate) struct HeldPulls {
    next: u64,
    by_number: BTreeMap<u64, Held>,
    by_deadline: BTreeSet<(u64, u64)>,
}

impl HeldPulls {
    /// Ticks at which the first of them has waited long enough.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Takes one that its queue does not list any more.
    fn take(&mut self, number: u64) -> Option<Held> {
        let held = self.by_number.remove(&number)?;
        self.by_deadline.remove(&(held.deadline, number));
        Some(held)
    }

    fn remove(&mut self, number: u64, state: &mut State) -> Option<Held> {
        let held = self.take(number)?;
        if let Some(id) = held.pull.queue.id()
            && let Some(queue) = state.topics.queue_mut(&held.pull.queue.topic, id)
        {
            queue.held.retain(|n| *n != number);
        }
        Some(held)
    }

    /// Forgets the pulls of a connection that is gone.
    pub(crate) fn drop_connection(&mut self, conn: ConnId, state: &mut State) {
        let gone: Vec<u64> =
            self.by_number.iter().filter(|(_, held)| held.origin.conn == conn).map(|(n, _)| *n).collect();
        for number in gone {
            self.remove(number, state);
        }
    }
}

impl Broker {
    /// There is nothing yet: the pull waits, unless the broker stops.
    pub(super) fn hold(&mut self, now: Now, origin: Origin, pull: PullRequest, filter: TagFilter) -> Answer {
        if matches!(self.phase, Phase::Stopping | Phase::Stopped) {
            return Err(Reply::error(response::SERVICE_NOT_AVAILABLE, STOPPING));
        }
        // Nobody would get the answer.
        if origin.oneway {
            return Ok(None);
        }
        let number = self.held.next;
        self.held.next += 1;
        let origin = Origin { held: true, ..origin };
        let deadline = now.ticks + pull.hold;
        if let Some(id) = pull.queue.id()
            && let Some(queue) = self.state.topics.queue_mut(&pull.queue.topic, id)
        {
            queue.held.push(number);
        }
        self.held.by_deadline.insert((deadline, number));
        self.held.by_number.insert(number, Held { origin, pull, filter, deadline });
        Ok(None)
    }

    /// Messages were committed to a queue: answers those whose filter matches one of them.
    pub(crate) fn wake(&mut self, now: Now, name: &QueueName, out: &mut Out<'_>) {
        let Some(queue) = self.state.topics.queue_mut(&name.topic, name.queue_id) else { return };
        let held = std::mem::take(&mut queue.held);
        let (ready, waiting) = held.into_iter().partition::<Vec<u64>, _>(|number| {
            let Some(held) = self.held.by_number.get(number) else { return false };
            let from = QueueOffset::new(held.pull.offset.max(0) as u64);
            from < queue.recent_from() || queue.units_from(from).any(|u| held.filter.matches(u.tag))
        });
        queue.held = waiting;
        self.pull_again(now, ready, out);
    }

    /// A group's position in a queue was reset: its pulls there are answered with the new one.
    pub(super) fn wake_group(&mut self, now: Now, group: &str, topic: &str, id: QueueId, out: &mut Out<'_>) {
        let Some(queue) = self.state.topics.queue_mut(topic, id) else { return };
        let held = std::mem::take(&mut queue.held);
        let (ready, waiting) = held.into_iter().partition::<Vec<u64>, _>(|number| {
            self.held.by_number.get(number).is_some_and(|held| held.pull.group == group)
        });
        queue.held = waiting;
        self.pull_again(now, ready, out);
    }

    /// Asks again for pulls that their queue does not list any more.
    fn pull_again(&mut self, now: Now, numbers: Vec<u64>, out: &mut Out<'_>) {
        for number in numbers {
            if let Some(held) = self.held.take(number) {
                // Asked again without its commit, which was taken the first time. What is left of its time
                // goes with it: a filter may match by hash and still leave nothing.
                let hold = held.deadline.saturating_sub(now.ticks);
                let pull = PullRequest { commit: None, hold, filter: Some(held.filter), ..held.pull };
                self.request(now, held.origin, Request::Pull(Box::new(pull)), out);
            }
        }
    }

    /// Nothing will come any more: the broker stops, or another replica leads. Some clients (Java 4.9) do not notice that a connection was closed until
    /// their pull times out, half a minute later; an error lets them pull again after some seconds, wherever the route
    /// leads by then.
    pub(crate) fn release_held(&mut self, cause: &str, out: &mut Out<'_>) {
        while let Some((_, number)) = self.held.by_deadline.first().copied() {
            let Some(held) = self.held.remove(number, &mut self.state) else { return };
            reply(held.origin, Reply::error(response::SERVICE_NOT_AVAILABLE, cause.to_owned()), out);
        }
    }

    /// Answers the pulls that have waited long enough.
    pub(crate) fn expire_held(&mut self, now: Now, out: &mut Out<'_>) {
        while let Some((deadline, number)) = self.held.by_deadline.first().copied() {
            if deadline > now.ticks {
                return;
            }
            let Some(held) = self.held.remove(number, &mut self.state) else { continue };
            let next = QueueOffset::new(held.pull.offset.max(0) as u64);
            let answer = match self.known_queue(&held.pull.queue) {
                Ok(queue) => {
                    outcome(response::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", next, queue.min, queue.end)
                }
                Err(gone) => gone,
            };
            reply(held.origin, answer, out);
        }
    }
}
