//! The mode `price`: what each protection against loss costs. It starts servers of its own, on loopback, with one
//! protection more each time, and measures them in turn, as `send` and `consume` do.

mod picture;
mod servers;

use std::fmt::Write as _;

use anyhow::{Context, ensure};
use tokio::runtime::Runtime;

use self::servers::Servers;
use super::args::{BenchArgs, Mode};
use super::compare::{Spread, significant};
use super::pull::Commit;
use super::report::Report;
use super::{consume, send};
use crate::print;

/// Business keys of the steps with keys: one for each message, mostly.
const KEYS: u32 = 1_000_000;
/// Messages that the steps of reading read, if nothing else is said.
const BACKLOG: u64 = 100_000;

/// A protection, on top of those before it.
struct Step {
    name: &'static str,
    /// What can be lost with it, or not be known, all the same.
    left: &'static str,
    replicas: usize,
    flush: &'static str,
    work: Work,
}

/// What is measured.
#[derive(Clone, Copy)]
enum Work {
    /// Sending, with so many business keys.
    Send(u32),
    /// Reading a backlog, its position committed so.
    Consume(Commit),
}

const STEPS: [Step; 8] = [
    Step {
        name: "1 server, ASYNC_FLUSH",
        left: "what a power cut takes, and a disk that dies",
        replicas: 1,
        flush: "ASYNC_FLUSH",
        work: Work::Send(0),
    },
    Step {
        name: "1 server, SYNC_FLUSH",
        left: "a disk that dies",
        replicas: 1,
        flush: "SYNC_FLUSH",
        work: Work::Send(0),
    },
    Step {
        name: "3 replicas, ASYNC_FLUSH",
        left: "a power cut of two at once",
        replicas: 3,
        flush: "ASYNC_FLUSH",
        work: Work::Send(0),
    },
    Step {
        name: "3 replicas, SYNC_FLUSH",
        left: "two disks that die at once",
        replicas: 3,
        flush: "SYNC_FLUSH",
        work: Work::Send(0),
    },
    Step {
        name: "… and a key in each message",
        left: "the same; and now it can be told which message it was",
        replicas: 3,
        flush: "SYNC_FLUSH",
        work: Work::Send(KEYS),
    },
    Step {
        name: "reading, no position committed",
        left: "where the consumer was",
        replicas: 3,
        flush: "SYNC_FLUSH",
        work: Work::Consume(Commit::Never),
    },
    Step {
        name: "… committed before the work",
        left: "messages whose work was not done when the consumer died",
        replicas: 3,
        flush: "SYNC_FLUSH",
        work: Work::Consume(Commit::Before),
    },
    Step {
        name: "… committed after the work",
        left: "nothing; some messages come twice",
        replicas: 3,
        flush: "SYNC_FLUSH",
        work: Work::Consume(Commit::After),
    },
];

/// What a step came to, round by round.
#[derive(Default)]
struct Figures {
    throughput: Vec<f64>,
    /// Microseconds of all servers' processor time for a message.
    cpu: Vec<f64>,
    /// Microseconds until a lone message is acknowledged.
    alone: Vec<f64>,
    late: Vec<f64>,
}

/// A step with its medians.
struct Row {
    step: &'static Step,
    throughput: Spread,
    cpu: Option<Spread>,
    alone: Option<Spread>,
    late: Option<Spread>,
}

/// Runs the mode: `--passes` rounds, `--seconds` (default 10) of sending, `--messages` to read, data below `--dir`.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    ensure!(
        args.broker.is_none() && args.pid.is_empty(),
        "price starts servers of its own: leave --broker and --pid out"
    );
    let runtime = super::runtime()?;
    let mut all: Vec<Figures> = STEPS.iter().map(|_| Figures::default()).collect();
    for round in 1..=args.passes {
        for (step, figures) in STEPS.iter().zip(&mut all) {
            print::note(format_args!("== round {round} of {}: {}", args.passes, step.name));
            step.measure(args, &runtime, figures).with_context(|| step.name)?;
        }
    }
    let rows = STEPS.iter().zip(all).filter_map(|(step, figures)| Row::of(step, figures));
    let rows: Vec<Row> = rows.collect();
    if let Some(path) = &args.picture {
        std::fs::write(path, picture::svg(&rows)).with_context(|| format!("writing {}", path.display()))?;
    }
    print::result(&table(&rows))
}

impl Step {
    /// Starts servers for it, measures them, and ends them.
    fn measure(&self, args: &BenchArgs, runtime: &Runtime, figures: &mut Figures) -> anyhow::Result<()> {
        let mut servers = Servers::start(&args.dir, self.replicas, self.flush)?;
        let to = runtime.block_on(servers.leader(args))?;
        let args = BenchArgs { broker: Some(to), pid: servers.pids(), ..args.clone() };
        let report = match self.work {
            Work::Send(keys) => {
                let args = BenchArgs { mode: Mode::Send, keys, messages: None, ..args };
                let lone = BenchArgs {
                    connections: 1,
                    in_flight: 1,
                    topic: format!("{}-1", args.topic),
                    ..args.clone()
                };
                let report = send::measure(&args)?;
                let latency = send::measure(&lone)?.latency.context("no latency")?;
                figures.alone.push(latency.p50_us);
                figures.late.push(latency.p99_us);
                report
            }
            Work::Consume(commit) => {
                let fill = BenchArgs {
                    messages: Some(args.messages.unwrap_or(BACKLOG)),
                    seconds: None,
                    ..args.clone()
                };
                send::measure(&BenchArgs { mode: Mode::Send, ..fill })?;
                let args = BenchArgs { mode: Mode::Consume, passes: 1, ..args };
                runtime.block_on(consume::measure(&args, commit))?
            }
        };
        let Report { throughput, server, .. } = report;
        figures.throughput.push(throughput);
        figures.cpu.extend(server.map(|server| server.cpu_us_per_message));
        Ok(())
    }
}

impl Row {
    fn of(step: &'static Step, figures: Figures) -> Option<Self> {
        let Figures { throughput, cpu, alone, late } = figures;
        let throughput = Spread::of(throughput)?;
        Some(Self {
            step,
            throughput,
            cpu: Spread::of(cpu),
            alone: Spread::of(alone),
            late: Spread::of(late),
        })
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| protection | msg/s | CPU of all servers, us/msg | p50 of a lone message, us | its p99, us | what can still be lost |\n\
         |---|---|---|---|---|---|\n",
    );
    let cell = |spread: &Option<Spread>| {
        spread.as_ref().map_or("–".to_owned(), |spread| significant(spread.median))
    };
    for Row { step, throughput, cpu, alone, late } in rows {
        let cells = [significant(throughput.median), cell(cpu), cell(alone), cell(late)].join(" | ");
        let _ = writeln!(text, "| {} | {cells} | {} |", step.name, step.left);
    }
    text
}
