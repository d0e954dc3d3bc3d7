//! What strikes a group.

use steadfast_consensus::{Body, Message, ReplicaId};
use steadfast_store::disk::SECTOR;
use steadfast_store::log::segment_path;
use steadfast_types::LogOffset;

use super::plan::{ClusterAim, FaultKind};
use super::replica::LAYOUT;
use super::world::{Event, World};
use crate::clock::Micros;
use crate::disk::{Effect, Fault, Op, VirtualDisk};
use crate::rng::Rng;

impl World {
    /// The next fault strikes.
    pub(super) fn strike(&mut self) {
        let after = Micros::millis(self.rng.skewed(self.plan.fault_every.clone()));
        self.scheduler.after(after, Event::Strike);
        if self.plan.faults.is_empty() {
            return;
        }
        let kind = *self.rng.pick(&self.plan.faults);
        let leader = self.leader();
        let victim = self.plan.victim(leader, &mut self.rng);
        self.note("world", format_args!("{kind:?} strikes replica {victim}"));
        let span = Micros::millis(self.rng.skewed(20..2_000));
        match kind {
            FaultKind::Crash => {
                self.count("crash");
                self.crash(victim, None);
            }
            FaultKind::PowerCut => {
                self.count("power cut of all");
                (1..=self.plan.replicas).for_each(|id| self.crash(id, Some(true)));
            }
            FaultKind::Isolate | FaultKind::OneWay | FaultKind::Split => {
                let (name, ways) = kind.cut(victim, self.plan.replicas, &mut self.rng);
                self.count(name);
                self.network.cut(ways);
                self.scheduler.after(span, Event::Join);
            }
            FaultKind::Pause => {
                self.count("pause");
                let until = self.scheduler.now() + span;
                self.replica(victim).paused = until;
            }
            FaultKind::DiskError => {
                self.count("disk error");
                let op = *self.rng.pick(&[Op::Write, Op::Write, Op::Open, Op::SyncDir, Op::Read]);
                self.replica(victim).disk.plan(Fault::once(op, Effect::Error));
            }
            FaultKind::Damage => self.damage(victim),
            FaultKind::Wipe => self.wipe(victim),
            FaultKind::Stall => {
                self.count("stall");
                self.replica(victim).disk.plan(Fault::once(Op::Write, Effect::Stall(span)).times(3));
            }
            FaultKind::Transfer => {
                let to = self.rng.within(1..self.plan.replicas + 1);
                if let Some(leader) = leader {
                    self.count("hand-over");
                    self.with_process(leader, |process| process.group.transfer(to));
                }
            }
        }
    }

    /// A process dies, or all do, and a log rots meanwhile. What a majority has lost nobody can bring back, so it strikes
    /// whoever is struck already, or one more of a minority.
    fn damage(&mut self, victim: ReplicaId) {
        let victim = self.of_a_minority(victim);
        match self.rng.below(3) {
            0 => (1..=self.plan.replicas).for_each(|id| self.crash(id, Some(true))),
            1 => self.crash(victim, None),
            // Whoever votes now must know what it has lost.
            _ => {
                let leader = self.leader();
                self.crash(victim, None);
                leader.into_iter().for_each(|leader| self.crash(leader, None));
            }
        }
        if self.replica(victim).process.is_some() {
            return;
        }
        let owes = self.checks.damaged(victim);
        let (end, mut luck) = (self.replica(victim).end, self.rng.split());
        let replica = self.replica(victim);
        replica.owes = replica.owes.max(Some(owes));
        let what = rot(&replica.disk, end, &mut luck);
        self.count("damage");
        self.note("world", format_args!("the log of replica {victim} is damaged: {what}"));
    }

    /// This one, if it may be struck too, or one that is struck already.
    fn of_a_minority(&mut self, victim: ReplicaId) -> ReplicaId {
        let struck: Vec<ReplicaId> =
            self.replicas.iter().filter(|r| r.owes.is_some()).map(|r| r.id).collect();
        let another = (struck.len() as u64) < (self.plan.replicas - 1) / 2;
        if another { victim } else { *self.rng.pick(&struck) }
    }

    /// A machine's disk is replaced. That takes longer than any message is under way.
    fn wipe(&mut self, victim: ReplicaId) {
        let victim = self.of_a_minority(victim);
        let leader = self.leader();
        if self.replica(victim).process.is_none() {
            return;
        }
        self.crash_for(victim, Some(true), Micros::millis(4_200));
        let owes = self.checks.damaged(victim);
        self.checks.forgets(victim);
        let replica = self.replica(victim);
        replica.owes = replica.owes.max(Some(owes));
        replica.disk.wipe();
        self.count("wiped disk");
        self.note("world", format_args!("replica {victim} will have an empty disk"));
        if self.rng.percent(50) {
            for other in self.others(victim) {
                let last = if Some(other) == leader { 5_000 } else { 0 };
                let down = Micros::millis(last + self.rng.skewed(1..1_500));
                self.crash_for(other, Some(true), down);
            }
        }
    }

    /// A replica may have everything again that it had before it was damaged.
    pub(super) fn look_at_losses(&mut self, id: ReplicaId) {
        let replica = self.replica(id);
        let Some((process, owes)) = replica.process.as_ref().zip(replica.owes) else { return };
        if process.group.fence().is_none() && process.group.last() >= owes {
            replica.owes = None;
            self.checks.refilled(id);
        }
    }

    fn leader(&self) -> Option<ReplicaId> {
        self.replicas.iter().find(|replica| replica.leads()).map(|replica| replica.id)
    }

    fn others(&self, id: ReplicaId) -> Vec<ReplicaId> {
        (1..=self.plan.replicas).filter(|other| *other != id).collect()
    }

    /// A message leaves: what a world is built around may strike its sender.
    pub(super) fn tempt(&mut self, message: &Message) {
        let struck = match (self.plan.aim, &message.body) {
            (ClusterAim::Elections, Body::VoteResponse { pre: false, granted: true, .. }) => {
                self.rng.percent(40)
            }
            _ => false,
        };
        if struck && self.faulty() {
            self.crash_soon(message.from, 2_000);
        }
    }

    /// A replica begins to replace entries.
    pub(super) fn tempt_replacing(&mut self, id: ReplicaId) {
        self.count("replacement");
        if self.plan.aim == ClusterAim::Replacement && self.faulty() && self.rng.percent(60) {
            self.crash_soon(id, 20_000);
        }
    }

    /// A replica that has lost entries is being refilled.
    pub(super) fn tempt_refilling(&mut self, id: ReplicaId) {
        self.count("refilling");
        if self.plan.aim == ClusterAim::Damage && self.faulty() && self.rng.percent(15) {
            self.crash_soon(id, 20_000);
        }
    }

    fn crash_soon(&mut self, id: ReplicaId, within: u64) {
        let (after, life) = (Micros::new(self.rng.skewed(1..within)), self.replica(id).life);
        self.scheduler.after(after, Event::Crash(id, life));
    }

    /// A process dies; with power or without. It is back after a while.
    pub(super) fn crash(&mut self, id: ReplicaId, power: Option<bool>) {
        let down = Micros::millis(self.rng.skewed(1..1_500));
        self.crash_for(id, power, down);
    }

    fn crash_for(&mut self, id: ReplicaId, power: Option<bool>, down: Micros) {
        let power = power.unwrap_or_else(|| self.rng.percent(60));
        let mut luck = self.rng.split();
        let replica = self.replica(id);
        let Some(process) = replica.process.take() else { return };
        replica.life += 1;
        replica.end = process.end();
        replica.paused = Micros::ZERO;
        match power {
            true => replica.disk.power_cut(&mut luck),
            false => replica.disk.process_kill(&mut luck),
        }
        self.abandon(process);
        self.note("world", format_args!("replica {id} is down, power cut: {power}"));
        self.scheduler.after(down, Event::Start(id));
    }
}

/// Damages a log that ends there, often close to its end.
fn rot(disk: &VirtualDisk, end: LogOffset, luck: &mut Rng) -> String {
    let base = LAYOUT.base_of(end);
    let near = luck.percent(60).then(|| luck.skewed(1..40_000)).filter(|back| end.get() - base.get() > *back);
    let place = match near {
        Some(back) => Some((segment_path(base), end.get() - base.get() - back)),
        None => disk.random_byte("log/", luck),
    };
    let Some((path, byte)) = place else { return "there is nothing".to_owned() };
    if luck.percent(40) {
        let sector = byte / SECTOR as u64;
        disk.garble(&path, sector, luck);
        return format!("sector {sector} of {path}");
    }
    let bit = luck.below(8) as u8;
    disk.flip(&path, byte, bit);
    format!("bit {bit} of byte {byte} of {path}")
}
