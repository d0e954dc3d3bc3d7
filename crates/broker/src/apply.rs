//! Makes committed entries visible and answers their senders: the one place from which an acknowledgement
//! leaves.

use std::collections::BTreeSet;

use steadfast_consensus::Committed;
use steadfast_store::log::{Kind, Mark};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::{KeyEntry, QueueName};

use steadfast_types::Timestamp;
use steadfast_types::topic::{AUTO_CREATE, DLQ_PREFIX, PERM_INHERIT, SCHEDULE};

use crate::broker::{Broker, Out, Phase, acknowledge};
use crate::control::Control;
use crate::io::{Effect, Now};
use crate::jump::Jump;
use crate::measures::Traffic;
use crate::pending::Applied;
use crate::state::TopicConfig;

impl Broker {
    /// A write is durable: what it made committed is applied, consumers are woken, senders answered.
    pub(crate) fn persisted(&mut self, now: Now, number: u64, mark: Mark, out: &mut Out<'_>) {
        if matches!(self.phase, Phase::Poisoned(_) | Phase::Stopped) {
            return;
        }
        self.group.persisted(number);
        let committed = self.group.drain().committed;
        let finished = self.in_flight.take();
        if self.phase == Phase::Starting {
            self.phase = Phase::Leading;
            self.register(out);
        }
        // The next write starts before the answers to this one are made: the disk does not wait for them.
        self.propose(now, out);
        let Some(finished) = finished else { return };
        debug_assert_eq!(finished.number, number);
        for entry in &committed {
            self.remember(entry);
        }
        self.applied = mark;
        let changes = self.apply_all(finished.applied, finished.store_time);
        if changes.topics {
            self.register(out);
        }
        for ack in finished.acks {
            acknowledge(ack, &self.options, out);
        }
        for queue in changes.queues {
            self.wake(now, &queue, out);
        }
        for jump in &changes.jumps {
            self.jumped(now, jump, out);
        }
        if changes.topics {
            self.unpark(now, out);
        }
        self.ask_again(now, out);
    }

    fn remember(&mut self, committed: &Committed) {
        self.applied_term = committed.entry.term;
        let segment = self.layout.base_of(committed.payload_at);
        self.state.segments.note(segment, committed.entry.store_time());
        let shown_already = sabotage::is(Sabotage::ReadableBeforeCommit);
        if committed.entry.kind == Kind::Batch && !shown_already {
            self.hot.push(committed.payload_at, committed.entry.payload.clone());
        }
    }

    /// Applies the records of an entry that was stored at `at`, in the order of the log. Recovery does the same.
    pub(crate) fn apply_all(&mut self, records: Vec<Applied>, at: Timestamp) -> Changes {
        let mut changes = Changes::default();
        for record in records {
            match record {
                Applied::Message { queue, offset, unit, keys, store_time, kind, dead_of } => {
                    let Some(state) = self.state.topics.queue_mut(&queue.topic, queue.queue_id) else {
                        // Stamped for a topic of which nothing is left; the log still has it.
                        continue;
                    };
                    assert_eq!(state.end, offset, "queue {queue}: the log and the queue must agree");
                    state.push(unit, store_time);
                    if let Some(kind) = kind {
                        let traffic = Traffic { messages: 1, bytes: unit.size.into() };
                        state.stored[kind as usize].add(traffic);
                        self.statistics.stored.add(traffic);
                    }
                    if let (Some(of), Some(group)) = (dead_of, queue.topic.strip_prefix(DLQ_PREFIX)) {
                        self.statistics.given_up(group, &of);
                    }
                    let is_awaited = !state.held.is_empty();
                    if *queue.topic == *SCHEDULE {
                        self.state.delays.stored(queue.queue_id, offset, unit.log_offset);
                    }
                    if is_awaited {
                        changes.queues.insert(queue);
                    }
                    for hash in keys {
                        let (log_offset, size, crc) = (unit.log_offset, unit.size, unit.crc);
                        self.keys.push(KeyEntry { hash, log_offset, size, crc });
                    }
                    self.stretch.messages += 1;
                }
                Applied::Control(control) => {
                    let outcome = self.state.apply(&control, at);
                    self.deliveries.committed(&control);
                    changes.topics |= outcome.topics;
                    changes.jumps.extend(outcome.jumps);
                    if let Control::Expire(expire) = control {
                        self.expired(&expire.segments);
                    }
                }
            }
        }
        changes
    }

    /// Tells the name servers which topics there are.
    pub(crate) fn register(&self, out: &mut Out<'_>) {
        let mut topics: Vec<_> = self.state.topics.iter().map(|topic| topic.config.clone()).collect();
        if self.options.auto_create_topic {
            // Producers ask for this topic's route when theirs has none.
            let queues = self.options.default_topic_queues;
            let template = TopicConfig::new(AUTO_CREATE, queues, queues);
            topics.push(TopicConfig { perm: template.perm | PERM_INHERIT, ..template });
        }
        for topic in &mut topics {
            topic.perm &= self.options.permission | PERM_INHERIT;
        }
        out(Effect::Register(topics));
    }
}

/// What applying changed, beyond the state itself.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Topics were made, changed or removed.
    pub(crate) topics: bool,
    /// Queues that got messages while pulls are held at them.
    pub(crate) queues: BTreeSet<QueueName>,
    /// Positions that jumped.
    pub(crate) jumps: Vec<Jump>,
}
