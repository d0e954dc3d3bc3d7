//! A run: one server and its clients on a virtual disk, network and clock, with faults, then without.
//!
//! ```text
//! phase     clients                              faults                 ends when
//! Faults    produce, consume, look up, delete    strike as planned      enough operations were made
//! Draining  finish what they began, catch up     healed, one restart    nobody has anything left to do
//! Audit     one reads everything there is        none                   it is done: the ledger is checked
//! ```

mod damage;
mod repair;
mod strike;

use std::collections::BTreeMap;

use damage::Damages;
use steadfast_audit::Books;
use steadfast_broker::recovery::{self, OpenError, Opened};
use steadfast_types::LogOffset;

use crate::client::Crowd;
use crate::clock::Micros;
use crate::disk::{Submitted, VirtualDisk};
use crate::event::{Event, Life, NodeEvent};
use crate::node::Node;
use crate::plan::{self, Aim, Crash, Fault, Plan};
use crate::rng::Rng;
use crate::stage::{Phase, SERVER, Stage};
use crate::trace::Keep;
use crate::watch::{Gist, Watch};

/// Nothing may take longer than this once all is healed, and no request may go unanswered for longer.
const PATIENCE: Micros = Micros::secs(90);
/// The faults' phase ends by then, whatever the clients did.
const FAULTS_END: Micros = Micros::secs(1_200);
/// How often somebody looks.
const WATCH_EVERY: Micros = Micros::millis(250);

/// See the module's page.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) plan: Plan,
    pub(crate) disk: VirtualDisk,
    pub(crate) figures: Figures,
    node: Option<Node>,
    /// A process that is starting.
    opening: Option<(Life, Opened<VirtualDisk>)>,
    clients: Crowd,
    rng: Rng,
    /// Of the operator who repairs: what else a seed decides does not depend on it.
    repairs: Rng,
    lives: Life,
    /// Crashes still to come while the process starts.
    crashes_at_start: Option<Crash>,
    /// A crash that waits for the log to be written, but not for ever.
    crash_when_writing: Option<(Micros, Crash)>,
    /// Starts in a row that failed.
    failed_starts: u32,
    damages: Damages,
    /// Log offset before which damage can be told from a torn tail.
    decidable: LogOffset,
    next_fault: usize,
    healed_at: Micros,
    /// Faults that had struck the disk before the process was started.
    strikes: u64,
    done: bool,
}

/// What a run amounted to.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Starts of the process that succeeded.
    pub starts: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The ledger's sums.
    pub books: Books,
}

impl Figures {
    fn count(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }
}

impl World {
    pub(crate) fn new(seed: u64, aim: Aim, keep: Keep) -> Self {
        let plan = Plan::new(seed, aim);
        let mut stage = Stage::new(seed, plan.network.clone(), keep);
        stage.watch = Watch::new(&plan.workload);
        let disk = VirtualDisk::new(Rng::stream(seed, "disk"));
        disk.defer();
        disk.set_latency(plan.disk.clone());
        let clients = Crowd::new(seed, &plan, &mut stage);
        stage.scheduler.after(Micros::ZERO, Event::Start);
        stage.scheduler.after(WATCH_EVERY, Event::Watch);
        if let Some((at, crash)) = &plan.first_start {
            stage.scheduler.at(*at, Event::Crash(None, crash.clone()));
        }
        Self {
            stage,
            disk,
            plan,
            figures: Figures::default(),
            node: None,
            opening: None,
            clients,
            rng: Rng::stream(seed, "world"),
            repairs: Rng::stream(seed, "repairs"),
            lives: 0,
            crashes_at_start: None,
            crash_when_writing: None,
            failed_starts: 0,
            damages: Damages::default(),
            decidable: LogOffset::ZERO,
            next_fault: 0,
            healed_at: Micros::ZERO,
            strikes: 0,
            done: false,
        }
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        while !self.done {
            let Some((_, event)) = self.stage.scheduler.pop() else {
                return self.stage.watch.find(Gist::Stuck, "nothing is planned any more".to_owned());
            };
            self.event(event);
            self.crash_if_writing();
            if self.stage.phase == Phase::Faults {
                self.strike_due();
            }
        }
        self.stage.trace.digest(self.disk.history());
        self.judge();
    }

    fn event(&mut self, event: Event) {
        let Some(event) = self.clients.event(event, &mut self.stage) else { return };
        match event {
            Event::Request(conn, bytes) => {
                if let Some(node) = self.node.as_mut().filter(|_| self.stage.is_connected(conn)) {
                    node.request(conn, bytes, &mut self.stage);
                }
            }
            Event::HungUp(_, conn) => {
                if let Some(node) = &mut self.node {
                    node.hung_up(conn, &mut self.stage);
                }
            }
            Event::Start => self.start(),
            Event::Node(life, NodeEvent::Opened(window)) => self.opened(life, window),
            Event::Node(life, NodeEvent::Exit) => self.exit(life),
            Event::Node(life, event) => {
                if let Some(node) = self.node.as_mut().filter(|node| node.life() == life) {
                    let sane = !node.poisoned;
                    node.event(event, &mut self.stage);
                    self.decidable = self.decidable.max(node.last_batch);
                    if sane && node.poisoned {
                        self.poisoned(life);
                    }
                }
            }
            Event::Strike(fault) => self.strike(&fault),
            Event::Crash(life, crash) => self.crash(life, &crash),
            Event::HealDisk => self.disk.heal(),
            Event::FreeDisk => self.disk.set_capacity(u64::MAX),
            Event::Watch => self.watch(),
            Event::Response(..) | Event::Failed(_) | Event::TimedOut(_) | Event::Wake(_) => {}
            // There is one server.
            Event::Group(_) => {}
        }
    }

    /// The process is started: it recovers.
    fn start(&mut self) {
        if self.node.is_some() || self.opening.is_some() {
            return;
        }
        self.lives += 1;
        self.strikes = self.disk.strikes();
        let life = self.lives;
        let group = 0x5EED_0000_0000_0000 | u64::from(life);
        let mut options = self.plan.options.clone();
        if self.stage.phase != Phase::Faults {
            // What is read in the end must not go meanwhile.
            options.retention = plan::nothing_goes();
            self.damages.repair(&self.disk);
        }
        let opened = recovery::open(self.disk.clone(), &options, group);
        let Submitted { window, latency, .. } = self.disk.take_window();
        match opened {
            Ok(opened) => {
                self.failed_starts = 0;
                self.stage.note("node", format_args!("life {life} starts: {}", opened.report));
                for warning in &opened.report.warnings {
                    self.stage.note("node", format_args!("warning: {warning}"));
                }
                self.opening = Some((life, opened));
                self.stage.scheduler.after(latency, Event::Node(life, NodeEvent::Opened(window)));
                if let Some(crash) = self.crashes_at_start.take() {
                    // Often within the recovery, at times just after it.
                    let at = Micros::new(self.rng.below(latency.get() * 5 / 4 + 1));
                    self.stage.scheduler.after(at, Event::Crash(Some(life), crash));
                }
            }
            Err(error) => {
                self.disk.settle(window);
                self.not_started(&error);
            }
        }
    }

    /// A start may fail for a broken disk or damaged data, and for nothing else.
    fn not_started(&mut self, error: &OpenError) {
        self.failed_starts += 1;
        self.stage.note("node", format_args!("does not start: {error}"));
        self.figures.count("failed start");
        let struck = self.disk.strikes() != self.strikes;
        let damaged = self.damages.excuse_refusal();
        let excused = struck || damaged;
        if !excused {
            let text = format!("the server does not start, though nothing is damaged: {error}");
            self.stage.watch.find(Gist::Start, text);
            self.done = true;
        }
        if damaged && self.stage.phase == Phase::Faults && self.repairs.percent(60) {
            self.repair_offline();
        }
        // In the end somebody replaces the disk's cable, or restores the file from a copy.
        if self.failed_starts >= 3 {
            self.disk.heal();
            self.damages.repair(&self.disk);
        }
        self.stage.scheduler.after(Micros::millis(200), Event::Start);
    }

    fn opened(&mut self, life: Life, window: crate::disk::WindowId) {
        let Some((_, opened)) = self.opening.take_if(|(of, _)| *of == life) else { return };
        self.disk.settle(window);
        self.figures.starts += 1;
        self.stage.starts.push(opened.report.end.get());
        let rng = self.rng.split();
        let mut node = Node::new(life, opened, self.disk.clone(), &self.plan, rng);
        self.stage.open_door(SERVER);
        node.begin(&mut self.stage);
        self.node = Some(node);
    }

    /// The process has stopped cleanly.
    fn exit(&mut self, life: Life) {
        if self.node.as_ref().is_some_and(|node| node.life() == life) {
            self.stage.note("node", format_args!("life {life} ends"));
            self.end_process(false);
            let down = Micros::millis(self.rng.skewed(1..500));
            self.stage.scheduler.after(down, Event::Start);
        }
    }

    /// The group takes no more writes: somebody restarts the process after a while.
    fn poisoned(&mut self, life: Life) {
        self.figures.count("poisoned");
        let delay = Micros::millis(self.rng.skewed(10..5_000));
        let crash = Crash { power: false, writing: false, again: 0, down: Micros::millis(50) };
        self.stage.scheduler.after(delay, Event::Crash(Some(life), crash));
    }

    fn watch(&mut self) {
        let now = self.stage.now();
        if let Some(node) = &self.node
            && let Some(((conn, opaque), since)) = node.unanswered.iter().min_by_key(|(_, since)| **since)
            && *since + PATIENCE < now
        {
            let text = format!("request {opaque} of connection {conn} has had no answer since {since}");
            self.stage.watch.find(Gist::Stuck, text);
            self.done = true;
        }
        match self.stage.phase {
            Phase::Faults if now >= FAULTS_END => self.heal(),
            Phase::Faults => {}
            Phase::Draining if self.is_drained() => self.clients.begin_audit(&self.plan, &mut self.stage),
            Phase::Draining if self.healed_at + PATIENCE < now => {
                let left = self.clients.unfinished();
                let text = format!("{PATIENCE} after everything was healed: {}", left.join("; "));
                self.stage.watch.find(Gist::Stuck, text);
                self.done = true;
            }
            Phase::Draining => {}
            Phase::Audit => self.done |= self.clients.is_audited(),
        }
        self.stage.scheduler.after(WATCH_EVERY, Event::Watch);
    }

    /// The faults are over.
    fn heal(&mut self) {
        self.stage.note("world", format_args!("everything is healed"));
        self.stage.phase = Phase::Draining;
        self.healed_at = self.stage.now();
        self.disk.heal();
        self.disk.set_capacity(u64::MAX);
        self.crashes_at_start = None;
        let damaged = self.damages.restore(&self.disk);
        match self.plan.last_restart.clone() {
            Some(fault) => self.strike(&fault),
            // What is in memory of the damage goes with the process, and so does retention.
            None if damaged || self.plan.workload.retaining => {
                self.strike(&Fault::Stop { down: Micros::millis(1) })
            }
            None => {}
        }
    }

    fn is_drained(&self) -> bool {
        self.node.as_ref().is_some_and(|node| !node.poisoned) && self.clients.unfinished().is_empty()
    }

    /// Compares what everybody was told with what there is.
    fn judge(&mut self) {
        if let Some(books) = self.clients.judge(&self.plan, &mut self.stage) {
            self.figures.books = books;
        }
    }
}
