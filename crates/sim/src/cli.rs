//! The command `sim`: runs seeds and tells what came of them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::run::{self, Outcome};
use crate::scenario::Scenario;
use crate::trace::Keep;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The seeds.
    pub seeds: Range<u64>,
    /// What they are about.
    pub scenario: Scenario,
    /// How many run at the same time.
    pub jobs: usize,
    /// Print every event.
    pub trace: bool,
    /// Events to print of a seed that fails.
    pub lines: usize,
}

/// What many seeds came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that failed, ascending.
    pub failed: Vec<u64>,
    /// Events in all.
    pub events: u64,
    /// Microseconds of virtual time in all.
    pub micros: u64,
    /// Starts of the server.
    pub starts: u64,
    /// Messages sent and acknowledged.
    pub messages: (u64, u64),
    /// Faults that struck, by kind.
    pub faults: BTreeMap<String, u64>,
}

impl Summary {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.micros += outcome.lasted.get();
        self.starts += outcome.figures.starts;
        self.messages.0 += outcome.figures.books.sent;
        self.messages.1 += outcome.figures.books.acked;
        for (kind, count) in &outcome.figures.faults {
            *self.faults.entry((*kind).to_owned()).or_default() += count;
        }
        if !outcome.findings.is_empty() {
            self.failed.push(outcome.seed);
            self.failed.sort_unstable();
        }
    }

    /// Adds what further seeds came to.
    pub(crate) fn merge(&mut self, more: &Self) {
        self.seeds += more.seeds;
        self.events += more.events;
        self.micros += more.micros;
        self.starts += more.starts;
        self.messages.0 += more.messages.0;
        self.messages.1 += more.messages.1;
        for (kind, count) in &more.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        self.failed.extend(&more.failed);
        self.failed.sort_unstable();
    }

    /// Writes the summary; `elapsed` is how long it took.
    pub fn print(&self, elapsed: Duration, out: &mut dyn Write) -> io::Result<()> {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let (seeds, hours) = (self.seeds, self.micros as f64 / 3.6e9);
        let (sent, acked) = self.messages;
        let rate = |count: u64| count as f64 / seconds;
        writeln!(
            out,
            "{seeds} seeds in {seconds:.1} s ({:.1}/s): {hours:.1} h of virtual time, {} events ({:.0}/s), {sent} \
             messages sent, {acked} acknowledged, {} starts of the server",
            rate(seeds),
            self.events,
            rate(self.events),
            self.starts,
        )?;
        let faults: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(out, "faults: {}", faults.join(", "))?;
        match self.failed.len() {
            0 => writeln!(out, "no seed failed"),
            count => writeln!(out, "{count} seeds failed: {:?}", self.failed),
        }
    }
}

/// Runs seeds; `elapsed` tells the time since the start, `out` is told of failures and progress.
pub fn campaign(
    options: &Options,
    elapsed: &(dyn Fn() -> Duration + Sync),
    out: &mut (dyn Write + Send),
) -> io::Result<Summary> {
    let next = AtomicU64::new(options.seeds.start);
    let shared = Mutex::new((Summary::default(), out, Ok(())));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= options.seeds.end {
                return;
            }
            let outcome = run_one(options, seed);
            let Ok(mut held) = shared.lock() else { return };
            let (summary, out, result) = &mut *held;
            summary.add(&outcome);
            let mut told = tell(options, &outcome, *out);
            if summary.seeds.is_multiple_of(500) && told.is_ok() {
                told = summary.print(elapsed(), *out);
            }
            if let Err(error) = told {
                *result = Err(error);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.jobs {
            scope.spawn(work);
        }
        work();
    });
    let (summary, _, result) = shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    result.map(|()| summary)
}

fn run_one(options: &Options, seed: u64) -> Outcome {
    match options.trace {
        true => run::seed(seed, options.scenario, Keep::All),
        false => run::explained(seed, options.scenario, options.lines),
    }
}

fn tell(options: &Options, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    if options.trace || !outcome.findings.is_empty() {
        report(outcome, out)?;
    }
    Ok(())
}

/// Writes the story of a run, what is wrong with it, and how to run it again.
pub fn report(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let seed = outcome.seed;
    writeln!(out, "--- seed {seed} ---\n{}", outcome.plan)?;
    for line in &outcome.story {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}; {} events, hash {:016x}", outcome.figures.books, outcome.events, outcome.hash)?;
    /// A lost queue would say the same thing for each of its messages.
    const SHOWN: usize = 12;
    for finding in outcome.findings.iter().take(SHOWN) {
        writeln!(out, "seed {seed}: {finding}")?;
    }
    if let Some(more) = outcome.findings.len().checked_sub(SHOWN + 1) {
        writeln!(out, "seed {seed}: and {} more", more + 1)?;
    }
    writeln!(out, "to run it again: {}\n", outcome.replay())
}

/// The whole command. Tells whether all is well.
pub fn run(
    options: &Options,
    elapsed: &(dyn Fn() -> Duration + Sync),
    out: &mut (dyn Write + Send),
) -> io::Result<bool> {
    let summary = campaign(options, elapsed, out)?;
    summary.print(elapsed(), out)?;
    Ok(summary.failed.is_empty())
}
