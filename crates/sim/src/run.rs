//! Runs seeds.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clock::Micros;
use crate::plan::Aim;
use crate::trace::Keep;
use crate::watch::{Finding, Gist};
use crate::world::{Figures, World};

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What it was about.
    pub aim: Aim,
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
        let aim = match self.aim {
            Aim::Anything => String::new(),
            aim => format!(" --aim {aim}"),
        };
        format!("cargo run --release -- sim{aim} --seed {}", self.seed)
    }
}

/// Runs one seed.
pub fn seed(seed: u64, aim: Aim, keep: Keep) -> Outcome {
    let mut world = World::new(seed, aim, keep);
    let plan = world.plan.to_string();
    // A panic of the server is a finding like any other, and the story up to it is what one wants to read.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        world.stage.watch.find(Gist::Panic, format!("the server panicked: {}", message(&*panic)));
    }
    Outcome {
        seed,
        aim,
        findings: world.stage.watch.findings().to_vec(),
        figures: world.figures.clone(),
        hash: world.stage.trace.hash(),
        events: world.stage.trace.events(),
        lasted: world.stage.now(),
        story: world.stage.trace.lines().map(str::to_owned).collect(),
        plan,
    }
}

/// Runs a seed; one that fails is run again to tell its story, which also shows that it replays.
pub fn explained(number: u64, aim: Aim, lines: usize) -> Outcome {
    let first = seed(number, aim, Keep::Nothing);
    if first.findings.is_empty() {
        return first;
    }
    let mut again = seed(number, aim, Keep::Last(lines));
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
