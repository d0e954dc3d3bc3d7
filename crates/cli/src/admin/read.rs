//! Reading messages from queues: `printMsg`, `printMsgByQueue` and `consumeMessage`. None moves a group's position.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{bail, ensure};
use clap::Args;
use serde::Serialize;

use super::charset::Charset;
use super::cluster::Cluster;
use super::message::Message;
use super::output::Out;
use super::place::boolean;
use super::queue::{Filter, Pulled, Queue, Status, TOOLS_GROUP};
use super::time;

const RULE: &str = "--------------------------------------------------------";

/// Print the messages of a topic, queue by queue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin printMsg -n 127.0.0.1:9876 -t SCANRECORD -b 2026-11-23#09:00:00:000 -e now
  steadfast admin printMsg -t SCANRECORD --json | jq -r .keys

One line for each message with all of its fields, in order of each queue; --json prints the message alone.")]
pub(super) struct PrintMsg {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Encoding of bodies: UTF-8 if none is given, GBK, ...
    #[arg(short, long = "charsetName", value_name = "CHARSET", value_parser = Charset::parse)]
    charset: Option<Charset>,
    /// Only messages with these tags: paid, or 'paid || refunded'
    #[arg(short = 's', long = "subExpression", value_name = "TAGS", default_value = "*")]
    tags: String,
    #[command(flatten)]
    period: Period,
    /// Whether to print bodies
    #[arg(short = 'd', long = "printBody", value_name = "BOOL", default_value_t = true, value_parser = boolean,
          action = clap::ArgAction::Set)]
    body: bool,
    /// Read where this topic lies (for RocketMQ's light queues)
    #[arg(short, long = "lmqParentTopic", value_name = "TOPIC")]
    lmq: Option<String>,
}

/// Print the messages of one queue, or count them by tag
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin printMsgByQueue -n 127.0.0.1:9876 -t SCANRECORD -a broker-a -i 0 -p true
  steadfast admin printMsgByQueue -n 127.0.0.1:9876 -t SCANRECORD -a broker-a -i 0 -f true    (how many of each tag)")]
pub(super) struct PrintMsgByQueue {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Name of the broker (not its address)
    #[arg(short = 'a', long = "brokerName", value_name = "NAME")]
    broker: String,
    /// Queue
    #[arg(short = 'i', long = "queueId", value_name = "QUEUE")]
    queue: i32,
    /// Encoding of bodies: UTF-8 if none is given, GBK, ...
    #[arg(short, long = "charsetName", value_name = "CHARSET", value_parser = Charset::parse)]
    charset: Option<Charset>,
    /// Only messages with these tags: paid, or 'paid || refunded'
    #[arg(short = 's', long = "subExpression", value_name = "TAGS", default_value = "*")]
    tags: String,
    #[command(flatten)]
    period: Period,
    /// Whether to print messages
    #[arg(short = 'p', long = "printMsg", alias = "print msg", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    print: bool,
    /// Whether to print bodies
    #[arg(short = 'd', long = "printBody", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    body: bool,
    /// Whether to count the messages of each tag
    #[arg(short = 'f', long = "calculate", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    count: bool,
}

/// Read some messages as a consumer would; no position moves
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin consumeMessage -n 127.0.0.1:9876 -t SCANRECORD -c 10
  steadfast admin consumeMessage -n 127.0.0.1:9876 -t SCANRECORD -b broker-a -i 0 -o 100 -c 10

Output as of printMsg. Each queue ends with the reason why no more of it was read.")]
pub(super) struct ConsumeMessage {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Name of the broker (not its address)
    #[arg(short, long = "brokerName", value_name = "NAME")]
    broker: Option<String>,
    /// Queue
    #[arg(short = 'i', long = "queueId", value_name = "QUEUE", requires = "broker")]
    queue: Option<i32>,
    /// First place to read in the queue
    #[arg(short, long, requires = "queue")]
    offset: Option<i64>,
    /// Consumer group to read as
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", default_value = TOOLS_GROUP)]
    group: String,
    /// Only messages stored at or after this time
    #[arg(short = 's', long = "beginTimestamp", value_name = "TIME", value_parser = time::parse)]
    begin: Option<i64>,
    /// Only messages stored before this time
    #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = time::parse)]
    end: Option<i64>,
    /// Most messages to read
    #[arg(short = 'c', long = "MessageNumber", value_name = "N", default_value_t = 128,
          value_parser = clap::value_parser!(i64).range(1..))]
    count: i64,
}

/// A stretch of time.
#[derive(Debug, Args)]
struct Period {
    /// Only messages stored at or after this time
    #[arg(short, long = "beginTimestamp", value_name = "TIME", value_parser = time::parse)]
    begin: Option<i64>,
    /// Only messages stored before this time
    #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = time::parse)]
    end: Option<i64>,
}

/// The offsets of a queue from one time to another: first, and behind the last.
pub(super) async fn range(
    cluster: &Cluster,
    queue: &Queue,
    begin: Option<i64>,
    end: Option<i64>,
) -> anyhow::Result<(i64, i64)> {
    let min = match begin {
        Some(time) => queue.search(cluster, time).await?,
        None => queue.min(cluster).await?,
    };
    let max = match end {
        Some(time) => queue.search(cluster, time).await?,
        None => queue.max(cluster).await?,
    };
    Ok((min, max))
}

/// How bodies are printed.
#[derive(Debug, Clone, Copy)]
struct Bodies {
    shown: bool,
    charset: Option<Charset>,
}

/// A message on a line of its own.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line {
    message: Message,
    #[serde(skip)]
    body: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        write!(f, "MSGID: {} {message} BODY: ", message.msg_id)?;
        if self.body { write!(f, "{}", message.body) } else { f.write_str("NOT PRINT BODY") }
    }
}

/// What is said between messages, in text only.
fn say(out: Out, text: impl fmt::Display) -> anyhow::Result<()> {
    if out.json { Ok(()) } else { out.show(&text.to_string()) }
}

impl PrintMsg {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let (filter, bodies) = (Filter::new(&self.tags), Bodies { shown: self.body, charset: self.charset });
        let queues = Queue::all(cluster, &self.topic, self.lmq.as_deref().unwrap_or(&self.topic)).await?;
        for queue in queues {
            let (min, max) = range(cluster, &queue, self.period.begin, self.period.end).await?;
            say(out, format_args!("minOffset={min}, maxOffset={max}, {queue}"))?;
            let mut next = min;
            while next < max {
                let pulled = queue.pull(cluster, TOOLS_GROUP, &filter, next, max - next).await?;
                next = advance(&queue, next, &pulled)?;
                match pulled.status {
                    Status::Found => show(pulled.messages, max, bodies, out)?,
                    Status::NoMatchedMsg => {
                        say(
                            out,
                            format_args!("{queue} no matched msg. status={}, offset={next}", pulled.status),
                        )?;
                    }
                    Status::NoNewMsg | Status::OffsetIllegal => {
                        say(out, finished(&queue, pulled.status, next))?;
                        break;
                    }
                }
            }
            say(out, RULE)?;
        }
        Ok(())
    }
}

/// Where to go on; a server that sends the reader nowhere would be asked for ever.
pub(super) fn advance(queue: &Queue, from: i64, pulled: &Pulled) -> anyhow::Result<i64> {
    let stuck = matches!(pulled.status, Status::Found | Status::NoMatchedMsg) && pulled.next <= from;
    ensure!(
        !stuck,
        "{queue}: the server answers {} at {from} and says to go on at {}",
        pulled.status,
        pulled.next
    );
    Ok(pulled.next)
}

fn finished(queue: &Queue, status: Status, next: i64) -> String {
    format!("{queue} print msg finished. status={status}, offset={next}")
}

/// Prints the messages before the offset `end`.
fn show(messages: Vec<Message>, end: i64, body: Bodies, out: Out) -> anyhow::Result<()> {
    let wanted = messages.into_iter().filter(|message| (message.queue_offset as i64) < end);
    wanted.into_iter().try_for_each(|mut message| {
        message.body.charset = body.charset;
        out.show(&Line { message, body: body.shown })
    })
}

/// How many messages have a tag.
#[derive(Debug, Serialize)]
struct TagCount {
    tag: String,
    count: u64,
}

impl fmt::Display for TagCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag: {:<30} Count: {}", self.tag, self.count)
    }
}

impl PrintMsgByQueue {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let broker = cluster.broker_named(&self.broker).await?;
        let queue = Queue { broker, topic: self.topic, id: self.queue };
        let filter = Filter::new(&self.tags);
        let (mut next, max) = range(cluster, &queue, self.period.begin, self.period.end).await?;
        let mut tags: BTreeMap<String, u64> = BTreeMap::new();
        while next < max {
            let pulled = queue.pull(cluster, TOOLS_GROUP, &filter, next, max - next).await?;
            next = advance(&queue, next, &pulled)?;
            if matches!(pulled.status, Status::NoNewMsg | Status::OffsetIllegal) {
                break;
            }
            for tag in pulled.messages.iter().filter_map(|message| message.tags.as_ref()) {
                *tags.entry(tag.clone()).or_default() += 1;
            }
            if self.print {
                show(pulled.messages, max, Bodies { shown: self.body, charset: self.charset }, out)?;
            }
        }
        let mut counts: Vec<_> = tags.into_iter().map(|(tag, count)| TagCount { tag, count }).collect();
        counts.sort_by_key(|counted| std::cmp::Reverse(counted.count));
        counts.iter().filter(|_| self.count).try_for_each(|counted| out.show(counted))
    }
}

impl ConsumeMessage {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        if let (Some(begin), Some(end)) = (self.begin, self.end) {
            ensure!(begin <= end, "the end time is before the begin time");
        }
        let mut left = self.count;
        for queue in self.queues(cluster).await? {
            if left == 0 {
                break;
            }
            let (min, max) = range(cluster, &queue, self.begin, self.end).await?;
            let first = min.max(self.offset.unwrap_or(min));
            if first > max {
                say(out, format_args!("{queue} no matched msg, offset={first}"))?;
                continue;
            }
            let last = max.min(first.saturating_add(left));
            if max - first > left {
                // mqadmin's words, which depend on whether one queue was asked for.
                match self.queue {
                    Some(_) => say(out, format_args!("The oldler {left} message will be provided"))?,
                    None => say(
                        out,
                        format_args!("The older {left} message of the {} queue will be provided", queue.id),
                    )?,
                }
            }
            left -= self.consume(cluster, out, &queue, first, last).await?;
        }
        Ok(())
    }

    async fn queues(&self, cluster: &Cluster) -> anyhow::Result<Vec<Queue>> {
        let mut queues = Queue::all(cluster, &self.topic, &self.topic).await?;
        queues.retain(|queue| self.broker.as_ref().is_none_or(|name| queue.broker.name == *name));
        queues.retain(|queue| self.queue.is_none_or(|id| queue.id == id));
        if queues.is_empty() {
            bail!(
                "topic {} has no such queue that can be read; topicRoute -t {} shows them",
                self.topic,
                self.topic
            );
        }
        Ok(queues)
    }

    /// Reads `first..last` of a queue; returns how many messages were printed.
    async fn consume(
        &self,
        cluster: &Cluster,
        out: Out,
        queue: &Queue,
        first: i64,
        last: i64,
    ) -> anyhow::Result<i64> {
        let (mut next, mut consumed) = (first, 0);
        let filter = Filter::new("*");
        loop {
            // At the end one pull more tells why it is the end.
            let pulled = queue.pull(cluster, &self.group, &filter, next, (last - next).max(1)).await?;
            if next >= last && pulled.status == Status::Found {
                return Ok(consumed);
            }
            next = advance(queue, next, &pulled)?;
            match pulled.status {
                Status::Found => {
                    say(out, "Consume ok")?;
                    consumed +=
                        pulled.messages.iter().filter(|m| (m.queue_offset as i64) < last).count() as i64;
                    show(pulled.messages, last, Bodies { shown: true, charset: None }, out)?;
                }
                Status::NoMatchedMsg => {
                    say(
                        out,
                        format_args!("{queue} no matched msg. status={}, offset={next}", pulled.status),
                    )?;
                }
                Status::NoNewMsg | Status::OffsetIllegal => {
                    say(out, finished(queue, pulled.status, next))?;
                    return Ok(consumed);
                }
            }
        }
    }
}
