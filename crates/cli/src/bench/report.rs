//! The result of a run, for people and as JSON, and the progress on the way to it.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::args::{BenchArgs, Mode};
use super::lane::Progress;
use super::load::Outcome;
use super::process::{Meter, Usage};
use super::stats::Latencies;
use crate::print;

const MIB: f64 = 1024.0 * 1024.0;

/// The result of a run. Fields that a mode does not measure are left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    /// `--label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    /// `send`, `consume`, `probe`, `delay`, `retry`, `floor` or `failover`.
    pub(super) mode: String,
    pub(super) settings: Settings,
    /// Length of the measured time.
    pub(super) seconds: f64,
    /// Messages acknowledged, or read, in it.
    pub(super) messages: u64,
    /// Messages a second.
    pub(super) throughput: f64,
    /// Millions of body bytes a second.
    pub(super) mb_per_second: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) latency: Option<Latency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Server>,
    /// CPU time of the bench itself per message.
    pub(super) client_cpu_us_per_message: f64,
    /// What the consumers saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delivery: Option<Delivery>,
    /// Times without an acknowledgement, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) outages: Vec<Outage>,
    /// Messages without an acknowledgement: refused, of unknown outcome, or due and not sent.
    pub(super) failed: Failed,
    pub(super) verified: Verified,
    /// Messages of others that were met in the topic.
    pub(super) foreign: u64,
}

/// The options that matter for a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) topic: String,
    pub(super) connections: u32,
    pub(super) in_flight: u32,
    pub(super) size: usize,
    pub(super) batch: u32,
    pub(super) rate: Option<u32>,
    pub(super) keys: u32,
    pub(super) consumers: u32,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) mean_us: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
}

/// CPU and memory of the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) cpu_us_per_message: f64,
    /// CPU time over wall-clock time.
    pub(super) cores: f64,
    /// Largest resident memory seen, sampled each second.
    pub(super) resident_mib: f64,
    /// Largest part of it that is not backed by files.
    pub(super) anonymous_mib: f64,
}

/// What consumers beside the load saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) messages: u64,
    /// From when a message was made, or due, to when it was read, or could be; whole milliseconds.
    pub(super) delay: Latency,
}

/// A time without an acknowledgement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outage {
    /// From the last acknowledgement to the first new one.
    pub(super) millis: f64,
    /// When it began, in seconds of the run.
    pub(super) at: f64,
    /// Who acknowledged before and after.
    pub(super) from: String,
    pub(super) to: String,
}

/// Messages of the whole run that were not acknowledged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) unsent: u64,
}

/// What the audit read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Verified {
    /// Messages that are there, once and whole.
    pub(super) messages: u64,
    /// How long the audit took.
    pub(super) seconds: f64,
}

impl Latency {
    pub(super) fn new(latencies: &Latencies) -> Self {
        let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
        Self {
            mean_us: micros(latencies.mean()),
            p50_us: micros(latencies.quantile(0.5)),
            p99_us: micros(latencies.quantile(0.99)),
            p999_us: micros(latencies.quantile(0.999)),
            max_us: micros(latencies.max()),
        }
    }
}

impl Report {
    /// The result of sending.
    pub(super) fn new(args: &BenchArgs, outcome: &Outcome) -> Self {
        let bytes = outcome.stats.measured * args.size as u64;
        let failed = Failed {
            refused: outcome.stats.refused,
            unknown: outcome.stats.unknown.len() as u64,
            unsent: outcome.stats.unsent,
        };
        let measured = outcome.stats.measured;
        Self { failed, ..Self::of_reading(args, measured, bytes, outcome.elapsed, &outcome.usage) }
    }

    /// The result of reading `messages` with `bytes` of bodies.
    pub(super) fn of_reading(
        args: &BenchArgs,
        messages: u64,
        bytes: u64,
        elapsed: Duration,
        usage: &Usage,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let per_message = |cpu: Duration| cpu.as_secs_f64() * 1e6 / messages.max(1) as f64;
        let server = usage.server.map(|(cpu, memory)| Server {
            cpu_us_per_message: per_message(cpu),
            cores: cpu.as_secs_f64() / seconds,
            resident_mib: memory.resident as f64 / MIB,
            anonymous_mib: memory.anonymous as f64 / MIB,
        });
        Self {
            seconds,
            messages,
            throughput: messages as f64 / seconds,
            mb_per_second: bytes as f64 / 1e6 / seconds,
            server,
            client_cpu_us_per_message: per_message(usage.own),
            ..Self::empty(args)
        }
    }

    /// The result of a probe.
    pub(super) fn of_probe(args: &BenchArgs, elapsed: Duration) -> Self {
        Self { seconds: elapsed.as_secs_f64(), messages: 1, ..Self::empty(args) }
    }

    /// The result of `floor`: latencies of nobody's messages.
    pub(super) fn of_floor(args: &BenchArgs, latencies: &Latencies) -> Self {
        Self { latency: Some(Latency::new(latencies)), ..Self::empty(args) }
    }

    fn empty(args: &BenchArgs) -> Self {
        Self {
            label: args.label.clone(),
            mode: match args.mode {
                Mode::Send => "send",
                Mode::Consume => "consume",
                Mode::Probe => "probe",
                Mode::Delay => "delay",
                Mode::Retry => "retry",
                Mode::Floor => "floor",
                Mode::Failover => "failover",
                Mode::Price => "price",
            }
            .to_owned(),
            settings: Settings {
                topic: args.topic.clone(),
                connections: args.connections,
                in_flight: args.in_flight,
                size: args.size,
                batch: args.batch,
                rate: args.rate,
                keys: args.keys,
                consumers: args.consumers,
            },
            seconds: 0.0,
            messages: 0,
            throughput: 0.0,
            mb_per_second: 0.0,
            latency: None,
            server: None,
            client_cpu_us_per_message: 0.0,
            delivery: None,
            outages: Vec::new(),
            failed: Failed::default(),
            verified: Verified::default(),
            foreign: 0,
        }
    }

    /// Notes what the audit read.
    pub(super) fn set_verified(&mut self, messages: u64, took: Duration) {
        self.verified = Verified { messages, seconds: took.as_secs_f64() };
    }
}

/// Prints the result on stdout.
pub(super) fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string(report)? } else { report.to_string() };
    print::result(&(text + "\n"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mode == "probe" {
            return write!(f, "a message was acknowledged after {:.3} s", self.seconds);
        }
        if let ("floor", Some(latency)) = (&*self.mode, &self.latency) {
            return write!(f, "round trip with a synced write: {latency}");
        }
        let done = if self.mode != "consume" { "acknowledged messages are" } else { "messages read were" };
        writeln!(f, "verified    {} {done} there, once and whole", self.verified.messages)?;
        writeln!(
            f,
            "throughput  {:.0} msg/s, {:.1} MB/s ({} messages in {:.2} s)",
            self.throughput, self.mb_per_second, self.messages, self.seconds
        )?;
        if let Some(latency) = &self.latency {
            writeln!(f, "latency     {latency}")?;
        }
        if let Some(delivery) = &self.delivery {
            writeln!(f, "delivery    {} messages, delay {}", delivery.messages, delivery.delay)?;
        }
        for Outage { millis, at, from, to } in &self.outages {
            writeln!(f, "outage      {millis:.0} ms from {at:.1} s on, from {from} to {to}")?;
        }
        if let Some(server) = &self.server {
            writeln!(
                f,
                "server      {:.1} us CPU per message, {:.2} cores; memory {:.0} MiB, {:.0} MiB of it anonymous",
                server.cpu_us_per_message, server.cores, server.resident_mib, server.anonymous_mib
            )?;
        }
        if self.failed.refused + self.failed.unknown + self.failed.unsent > 0 {
            let Failed { refused, unknown, unsent } = self.failed;
            writeln!(
                f,
                "failed      {refused} refused, {unknown} of unknown outcome, {unsent} due and not sent"
            )?;
        }
        if self.foreign > 0 {
            writeln!(f, "foreign     {} messages of others in the topic", self.foreign)?;
        }
        write!(f, "client      {:.1} us CPU per message", self.client_cpu_us_per_message)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p99_us, p999_us, max_us, .. } = self;
        write!(f, "p50 {p50_us:.0} us, p99 {p99_us:.0} us, p99.9 {p999_us:.0} us, max {max_us:.0} us")
    }
}

/// Prints a line a second on stderr.
pub(super) struct ProgressLine {
    start: Instant,
    last: Instant,
    acked: u64,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { start: now, last: now, acked: 0 }
    }

    /// Prints what happened since the last line.
    pub(super) fn print(&mut self, phase: &str, progress: &Progress, meter: Option<&mut Meter>) {
        let now = Instant::now();
        let acked = progress.acked.load(Ordering::Relaxed);
        let failed = progress.failed.load(Ordering::Relaxed);
        let rate = (acked - self.acked) as f64 / (now - self.last).as_secs_f64();
        let memory = meter.and_then(|meter| meter.sample());
        let memory = memory.map_or(String::new(), |m| format!(", server {:.0} MiB", m.resident as f64 / MIB));
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        let elapsed = (now - self.start).as_secs_f64();
        print::note(format_args!("{elapsed:4.0} s  {phase}: {rate:.0} msg/s{failed}{memory}"));
        (self.last, self.acked) = (now, acked);
    }
}
