//! The mode `failover`: a lone sender that asks for the route again after each message that failed. Measured are the times
//! in which nothing was acknowledged; whoever runs it ends leaders meanwhile. Then everything is read back as ever.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use steadfast_net::client::Client;
use steadfast_wire::code::response;
use steadfast_wire::headers::SendMessageResponse;

use super::args::BenchArgs;
use super::content::Content;
use super::process::Meter;
use super::report::{self, Outage};
use super::stats::{self, Ack, Stats};
use super::target::{Target, response_name};
use super::{load, send, single};
use crate::print;

/// How long a message or a question to a name server may take: less than RocketMQ's clients wait, since a sender without an
/// answer cannot tell a dead server from a slow one.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the brokers may take until they can be read in the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the mode for `--seconds` (default 10).
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    ensure!(
        args.broker.is_none(),
        "failover needs --namesrv: who leads after a fail-over is what name servers know"
    );
    super::runtime()?.block_on(measure(args))
}

async fn measure(args: &BenchArgs) -> anyhow::Result<()> {
    let names: Vec<String> = args.namesrv.split(';').map(|name| name.trim().to_owned()).collect();
    let target = create(args, &names).await?;
    let tails = target.tails().await?;
    let content = Content::of_new_run(args.size, 0);
    let target = Target { timeout: ANSWER, ..target };
    let mut sender = Sender::new(target, names, content, args.outage);
    let meter = Meter::start(&[])?;
    let limit = args.duration().unwrap_or(Duration::MAX);
    while sender.begun.elapsed() < limit && args.messages.is_none_or(|most| sender.stats.measured < most) {
        sender.send().await;
    }
    let Sender { target, names, stats, outages, begun, .. } = sender;
    let outcome = load::Outcome { stats, usage: meter.stop()?, elapsed: begun.elapsed() };
    send::report_errors(&outcome.stats);
    let target = Target { timeout: args.timeout, ..find_again(target, &names).await? };
    let mut report = send::verified(args, &target, &tails, content, &outcome).await?;
    report.outages = outages;
    report::print(&report, args.json)
}

/// What the first name server says that answers.
async fn first<T>(
    names: &[String],
    mut ask: impl AsyncFnMut(&str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut problem = None;
    for name in names {
        match ask(name).await {
            Ok(answer) => return Ok(answer),
            Err(error) => problem = Some(error),
        }
    }
    Err(problem.context("no name server is given")?)
}

/// Creates the topic on the brokers that name servers know.
async fn create(args: &BenchArgs, names: &[String]) -> anyhow::Result<Target> {
    first(names, async |name| Target::create(&BenchArgs { namesrv: name.to_owned(), ..args.clone() }).await)
        .await
}

/// Waits until each broker has a leader that answers.
async fn find_again(mut target: Target, names: &[String]) -> anyhow::Result<Target> {
    let begun = Instant::now();
    loop {
        let problem = match refresh(&mut target, names).await {
            Ok(()) => match target.contents().await {
                Ok(_) => return Ok(target),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if begun.elapsed() > PATIENCE {
            return Err(problem).context("NO RESULT, because what was acknowledged cannot be read back");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes the leaders of all brokers from the first name server that knows some.
async fn refresh(target: &mut Target, names: &[String]) -> anyhow::Result<()> {
    let leaders = first(names, async |name| target.leaders(name).await).await?;
    for broker in &mut target.brokers {
        let leader = leaders.iter().find(|(name, _)| broker.name.as_ref() == Some(name));
        broker.addr = leader.map(|(_, addr)| addr.clone()).unwrap_or_default();
    }
    Ok(())
}

/// One message after the other.
struct Sender {
    target: Target,
    names: Vec<String>,
    content: Content,
    /// From which length on a pause is an outage.
    outage: Duration,
    begun: Instant,
    /// The connection, and which broker it leads to.
    link: Option<(Client, usize)>,
    /// Which broker is tried next.
    next_broker: usize,
    next_id: u64,
    stats: Stats,
    last: Option<(Instant, String)>,
    outages: Vec<Outage>,
}

impl Sender {
    fn new(target: Target, names: Vec<String>, content: Content, outage: Duration) -> Self {
        Self {
            target,
            names,
            content,
            outage,
            begun: Instant::now(),
            link: None,
            next_broker: 0,
            next_id: 0,
            stats: Stats::new(),
            last: None,
            outages: Vec::new(),
        }
    }

    /// Sends one message. After a failure the next one goes to whom the route names then.
    async fn send(&mut self) {
        if let Err(error) = self.try_send().await {
            self.stats.error(format!("{error:#}"), 1);
            self.link = None;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_send(&mut self) -> anyhow::Result<()> {
        let (client, number) = match &self.link {
            Some(link) => link.clone(),
            None => self.connect().await?,
        };
        let broker = &self.target.brokers[number];
        let id = self.next_id;
        self.next_id += 1;
        let queue = (id % broker.queues.len().max(1) as u64) as u32;
        let (header, body) = single::send(self.content, id, (&self.target.topic, queue), None)?;
        let begun = Instant::now();
        let answer = match client.request(header, &body, ANSWER).await {
            Ok(answer) => answer,
            Err(error) => {
                self.stats.unknown.push(id);
                return Err(error.into());
            }
        };
        if answer.code != response::SUCCESS {
            match stats::outcome(answer.code) {
                stats::Outcome::Refused => self.stats.refused += 1,
                stats::Outcome::Unknown => self.stats.unknown.push(id),
            }
            bail!("{} {}", response_name(answer.code), answer.remark());
        }
        let header = answer.header()?;
        let stored = SendMessageResponse::decode(&header.ext)?;
        let offset = u64::try_from(stored.queue_offset)?;
        let queue = u16::try_from(stored.queue_id)?;
        self.stats.acks.push(Ack { first_id: id, offset, broker: number as u16, queue, count: 1 });
        self.stats.latencies.record(begun.elapsed(), 1);
        self.stats.measured += 1;
        let addr = broker.addr.clone();
        self.link = Some((client, number));
        self.acknowledged(addr);
        Ok(())
    }

    /// Connects to the next broker that the route names a leader of.
    async fn connect(&mut self) -> anyhow::Result<(Client, usize)> {
        refresh(&mut self.target, &self.names).await?;
        let brokers = self.target.brokers.len();
        let led = (0..brokers).map(|i| (self.next_broker + i) % brokers);
        let number = led.into_iter().find(|number| !self.target.brokers[*number].addr.is_empty());
        let number = number.context("the route names no leader of any broker")?;
        self.next_broker = number + 1;
        let client = self.target.connect(&self.target.brokers[number].addr).await?;
        Ok((client, number))
    }

    fn acknowledged(&mut self, addr: String) {
        let now = Instant::now();
        if let Some((last, from)) = self.last.replace((now, addr.clone()))
            && now - last >= self.outage
        {
            let at = (last - self.begun).as_secs_f64();
            let outage = Outage { millis: (now - last).as_secs_f64() * 1e3, at, from, to: addr };
            print::note(format_args!(
                "{at:6.1} s  {:.0} ms without an acknowledgement, then {}",
                outage.millis, outage.to
            ));
            self.outages.push(outage);
        }
        self.stats.last_ack = Some(now);
    }
}
