//! Applies the log to a broker that does not serve yet.

use std::collections::{BTreeMap, VecDeque};

use steadfast_consensus::{Group, Vote};
use steadfast_store::checkpoint::Snapshot;
use steadfast_store::disk::Space;
use steadfast_store::log::{Head, Kind, Layout, Mark, Room, Scanned, segment_path};
use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::QueueName;
use steadfast_types::{LogIndex, LogOffset, QueueOffset, Term, Timestamp};

use super::OpenError;
use super::derive::{Derived, Fenced, derive};
use crate::broker::{Broker, Phase};
use crate::checkpoint::Stretch;
use crate::clock::Clock;
use crate::damage::Damage;
use crate::membership::Membership;
use crate::mending::Mending;
use crate::options::Options;
use crate::pending::{Applied, Pending};
use crate::preferred::Preference;
use crate::recent::{HotTail, RecentKeys};
use crate::retention::Retaining;
use crate::services::{
    Calls, Clients, Confirming, Deliveries, HeldPulls, LockHolders, Measuring, ProgressAnswers,
    ReadsUnderWay, Resets, Statistics, Statuses,
};
use crate::state::State;

/// A broker to which the log is applied.
pub(super) struct Replay {
    lenient: bool,
    pub(super) lost_changes: u64,
    pub(super) proven: u64,
    pub(super) broker: Broker,
    fenced: Vec<Fenced>,
    pub(super) error: Option<OpenError>,
    /// In a group of several.
    pub(super) window: Option<Window>,
}

/// The end of a log of several, which may not be committed: that is applied once a leader says so.
pub(super) struct Window {
    /// Highest index known to be committed.
    committed: LogIndex,
    /// Entries of which that is not known.
    open: VecDeque<Scanned>,
}

impl Window {
    /// Of a log that is known from outside of it to be committed so far.
    pub(super) fn new(committed: LogIndex) -> Self {
        Self { committed, open: VecDeque::new() }
    }
}

impl Replay {
    pub(super) fn new(
        options: &Options,
        layout: Layout,
        (snapshot, state): (Option<&Snapshot>, State),
        lenient: bool,
    ) -> Self {
        let state = if sabotage::is(Sabotage::QueueOffsetFromTail) { state.without_ends() } else { state };
        let mark = snapshot.map(|s| s.mark).unwrap_or_default();
        let runs = snapshot.map(|s| s.runs.clone()).unwrap_or_default();
        let broker = Broker {
            phase: Phase::Starting,
            state,
            group: Group::single(1, layout, Mark::default(), Term::ZERO, Vote::default()),
            membership: Membership::alone(),
            preference: Preference::default(),
            next_tick: None,
            is_complete: true,
            held_write: None,
            confirming: Confirming::default(),
            applied: mark,
            applied_term: snapshot.map(|s| s.term).unwrap_or_default(),
            store_time: snapshot.map(|s| s.store_time).unwrap_or_default(),
            room: Room { filled_to: LogOffset::ZERO, disk_full: false, space: Space { total: 0, free: 0 } },
            layout,
            retaining: Retaining::default(),
            damage: Damage::default(),
            mending: Mending::default(),
            identity: 0,
            pending: Pending::default(),
            in_flight: VecDeque::new(),
            parked: Vec::new(),
            waiting_queries: Vec::new(),
            hot: HotTail::new(options.hot_bytes),
            keys: RecentKeys::default(),
            stretch: Stretch::new(mark.end, runs),
            clients: Clients::default(),
            calls: Calls::default(),
            held: HeldPulls::default(),
            reads: ReadsUnderWay::default(),
            resets: Resets::default(),
            lock_holders: LockHolders::default(),
            progress_answers: ProgressAnswers::default(),
            statuses: Statuses::default(),
            statistics: Statistics::default(),
            measuring: Measuring::default(),
            deliveries: Deliveries::default(),
            clock: Clock::default(),
            next_queue: BTreeMap::new(),
            options: options.clone(),
        };
        Self { lenient, lost_changes: 0, proven: 0, broker, fenced: Vec::new(), error: None, window: None }
    }

    /// The next entry of the log.
    pub(super) fn found(&mut self, found: Scanned) {
        let Some(window) = &mut self.window else { return self.entry(found) };
        window.committed = window.committed.max(found.entry.commit());
        window.open.push_back(found);
        while let Some(window) = &mut self.window
            && let Some(found) = window.open.pop_front_if(|found| found.entry.index <= window.committed)
        {
            self.broker.applied = self.broker.applied.after(&found.entry, found.at());
            self.entry(found);
        }
    }

    /// An entry that is committed.
    fn entry(&mut self, found: Scanned) {
        if self.error.is_some() {
            return;
        }
        self.broker.note(&found.entry, found.payload_at);
        let index = found.entry.index;
        if let Err(error) = self.broker.members_changed(&found.entry) {
            self.error = Some(OpenError::Members { index, error });
        }
        if found.entry.kind != Kind::Batch {
            return;
        }
        match derive(&found) {
            Ok(Derived { lost: Some((at, _)), .. }) if !self.lenient => {
                self.error = Some(OpenError::Unidentified { index, at, repairable: true });
            }
            Ok(Derived { applied, fenced, store_time, lost }) => {
                self.lost_changes += lost.map_or(0, |(_, count)| count);
                self.broker.store_time = self.broker.store_time.max(store_time);
                self.proven += u64::from(found.head == Head::Proven);
                if found.damaged.is_empty() && !matches!(found.head, Head::Lost(_)) {
                    self.broker.hot.push(found.payload_at, found.entry.payload);
                }
                self.apply(index, applied, fenced, store_time);
            }
            Err(at) => self.error = Some(OpenError::Unidentified { index, at, repairable: false }),
        }
    }

    /// What a record says of itself counts only if it is what must come next.
    fn apply(&mut self, index: LogIndex, applied: Vec<Applied>, fenced: Vec<Fenced>, at: Timestamp) {
        let mut next: BTreeMap<&QueueName, QueueOffset> = BTreeMap::new();
        for record in &applied {
            let Applied::Message { queue, offset, unit, .. } = record else { continue };
            let expected = match self.broker.state.topics.queue_mut(&queue.topic, queue.queue_id) {
                Some(known) => Some(next.entry(queue).or_insert(known.end)),
                // A queue that never was: it is the name that is damaged.
                None if fenced.iter().any(|fenced| fenced.unit == *unit) => None,
                None => continue,
            };
            let Some(expected) = expected.filter(|expected| **expected == *offset) else {
                let at = unit.log_offset;
                self.error = Some(OpenError::Unidentified { index, at, repairable: false });
                return;
            };
            *expected = expected.next();
        }
        self.broker.apply_all(applied, at);
        for Fenced { queue, offset, unit } in &fenced {
            if let Some(queue) = self.broker.state.topics.queue_mut(&queue.topic, queue.queue_id) {
                queue.fence(*offset, *unit);
            }
        }
        self.fenced.extend(fenced);
    }

    /// Damage that was met, but for the messages that a later record gave up.
    pub(super) fn warnings(&self) -> Vec<String> {
        let holes = self.broker.holes();
        let stop = self.fenced.iter().filter(|fenced| !holes.contains(&fenced.unit.log_offset));
        let tell = |Fenced { queue, offset, unit }: &Fenced| {
            let (at, file) = (unit.log_offset, segment_path(self.broker.layout.base_of(unit.log_offset)));
            format!(
                "the message at offset {offset} of queue {queue} (log offset {at} in {file}) is damaged; its consumers stop there"
            )
        };
        stop.map(tell).collect()
    }
}
