//! The modes `delay` and `retry`: messages that the broker is to deliver later. Measured is how fast it takes them; then
//! every one that was acknowledged must turn up, once and whole.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use steadfast_audit::Queue;
use steadfast_net::client::Client;
use steadfast_types::record::StoredMessage;
use steadfast_types::topic;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers::{ConsumerSendMsgBack, SendMessageResponse};
use tokio::task::{JoinSet, LocalSet};

use super::args::{BenchArgs, Mode};
use super::content::Content;
use super::process::{Meter, Usage};
use super::pull::{self, How, Visit};
use super::report::{self, Delivery, Latency, Report};
use super::single;
use super::stats::Latencies;
use super::target::{Range, Target, response_name};
use super::template::GROUP;
use crate::print;

/// Delay level of all messages, and its time by default.
const LEVEL: i32 = 1;
const LEVEL_TIME: Duration = Duration::from_secs(1);
/// How much earlier than due a message may seem to come, as two clocks may differ.
const CLOCKS: Duration = Duration::from_millis(500);
/// Pause between two looks for them.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs the mode: `--messages` (default 100,000) over `--connections` with `--in-flight` requests each.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    LocalSet::new().block_on(&runtime, measure(args))
}

async fn measure(args: &BenchArgs) -> anyhow::Result<()> {
    let target = Target::create(args).await?;
    ensure!(target.brokers.len() == 1, "this mode takes one broker: name it with --broker");
    let load = Rc::new(Load {
        content: Content::of_new_run(args.size, 0),
        messages: args.messages.unwrap_or(100_000),
        target: target.clone(),
        is_delayed: args.mode == Mode::Delay,
    });
    let (read_from, sent_back) = match args.mode {
        Mode::Delay => (target, None),
        _ => {
            print::note(format_args!("sending {} messages, which will then be sent back", load.messages));
            let stored = load.drive(args, &Step::Send).await?;
            (target.of_topic(&topic::retry_topic(GROUP), 1), Some(Step::SendBack(stored.places)))
        }
    };
    let tails = match load.is_delayed {
        true => read_from.tails().await?,
        // It may not be there yet; what stands in it already is of other runs.
        false => vec![Range { broker: 0, queue: 0, from: 0, to: None }],
    };
    let taken = load.drive(args, &sent_back.unwrap_or(Step::Send)).await?;
    print::note(format_args!("waiting for {} messages", load.messages));
    let seen = load.collect(&read_from, &tails).await?;
    let mut report = Report::of_reading(
        args,
        load.messages,
        load.messages * args.size as u64,
        taken.elapsed,
        &taken.usage,
    );
    report.latency = Some(Latency::new(&taken.latencies));
    report.set_verified(load.messages, Duration::ZERO);
    if load.is_delayed {
        report.delivery = Some(Delivery { messages: load.messages, delay: Latency::new(&seen.lateness) });
    }
    report::print(&report, args.json)
}

/// What one round of requests does.
enum Step {
    Send,
    /// Sends back the messages at these log offsets.
    SendBack(HashMap<u64, i64>),
}

struct Load {
    content: Content,
    messages: u64,
    target: Target,
    is_delayed: bool,
}

/// What a round of requests came to.
struct Taken {
    latencies: Latencies,
    elapsed: Duration,
    usage: Usage,
    /// Log offsets of the messages.
    places: HashMap<u64, i64>,
}

impl Load {
    /// One request for each message; all must be acknowledged.
    async fn drive(self: &Rc<Self>, args: &BenchArgs, step: &Step) -> anyhow::Result<Taken> {
        let mut clients = Vec::new();
        for _ in 0..args.connections {
            clients.push(self.target.connect(&self.target.brokers[0].addr).await?);
        }
        let meter = Meter::start(&args.pid)?;
        let start = Instant::now();
        let mut waiting = JoinSet::new();
        let (mut latencies, mut places) = (Latencies::new(), HashMap::new());
        let mut take = |done: anyhow::Result<(u64, Duration, i64)>| {
            let (id, latency, place) = done?;
            latencies.record(latency, 1);
            places.insert(id, place);
            anyhow::Ok(())
        };
        for id in 0..self.messages {
            if waiting.len() >= (args.connections * args.in_flight) as usize
                && let Some(done) = waiting.join_next().await
            {
                take(done?)?;
            }
            let client = clients[id as usize % clients.len()].clone();
            let load = Rc::clone(self);
            let place = match step {
                Step::Send => None,
                Step::SendBack(places) => Some(*places.get(&id).context("every message was stored")?),
            };
            waiting.spawn_local(async move {
                let begun = Instant::now();
                let place = match place {
                    None => load.send(&client, id).await?,
                    Some(place) => load.send_back(&client, place).await?,
                };
                Ok((id, begun.elapsed(), place))
            });
        }
        while let Some(done) = waiting.join_next().await {
            take(done?)?;
        }
        Ok(Taken { latencies, elapsed: start.elapsed(), usage: meter.stop()?, places })
    }

    /// Sends message `id`; returns its log offset.
    async fn send(&self, client: &Client, id: u64) -> anyhow::Result<i64> {
        let queues = self.target.brokers[0].queues.len() as u64;
        let place = (self.target.topic.as_str(), (id % queues) as u32);
        let (header, body) = single::send(self.content, id, place, self.is_delayed.then_some(LEVEL))?;
        let answer = client.request(header, &body, self.target.timeout).await?;
        ensure!(answer.code == response::SUCCESS, "{} {}", response_name(answer.code), answer.remark());
        let header = answer.header()?;
        let message_id = SendMessageResponse::decode(&header.ext)?.msg_id;
        // The last 16 digits of a message's id are its log offset.
        let digits = message_id.len().checked_sub(16).and_then(|at| message_id.get(at..));
        let digits = digits.with_context(|| format!("{message_id} is no message id"))?;
        Ok(i64::from_str_radix(digits, 16)?)
    }

    async fn send_back(&self, client: &Client, place: i64) -> anyhow::Result<i64> {
        let fields = ConsumerSendMsgBack {
            offset: place,
            group: GROUP.into(),
            delay_level: LEVEL,
            origin_topic: Some(self.target.topic.as_str().into()),
            max_reconsume_times: Some(16),
            ..ConsumerSendMsgBack::default()
        };
        let mut header = Header::request(request::CONSUMER_SEND_MSG_BACK, 0);
        fields.encode(&mut header.ext);
        let answer = client.request(header, &[], self.target.timeout).await?;
        ensure!(answer.code == response::SUCCESS, "{} {}", response_name(answer.code), answer.remark());
        Ok(place)
    }

    /// Reads what turned up after `tails` until it is everything, and judges it.
    async fn collect(&self, from: &Target, tails: &[Range]) -> anyhow::Result<Seen> {
        let mut ranges = tails.to_vec();
        let mut seen = Seen {
            content: self.content,
            times: HashMap::new(),
            broken: 0,
            early: 0,
            lateness: Latencies::new(),
        };
        let patience = LEVEL_TIME + self.target.timeout;
        let (mut last_news, mut was_complete) = (Instant::now(), false);
        // One more look when all are there: a message that comes twice may do so then.
        while !was_complete {
            was_complete = seen.times.len() >= self.messages as usize;
            let ends = from.contents().await?;
            for (range, end) in ranges.iter_mut().zip(&ends) {
                range.to = end.to;
            }
            let before = seen.times.len();
            seen = pull::read(from, &ranges, &How::to_the_end(2, 32), seen).await?;
            for range in &mut ranges {
                range.from = range.to.unwrap_or(range.from);
            }
            if seen.times.len() > before {
                last_news = Instant::now();
            } else if last_news.elapsed() > patience {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let missing = self.messages - seen.times.len() as u64;
        let twice = seen.times.values().filter(|times| **times > 1).count();
        if missing > 0 || twice > 0 || seen.early > 0 || seen.broken > 0 {
            bail!(
                "NO RESULT, because of {} acknowledged messages {missing} did not turn up, {twice} did more than once, \
                 {} before they were due, and {} were damaged",
                self.messages,
                seen.early,
                seen.broken
            );
        }
        Ok(seen)
    }
}

/// The messages of a run that turned up.
struct Seen {
    content: Content,
    /// How often, by number.
    times: HashMap<u64, u32>,
    broken: u64,
    early: u64,
    /// Time past the delay until they were stored to be read.
    lateness: Latencies,
}

impl Visit for Seen {
    fn message(&mut self, _: usize, _: &Queue, message: &StoredMessage<'_>) {
        let Some(id) = self.content.number_of(message) else { return };
        *self.times.entry(id).or_default() += 1;
        if Content::digest_of(message) != self.content.digest(id, &mut Vec::new()) {
            self.broken += 1;
        }
        let due = Duration::from_millis(message.born_time) + LEVEL_TIME;
        let stored = Duration::from_millis(message.stamp.store_time.get());
        self.early += u64::from(stored + CLOCKS < due);
        self.lateness.record(stored.saturating_sub(due), 1);
    }
}
