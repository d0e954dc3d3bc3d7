//! A group of whole brokers: each the production broker with its group, log writer, filler, readers and checkpoints on a disk
//! of its own. Between them is the network of [`super`], around them are the clients of a single server's world, who look
//! for the leader as name servers tell it, and at times elsewhere.
//!
//! ```text
//! phase     clients                                  faults                    ends when
//! Faults    as with one server                       as planned for a group    the plan says so
//! Draining  finish what they began, catch up         healed, all are up        nobody has anything left to do, all replicas
//!                                                                              are in one state, and one of them, whoever
//!                                                                              led before, leads
//! Audit     one reads everything there is from it    none                      it is done: the ledger is checked
//! ```

mod damage;
mod faults;
mod machine;
mod plan;
mod states;

use std::collections::BTreeSet;
use std::fmt;

use bytes::BytesMut;
use steadfast_broker::io::Input;
use steadfast_consensus::{Message, ReplicaId, Role, decode, encode};
use steadfast_store::log::Layout;

use self::damage::Struck;
use self::machine::Machine;
use self::plan::Plan;
use self::states::States;
use super::network::Network;
use super::plan::ClusterAim;
use super::replica::GROUP;
use crate::client::Crowd;
use crate::clock::Micros;
use crate::disk::WindowId;
use crate::event::{Event, GroupEvent, Life, NodeEvent};
use crate::rng::Rng;
use crate::stage::{Phase, Stage};
use crate::trace::Keep;
use crate::watch::{Gist, Watch};
use crate::world::Figures;

/// Once all is healed, everything must be done by then, and no request may go unanswered for longer.
const PATIENCE: Micros = Micros::secs(90);
/// How often somebody looks.
const WATCH_EVERY: Micros = Micros::millis(100);

/// See the module's page.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) figures: Figures,
    plan: Plan,
    machines: Vec<Machine>,
    network: Network,
    clients: Crowd,
    states: States,
    rng: Rng,
    lives: Life,
    /// Since when what is waited for could be there.
    waiting_since: Micros,
    /// Who shall lead in the end.
    last_leader: ReplicaId,
    /// Whose log is not damaged.
    keeper: ReplicaId,
    /// Segments that were damaged and that nobody has seen repaired.
    struck: BTreeSet<Struck>,
    layout: Layout,
    done: bool,
}

impl World {
    pub(crate) fn new(seed: u64, aim: ClusterAim, keep: Keep) -> Self {
        let plan = Plan::new(seed, aim);
        let Plan { group, broker, .. } = &plan;
        let mut stage = Stage::new(seed, broker.network.clone(), keep);
        stage.watch = Watch::new(&broker.workload).of_a_group();
        stage.set_servers(group.replicas);
        stage.impatient = aim == ClusterAim::Reads;
        let clients = Crowd::new(seed, broker, &mut stage);
        let mut rng = Rng::stream(seed, "brokers");
        let machines: Vec<Machine> = (1..=group.replicas).map(|id| Machine::new(id, seed, &plan)).collect();
        for id in 1..=group.replicas {
            stage.scheduler.after(Micros::ZERO, Event::Group(GroupEvent::Start(id)));
        }
        stage.scheduler.after(Micros::millis(500), Event::Group(GroupEvent::Strike));
        stage.scheduler.after(WATCH_EVERY, Event::Watch);
        Self {
            network: Network::new(Rng::stream(seed, "group network"), group),
            last_leader: rng.within(1..group.replicas + 1),
            keeper: rng.within(1..group.replicas + 1),
            struck: BTreeSet::new(),
            layout: Layout { segment_size: plan.broker.options.segment_size },
            figures: Figures::default(),
            states: States::default(),
            lives: 0,
            waiting_since: Micros::ZERO,
            done: false,
            stage,
            plan,
            machines,
            clients,
            rng,
        }
    }

    /// What the seed decided.
    pub(crate) fn plan(&self) -> &impl fmt::Display {
        &self.plan
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        while !self.done {
            let Some((_, event)) = self.stage.scheduler.pop() else { break };
            if let Some(until) = self.held_up(&event) {
                self.stage.scheduler.at(until, event);
            } else if let Some(event) = self.clients.event(event, &mut self.stage) {
                self.event(event);
            }
        }
        let disks = self.machines.iter().map(|machine| machine.disk.history());
        disks.for_each(|history| self.stage.trace.digest(history));
        if let Some(books) = self.clients.judge(&self.plan.broker, &mut self.stage) {
            self.figures.books = books;
        }
    }

    fn machine(&mut self, id: ReplicaId) -> &mut Machine {
        &mut self.machines[id as usize - 1]
    }

    /// Whose process this is.
    fn who_lives(&self, life: Life) -> Option<ReplicaId> {
        self.machines.iter().find(|machine| machine.life == life).map(|machine| machine.id)
    }

    /// Until when the process that an event is for stands still.
    fn held_up(&self, event: &Event) -> Option<Micros> {
        let id = match event {
            Event::Request(conn, _) => self.stage.server_of(*conn),
            Event::Node(life, _) => self.who_lives(*life),
            Event::Group(GroupEvent::Deliver(id, _)) => Some(*id),
            _ => None,
        };
        let paused = self.machines[id? as usize - 1].paused;
        (paused > self.stage.now()).then_some(paused)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Request(conn, bytes) => {
                if let Some(id) = self.stage.server_of(conn)
                    && let Some(node) = &mut self.machines[id as usize - 1].node
                {
                    node.request(conn, bytes, &mut self.stage);
                }
            }
            Event::HungUp(id, conn) => {
                if let Some(node) = &mut self.machines[id as usize - 1].node {
                    node.hung_up(conn, &mut self.stage);
                }
            }
            Event::Node(life, NodeEvent::Opened(window)) => self.opened(life, window),
            Event::Node(life, event) => self.node_event(life, event),
            Event::Group(GroupEvent::Start(id)) => self.start(id),
            Event::Group(GroupEvent::Deliver(id, bytes)) => {
                if let Some(node) = &mut self.machines[id as usize - 1].node {
                    let message = decode(GROUP, bytes).expect("what a replica sends is a message");
                    node.input(Input::Message(message), &mut self.stage);
                }
            }
            Event::Group(GroupEvent::Crash(id, life)) if self.machine(id).life == life => {
                self.crash(id, Some(true));
            }
            Event::Group(GroupEvent::Strike) => self.strike(),
            Event::Group(GroupEvent::Stop(id)) => self.stop(id),
            Event::Group(GroupEvent::FreeDisk(id)) => self.machine(id).disk.set_capacity(u64::MAX),
            Event::Group(GroupEvent::Join) => self.network.join(),
            Event::Watch => self.watch(),
            // These are a single server's, or were the clients'.
            _ => {}
        }
    }

    fn start(&mut self, id: ReplicaId) {
        let seed = self.rng.next_u64();
        self.lives += 1;
        let life = self.lives;
        let machine = &mut self.machines[id as usize - 1];
        match machine.start(life, &self.plan, seed) {
            None => {}
            Some(Ok(latency)) => {
                let (window, latency) = latency;
                self.stage.scheduler.after(latency, Event::Node(life, NodeEvent::Opened(window)));
            }
            Some(Err(refusal)) => {
                self.stage.note("world", format_args!("replica {id} does not start: {}", refusal.cause));
                if !refusal.excused {
                    let text = format!("replica {id} does not start: {}", refusal.cause);
                    self.stage.watch.find(Gist::Start, text);
                    self.done = true;
                }
                self.stage.scheduler.after(Micros::millis(100), Event::Group(GroupEvent::Start(id)));
            }
        }
    }

    fn opened(&mut self, life: Life, window: WindowId) {
        let Some(id) = self.who_lives(life) else { return };
        let rng = self.rng.split();
        let machine = &mut self.machines[id as usize - 1];
        let Some(report) = machine.opened(window, &self.plan, rng) else { return };
        self.figures.starts += 1;
        self.stage.note("world", format_args!("replica {id} starts: {report}"));
        self.stage.starts.push(report.end.get());
        self.stage.open_door(id);
        if let Some(node) = &mut machine.node {
            node.begin(&mut self.stage);
        }
        self.look_after(id);
    }

    fn node_event(&mut self, life: Life, event: NodeEvent) {
        let Some(id) = self.who_lives(life) else { return };
        if let NodeEvent::Exit = event {
            return self.crash(id, Some(false));
        }
        if let Some(node) = &mut self.machines[id as usize - 1].node {
            node.event(event, &mut self.stage);
            self.look_after(id);
        }
    }

    /// Passes on what a process has to say.
    fn look_after(&mut self, id: ReplicaId) {
        let machine = &mut self.machines[id as usize - 1];
        machine.look_at_losses();
        let Some(node) = &mut machine.node else { return };
        let (messages, roles) = (std::mem::take(&mut node.outbox), std::mem::take(&mut node.roles));
        let poisoned = node.poisoned;
        for message in &messages {
            self.send(message);
        }
        for (term, role) in roles {
            self.stage.note("world", format_args!("replica {id} is {role:?} in term {term}"));
            if role == Role::Leader {
                self.states.leads(id, term, &mut self.stage.watch);
                self.stage.set_leader(id);
            }
        }
        // Promise P3: it takes no part any more until it has read its log again.
        if poisoned {
            self.count("poisoned");
            self.crash(id, Some(false));
        }
    }

    fn send(&mut self, message: &Message) {
        let mut bytes = BytesMut::new();
        encode(GROUP, message).pieces().for_each(|piece| bytes.extend_from_slice(piece));
        let bytes = bytes.freeze();
        for delay in self.network.arrivals(message.from, message.to) {
            let event = Event::Group(GroupEvent::Deliver(message.to, bytes.clone()));
            self.stage.scheduler.after(delay, event);
        }
        self.tempt(message);
    }

    fn count(&mut self, kind: &'static str) {
        *self.figures.faults.entry(kind).or_default() += 1;
    }

    fn watch(&mut self) {
        let now = self.stage.now();
        self.states.compare(&self.machines, &mut self.stage.watch);
        let nodes = self.machines.iter().filter_map(|machine| machine.node.as_ref());
        let oldest = nodes.filter_map(|node| node.unanswered.iter().min_by_key(|(_, since)| **since));
        if let Some(((conn, opaque), since)) = oldest.min_by_key(|(_, since)| **since)
            && *since + PATIENCE < now
        {
            let text = format!("request {opaque} of connection {conn} has had no answer since {since}");
            self.stage.watch.find(Gist::Stuck, text);
            self.done = true;
        }
        match self.stage.phase {
            Phase::Faults if now >= self.plan.group.healed_at => self.heal(),
            Phase::Faults => {}
            Phase::Draining => {
                if self.is_ready() {
                    self.clients.begin_audit(&self.plan.broker, &mut self.stage);
                }
            }
            // It takes as long as there is something to read.
            Phase::Audit if !self.clients.is_audited() => self.waiting_since = now,
            Phase::Audit => self.done = self.are_equal(),
        }
        if self.stage.phase != Phase::Faults && self.waiting_since + PATIENCE < now && !self.done {
            let states: Vec<String> = self.machines.iter().map(ToString::to_string).collect();
            let left = self.clients.unfinished().join("; ");
            let damaged = if self.struck.is_empty() { String::new() } else { format!("; {:?}", self.struck) };
            let text =
                format!("{PATIENCE} without faults were not enough: {left}; {}{damaged}", states.join("; "));
            self.stage.watch.find(Gist::Stuck, text);
            self.done = true;
        }
        self.stage.scheduler.after(WATCH_EVERY, Event::Watch);
    }

    /// The faults are over.
    fn heal(&mut self) {
        self.stage.note("world", format_args!("everything is healed"));
        self.stage.phase = Phase::Draining;
        self.waiting_since = self.stage.now();
        self.network.heal();
        if self.plan.group.last_power_cut {
            self.crash_all();
        }
        for machine in &mut self.machines {
            machine.paused = Micros::ZERO;
            machine.disk.heal();
            machine.disk.set_capacity(u64::MAX);
        }
        // What a process took for damaged it tries again after a start.
        if self.figures.faults.contains_key("misread") {
            (1..=self.plan.group.replicas).for_each(|id| self.crash(id, Some(false)));
        }
    }

    /// Whether all replicas are up and have applied the same.
    fn are_equal(&self) -> bool {
        let first = self.machines[0].applied();
        first.is_some() && self.machines.iter().all(|machine| machine.applied() == first)
    }

    /// Whether everything can be read, from the replica that was chosen; sees to it that it leads.
    fn is_ready(&mut self) -> bool {
        if !self.clients.unfinished().is_empty() || !self.are_equal() || !self.is_repaired() {
            return false;
        }
        let leaders: Vec<ReplicaId> =
            self.machines.iter().filter(|machine| machine.leads()).map(|machine| machine.id).collect();
        let to = self.last_leader;
        match leaders[..] {
            [leader] if leader == to => return true,
            [leader] => {
                if let Some(node) = &mut self.machines[leader as usize - 1].node {
                    node.input(Input::Transfer(Some(to)), &mut self.stage);
                }
            }
            _ => {}
        }
        false
    }
}
