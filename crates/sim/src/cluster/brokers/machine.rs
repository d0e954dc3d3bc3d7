//! A replica's machine: its disk, and the process that runs on it, if one does.

use std::fmt;

use steadfast_broker::Membership;
use steadfast_broker::recovery::{self, Opened, Report};
use steadfast_consensus::ReplicaId;
use steadfast_types::LogIndex;

use super::super::plan::Plan as GroupPlan;
use super::super::replica::GROUP;
use crate::clock::Micros;
use crate::disk::{Submitted, VirtualDisk, WindowId};
use crate::event::Life;
use crate::node::Node;
use crate::plan::Plan;
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
}

/// Why a process does not start.
pub(super) struct Refusal {
    pub(super) cause: String,
    /// A fault of the disk struck meanwhile.
    pub(super) excused: bool,
}

impl Machine {
    pub(super) fn new(id: ReplicaId, seed: u64, group: &GroupPlan) -> Self {
        let disk = VirtualDisk::new(Rng::stream(seed, &format!("disk {id}")));
        disk.defer();
        disk.set_latency(group.disk.clone());
        Self { id, disk, life: 0, opening: None, node: None, paused: Micros::ZERO }
    }

    /// Starts a process, unless one runs: recovery, which takes some time.
    pub(super) fn start(
        &mut self,
        life: Life,
        plan: &Plan,
        group: &GroupPlan,
        seed: u64,
    ) -> Option<Result<(WindowId, Micros), Refusal>> {
        if self.node.is_some() || self.opening.is_some() {
            return None;
        }
        self.life = life;
        let strikes = self.disk.strikes();
        let membership = Membership {
            id: self.id,
            voters: (1..=group.replicas).collect(),
            seed,
            tick: TICK,
            timing: group.timing.clone(),
            limits: group.limits,
        };
        let opened = recovery::open_member(self.disk.clone(), &plan.options, GROUP, &membership);
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
        self.node = Some(Node::new(self.life, opened, self.disk.clone(), plan, rng));
        Some(report)
    }

    /// Ends the process; tells whether there was one.
    pub(super) fn end(&mut self, power: bool, luck: &mut Rng) -> bool {
        let lived = self.node.take().is_some() | self.opening.take().is_some();
        if lived {
            match power {
                true => self.disk.power_cut(luck),
                false => self.disk.process_kill(luck),
            }
            self.paused = Micros::ZERO;
        }
        lived
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
