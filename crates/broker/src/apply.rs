//! Makes committed entries visible and answers their senders: the one place from which an acknowledgement
//! leaves.

use std::collections::BTreeSet;

use steadfast_consensus::Committed;
use steadfast_store::log::{Entry, Head, Kind, Mark, Scanned};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::{KeyEntry, QueueName};

use steadfast_types::topic::{AUTO_CREATE, DLQ_PREFIX, PERM_INHERIT, SCHEDULE};
use steadfast_types::{LogOffset, Timestamp};

use crate::broker::{Broker, Out, Phase, acknowledge};
use crate::control::Control;
use crate::io::{Effect, Now};
use crate::jump::Jump;
use crate::measures::Traffic;
use crate::pending::{Ack, Applied, InFlight};
use crate::recovery::{Derived, derive};
use crate::state::TopicConfig;

impl Broker {
    /// A write is durable, and the log ends at the mark.
    pub(crate) fn persisted(&mut self, now: Now, number: u64, mark: Mark, out: &mut Out<'_>) {
        if self.takes_part() {
            self.group.persisted(number);
            self.advance(now, out);
            debug_assert!(!self.membership.is_alone() || self.applied == mark, "what is durable is applied");
        }
    }

    /// Applies committed entries: consumers are woken, senders answered.
    pub(crate) fn apply(&mut self, now: Now, committed: &[Committed], out: &mut Out<'_>) {
        for entry in committed {
            if let Err(error) = self.members_changed(&entry.entry) {
                return self.poison(&format!("entry {}: {error}", entry.entry.index), out);
            }
            if let Err(at) = self.apply_entry(now, entry, out) {
                let index = entry.entry.index;
                let cause = format!(
                    "the record at log offset {at} in entry {index}, which is committed, cannot be read"
                );
                return self.poison(&cause, out);
            }
        }
    }

    /// Applies one. Where it was proposed what it does is known already; elsewhere that is derived from its bytes.
    fn apply_entry(&mut self, now: Now, committed: &Committed, out: &mut Out<'_>) -> Result<(), LogOffset> {
        let entry = &committed.entry;
        let (index, term) = (entry.index, entry.term);
        let proposed = self.in_flight.pop_front_if(|in_flight| in_flight.index <= index);
        let (proposed, other) = match proposed {
            Some(proposed) if (proposed.index, proposed.term) == (index, term) => (Some(proposed), None),
            other => (None, other),
        };
        debug_assert!(other.is_none(), "who does not lead any more has nothing in flight");
        let (applied, acks, store_time) = match proposed {
            Some(InFlight { applied, acks, store_time, .. }) => (applied, acks, store_time),
            None if entry.kind != Kind::Batch => (Vec::new(), Vec::new(), Timestamp::ZERO),
            None => {
                let Derived { applied, store_time, .. } = derive(&scanned(committed))?;
                (applied, Vec::new(), store_time)
            }
        };
        self.remember(committed);
        self.store_time = self.store_time.max(store_time);
        let changes = self.apply_all(applied, store_time);
        if self.phase == Phase::Starting && self.group.is_leader() && term == self.group.term() {
            self.begin_to_lead(now, out);
        }
        self.tell(now, changes, acks, out);
        Ok(())
    }

    fn tell(&mut self, now: Now, changes: Changes, acks: Vec<Ack>, out: &mut Out<'_>) {
        if changes.topics && self.leads() {
            self.register(out);
        }
        for ack in acks {
            acknowledge(ack, &self.options, out);
        }
        for queue in changes.queues {
            self.wake(now, &queue, out);
        }
        if self.leads() {
            changes.jumps.iter().for_each(|jump| self.jumped(now, jump, out));
        }
        if changes.topics {
            self.unpark(now, out);
        }
        self.ask_again(now, out);
    }

    /// The log goes on with this entry.
    pub(crate) fn note(&mut self, entry: &Entry, payload_at: LogOffset) {
        self.applied_term = entry.term;
        self.state.terms.note(entry.index, entry.term);
        self.state.segments.note(self.layout.base_of(payload_at), entry.store_time());
    }

    fn remember(&mut self, committed: &Committed) {
        let entry = &committed.entry;
        self.applied = self.applied.after(entry, committed.at());
        self.note(entry, committed.payload_at);
        let shown_already = sabotage::is(Sabotage::ReadableBeforeCommit);
        if entry.kind == Kind::Batch && !shown_already {
            self.hot.push(committed.payload_at, entry.payload.clone());
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

/// An entry as recovery finds it. What replicas send each other is verified.
fn scanned(Committed { entry, payload_at, .. }: &Committed) -> Scanned {
    Scanned { entry: entry.clone(), payload_at: *payload_at, damaged: Vec::new(), head: Head::Verified }
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
