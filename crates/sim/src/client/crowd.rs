//! All clients of a run, and in the end the auditor.

use steadfast_audit::Books;

use super::{Auditor, Client, OPERATOR};
use crate::call::{Answer, Call, ClientNo};
use crate::delays;
use crate::event::Event;
use crate::plan::Plan;
use crate::stage::{Phase, Stage};
use crate::watch::Gist;

/// See the module's page.
pub(crate) struct Crowd {
    clients: Vec<Box<dyn Client>>,
    auditor: Option<ClientNo>,
}

impl Crowd {
    /// The clients of a plan, which begin by themselves.
    pub(crate) fn new(seed: u64, plan: &Plan, stage: &mut Stage) -> Self {
        Self { clients: super::all(seed, plan, stage), auditor: None }
    }

    /// Takes an event that is for a client; returns any other.
    pub(crate) fn event(&mut self, event: Event, stage: &mut Stage) -> Option<Event> {
        let answered = match event {
            Event::Response(conn, bytes) => stage.receive(conn, bytes),
            Event::Failed(call) => stage.fail(call),
            Event::TimedOut(call) => stage.time_out(call),
            Event::Wake(client) => {
                self.clients[client].wake(stage);
                None
            }
            other => return Some(other),
        };
        if let Some((client, call, answer)) = answered {
            self.answer(client, &call, answer, stage);
        }
        None
    }

    fn answer(&mut self, client: ClientNo, call: &Call, answer: Answer, stage: &mut Stage) {
        self.clients[client].answer(call, answer, stage);
    }

    /// A topic gets more queues.
    pub(crate) fn grow(&mut self, stage: &mut Stage) {
        self.clients[OPERATOR].grow(stage);
    }

    /// What they still have to do.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        self.clients.iter().filter_map(|client| client.unfinished()).collect()
    }

    /// Everything is read once more from now on.
    pub(crate) fn begin_audit(&mut self, plan: &Plan, stage: &mut Stage) {
        stage.phase = Phase::Audit;
        let no = self.clients.len();
        self.clients.push(Box::new(Auditor::new(no, plan, stage)));
        self.auditor = Some(no);
    }

    /// Whether it was.
    pub(crate) fn is_audited(&self) -> bool {
        self.auditor.is_some_and(|auditor| self.clients[auditor].unfinished().is_none())
    }

    /// Compares what everybody was told with what there is; the ledger's sums, if everything was read.
    pub(crate) fn judge(&mut self, plan: &Plan, stage: &mut Stage) -> Option<Books> {
        // Of a read that did not come to its end everything would seem lost.
        let audit = self.clients[self.auditor?].take_audit()?;
        stage.watch.finish(&audit.state, &audit.tags);
        delays::judge(&audit, &plan.options.delay_levels, &mut stage.watch);
        stage.watch.judge_removals(&audit.state, &stage.ledger);
        let verdict = stage.ledger.check(&audit.state);
        for violation in verdict.violations {
            let gist = Gist::Ledger(violation.invariant.letter());
            stage.watch.find(gist, violation.sentence);
        }
        Some(verdict.books)
    }
}
