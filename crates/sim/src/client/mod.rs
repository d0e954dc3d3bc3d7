//! The clients of a run. Each has at most one call under way, and is woken when it has something to do.

mod auditor;
mod consumer;
mod crowd;
mod hostile;
mod locker;
mod operator;
mod prober;
mod producer;
mod requests;

pub(crate) use auditor::{Audit, Auditor};
pub(crate) use crowd::Crowd;
use steadfast_wire::frame::Serialize;

use crate::call::{Answer, Call, ClientNo};
use crate::clock::Micros;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::stage::{Caller, Stage};

/// How long a client waits for an answer, as RocketMQ's do.
const TIMEOUT: Micros = Micros::millis(3_000);
/// Number of the client that does what an operator does.
pub(crate) const OPERATOR: ClientNo = 0;

/// Clients that lock queues, where there are any.
const LOCKERS: usize = 3;

/// A client.
pub(crate) trait Client {
    /// It has something to do.
    fn wake(&mut self, stage: &mut Stage);

    /// Its call has ended.
    fn answer(&mut self, call: &Call, answer: Answer, stage: &mut Stage);

    /// What it still has to do before the run can end.
    fn unfinished(&self) -> Option<String>;

    /// Gives a topic more queues: for the operator.
    fn grow(&mut self, _: &mut Stage) {}

    /// What was read at the end, if it was: from the auditor.
    fn take_audit(&mut self) -> Option<Audit> {
        None
    }
}

/// All clients of a plan, which begin by themselves.
pub(crate) fn all(seed: u64, plan: &Plan, stage: &mut Stage) -> Vec<Box<dyn Client>> {
    let mut rng = Rng::stream(seed, "clients");
    let workload = &plan.workload;
    let mut clients: Vec<Box<dyn Client>> = Vec::new();
    let mut base = |no: ClientNo| Base::new(no, plan, rng.split());
    clients.push(Box::new(operator::Operator::new(base(OPERATOR), workload)));
    for _ in 0..workload.producers {
        let base = base(clients.len());
        clients.push(match workload.hostile {
            true => Box::new(hostile::Hostile::new(base, plan)),
            false => Box::new(producer::Producer::new(base, workload)),
        });
    }
    for group in &workload.groups {
        for member in 0..group.members {
            let base = base(clients.len());
            clients.push(Box::new(consumer::Consumer::new(base, workload, group, member)));
        }
        if group.sends_back {
            let base = base(clients.len());
            clients.push(Box::new(consumer::Consumer::of_retries(base, workload, group, stage)));
        }
    }
    for _ in 0..workload.probers {
        clients.push(Box::new(prober::Prober::new(base(clients.len()))));
    }
    // From a stream of their own, so that what the others do does not depend on them.
    let mut locks = Rng::stream(seed, "locks");
    if locks.percent(50) {
        for _ in 0..LOCKERS {
            let base = Base::new(clients.len(), plan, locks.split());
            clients.push(Box::new(locker::Locker::new(base, workload)));
        }
    }
    for no in 0..clients.len() {
        let delay = Micros::new(rng.skewed(1..50_000));
        stage.wake(no, delay);
    }
    clients
}

/// What every client has.
#[derive(Debug)]
struct Base {
    caller: Caller,
    rng: Rng,
    /// Microseconds between two operations, at most.
    pause: u64,
    /// A call is under way.
    busy: bool,
}

impl Base {
    fn new(no: ClientNo, plan: &Plan, mut rng: Rng) -> Self {
        let serialize = if rng.percent(50) { Serialize::Json } else { Serialize::RocketMq };
        Self { caller: Caller { no, serialize }, rng, pause: plan.workload.pause, busy: false }
    }

    /// Goes on after the usual pause.
    fn rest(&mut self, stage: &mut Stage) {
        let pause = Micros::new(self.rng.skewed(1..self.pause.max(2)));
        stage.wake(self.caller.no, pause);
    }

    /// Tries again later, as the server is not there or busy.
    fn back_off(&mut self, stage: &mut Stage) {
        let pause = Micros::millis(self.rng.within(10..250));
        stage.wake(self.caller.no, pause);
    }

    fn call(&mut self, request: requests::Ask<'_>, timeout: Micros, call: Call, stage: &mut Stage) {
        self.busy = true;
        stage.call(self.caller, request.header, &request.body, timeout, call);
    }
}
