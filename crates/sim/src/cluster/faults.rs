//! What strikes a group.

use std::ops::Range;

use steadfast_consensus::{Body, Message, ReplicaId};
use steadfast_store::disk::SECTOR;
use steadfast_store::log::{Layout, segment_path};
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
            FaultKind::Isolate | FaultKind::OneWay | FaultKind::Split | FaultKind::Bridge => {
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
            FaultKind::Restore => self.copy_or_restore(victim),
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
        let what = rot(&replica.disk, LAYOUT, LogOffset::ZERO..end, &mut luck);
        self.count("damage");
        self.note("world", format_args!("the log of replica {victim} is damaged: {what}"));
    }

    /// This one, if it may be struck too, or one that is struck already.
    fn of_a_minority(&mut self, victim: ReplicaId) -> ReplicaId {
        let struck: Vec<ReplicaId> =
            self.replicas.iter().filter(|r| r.owes.is_some()).map(|r| r.id).collect();
        self.plan.of_a_minority(&struck, victim, &mut self.rng)
    }

    /// A machine's disk is replaced.
    fn wipe(&mut self, victim: ReplicaId) {
        let victim = self.of_a_minority(victim);
        if self.replica(victim).process.is_some() {
            self.replace_disk(victim, VirtualDisk::wipe);
            self.count("wiped disk");
            self.note("world", format_args!("replica {victim} will have an empty disk"));
        }
    }

    /// A copy is made of a disk, or the disk goes back to the copy that there is.
    fn copy_or_restore(&mut self, victim: ReplicaId) {
        let victim = self.of_a_minority(victim);
        if self.replica(victim).process.is_none() {
            return;
        }
        if self.is_recognisable(victim)
            && let Some((copy, _)) = self.replica(victim).copy.take()
        {
            self.replace_disk(victim, |disk| disk.restore(&copy));
            self.count("restored disk");
            self.note("world", format_args!("replica {victim} will have an older copy of its disk"));
        } else if self.replica(victim).copy.is_none() {
            self.crash_for(victim, Some(true), Micros::millis(50));
            let replica = self.replica(victim);
            replica.copy = Some((replica.disk.copy(), replica.starts.len()));
            self.count("copied disk");
        }
    }

    /// Whether the logs of all others tell a start that is not in the copy of a replica's disk. If one of them does not, it
    /// and the copy cannot know that there was more: whoever does must not be down.
    fn is_recognisable(&self, id: ReplicaId) -> bool {
        let replica = &self.replicas[id as usize - 1];
        let Some((_, before)) = replica.copy else { return false };
        let later = &replica.starts[before..];
        self.others(id).into_iter().all(|other| {
            let process = self.replicas[other as usize - 1].process.as_ref();
            let known = process
                .and_then(|process| process.group.started(id).filter(|known| process.applied >= known.at));
            known.is_some_and(|known| later.contains(&known.start.number))
        })
    }

    /// A machine goes on with another disk. Replacing one takes longer than any message is under way.
    fn replace_disk(&mut self, victim: ReplicaId, replace: impl FnOnce(&VirtualDisk)) {
        let leader = self.leader();
        self.crash_for(victim, Some(true), Micros::millis(4_200));
        let owes = self.checks.damaged(victim);
        self.checks.forgets(victim);
        let replica = self.replica(victim);
        replica.owes = replica.owes.max(Some(owes));
        replace(&replica.disk);
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

/// Damages a log in this stretch of it, often close to its end.
pub(super) fn rot(disk: &VirtualDisk, layout: Layout, within: Range<LogOffset>, luck: &mut Rng) -> String {
    let len = within.end.get().saturating_sub(within.start.get());
    if len == 0 {
        return "there is nothing".to_owned();
    }
    let back = if luck.percent(60) { luck.skewed(0..len.min(40_000)) } else { luck.below(len) };
    let at = LogOffset::new(within.end.get() - 1 - back);
    let base = layout.base_of(at);
    let (path, byte) = (segment_path(base), at.get() - base.get());
    if luck.percent(40) {
        let sector = byte / SECTOR as u64;
        disk.garble(&path, sector, luck);
        return format!("sector {sector} of {path}");
    }
    let bit = luck.below(8) as u8;
    disk.flip(&path, byte, bit);
    format!("bit {bit} of byte {byte} of {path}")
}
