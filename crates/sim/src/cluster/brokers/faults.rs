//! What strikes a group of brokers.

use steadfast_broker::Flush;
use steadfast_broker::io::Input;
use steadfast_consensus::{Body, Message, ReplicaId};
use steadfast_store::disk::Disk;
use steadfast_store::log::{DIR, Layout};

use super::World;
use super::plan::{Kind, drift};
use crate::clock::Micros;
use crate::cluster::plan::{ClusterAim, FaultKind};
use crate::disk::{Effect, Fault, Op};
use crate::event::{Event, GroupEvent};
use crate::stage::Phase;

/// A new disk takes longer than any message is under way: nobody could tell a vote of the one before.
const REPLACED_AFTER: Micros = Micros::millis(4_200);

impl World {
    /// The next fault strikes.
    pub(super) fn strike(&mut self) {
        if self.stage.phase != Phase::Faults || self.plan.faults.is_empty() {
            return;
        }
        let after = Micros::millis(self.rng.skewed(self.plan.group.fault_every.clone()));
        self.plan_event(after, GroupEvent::Strike);
        let kind = match self.plan.group.aim {
            ClusterAim::Reads if self.rng.percent(60) => Kind::Group(FaultKind::Isolate),
            _ => *self.rng.pick(&self.plan.faults),
        };
        let leader = self.leader();
        let victim = self.plan.group.victim(leader, &mut self.rng);
        self.stage.note("world", format_args!("{kind:?} strikes replica {victim}"));
        match kind {
            Kind::Group(kind) => self.strike_as_any_group(kind, victim, leader),
            Kind::Rot => self.rot(victim),
            Kind::Clock => {
                self.count("clock jump");
                let most = *self.rng.pick(&[100, 10_000, 86_400_000]);
                let by = drift(most, &mut self.rng);
                self.machine(victim).jump(by);
            }
            Kind::Rolling => {
                self.count("rolling restart");
                let pause = self.rng.within(50..800);
                for id in 1..=self.plan.group.replicas {
                    self.plan_event(Micros::millis(pause * id), GroupEvent::Stop(id));
                }
            }
            // A disk that is empty yet takes a little in any case.
            Kind::Full if self.machine(victim).node.is_none() => {}
            Kind::Full => {
                self.count("full disk");
                let (left, lasts) = (self.rng.skewed(0..2 << 20), self.rng.skewed(50..3_000));
                let disk = &self.machine(victim).disk;
                disk.set_capacity(u64::MAX);
                let used = disk.space().map_or(0, |space| space.used());
                disk.set_capacity(used + left);
                self.plan_event(Micros::millis(lasts), GroupEvent::FreeDisk(victim));
            }
            Kind::Disconnect => {
                self.count("disconnect");
                if let Some(conn) = self.stage.any_connection(&mut self.rng) {
                    self.stage.hang_up(conn);
                }
            }
            Kind::Misread => {
                self.count("misread");
                let effect = *self.rng.pick(&[Effect::Misdirected, Effect::Stale]);
                let times = self.rng.within(1..4) as u32;
                let machine = self.machine(victim);
                if machine.node.is_some() {
                    machine.disk.plan(Fault::once(Op::Read, effect).on(DIR).times(times));
                }
            }
        }
    }

    fn strike_as_any_group(&mut self, kind: FaultKind, victim: ReplicaId, leader: Option<ReplicaId>) {
        let span = Micros::millis(self.rng.skewed(20..2_000));
        match kind {
            // An older copy is for groups without brokers, whose logs are small.
            FaultKind::Crash | FaultKind::Restore => {
                self.count("crash");
                self.crash(victim, None);
            }
            FaultKind::Damage => self.damage(victim, leader),
            FaultKind::Wipe => self.wipe(victim, leader),
            FaultKind::PowerCut => {
                self.count("power cut of all");
                self.crash_all();
            }
            FaultKind::Pause => {
                self.count("pause");
                let until = self.stage.now() + span;
                self.machine(victim).paused = until;
            }
            FaultKind::DiskError => {
                self.count("disk error");
                let op = *self.rng.pick(&[Op::Write, Op::Write, Op::Open, Op::SyncDir, Op::Read]);
                self.machine(victim).disk.plan(Fault::once(op, Effect::Error));
            }
            FaultKind::Stall => {
                self.count("stall");
                self.machine(victim).disk.plan(Fault::once(Op::Write, Effect::Stall(span)).times(3));
            }
            FaultKind::Transfer => {
                let to = self.rng.within(1..self.plan.group.replicas + 1);
                if let Some(leader) = leader
                    && let Some(node) = &mut self.machines[leader as usize - 1].node
                {
                    node.input(Input::Transfer(Some(to)), &mut self.stage);
                    self.count("hand-over");
                }
            }
            FaultKind::Isolate | FaultKind::OneWay | FaultKind::Split | FaultKind::Bridge => {
                let (name, ways) = kind.cut(victim, self.plan.group.replicas, &mut self.rng);
                self.count(name);
                self.network.cut(ways);
                self.plan_event(span, GroupEvent::Join);
            }
        }
    }

    /// A process dies, with others at times, and its log rots before it starts again.
    fn damage(&mut self, victim: ReplicaId, leader: Option<ReplicaId>) {
        let victim = self.of_a_minority(victim);
        match self.rng.below(3) {
            0 => self.crash_all(),
            1 => self.crash(victim, None),
            // Whoever votes now must know what it has lost.
            _ => {
                self.crash(victim, None);
                leader.into_iter().for_each(|leader| self.crash(leader, None));
            }
        }
        let layout = Layout { segment_size: self.plan.broker.options.segment_size };
        let mut luck = self.rng.split();
        let machine = self.machine(victim);
        if !machine.is_up() {
            let what = machine.rot(layout, &mut luck);
            self.count("damage");
            self.stage.note("world", format_args!("the log of replica {victim} is damaged: {what}"));
        }
    }

    /// A machine's disk is replaced, at times while the others are off, and who led is back last.
    fn wipe(&mut self, victim: ReplicaId, leader: Option<ReplicaId>) {
        let victim = self.of_a_minority(victim);
        if !self.machine(victim).is_up() {
            return;
        }
        self.crash_for(victim, true, REPLACED_AFTER);
        self.machine(victim).wipe();
        self.count("wiped disk");
        self.stage.note("world", format_args!("replica {victim} will have an empty disk"));
        if self.rng.percent(50) {
            for other in (1..=self.plan.group.replicas).filter(|other| *other != victim) {
                let last = if Some(other) == leader { 5_000 } else { 0 };
                let down = Micros::millis(last + self.rng.skewed(1..1_500));
                self.crash_for(other, true, down);
            }
        }
    }

    fn of_a_minority(&mut self, victim: ReplicaId) -> ReplicaId {
        let struck = self.machines.iter().filter(|machine| machine.owes.is_some());
        let struck: Vec<ReplicaId> = struck.map(|machine| machine.id).collect();
        self.plan.group.of_a_minority(&struck, victim, &mut self.rng)
    }

    fn leader(&self) -> Option<ReplicaId> {
        self.machines.iter().find(|machine| machine.leads()).map(|machine| machine.id)
    }

    fn plan_event(&mut self, after: Micros, event: GroupEvent) {
        self.stage.scheduler.after(after, Event::Group(event));
    }

    /// A message leaves: what a world is built around may strike its sender.
    pub(super) fn tempt(&mut self, message: &Message) {
        let granted = matches!(message.body, Body::VoteResponse { pre: false, granted: true, .. });
        let tempting =
            granted && self.plan.group.aim == ClusterAim::Elections && self.stage.phase == Phase::Faults;
        if tempting && self.rng.percent(20) {
            let after = Micros::new(self.rng.skewed(1..2_000));
            let life = self.machine(message.from).life;
            self.plan_event(after, GroupEvent::Crash(message.from, life));
        }
    }

    /// A process is stopped, as by SIGTERM: who leads hands over first.
    pub(super) fn stop(&mut self, id: ReplicaId) {
        if let Some(node) = &mut self.machines[id as usize - 1].node {
            node.input(Input::Transfer(None), &mut self.stage);
            node.input(Input::Stop, &mut self.stage);
        }
    }

    /// All machines lose their power.
    pub(super) fn crash_all(&mut self) {
        (1..=self.plan.group.replicas).for_each(|id| self.crash(id, Some(true)));
    }

    /// A process dies; with power or without. It is back after a while.
    pub(super) fn crash(&mut self, id: ReplicaId, power: Option<bool>) {
        let power = power.unwrap_or_else(|| self.rng.percent(60));
        let down = Micros::millis(self.rng.skewed(1..1_500));
        self.crash_for(id, power, down);
    }

    fn crash_for(&mut self, id: ReplicaId, power: bool, down: Micros) {
        let power = power && self.plan.broker.options.flush == Flush::Sync;
        let mut luck = self.rng.split();
        if self.machine(id).end(power, &mut luck) {
            self.stage.close_door(id);
            self.stage.note("world", format_args!("replica {id} is down, power cut: {power}"));
            self.plan_event(down, GroupEvent::Start(id));
        }
    }
}
