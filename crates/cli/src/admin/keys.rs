//! Finding messages by a business key, or by their tag.

use std::cmp::Reverse;
use std::fmt;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use steadfast_types::limits;
use steadfast_wire::headers::QueryMessage;

use super::absence::NotFound;
use super::cluster::{Broker, Cluster};
use super::find::view;
use super::message::Message;
use super::output::Out;
use super::queue::{Filter, Queue, Status, TOOLS_GROUP};
use super::read::{advance, range};
use super::search::{Found, complete, search};
use super::time;

const HOUR_MS: u64 = 3_600_000;

/// Find messages by a business key (KEYS)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin queryMsgByKey -n 127.0.0.1:9876 -t SCANRECORD -k orderId
  steadfast admin queryMsgByKey -n 127.0.0.1:9876 -t SCANRECORD -k paid -p T -b 2026-11-23#09:00:00:000   (by tag)

Columns, newest message first:
  #Message ID  the id that send() returned to the producer
  #QID         queue of the topic
  #Offset      place in that queue; queryMsgByOffset shows who is there
  #IndexKey    hour of storing, topic, K for a key or T for a tag, the key, id, place in the log

A lookup covers every message that was acknowledged before it. When nothing is found, the brokers that were \
searched and the age of their oldest message are printed, and the exit code is 1. Tags have no index: -p T reads the \
topic's queues from -b to -e.")]
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
    /// Most messages; a broker returns no more than 64 at once
    #[arg(short, long = "maxNum", value_name = "N", default_value_t = 64)]
    max: i32,
    /// Search all brokers of this cluster, rather than those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// What the key is: K one of the words of KEYS, T the tag
    #[arg(short = 'p', long = "keyType", value_name = "TYPE", default_value = "K")]
    key_type: KeyType,
    /// Go on after this row: the #IndexKey with which the page before ended
    #[arg(short, long = "lastKey", value_name = "INDEX_KEY")]
    last: Option<String>,
}

/// What a key is, by RocketMQ's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyType {
    #[value(name = "K")]
    Key,
    #[value(name = "T")]
    Tag,
}

/// The rows of `queryMsgByKey`.
#[derive(Debug, Serialize)]
struct Rows {
    #[serde(skip)]
    key: String,
    #[serde(skip)]
    letter: char,
    messages: Vec<Message>,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<50} {:>4} {:>40} #IndexKey", "#Message ID", "#QID", "#Offset")?;
        let Rows { key, letter, .. } = self;
        for message in &self.messages {
            let Message { msg_id, queue_id, queue_offset, topic, commit_log_offset, .. } = message;
            let hour = message.store_timestamp - message.store_timestamp % HOUR_MS;
            let index_key = format!("{hour}@{topic}@{letter}@{key}@{msg_id}@{commit_log_offset}");
            writeln!(f, "{msg_id:<50} {queue_id:>4} {queue_offset:>40} {index_key}")?;
        }
        Ok(())
    }
}

/// Where a page ended.
struct Last {
    broker: Broker,
    stored: u64,
    place: u64,
}

impl Last {
    /// The message of a row's #IndexKey.
    async fn of(index_key: &str, cluster: &Cluster, brokers: &[Broker], topic: &str) -> anyhow::Result<Self> {
        let mut parts = index_key.rsplitn(3, '@');
        let (place, id) = (parts.next().and_then(|place| place.parse().ok()), parts.next());
        let (Some(place), Some(id)) = (place, id) else {
            bail!("-l {index_key} is not an #IndexKey, which ends in @ID@PLACE");
        };
        for broker in brokers {
            if let Ok(message) = view(cluster, broker, topic, place).await?
                && message.msg_id == id
            {
                return Ok(Last { broker: broker.clone(), stored: message.store_timestamp, place });
            }
        }
        bail!("-l {index_key} names a message that is not there any more; go on with -e and its time instead")
    }

    fn is_before(&self, broker: &Broker, message: &Message) -> bool {
        message.store_timestamp < self.stored
            || (*broker == self.broker && message.commit_log_offset < self.place)
    }
}

impl ByKey {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        ensure!(self.max > 0, "-m {} asks for no message", self.max);
        let brokers = cluster.brokers_of(&self.topic, self.cluster.as_deref()).await?;
        let last = match &self.last {
            Some(index_key) => Some(Last::of(index_key, cluster, &brokers, &self.topic).await?),
            None => None,
        };
        let end = last.as_ref().map_or(self.end, |last| self.end.min(last.stored as i64));
        let mut found = match self.key_type {
            KeyType::Key => self.by_key(cluster, &brokers, end, last.is_some()).await,
            KeyType::Tag => self.by_tag(cluster, &brokers, end).await?,
        };
        if let Some(last) = &last {
            found.messages.retain(|(broker, message)| last.is_before(broker, message));
        }
        self.keep_newest(&mut found.messages);
        if found.messages.is_empty() {
            complete(&found.failures)?;
            let what = self.what(last.is_some());
            return Err(NotFound::new(cluster, &brokers, &self.topic, what).await.but(&found.said).into());
        }
        let letter = if self.key_type == KeyType::Key { 'K' } else { 'T' };
        let messages = found.messages.into_iter().map(|(_, message)| message).collect();
        out.show(&Rows { key: self.key, letter, messages })?;
        complete(&found.failures)
    }

    async fn by_key(&self, cluster: &Cluster, brokers: &[Broker], end: i64, goes_on: bool) -> Found {
        let query = QueryMessage {
            topic: self.topic.as_str().into(),
            key: self.key.as_str().into(),
            // The page before ended within a millisecond, whose other messages come once more.
            max_num: if goes_on { limits::QUERY_RESULTS as i32 } else { self.max },
            begin_timestamp: self.begin,
            end_timestamp: end,
            ..QueryMessage::default()
        };
        search(cluster, brokers, &query).await
    }

    async fn by_tag(&self, cluster: &Cluster, brokers: &[Broker], end: i64) -> anyhow::Result<Found> {
        let (filter, mut messages) = (Filter::new(&self.key), Vec::new());
        let mut queues = Queue::all(cluster, &self.topic, &self.topic).await?;
        queues.retain(|queue| brokers.contains(&queue.broker));
        for queue in queues {
            let (begin, end) = ((self.begin > 0).then_some(self.begin), end.checked_add(1));
            let (mut next, max) = range(cluster, &queue, begin, end).await?;
            while next < max {
                let pulled = queue.pull(cluster, TOOLS_GROUP, &filter, next, max - next).await?;
                next = advance(&queue, next, &pulled)?;
                if matches!(pulled.status, Status::NoNewMsg | Status::OffsetIllegal) {
                    break;
                }
                let wanted =
                    pulled.messages.into_iter().filter(|message| (message.queue_offset as i64) < max);
                messages.extend(wanted.map(|message| (queue.broker.clone(), message)));
                // Not more than a few pages of a long topic are in memory.
                if messages.len() > 4 * self.max as usize + limits::QUERY_RESULTS {
                    self.keep_newest(&mut messages);
                }
            }
        }
        Ok(Found { messages, ..Found::default() })
    }

    fn keep_newest(&self, messages: &mut Vec<(Broker, Message)>) {
        messages.sort_by_key(|(_, message)| Reverse((message.store_timestamp, message.commit_log_offset)));
        messages.truncate(self.max as usize);
    }

    /// What was not found.
    fn what(&self, goes_on: bool) -> String {
        let kind = if self.key_type == KeyType::Key { "key" } else { "tag" };
        let more = if goes_on { "further message" } else { "message" };
        let within = time::within(self.begin, self.end);
        format!("no {more} of topic {} has the {kind} {:?}{within}", self.topic, self.key)
    }
}
