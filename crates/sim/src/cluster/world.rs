//! The run of a group: faults for a while, then everything is healed, must converge and go on.

mod end;
mod work;

use std::fmt;

use bytes::Bytes;
use steadfast_consensus::{ReplicaId, Write, decode};
use steadfast_store::log::{Entry, Mark};
use steadfast_types::LogOffset;

use super::checks::Checks;
use super::network::Network;
use super::plan::{ClusterAim, Plan};
use super::replica::{GROUP, Life, Process, Proposal, Replica};
use crate::brief::Brief;
use crate::clock::Micros;
use crate::disk::{Submitted, WindowId};
use crate::rng::Rng;
use crate::scheduler::Scheduler;
use crate::trace::{Keep, Trace};
use crate::watch::Gist;
use crate::world::Figures;

/// A tick of the groups.
const TICK: Micros = Micros::millis(10);
/// Records that are sent after everything is healed.
const LAST: u64 = 5;

/// Something that will happen.
pub(super) enum Event {
    Start(ReplicaId),
    Tick(ReplicaId, Life),
    Deliver(ReplicaId, Bytes),
    Wrote(ReplicaId, Life, WindowId, Box<Write>, Result<Mark, String>),
    Fetched(ReplicaId, Life, WindowId, u64, Option<Vec<(Entry, LogOffset)>>),
    Crash(ReplicaId, Life),
    Propose,
    Read,
    Strike,
    /// Partitions end.
    Join,
    Heal,
    Watch,
}

/// See the module's page.
pub(crate) struct World {
    pub(super) plan: Plan,
    pub(super) scheduler: Scheduler<Event>,
    pub(super) replicas: Vec<Replica>,
    pub(super) network: Network,
    pub(super) rng: Rng,
    pub(crate) trace: Trace,
    pub(super) checks: Checks,
    pub(crate) figures: Figures,
    last_number: u64,
    healed: Option<Micros>,
    /// Acknowledged before everything was healed.
    acked_before: u64,
    done: bool,
}

impl World {
    pub(crate) fn new(seed: u64, aim: ClusterAim, keep: Keep) -> Self {
        let plan = Plan::new(seed, aim);
        let mut scheduler = Scheduler::new(seed);
        for id in 1..=plan.replicas {
            scheduler.after(Micros::ZERO, Event::Start(id));
        }
        for first in [Event::Propose, Event::Read, Event::Watch] {
            scheduler.after(Micros::millis(1), first);
        }
        scheduler.after(Micros::millis(500), Event::Strike);
        scheduler.at(plan.healed_at, Event::Heal);
        Self {
            replicas: (1..=plan.replicas).map(|id| Replica::new(id, seed, &plan)).collect(),
            network: Network::new(Rng::stream(seed, "network"), &plan),
            rng: Rng::stream(seed, "cluster"),
            trace: Trace::new(keep),
            checks: Checks::default(),
            figures: Figures::default(),
            last_number: 0,
            healed: None,
            acked_before: 0,
            done: false,
            scheduler,
            plan,
        }
    }

    pub(crate) fn plan(&self) -> String {
        self.plan.to_string()
    }

    pub(crate) fn lasted(&self) -> Micros {
        self.scheduler.now()
    }

    pub(crate) fn find(&mut self, gist: Gist, sentence: String) {
        self.checks.find(gist, sentence);
    }

    pub(crate) fn findings(&self) -> &[crate::watch::Finding] {
        &self.checks.findings
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        while !self.done {
            let Some((_, event)) = self.scheduler.pop() else { break };
            self.event(event);
        }
        self.judge();
        let replicas = &self.replicas;
        replicas.iter().for_each(|replica| self.trace.digest(replica.disk.history()));
        let books = &mut self.checks.books;
        books.sent = self.last_number;
        books.unknown = books.sent - books.acked - books.refused;
        self.figures.books = self.checks.books;
    }

    pub(super) fn note(&mut self, part: &str, what: fmt::Arguments<'_>) {
        self.trace.event(self.scheduler.now(), part, what);
    }

    pub(super) fn count(&mut self, kind: &'static str) {
        *self.figures.faults.entry(kind).or_default() += 1;
    }

    pub(super) fn faulty(&self) -> bool {
        self.healed.is_none()
    }

    pub(super) fn replica(&mut self, id: ReplicaId) -> &mut Replica {
        &mut self.replicas[id as usize - 1]
    }

    fn event(&mut self, event: Event) {
        if let Some(until) = self.held_up(&event) {
            self.scheduler.at(until, event);
            return;
        }
        match event {
            Event::Start(id) => self.start(id),
            Event::Tick(id, life) => {
                if self.replica(id).life == life {
                    self.scheduler.after(TICK, Event::Tick(id, life));
                    self.with_process(id, |process| process.group.tick());
                }
            }
            Event::Deliver(id, bytes) => {
                let message = decode(GROUP, bytes).expect("what a replica sends is a message");
                self.note("net", format_args!("{} -> {id}: {}", message.from, Brief(&message)));
                self.with_process(id, |process| process.group.step(message));
            }
            Event::Wrote(id, life, window, write, result) => self.wrote(id, life, window, &write, result),
            Event::Fetched(id, life, window, number, entries) => {
                if self.replica(id).life == life {
                    self.replica(id).disk.settle(window);
                    self.with_process(id, |process| process.group.fetched(number, entries));
                }
            }
            Event::Crash(id, life) => {
                if self.replica(id).life == life && self.faulty() {
                    self.count("aimed crash");
                    self.crash(id, Some(true));
                }
            }
            Event::Propose => self.client_proposes(),
            Event::Read => self.client_reads(),
            Event::Strike if self.faulty() => self.strike(),
            Event::Join if self.faulty() => self.network.join(),
            Event::Strike | Event::Join => {}
            Event::Heal => self.heal(),
            Event::Watch => self.watch(),
        }
    }

    /// Until when the process that an event is for stands still.
    fn held_up(&self, event: &Event) -> Option<Micros> {
        let id = match event {
            Event::Tick(id, _) | Event::Deliver(id, _) => *id,
            Event::Wrote(id, ..) | Event::Fetched(id, ..) => *id,
            _ => return None,
        };
        let paused = self.replicas[id as usize - 1].paused;
        (paused > self.scheduler.now()).then_some(paused)
    }

    fn start(&mut self, id: ReplicaId) {
        let (plan, seed) = (self.plan.clone(), self.rng.next_u64());
        let replica = self.replica(id);
        if replica.process.is_some() {
            return;
        }
        replica.life += 1;
        let (life, strikes) = (replica.life, replica.disk.strikes());
        let found = replica.start(&plan, seed);
        let Submitted { window, latency, .. } = replica.disk.take_window();
        replica.disk.settle(window);
        let broken = replica.disk.strikes() > strikes;
        match found {
            Ok(found) => {
                self.figures.starts += 1;
                let (term, entries) = (found.vote.term, found.entries.len());
                self.note("world", format_args!("replica {id} starts in term {term} with {entries} entries"));
                self.checks.started(id, &found);
                self.scheduler.after(latency, Event::Tick(id, life));
                self.look_at_losses(id);
                self.work(id);
            }
            Err(cause) => {
                self.note("world", format_args!("replica {id} does not start: {cause}"));
                if !broken {
                    self.done = true;
                    self.checks.find(Gist::Start, format!("replica {id} does not start: {cause}"));
                }
                self.scheduler.after(Micros::millis(100), Event::Start(id));
            }
        }
    }

    /// A process is gone, and with it whoever waited.
    pub(super) fn abandon(&mut self, process: Process) {
        self.checks.books.refused += process.queue.len() as u64;
    }

    /// Whoever believes to lead; there may be several.
    fn some_leader(&mut self) -> Option<ReplicaId> {
        let now = self.scheduler.now();
        let leaders = self.replicas.iter().filter(|replica| replica.leads() && replica.paused <= now);
        let leaders: Vec<ReplicaId> = leaders.map(|replica| replica.id).collect();
        (!leaders.is_empty()).then(|| *self.rng.pick(&leaders))
    }

    fn client_proposes(&mut self) {
        let sent_at_last = self.healed.is_some() && self.checks.books.acked >= self.acked_before + LAST;
        if let Some(id) = self.some_leader().filter(|_| !sent_at_last) {
            self.last_number += 1;
            let (number, size) = (self.last_number, self.rng.within(self.plan.sizes.clone()) as usize);
            self.with_process(id, |process| process.queue.push(Proposal { number, size }));
        }
        let delay = Micros::new(self.rng.skewed(self.plan.propose_every.clone()));
        self.scheduler.after(delay, Event::Propose);
    }

    fn client_reads(&mut self) {
        let must_see = self.checks.read_begins();
        if let Some(id) = self.some_leader() {
            self.with_process(id, |process| {
                if let Ok(number) = process.group.read_index() {
                    process.reads.insert(number, must_see);
                }
            });
        }
        let delay = Micros::new(self.rng.skewed(self.plan.read_every.clone()));
        self.scheduler.after(delay, Event::Read);
    }
}
