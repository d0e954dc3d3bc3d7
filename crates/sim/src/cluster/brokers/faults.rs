//! What strikes a group of brokers: the same that strikes a group without them.

use steadfast_broker::io::Input;
use steadfast_consensus::{Body, Message, ReplicaId};

use super::World;
use crate::clock::Micros;
use crate::cluster::plan::{ClusterAim, FaultKind};
use crate::disk::{Effect, Fault, Op};
use crate::event::{Event, GroupEvent};
use crate::stage::Phase;

impl World {
    /// The next fault strikes.
    pub(super) fn strike(&mut self) {
        if self.stage.phase != Phase::Faults || self.group.faults.is_empty() {
            return;
        }
        let after = Micros::millis(self.rng.skewed(self.group.fault_every.clone()));
        self.plan_event(after, GroupEvent::Strike);
        let kind = match self.group.aim {
            ClusterAim::Reads if self.rng.percent(60) => FaultKind::Isolate,
            _ => *self.rng.pick(&self.group.faults),
        };
        let leader = self.machines.iter().find(|machine| machine.leads()).map(|machine| machine.id);
        let victim = self.group.victim(leader, &mut self.rng);
        self.stage.note("world", format_args!("{kind:?} strikes replica {victim}"));
        let span = Micros::millis(self.rng.skewed(20..2_000));
        match kind {
            // Damage and new disks are for groups without brokers, whose logs are small.
            FaultKind::Crash | FaultKind::Damage | FaultKind::Wipe => {
                self.count("crash");
                self.crash(victim, None);
            }
            FaultKind::PowerCut => {
                self.count("power cut of all");
                (1..=self.group.replicas).for_each(|id| self.crash(id, Some(true)));
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
                let to = self.rng.within(1..self.group.replicas + 1);
                if let Some(leader) = leader
                    && let Some(node) = &mut self.machines[leader as usize - 1].node
                {
                    node.input(Input::Transfer(Some(to)), &mut self.stage);
                    self.count("hand-over");
                }
            }
            FaultKind::Isolate | FaultKind::OneWay | FaultKind::Split => {
                let (name, ways) = kind.cut(victim, self.group.replicas, &mut self.rng);
                self.count(name);
                self.network.cut(ways);
                self.plan_event(span, GroupEvent::Join);
            }
        }
    }

    fn plan_event(&mut self, after: Micros, event: GroupEvent) {
        self.stage.scheduler.after(after, Event::Group(event));
    }

    /// A message leaves: what a world is built around may strike its sender.
    pub(super) fn tempt(&mut self, message: &Message) {
        let granted = matches!(message.body, Body::VoteResponse { pre: false, granted: true, .. });
        let tempting =
            granted && self.group.aim == ClusterAim::Elections && self.stage.phase == Phase::Faults;
        if tempting && self.rng.percent(20) {
            let after = Micros::new(self.rng.skewed(1..2_000));
            let life = self.machine(message.from).life;
            self.plan_event(after, GroupEvent::Crash(message.from, life));
        }
    }

    /// A process dies; with power or without. It is back after a while.
    pub(super) fn crash(&mut self, id: ReplicaId, power: Option<bool>) {
        let power = power.unwrap_or_else(|| self.rng.percent(60));
        let mut luck = self.rng.split();
        if self.machine(id).end(power, &mut luck) {
            self.stage.close_door(id);
            self.stage.note("world", format_args!("replica {id} is down, power cut: {power}"));
            let down = Micros::millis(self.rng.skewed(1..1_500));
            self.plan_event(down, GroupEvent::Start(id));
        }
    }
}
