//! A replica's machine: its disk, and the process that runs on it, if one does.

use std::fmt;
use std::ops::Range;

use steadfast_broker::Membership;
use steadfast_broker::recovery::{self, Opened, Report};
use steadfast_consensus::ReplicaId;
use steadfast_store::disk::SECTOR;
use steadfast_store::log::Layout;
use steadfast_types::{LogIndex, LogOffset, Position};

use super::plan::Plan;
use crate::clock::Micros;
use crate::cluster::faults::rot;
use crate::cluster::replica::GROUP;
use crate::disk::{Submitted, VirtualDisk, WindowId};
use crate::event::Life;
use crate::node::Node;
use crate::rng::Rng;

/// Milliseconds of a tick of the group.
const TICK: u64 = 10;

/// See the module's page.
pub(super) struct Machine {
    pub(super) id: ReplicaId,
    pub(super) disk: VirtualDisk,
    pub(super) life: Life,
    /// A process that is starting.
    opening: Option<Opened<VirtualDisk>>,
    pub(super) node: Option<Node>,
    /// The process stands still until then.
    pub(super) paused: Micros,
    /// How far its wall clock is from where it should be, in milliseconds.
    clock_error: i64,
    /// What of the log a start reads: from the first sector behind what snapshots cover to where the last process wrote.
    read_by_a_start: Range<LogOffset>,
    /// The last entry that the last process had.
    last: Position,
    /// What it had before it was damaged, until it has that again.
    pub(super) owes: Option<Position>,
}

/// Why a process does not start.
pub(super) struct Refusal {
    pub(super) cause: String,
    /// A fault of the disk struck meanwhile.
    pub(super) excused: bool,
}

impl Machine {
    pub(super) fn new(id: ReplicaId, seed: u64, plan: &Plan) -> Self {
        let disk = VirtualDisk::new(Rng::stream(seed, &format!("disk {id}")));
        disk.defer();
        disk.set_latency(plan.group.disk.clone());
        Self {
            id,
            disk,
            life: 0,
            opening: None,
            node: None,
            paused: Micros::ZERO,
            clock_error: plan.skews[id as usize - 1],
            read_by_a_start: LogOffset::ZERO..LogOffset::ZERO,
            last: Position::default(),
            owes: None,
        }
    }

    /// Starts a process, unless one runs: recovery, which takes some time.
    pub(super) fn start(
        &mut self,
        life: Life,
        plan: &Plan,
        seed: u64,
    ) -> Option<Result<(WindowId, Micros), Refusal>> {
        if self.node.is_some() || self.opening.is_some() {
            return None;
        }
        self.life = life;
        let strikes = self.disk.strikes();
        let group = &plan.group;
        let membership = Membership {
            id: self.id,
            voters: (1..=group.replicas).collect(),
            preferred: group.preferred,
            seed,
            tick: TICK,
            timing: group.timing.clone(),
            limits: group.limits,
        };
        let opened = recovery::open_member(self.disk.clone(), &plan.broker.options, GROUP, &membership);
        let Submitted { window, latency, .. } = self.disk.take_window();
        Some(match opened {
            Ok(opened) => {
                self.opening = Some(opened);
                Ok((window, latency))
            }
            Err(error) => {
                self.disk.settle(window);
                Err(Refusal { cause: error.to_string(), excused: self.disk.strikes() > strikes })
            }
        })
    }

    /// Recovery is done.
    pub(super) fn opened(&mut self, window: WindowId, plan: &Plan, rng: Rng) -> Option<Report> {
        let opened = self.opening.take()?;
        self.disk.settle(window);
        let report = opened.report.clone();
        let mut node = Node::new(self.life, opened, self.disk.clone(), &plan.broker, rng);
        node.clock_error = self.clock_error;
        self.node = Some(node);
        Some(report)
    }

    /// Ends the process; tells whether there was one.
    pub(super) fn end(&mut self, power: bool, luck: &mut Rng) -> bool {
        if let Some(node) = &self.node {
            let covered = LogOffset::new(node.covered().get().next_multiple_of(SECTOR as u64));
            let covered = covered.max(self.read_by_a_start.start);
            self.read_by_a_start = covered..node.log_end().max(covered);
            self.last = node.broker().last();
        }
        let lived = self.node.take().is_some() | self.opening.take().is_some();
        if lived {
            // Whoever reads its log at a start would take it for damaged.
            self.disk.read_right();
            match power {
                true => self.disk.power_cut(luck),
                false => self.disk.process_kill(luck),
            }
            self.paused = Micros::ZERO;
        }
        lived
    }

    /// Its wall clock jumps.
    pub(super) fn jump(&mut self, by: i64) {
        self.clock_error += by;
        if let Some(node) = &mut self.node {
            node.clock_error = self.clock_error;
        }
    }

    /// Its log rots where a start meets it; no process may run. Tells where.
    pub(super) fn rot(&mut self, layout: Layout, luck: &mut Rng) -> String {
        self.owes = self.owes.max(Some(self.last));
        rot(&self.disk, layout, self.read_by_a_start.clone(), luck)
    }

    /// Its disk is replaced by an empty one; no process may run.
    pub(super) fn wipe(&mut self) {
        self.owes = self.owes.max(Some(self.last));
        self.read_by_a_start = LogOffset::ZERO..LogOffset::ZERO;
        self.disk.wipe();
        self.disk.set_capacity(u64::MAX);
    }

    /// Forgets what it owes if it has everything again that it had before it was damaged.
    pub(super) fn look_at_losses(&mut self) {
        let Some(node) = &self.node else { return };
        let broker = node.broker();
        self.owes = self.owes.filter(|owes| !broker.is_complete() || broker.last() < *owes);
    }

    /// Whether there is a process, be it one that starts.
    pub(super) fn is_up(&self) -> bool {
        self.node.is_some() || self.opening.is_some()
    }

    pub(super) fn leads(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.broker().is_leader())
    }

    /// The last entry that was applied, and the state, if a process runs.
    pub(super) fn applied(&self) -> Option<LogIndex> {
        self.node.as_ref().map(|node| node.broker().applied())
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match self.applied() {
            Some(applied) => write!(f, "replica {id} has applied {applied}, leads: {}", self.leads()),
            None => write!(f, "replica {id} is down"),
        }
    }
}
