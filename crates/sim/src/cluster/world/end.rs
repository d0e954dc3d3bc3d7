//! Everything is healed, must converge, and is judged.

use steadfast_types::LogIndex;

use super::{Event, LAST, World};
use crate::clock::Micros;
use crate::cluster::replica::{Replica, read_log};
use crate::watch::Gist;

/// Once all is healed, everything must have converged by then.
const PATIENCE: Micros = Micros::secs(20);

impl World {
    pub(super) fn heal(&mut self) {
        self.note("world", format_args!("everything is healed"));
        if self.plan.last_power_cut {
            (1..=self.plan.replicas).for_each(|id| self.crash(id, Some(true)));
        }
        self.healed = Some(self.scheduler.now());
        self.acked_before = self.checks.books.acked;
        self.network.heal();
        for replica in &mut self.replicas {
            replica.paused = Micros::ZERO;
            replica.disk.heal();
        }
    }

    /// Whether all have everything and a new leader has committed something.
    fn converged(&self) -> bool {
        let applied: Vec<Option<(LogIndex, LogIndex, bool)>> = self
            .replicas
            .iter()
            .map(|replica| replica.process.as_ref())
            .map(|process| {
                process.map(|p| {
                    let waits = !p.waiting.is_empty() || !p.queue.is_empty() || p.group.fence().is_some();
                    (p.applied, p.group.commit(), !waits)
                })
            })
            .collect();
        let Some(Some((first, ..))) = applied.first().copied() else { return false };
        self.checks.books.acked >= self.acked_before + LAST
            && applied.iter().all(|one| *one == Some((first, first, true)))
            && self.replicas.iter().all(|replica| replica.disk.in_flight() == 0)
    }

    pub(super) fn watch(&mut self) {
        if let Some(healed) = self.healed {
            self.done = self.converged();
            if !self.done && self.scheduler.now() > healed + PATIENCE {
                let state: Vec<String> = self.replicas.iter().map(described).collect();
                let text = format!("{PATIENCE} after everything was healed: {}", state.join("; "));
                self.checks.find(Gist::Stuck, text);
                self.done = true;
            }
        }
        self.scheduler.after(Micros::millis(50), Event::Watch);
    }

    pub(super) fn judge(&mut self) {
        if self.checks.findings.iter().any(|finding| finding.gist == Gist::Stuck) {
            return;
        }
        let mut logs = Vec::new();
        for replica in &self.replicas {
            match read_log(&replica.disk) {
                Ok(entries) => logs.push((replica.id, entries)),
                Err(cause) => {
                    let text = format!("the log of replica {} cannot be read: {cause}", replica.id);
                    self.checks.find(Gist::Start, text);
                }
            }
        }
        self.checks.judge(&logs);
    }
}

fn described(replica: &Replica) -> String {
    let Some(process) = &replica.process else { return format!("replica {} is down", replica.id) };
    let (role, term) = (process.group.role(), process.group.term());
    format!(
        "replica {} is {role:?} in term {term}, applied {} of {}, {} wait, fence: {:?}",
        replica.id,
        process.applied,
        process.group.commit(),
        process.waiting.len() + process.queue.len(),
        process.group.fence()
    )
}
