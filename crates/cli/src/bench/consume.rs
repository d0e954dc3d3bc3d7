//! The mode `consume`: reads a backlog from its first message to its last.

use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use steadfast_audit::Queue;
use steadfast_types::properties;
use steadfast_types::record::StoredMessage;

use super::args::BenchArgs;
use super::content;
use super::lane::Progress;
use super::process::Meter;
use super::pull::{self, Commit, How, Visit};
use super::report::{self, ProgressLine, Report};
use super::target::{Range, Target};

/// Violations that are told in full.
const SHOWN: usize = 20;

/// Runs the mode: reads the whole backlog as often as asked, checking every message as it comes.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let report = super::runtime()?.block_on(measure(args, Commit::Never))?;
    report::print(&report, args.json)
}

/// Reads, and commits its positions so.
pub(super) async fn measure(args: &BenchArgs, commit: Commit) -> anyhow::Result<Report> {
    let target = Target::existing(args).await?;
    let ranges = target.contents().await?;
    let messages: u64 = ranges.iter().map(|range| range.to.unwrap_or(0).saturating_sub(range.from)).sum();
    ensure!(messages > 0, "topic {} holds no message to consume", args.topic);
    ensure!(messages >= args.expect, "{messages} messages are there, {} were expected", args.expect);
    let how = How { commit, ..How::to_the_end(args.connections, args.pull_batch) };
    let progress = Rc::new(Progress::default());
    let mut checker = Checker { progress: Rc::clone(&progress), ..Checker::default() };
    let mut meter = Meter::start(&args.pid)?;
    let start = Instant::now();
    for _ in 0..args.passes {
        checker.begin_pass(&ranges);
        let reading = pull::read(&target, &ranges, &how, checker);
        checker = with_progress(reading, &progress, &mut meter).await?;
        checker.end_pass(&ranges, &target);
    }
    let elapsed = start.elapsed();
    let usage = meter.stop()?;
    checker.judge()?;
    let read = messages * u64::from(args.passes);
    let mut report = Report::of_reading(args, read, checker.bytes, elapsed, &usage);
    report.set_verified(read, Duration::ZERO);
    report.foreign = checker.foreign;
    Ok(report)
}

/// Drives `reading` and prints the progress each second.
async fn with_progress<T>(reading: impl Future<Output = T>, progress: &Progress, meter: &mut Meter) -> T {
    let mut line = ProgressLine::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    tokio::pin!(reading);
    loop {
        tokio::select! {
            read = &mut reading => return read,
            _ = tick.tick() => line.print("reading", progress, Some(meter)),
        }
    }
}

/// Checks a backlog: no hole in a queue, every message of a bench whole, none of them twice.
#[derive(Default)]
struct Checker {
    progress: Rc<Progress>,
    /// The offset that must come next, by range.
    next: Vec<u64>,
    /// Run and number of each message, collected in the first pass.
    ids: Vec<(u64, u64)>,
    passes: u32,
    /// Bytes of all bodies.
    bytes: u64,
    /// Messages that no bench made: their content cannot be judged beyond its CRC.
    foreign: u64,
    scratch: Vec<u8>,
    violations: Vec<String>,
    more_violations: u64,
}

impl Checker {
    fn begin_pass(&mut self, ranges: &[Range]) {
        self.next = ranges.iter().map(|range| range.from).collect();
        self.foreign = 0;
    }

    fn end_pass(&mut self, ranges: &[Range], target: &Target) {
        for (range, next) in ranges.iter().zip(self.next.clone()) {
            let to = range.to.unwrap_or(next);
            if next < to {
                let queue = &target.brokers[range.broker].queues[range.queue as usize];
                self.violation(format!("{queue}: the offsets {next} to {to} could not be read"));
            }
        }
        if self.passes == 0 {
            self.ids.sort_unstable();
            let twice = self.ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
            if twice > 0 {
                self.violation(format!("{twice} messages stand in the topic more than once"));
            }
            self.ids = Vec::new();
        }
        self.passes += 1;
    }

    fn violation(&mut self, sentence: String) {
        if self.violations.len() < SHOWN {
            self.violations.push(sentence);
        } else {
            self.more_violations += 1;
        }
    }

    fn judge(&self) -> anyhow::Result<()> {
        if self.violations.is_empty() {
            return Ok(());
        }
        let all = self.violations.join("\n");
        bail!("NO RESULT, because the backlog is not whole:\n{all}\n({} more)", self.more_violations)
    }

    /// Whether the body is what the message's unique key says; None if no bench made it.
    fn is_whole(&mut self, message: &StoredMessage<'_>) -> Option<bool> {
        let key = properties::get(message.properties, properties::UNIQ_KEY)?;
        let (run, id) = content::parse_unique_key(key)?;
        if self.passes == 0 {
            self.ids.push((run, id));
        }
        self.scratch.resize(message.body.len(), 0);
        content::fill_body(run, id, &mut self.scratch);
        Some(self.scratch == message.body)
    }
}

impl Visit for Checker {
    fn message(&mut self, nth: usize, queue: &Queue, message: &StoredMessage<'_>) {
        let offset = message.stamp.queue_offset.get();
        if offset != self.next[nth] {
            let next = self.next[nth];
            self.violation(format!("{queue}: offset {offset} came where {next} was due"));
        }
        self.next[nth] = offset + 1;
        match self.is_whole(message) {
            Some(true) => {}
            Some(false) => self.violation(format!("{queue}@{offset}: the body is not what was sent")),
            None => self.foreign += 1,
        }
        self.bytes += message.body.len() as u64;
        self.progress.acked.fetch_add(1, Ordering::Relaxed);
    }
}
