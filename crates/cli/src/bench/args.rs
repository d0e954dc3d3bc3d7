//! The command line of `steadfast bench`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use steadfast_types::limits;
use steadfast_wire::frame::Serialize;

const EXAMPLES: &str = "\
Examples:
  As much as the server takes, 16 connections with 32 requests in flight each, for 10 s after 2 s of warm-up:
    steadfast bench

  One message at a time: the latency of a synced write.
    steadfast bench --connections 1 --in-flight 1

  A steady 5000 messages per second. Latency counts from when a message was due, so a server that stalls
  cannot hide it by keeping the load waiting:
    steadfast bench --rate 5000 --seconds 60

  With the server's CPU and memory, and the result as one line of JSON:
    steadfast bench --pid $(pidof steadfast) --json

  A million messages in batches, then the speed of reading them all:
    steadfast bench --topic backlog --messages 1000000 --batch 32
    steadfast bench consume --topic backlog --connections 4 --passes 3

  Delayed messages, and messages that a consumer sends back:
    steadfast bench delay --broker 127.0.0.1:10911 --messages 100000
    steadfast bench retry --broker 127.0.0.1:10911 --messages 100000

  How long until a server that is starting takes a message:
    steadfast bench probe --broker 127.0.0.1:10911

  What one message at a time costs at least on this machine, whatever the server:
    steadfast bench floor --dir /var/lib

  How long nothing is acknowledged when a leader dies (kill it meanwhile; bench/failover does):
    steadfast bench failover --namesrv '127.0.0.1:9876;127.0.0.1:9877' --seconds 60

  The price of each protection, a median of three rounds; it starts its own servers and takes about ten minutes:
    steadfast bench price --passes 3 --dir /var/lib --picture price.svg

  Medians and ratios of earlier results; --label SCENARIO/SYSTEM says what is compared with what:
    steadfast bench --json --label sync/ours >>results.json
    steadfast bench --compare results.json --want 'sync throughput >= 4'

A figure is printed only after everything was read back and every acknowledged message was there, once and
whole. Otherwise the exit code is 1, and what is wrong is printed instead.";

/// Puts load on a server and measures it; works with any server that speaks RocketMQ's remoting protocol.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// What to measure.
    #[arg(value_enum, default_value = "send")]
    pub mode: Mode,

    /// Name server that knows the brokers; `failover`: one or several, separated by `;`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9876", conflicts_with = "broker")]
    pub namesrv: String,
    /// A broker to talk to directly, without a name server.
    #[arg(long, value_name = "ADDR")]
    pub broker: Option<String>,
    /// Topic; `send` creates it, or changes it to --queues queues. Messages already there do not matter.
    #[arg(long, default_value = "steadfast-bench")]
    pub topic: String,
    /// Queues of the topic on each broker.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::QUEUES)))]
    pub queues: u32,

    /// Connections, spread over the brokers.
    #[arg(long, short = 'c', default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Requests in flight on each connection. With --rate: at most so many, the rest waits on its clock.
    #[arg(long, short = 'f', default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// Bytes in a message's body.
    #[arg(long, short = 's', default_value_t = 1024)]
    pub size: usize,
    /// Messages per second, for all connections together (open loop). Without it each connection sends the next
    /// message when one is acknowledged (closed loop).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Gives each message one of N business keys (KEYS); 0 gives none.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keys: u32,
    /// Messages per request; more than one uses SEND_BATCH_MESSAGE.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub batch: u32,
    /// Consumers that pull what is sent meanwhile, each on its own connection. Their delay is measured in whole ms.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub consumers: u32,

    /// Measure for so long (default 10). With --messages: at most so long.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<Duration>,
    /// Measure until so many messages were sent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,
    /// Seconds of load before the measurement begins.
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub warmup: Duration,
    /// Seconds after which an unanswered request ends its connection; its outcome counts as unknown.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,

    /// `floor`, `price`: directory on the disk that is meant; what is written in it is removed.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,

    /// `failover`: a pause between two acknowledgements is an outage from so many seconds on.
    #[arg(long, value_name = "S", default_value = "0.2", value_parser = seconds)]
    pub outage: Duration,

    /// `price`: draws the result as an SVG into this file.
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,

    /// `consume`: how often the whole backlog is read; `price`: rounds, of which the median counts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub passes: u32,
    /// `consume`: fail if there are fewer messages.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub expect: u64,
    /// `consume`: messages asked for in one pull.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub pull_batch: u32,

    /// Process id of the server on this machine, or several of replicas: measure their CPU and memory, all together.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// How request headers are written.
    #[arg(long, value_enum, default_value = "json")]
    pub encoding: Encoding,
    /// Threads that make the load; 1 is right while it shares a small machine with the server.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,

    /// Print the result as one line of JSON.
    #[arg(long)]
    pub json: bool,
    /// Name of the result in the JSON; SCENARIO/SYSTEM for --compare.
    #[arg(long)]
    pub label: Option<String>,
    /// Instead of a run: print medians and ratios of the results in these files as a Markdown table.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub compare: Vec<PathBuf>,
    /// With --compare: 'SCENARIO METRIC >= NUMBER', what the ratio of the first system to the second should be;
    /// or '<', '<=', '>'; prefix METRIC with `first:` for a bound on the first system alone.
    #[arg(long, value_name = "GOAL", requires = "compare")]
    pub want: Vec<String>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Sending: throughput and latency.
    Send,
    /// Reading a backlog from its first message to its last.
    Consume,
    /// How long until one message is acknowledged, from now; for a server that is just starting.
    Probe,
    /// Messages with a delay of 1 s (level 1): how fast they are taken, and how late they are delivered.
    Delay,
    /// Messages that a consumer sends back to have them again after 1 s: how fast that is taken.
    Retry,
    /// What one message at a time costs at least: a round trip on loopback with a synced write of --size and 512
    /// bytes in between, by bare threads.
    Floor,
    /// One message after the other, with a new look at the route after each that failed: how long nothing was
    /// acknowledged when a leader died or was lost.
    Failover,
    /// What each protection against loss costs: servers of its own, on loopback and one disk, with one more each time.
    Price,
}

/// How request headers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// As text, what RocketMQ's clients do by default.
    Json,
    /// RocketMQ's binary form.
    Rocketmq,
}

impl From<Encoding> for Serialize {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Serialize::Json,
            Encoding::Rocketmq => Serialize::RocketMq,
        }
    }
}

impl BenchArgs {
    /// What the types of the single options cannot say.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.size <= limits::BODY_LEN,
            "--size {} is over the limit of {}",
            self.size,
            limits::BODY_LEN
        );
        let request = (self.size + 512) * self.batch as usize;
        ensure!(
            self.batch == 1 || request <= limits::BODY_LEN,
            "--batch {} x --size {} makes requests of over {} bytes",
            self.batch,
            self.size,
            limits::BODY_LEN
        );
        steadfast_types::topic::check_topic(&self.topic)?;
        Ok(())
    }

    /// How long to measure: None until --messages are sent.
    pub(super) fn duration(&self) -> Option<Duration> {
        match (self.seconds, self.messages) {
            (None, None) => Some(Duration::from_secs(10)),
            (seconds, _) => seconds,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds, such as 10 or 0.5".to_owned())
}
