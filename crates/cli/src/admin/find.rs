//! Finding messages: by business key, by either message id, and by place in a queue.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use anyhow::{anyhow, ensure};
use clap::Args;
use serde::Serialize;
use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{QueryMessage, ViewMessage};

use super::absence::NotFound;
use super::cluster::{AskError, Broker, Cluster, Request};
use super::message::{self, Message};
use super::output::Out;
use super::queue::{Filter, Queue, TOOLS_GROUP};
use super::time;
use super::track::{self, Track};

const HOUR_MS: u64 = 3_600_000;

/// Find messages by a business key (KEYS)
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin queryMsgByKey -n 127.0.0.1:9876 -t SCANRECORD -k orderId

Columns:
  #Message ID  the id that send() returned to the producer
  #QID         queue of the topic
  #Offset      place in that queue; queryMsgByOffset shows who is there
  #IndexKey    hour of storing, topic, K for a key, the key, id, place in the log

A lookup covers every message that was acknowledged before it. When nothing is found, the brokers that were \
searched and the age of their oldest message are printed, and the exit code is 1.")]
pub(super) struct ByKey {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Key, one of the words of KEYS
    #[arg(short = 'k', long = "msgKey", value_name = "KEY")]
    key: String,
    /// Only messages stored at or after this time
    #[arg(short, long = "beginTimestamp", value_name = "TIME", value_parser = time::parse, default_value = "0")]
    begin: i64,
    /// Only messages stored at or before this time
    #[arg(short, long = "endTimestamp", value_name = "TIME", value_parser = time::parse, hide_default_value = true,
          default_value_t = i64::MAX)]
    end: i64,
    /// Most messages that each broker returns
    #[arg(short, long = "maxNum", value_name = "N", default_value_t = 64)]
    max: i32,
    /// Search all brokers of this cluster, rather than those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER")]
    cluster: Option<String>,
}

/// Show a message by its id: the one that send() returned, or the one that names its place in the log
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin queryMsgById -n 127.0.0.1:9876 -t SCANRECORD -i 7F00000100002A9F0000000000001000

The body is written to the file that `Message Body Path` names; -f UTF-8 prints it too. Below the message stands \
one line for each consumer group of the topic: CONSUMED, CONSUMED_BUT_FILTERED, NOT_CONSUME_YET, NOT_ONLINE (with \
how far its position is), PULL or CONSUME_BROADCASTING (these keep their positions themselves).")]
pub(super) struct ById {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Message id; several are separated by commas
    #[arg(short = 'i', long = "msgId", value_name = "ID", value_delimiter = ',', required = true)]
    ids: Vec<String>,
    /// Print the body as text too; UTF-8 is the one encoding
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = utf8)]
    format: Option<String>,
    /// Search all brokers of this cluster, rather than those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER")]
    cluster: Option<String>,
}

/// Show a message by the id that send() returned to the producer
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin queryMsgByUniqueKey -n 127.0.0.1:9876 -t SCANRECORD -i 0A0000010AB618B4AAC20D716D2B0000

A producer that sends again after a time-out uses the same id, so there may be several: the oldest is shown, or \
with -a all of them. Output as of queryMsgById.")]
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
    /// Print the body as text too; UTF-8 is the one encoding
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = utf8)]
    format: Option<String>,
}

pub(super) fn utf8(charset: &str) -> Result<String, String> {
    if charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8") {
        return Ok(charset.to_owned());
    }
    Err("only UTF-8 is read here; for other encodings take the file that `Message Body Path` names"
        .to_owned())
}

/// The rows of `queryMsgByKey`.
#[derive(Debug, Serialize)]
struct Rows {
    #[serde(skip)]
    key: String,
    messages: Vec<Message>,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<50} {:>4} {:>40} #IndexKey", "#Message ID", "#QID", "#Offset")?;
        for message in &self.messages {
            let Message { msg_id, queue_id, queue_offset, topic, commit_log_offset, .. } = message;
            let hour = message.store_timestamp - message.store_timestamp % HOUR_MS;
            let index_key = format!("{hour}@{topic}@K@{}@{msg_id}@{commit_log_offset}", self.key);
            writeln!(f, "{msg_id:<50} {queue_id:>4} {queue_offset:>40} {index_key}")?;
        }
        Ok(())
    }
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

impl ByKey {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        ensure!(self.max > 0, "-m {} asks for no message", self.max);
        let brokers = cluster.brokers_of(&self.topic, self.cluster.as_deref()).await?;
        let query = QueryMessage {
            topic: self.topic.as_str().into(),
            key: self.key.as_str().into(),
            max_num: self.max,
            begin_timestamp: self.begin,
            end_timestamp: self.end,
            ..QueryMessage::default()
        };
        let found = search(cluster, &brokers, &query).await;
        let messages: Vec<Message> = found.messages.into_iter().map(|(_, message)| message).collect();
        if !messages.is_empty() {
            out.show(&Rows { key: self.key, messages })?;
            return complete(&found.failures);
        }
        complete(&found.failures)?;
        let mut what = format!("no message of topic {} has the key {:?}", self.topic, self.key);
        if (self.begin, self.end) != (0, i64::MAX) {
            let end = if self.end == i64::MAX { "now".to_owned() } else { time::human(self.end) };
            write!(what, " and was stored between {} and {end}", time::human(self.begin))?;
        }
        Err(NotFound::new(cluster, &brokers, &self.topic, what).await.into())
    }
}

impl ById {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let brokers = cluster.brokers_of(&self.topic, self.cluster.as_deref()).await?;
        let mut missing = Vec::new();
        for id in self.ids.iter().map(|id| id.trim()).filter(|id| !id.is_empty()) {
            let (broker, message) = match by_any_id(cluster, &brokers, &self.topic, id).await? {
                Ok(found) => found,
                Err(remark) => {
                    missing.push(format!("{id}{remark}"));
                    continue;
                }
            };
            let body_path = save_body(&message, &message.msg_id, out);
            let shape = Shape { offset_id: true, body: self.format.is_some(), body_path };
            show(cluster, vec![(broker, message, shape)], out).await?;
        }
        if missing.is_empty() {
            return Ok(());
        }
        let what = format!("no message of topic {} has the id {}", self.topic, missing.join(" or "));
        Err(NotFound::new(cluster, &brokers, &self.topic, what).await.into())
    }
}

impl ByUniqueKey {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let brokers = cluster.brokers_of(&self.topic, self.cluster.as_deref()).await?;
        let mut messages = by_unique_key(cluster, &brokers, &self.topic, &self.id).await?;
        if messages.is_empty() {
            let what = format!("no message of topic {} has the unique key {}", self.topic, self.id);
            return Err(NotFound::new(cluster, &brokers, &self.topic, what).await.into());
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
        let broker = cluster.broker_named(&self.broker).await?;
        let queue = Queue { broker: broker.clone(), topic: self.topic.clone(), id: self.queue };
        let messages = queue.pull(cluster, TOOLS_GROUP, &Filter::new("*"), self.offset, 1).await?.messages;
        let Some(message) = messages.into_iter().find(|m| m.queue_offset as i64 == self.offset) else {
            let what = format!(
                "there is no message at offset {} of queue {} of topic {} on {}",
                self.offset, self.queue, self.topic, self.broker
            );
            return Err(NotFound::new(cluster, &[broker], &self.topic, what).await.into());
        };
        let body_path = save_body(&message, &message.msg_id, out);
        let shape = Shape { offset_id: true, body: self.format.is_some(), body_path };
        show(cluster, vec![(broker, message, shape)], out).await
    }
}

/// What a search of several brokers came to.
struct Found {
    messages: Vec<(Broker, Message)>,
    /// Brokers that could not be searched.
    failures: Vec<AskError>,
}

/// A search that left a broker out must not pass for a complete one.
fn complete(failures: &[AskError]) -> anyhow::Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let causes: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(anyhow!("the search is not complete, there may be more: {}", causes.join("; ")))
}

async fn search(cluster: &Cluster, brokers: &[Broker], query: &QueryMessage<'_>) -> Found {
    let mut found = Found { messages: Vec::new(), failures: Vec::new() };
    for broker in brokers {
        let fields = query.clone();
        let request = Request::with(request::QUERY_MESSAGE, |ext| fields.encode(ext));
        let answered = match cluster.ask(&broker.addr, request).await {
            Ok(response) => message::decode(response.body(), &broker.name),
            Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => continue,
            Err(error) => {
                found.failures.push(error);
                continue;
            }
        };
        match answered {
            // RocketMQ's index knows hashes only, so what it returns may have another key.
            Ok(messages) => found.messages.extend(
                messages.into_iter().filter(|message| matches(message, query)).map(|m| (broker.clone(), m)),
            ),
            Err(error) => found.failures.push(AskError::Damaged(broker.addr.clone(), format!("{error:#}"))),
        }
    }
    found
}

fn matches(message: &Message, query: &QueryMessage<'_>) -> bool {
    if query.unique_key_query { message.msg_id == query.key } else { message.has_key(&query.key) }
}

/// Messages with this unique key, oldest first.
async fn by_unique_key(
    cluster: &Cluster,
    brokers: &[Broker],
    topic: &str,
    id: &str,
) -> anyhow::Result<Vec<(Broker, Message)>> {
    let query = QueryMessage {
        topic: topic.into(),
        key: id.into(),
        max_num: 32,
        end_timestamp: i64::MAX,
        unique_key_query: true,
        ..QueryMessage::default()
    };
    let mut found = search(cluster, brokers, &query).await;
    if found.messages.is_empty() {
        complete(&found.failures)?;
    }
    found.messages.sort_by_key(|(_, message)| (message.store_timestamp, message.commit_log_offset));
    Ok(found.messages)
}

/// The message with this id of either kind, or what the server says of the place that the id names. Such an id is
/// looked up at its place if that is on one of the brokers: a unique key has the same form, and names a producer's host.
async fn by_any_id(
    cluster: &Cluster,
    brokers: &[Broker],
    topic: &str,
    id: &str,
) -> anyhow::Result<Result<(Broker, Message), String>> {
    let mut remark = String::new();
    if let Some((host, offset)) = parse_offset_msg_id(id)
        && let Some(broker) = brokers.iter().find(|broker| broker.addr == host.to_string())
    {
        let fields = ViewMessage { topic: Some(topic.into()), offset: offset.get() as i64 };
        let request = Request::with(request::VIEW_MESSAGE_BY_ID, |ext| fields.encode(ext));
        let answer = cluster.answer(&broker.addr, request).await?;
        if answer.code == response::SUCCESS {
            match message::decode(answer.body(), &broker.name)?.into_iter().next() {
                Some(message) if message.topic == topic => return Ok(Ok((broker.clone(), message))),
                Some(message) => remark = format!(" (the message there is of topic {})", message.topic),
                None => {}
            }
        } else {
            remark = format!(" ({} says: {})", broker.name, answer.remark());
        }
    }
    Ok(by_unique_key(cluster, brokers, topic, id).await?.into_iter().next().ok_or(remark))
}

/// Where the body is saved to; with JSON it is in the output instead. What cannot be saved is said and no error.
fn save_body(message: &Message, name: &str, out: Out) -> Option<PathBuf> {
    if out.json {
        return None;
    }
    message.save_body(name).inspect_err(|error| eprintln!("steadfast: {error:#}")).ok()
}

async fn show(cluster: &Cluster, messages: Vec<(Broker, Message, Shape)>, out: Out) -> anyhow::Result<()> {
    let mut details = Vec::new();
    for (broker, message, shape) in messages {
        let consumers = track::of(cluster, &broker, &message).await.unwrap_or_else(|error| {
            eprintln!("steadfast: who consumed the message is not known: {error}");
            Vec::new()
        });
        details.push(Detail { message, consumers, shape });
    }
    out.show(&Details { messages: details })
}
