//! Finding a message by either of its ids, or by its place in a queue.

use std::fmt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_wire::body::ConsumeQueue;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{QueryConsumeQueue, ViewMessage};

use super::absence::NotFound;
use super::charset::Charset;
use super::cluster::{Broker, Cluster, Request};
use super::direct::{self, Receiver};
use super::message::{self, Message};
use super::output::{self, Out};
use super::place::boolean;
use super::queue::{Filter, Queue, TOOLS_GROUP};
use super::search::{Found, by_unique_key};
use super::time;
use super::track::{self, Track};

/// Show a message by its id: the one that send() returned, or the one that names its place in the log
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin queryMsgById -n 127.0.0.1:9876 -t SCANRECORD -i 7F00000100002A9F0000000000001000
  steadfast admin queryMsgById -t SCANRECORD -i ID -g coupons -d 10.0.0.7@4711   (this member consumes it now)
  steadfast admin queryMsgById -t SCANRECORD -i ID -s true                       (all groups get it once more)

The body is written to the file that `Message Body Path` names; -f UTF-8 prints it too. Below the message stands \
one line for each consumer group of the topic: CONSUMED, CONSUMED_BUT_FILTERED, NOT_CONSUME_YET, NOT_ONLINE (with \
how far its position is), PULL or CONSUME_BROADCASTING (these keep their positions themselves).

With -g and -d the member's listener is called with the message, and what it made of it is printed; no position moves. \
With -s true a copy with the same unique key goes to a queue of the topic.")]
pub(super) struct ById {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Message id; several are separated by commas
    #[arg(short = 'i', long = "msgId", value_name = "ID", value_delimiter = ',', required = true)]
    ids: Vec<String>,
    /// Print the body as text of this encoding too: UTF-8, GBK, ...
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = Charset::parse)]
    format: Option<Charset>,
    /// Search all brokers of this cluster, rather than those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER")]
    cluster: Option<String>,
    #[command(flatten)]
    receiver: Receiver,
    /// Rather than show it, send the message once more
    #[arg(short = 's', long = "sendMessage", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    resend: bool,
    /// With -s: unit of the producer; accepted for RocketMQ's scripts
    #[arg(short = 'u', long = "unitName", value_name = "UNIT")]
    unit: Option<String>,
}

/// Show a message by the id that send() returned to the producer
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin queryMsgByUniqueKey -n 127.0.0.1:9876 -t SCANRECORD -i 0A0000010AB618B4AAC20D716D2B0000

A producer that sends again after a time-out uses the same id, so there may be several: the oldest is shown, or \
with -a all of them. Output as of queryMsgById, as are -g and -d.")]
pub(super) struct ByUniqueKey {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Message id
    #[arg(short = 'i', long = "msgId", value_name = "ID")]
    id: String,
    /// Show every message with this id, at most 32
    #[arg(short = 'a', long = "showAll")]
    all: bool,
    /// Only messages stored at or after this time
    #[arg(short = 's', long = "startTime", value_name = "TIME", value_parser = time::parse, default_value = "0")]
    begin: i64,
    /// Only messages stored at or before this time
    #[arg(short, long = "endTime", value_name = "TIME", value_parser = time::parse, hide_default_value = true,
          default_value_t = i64::MAX)]
    end: i64,
    #[command(flatten)]
    receiver: Receiver,
    /// Search all brokers of this cluster, rather than those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER")]
    cluster: Option<String>,
}

/// Show the message at a place of a queue
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin queryMsgByOffset -n 127.0.0.1:9876 -t SCANRECORD -b broker-a -i 0 -o 7

Output as of queryMsgById.")]
pub(super) struct ByOffset {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Name of the broker (not its address)
    #[arg(short, long = "brokerName", value_name = "NAME")]
    broker: String,
    /// Queue
    #[arg(short = 'i', long = "queueId", value_name = "QUEUE")]
    queue: i32,
    /// Place in the queue
    #[arg(short, long)]
    offset: i64,
    /// Print the body as text of this encoding too: UTF-8, GBK, ...
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = Charset::parse)]
    format: Option<Charset>,
    /// Find the broker by the route of this topic (for RocketMQ's light queues)
    #[arg(short, long = "routeTopic", value_name = "TOPIC")]
    route: Option<String>,
}

/// Whole messages with who consumed them.
#[derive(Debug, Serialize)]
struct Details {
    messages: Vec<Detail>,
}

#[derive(Debug, Serialize)]
struct Detail {
    #[serde(flatten)]
    message: Message,
    consumers: Vec<Track>,
    #[serde(skip)]
    shape: Shape,
}

/// What the text has besides.
#[derive(Debug, Clone, Default)]
struct Shape {
    offset_id: bool,
    body: bool,
    body_path: Option<PathBuf>,
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Detail { message, consumers, shape } in &self.messages {
            if shape.offset_id {
                writeln!(f, "{:<20} {}", "OffsetID:", message.offset_msg_id)?;
            }
            message.write_fields(f)?;
            if let Some(path) = &shape.body_path {
                writeln!(f, "{:<20} {}", "Message Body Path:", path.display())?;
            }
            if shape.body {
                writeln!(f, "{:<20} {}", "Message Body:", message.body)?;
            }
            f.write_str("\n\n")?;
            if consumers.is_empty() {
                f.write_str("WARN: No Consumer\n")?;
            }
            for track in consumers {
                writeln!(f, "{track}")?;
            }
        }
        Ok(())
    }
}

impl ById {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        if self.unit.is_some() {
            output::warn(
                "-u has no effect: it would name the producer's connection, which leaves no trace in a message",
            );
        }
        let brokers = cluster.brokers_of(&self.topic, self.cluster.as_deref()).await?;
        let (mut missing, mut said) = (Vec::new(), Vec::new());
        for id in self.ids.iter().map(|id| id.trim()).filter(|id| !id.is_empty()) {
            match by_any_id(cluster, &brokers, &self.topic, id).await? {
                Ok((broker, message)) => self.handle(cluster, id, broker, message, out).await?,
                Err(absent) => {
                    missing.push(format!("{id}{}", absent.remark));
                    said.extend(absent.said);
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let what = format!("no message of topic {} has the id {}", self.topic, missing.join(" or "));
        Err(NotFound::new(cluster, &brokers, &self.topic, what).await.but(&said).into())
    }

    async fn handle(
        &self,
        cluster: &Cluster,
        id: &str,
        broker: Broker,
        message: Message,
        out: Out,
    ) -> anyhow::Result<()> {
        if let Some(member) = self.receiver.member() {
            return direct::give(cluster, member, &broker, &message, out).await;
        }
        if self.resend {
            return direct::resend(cluster, id, &message, out).await;
        }
        show_one(cluster, broker, message, self.format, out).await
    }
}

impl ByUniqueKey {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let brokers = cluster.brokers_of(&self.topic, self.cluster.as_deref()).await?;
        let found = by_unique_key(cluster, &brokers, &self.topic, &self.id, self.begin..=self.end).await?;
        let mut messages = found.messages;
        if messages.is_empty() {
            let what = format!("no message of topic {} has the unique key {}", self.topic, self.id);
            let what = format!("{what}{}", time::within(self.begin, self.end));
            return Err(NotFound::new(cluster, &brokers, &self.topic, what).await.but(&found.said).into());
        }
        if let Some(member) = self.receiver.member() {
            let (broker, message) = messages.swap_remove(0);
            return direct::give(cluster, member, &broker, &message, out).await;
        }
        messages.truncate(if self.all { messages.len() } else { 1 });
        let shaped = messages.into_iter().enumerate().map(|(number, (broker, message))| {
            let suffix = if number > 0 { format!("_{number}") } else { String::new() };
            let body_path = save_body(&message, &format!("{}{suffix}", message.msg_id), out);
            (broker, message, Shape { body_path, ..Shape::default() })
        });
        show(cluster, shaped.collect(), out).await
    }
}

impl ByOffset {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let broker = self.broker(cluster).await?;
        let queue = Queue { broker: broker.clone(), topic: self.topic.clone(), id: self.queue };
        let messages = queue.pull(cluster, TOOLS_GROUP, &Filter::new("*"), self.offset, 1).await?.messages;
        let Some(message) = messages.into_iter().find(|m| m.queue_offset as i64 == self.offset) else {
            let what = format!(
                "there is no message at offset {} of queue {} of topic {} on {}{}",
                self.offset,
                self.queue,
                self.topic,
                self.broker,
                self.gap(cluster, &broker).await?
            );
            return Err(NotFound::new(cluster, &[broker], &self.topic, what).await.into());
        };
        show_one(cluster, broker, message, self.format, out).await
    }

    /// What the broker says of the place in its log that the offset has, though nobody is given a message there.
    async fn gap(&self, cluster: &Cluster, broker: &Broker) -> anyhow::Result<String> {
        let fields = QueryConsumeQueue {
            topic: self.topic.as_str().into(),
            queue_id: self.queue,
            index: self.offset,
            count: 1,
            consumer_group: None,
        };
        let request = Request::with(request::QUERY_CONSUME_QUEUE, |ext| fields.encode(ext));
        let answer: ConsumeQueue = cluster.read(&broker.addr, request).await?;
        let has_place = (answer.min_queue_index..answer.max_queue_index).contains(&self.offset);
        let Some(unit) = answer.queue_data.first().filter(|_| has_place) else { return Ok(String::new()) };
        let viewed = view(cluster, broker, &self.topic, unit.physic_offset as u64).await?;
        Ok(viewed.err().unwrap_or_default())
    }

    async fn broker(&self, cluster: &Cluster) -> anyhow::Result<Broker> {
        let Some(route) = &self.route else { return cluster.broker_named(&self.broker).await };
        let mut brokers = cluster.brokers_of(route, None).await?.into_iter();
        brokers
            .find(|broker| broker.name == self.broker)
            .with_context(|| format!("the route of topic {route} names no broker {}", self.broker))
    }
}

/// What is known of an id that names no message.
#[derive(Debug, Default)]
struct Absent {
    /// What the server says of the place that the id names.
    remark: String,
    /// What the brokers say that know no such unique key.
    said: Vec<(Broker, String)>,
}

/// The message with this id of either kind. Such an id is looked up at its place if that is on one of the brokers: a
/// unique key has the same form, and names a producer's host.
async fn by_any_id(
    cluster: &Cluster,
    brokers: &[Broker],
    topic: &str,
    id: &str,
) -> anyhow::Result<Result<(Broker, Message), Absent>> {
    let mut remark = String::new();
    if let Some((host, offset)) = parse_offset_msg_id(id)
        && let Some(broker) = brokers.iter().find(|broker| broker.addr == host.to_string())
    {
        match view(cluster, broker, topic, offset.get()).await? {
            Ok(message) if message.topic == topic => return Ok(Ok((broker.clone(), message))),
            Ok(message) => remark = format!(" (the message there is of topic {})", message.topic),
            Err(said) => remark = said,
        }
    }
    let Found { messages, said, .. } = by_unique_key(cluster, brokers, topic, id, 0..=i64::MAX).await?;
    Ok(messages.into_iter().next().ok_or(Absent { remark, said }))
}

/// The message at a place in a broker's log, or what the broker says instead.
pub(super) async fn view(
    cluster: &Cluster,
    broker: &Broker,
    topic: &str,
    place: u64,
) -> anyhow::Result<Result<Message, String>> {
    let fields = ViewMessage { topic: Some(topic.into()), offset: place as i64 };
    let request = Request::with(request::VIEW_MESSAGE_BY_ID, |ext| fields.encode(ext));
    let answer = cluster.answer(&broker.addr, request).await?;
    if answer.code != response::SUCCESS {
        return Ok(Err(format!(" ({} says: {})", broker.name, answer.remark())));
    }
    Ok(message::decode(answer.body(), &broker.name)?.into_iter().next().ok_or_else(String::new))
}

/// Where the body is saved to; with JSON it is in the output instead. What cannot be saved is said and no error.
fn save_body(message: &Message, name: &str, out: Out) -> Option<PathBuf> {
    if out.json {
        return None;
    }
    message.save_body(name).inspect_err(|error| output::warn(format_args!("{error:#}"))).ok()
}

/// Shows a message with both of its ids, and its body where an encoding is given.
async fn show_one(
    cluster: &Cluster,
    broker: Broker,
    mut message: Message,
    format: Option<Charset>,
    out: Out,
) -> anyhow::Result<()> {
    let body_path = save_body(&message, &message.msg_id, out);
    message.body.charset = format;
    let shape = Shape { offset_id: true, body: format.is_some(), body_path };
    show(cluster, vec![(broker, message, shape)], out).await
}

async fn show(cluster: &Cluster, messages: Vec<(Broker, Message, Shape)>, out: Out) -> anyhow::Result<()> {
    let mut details = Vec::new();
    for (broker, message, shape) in messages {
        let consumers = track::of(cluster, &broker, &message).await.unwrap_or_else(|error| {
            output::warn(format_args!("who consumed the message is not known: {error}"));
            Vec::new()
        });
        details.push(Detail { message, consumers, shape });
    }
    out.show(&Details { messages: details })
}
