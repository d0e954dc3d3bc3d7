//! The command `sim`: runs seeds and tells what came of them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::run::{self, Outcome};
use crate::trace::Keep;

/// How the command is used.
pub const USAGE: &str = "\
usage: steadfast sim [--seed N [--trace]] | [--seeds A..B | --seeds COUNT [--from A]] [--jobs N] [--lines N]
  --seed N         run one seed and tell its story if it fails
  --trace          print every event of it, failed or not
  --seeds A..B     run the seeds from A up to B, B excluded
  --seeds COUNT    run so many seeds, from --from (by default 0) on
  --jobs N         run so many at the same time (by default 1)
  --lines N        events to print of a seed that fails (by default 60)";

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The seeds.
    pub seeds: Range<u64>,
    /// How many run at the same time.
    pub jobs: usize,
    /// Print every event.
    pub trace: bool,
    /// Events to print of a seed that fails.
    pub lines: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { seeds: 0..100, jobs: 1, trace: false, lines: 60 }
    }
}

impl Options {
    /// Reads the arguments after `sim`.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut from = None;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--trace" => options.trace = true,
                "--seed" => {
                    let seed = number(&value()?)?;
                    options.seeds = seed..seed + 1;
                }
                "--seeds" => options.seeds = range(&value()?)?,
                "--from" => from = Some(number(&value()?)?),
                "--jobs" => options.jobs = number(&value()?)?.clamp(1, 1024) as usize,
                "--lines" => options.lines = number(&value()?)? as usize,
                other => return Err(format!("{other} is not an option")),
            }
        }
        if let Some(from) = from {
            let count = options.seeds.end - options.seeds.start;
            options.seeds = from..from + count;
        }
        Ok(options)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn range(text: &str) -> Result<Range<u64>, String> {
    match text.split_once("..") {
        Some((from, to)) => Ok(number(from)?..number(to)?),
        None => Ok(0..number(text)?),
    }
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
    pub faults: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.micros += outcome.lasted.get();
        self.starts += outcome.figures.starts;
        self.messages.0 += outcome.figures.books.sent;
        self.messages.1 += outcome.figures.books.acked;
        for (kind, count) in &outcome.figures.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        if !outcome.findings.is_empty() {
            self.failed.push(outcome.seed);
            self.failed.sort_unstable();
        }
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
    if options.trace { run::seed(seed, Keep::All) } else { run::explained(seed, options.lines) }
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
    writeln!(out, "to run it again: cargo run --release -- sim --seed {seed}\n")
}

/// The whole command: `args` are those after `sim`. Tells whether all is well.
pub fn run(
    args: impl IntoIterator<Item = String>,
    elapsed: &(dyn Fn() -> Duration + Sync),
    out: &mut (dyn Write + Send),
) -> io::Result<bool> {
    let args: Vec<String> = args.into_iter().collect();
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        writeln!(out, "{USAGE}")?;
        return Ok(true);
    }
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(problem) => {
            writeln!(out, "{problem}\n{USAGE}")?;
            return Ok(false);
        }
    };
    let summary = campaign(&options, elapsed, out)?;
    summary.print(elapsed(), out)?;
    Ok(summary.failed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn arguments() {
        assert_eq!(parse(&[]), Ok(Options::default()));
        assert_eq!(parse(&["--seed", "7", "--trace"]).map(|o| (o.seeds, o.trace)), Ok((7..8, true)));
        assert_eq!(parse(&["--seeds", "3..9"]).map(|o| o.seeds), Ok(3..9));
        assert_eq!(parse(&["--seeds", "10", "--from", "5"]).map(|o| o.seeds), Ok(5..15));
        assert!(
            parse(&["--seed"]).is_err() && parse(&["--seeds", "x"]).is_err() && parse(&["--what"]).is_err()
        );
    }
}
