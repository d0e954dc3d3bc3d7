//! Runs seeds.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clock::Micros;
use crate::cluster::{self, ClusterAim};
use crate::plan::Aim;
use crate::scenario::Scenario;
use crate::trace::{Keep, Trace};
use crate::watch::{Finding, Gist};
use crate::world::{Figures, World};

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What it was about.
    pub scenario: Scenario,
    /// What may not be; empty is what everybody hopes for.
    pub findings: Vec<Finding>,
    /// What happened.
    pub figures: Figures,
    /// A hash over all events.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How long it took in virtual time.
    pub lasted: Micros,
    /// The events that were kept, oldest first.
    pub story: Vec<String>,
    /// What the seed decided, in words.
    pub plan: String,
}

impl Outcome {
    /// The command that runs it again.
    pub fn replay(&self) -> String {
        format!("cargo run --release -- sim{} --seed {}", self.scenario, self.seed)
    }

    fn new(seed: u64, scenario: Scenario, trace: &Trace) -> Self {
        Self {
            seed,
            scenario,
            findings: Vec::new(),
            figures: Figures::default(),
            hash: trace.hash(),
            events: trace.events(),
            lasted: Micros::ZERO,
            story: trace.lines().map(str::to_owned).collect(),
            plan: String::new(),
        }
    }
}

/// Runs one seed.
pub fn seed(seed: u64, scenario: impl Into<Scenario>, keep: Keep) -> Outcome {
    match scenario.into() {
        Scenario::Server(aim) => server(seed, aim, keep),
        Scenario::Cluster(aim) => cluster(seed, aim, keep),
        Scenario::Brokers(aim) => brokers(seed, aim, keep),
    }
}

fn server(seed: u64, aim: Aim, keep: Keep) -> Outcome {
    let mut world = World::new(seed, aim, keep);
    let plan = world.plan.to_string();
    // A panic of the server is a finding like any other, and the story up to it is what one wants to read.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        world.stage.watch.find(Gist::Panic, format!("the server panicked: {}", message(&*panic)));
    }
    Outcome {
        findings: world.stage.watch.findings().to_vec(),
        figures: world.figures.clone(),
        lasted: world.stage.now(),
        plan,
        ..Outcome::new(seed, aim.into(), &world.stage.trace)
    }
}

fn cluster(seed: u64, aim: ClusterAim, keep: Keep) -> Outcome {
    let mut world = cluster::World::new(seed, aim, keep);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        world.find(Gist::Panic, format!("a replica panicked: {}", message(&*panic)));
    }
    Outcome {
        findings: world.findings().to_vec(),
        figures: world.figures.clone(),
        lasted: world.lasted(),
        plan: world.plan(),
        ..Outcome::new(seed, aim.into(), &world.trace)
    }
}

fn brokers(seed: u64, aim: ClusterAim, keep: Keep) -> Outcome {
    let mut world = cluster::brokers::World::new(seed, aim, keep);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        world.stage.watch.find(Gist::Panic, format!("a replica panicked: {}", message(&*panic)));
    }
    Outcome {
        findings: world.stage.watch.findings().to_vec(),
        figures: world.figures.clone(),
        lasted: world.stage.now(),
        plan: world.plan().to_string(),
        ..Outcome::new(seed, Scenario::Brokers(aim), &world.stage.trace)
    }
}

/// Runs a seed; one that fails is run again to tell its story, which also shows that it replays.
pub fn explained(number: u64, scenario: impl Into<Scenario>, lines: usize) -> Outcome {
    let scenario = scenario.into();
    let first = seed(number, scenario, Keep::Nothing);
    if first.findings.is_empty() {
        return first;
    }
    let mut again = seed(number, scenario, Keep::Last(lines));
    if again.hash != first.hash {
        let sentence = format!("seed {number} was not the same run twice");
        again.findings.push(Finding { gist: Gist::Replay, sentence });
    }
    again
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
