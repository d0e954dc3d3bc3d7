//! Messages of the workload: how they are made, and how they are recognised when they come back.

use bytes::Bytes;
use steadfast_audit::{Attempt, Digest, MessageId, Name, Place, Queue};
use steadfast_types::java_hash::tag_code;
use steadfast_types::properties::{
    self, CLUSTER, DELAY, DLQ_ORIGIN_MESSAGE_ID, DLQ_ORIGIN_TOPIC, KEYS, MSG_REGION, ORIGIN_MESSAGE_ID,
    RETRY_TOPIC, TAGS, TRACE_ON, UNIQ_KEY,
};
use steadfast_types::record::{Record, StoredMessage, records};
use steadfast_types::{LogOffset, QueueId, QueueOffset, Timestamp};

/// The name of the one broker.
pub(crate) const BROKER: &str = "broker-a";
/// The property that holds a message's number, which is its id in the ledger.
const NUMBER: &str = "SIM";
/// What the server adds to a message or takes from it, and the key that it makes if there is none.
const SERVERS: [&str; 9] = [
    CLUSTER,
    MSG_REGION,
    TRACE_ON,
    UNIQ_KEY,
    DELAY,
    RETRY_TOPIC,
    ORIGIN_MESSAGE_ID,
    DLQ_ORIGIN_TOPIC,
    DLQ_ORIGIN_MESSAGE_ID,
];

/// A message that is sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) number: u64,
    pub(crate) topic: Name,
    pub(crate) body: Bytes,
    pub(crate) tag: Option<&'static str>,
    pub(crate) keys: Vec<Name>,
    /// None leaves it to the server.
    pub(crate) unique_key: Option<Name>,
    pub(crate) flag: i32,
    /// Delay level; 0 for none.
    pub(crate) delay_level: u32,
}

impl Message {
    pub(crate) fn id(&self) -> MessageId {
        self.number.into()
    }

    /// The properties string as it is sent.
    pub(crate) fn properties(&self) -> String {
        let mut text = String::new();
        if let Some(key) = &self.unique_key {
            properties::push(&mut text, UNIQ_KEY, key);
        }
        if !self.keys.is_empty() {
            properties::push(&mut text, KEYS, &self.keys.join(" "));
        }
        if let Some(tag) = self.tag {
            properties::push(&mut text, TAGS, tag);
        }
        if self.delay_level > 0 {
            properties::push(&mut text, DELAY, &self.delay_level.to_string());
        }
        properties::push(&mut text, NUMBER, &self.number.to_string());
        text
    }

    pub(crate) fn attempt(&self) -> Attempt {
        let keys = self.unique_key.iter().chain(&self.keys).cloned().collect();
        Attempt { topic: self.topic.clone(), digest: self.digest(), keys }
    }

    fn digest(&self) -> Digest {
        digest(&self.topic, self.flag, &self.body, &self.properties())
    }
}

fn digest(topic: &str, flag: i32, body: &[u8], properties: &str) -> Digest {
    let mut sent = String::with_capacity(properties.len());
    for (name, value) in properties::iter(properties).filter(|(name, _)| !SERVERS.contains(name)) {
        properties::push(&mut sent, name, value);
    }
    Digest::of(&[topic.as_bytes(), &flag.to_be_bytes(), body, sent.as_bytes()])
}

/// A message as an answer holds it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: MessageId,
    pub(crate) place: Place,
    pub(crate) digest: Digest,
    pub(crate) tag: i32,
    pub(crate) store_time: Timestamp,
    /// How often it was retried.
    pub(crate) reconsume_times: u32,
    /// The topic that it had at first.
    pub(crate) first_topic: Name,
    /// Bytes in its record.
    pub(crate) size: u64,
}

impl Seen {
    fn of(record: &[u8]) -> Result<Self, String> {
        let message = StoredMessage::decode(record).map_err(|error| error.to_string())?;
        let number = properties::get(message.properties, NUMBER).and_then(|text| text.parse::<u64>().ok());
        let tags = properties::get(message.properties, TAGS);
        let stamp = message.stamp;
        let first_topic = properties::get(message.properties, RETRY_TOPIC).unwrap_or(message.topic);
        Ok(Self {
            id: number.map_or_else(|| format!("without a number at {}", stamp.log_offset).into(), Into::into),
            place: Place {
                queue: queue(message.topic, stamp.queue_id),
                offset: stamp.queue_offset,
                log_offset: stamp.log_offset,
            },
            digest: digest(first_topic, message.flag, message.body, message.properties),
            tag: tag_code(tags),
            store_time: stamp.store_time,
            reconsume_times: message.reconsume_times,
            first_topic: first_topic.into(),
            size: record.len() as u64,
        })
    }
}

/// A delayed message as it waits.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) id: MessageId,
    /// The topic that it is for.
    pub(crate) topic: Name,
    pub(crate) store_time: Timestamp,
}

/// The delayed messages in the body of an answer.
pub(crate) fn waiting(body: &[u8]) -> Result<Vec<Waiting>, String> {
    let parse = |record: Result<(usize, Record<'_>), _>| match record {
        Ok((_, Record::Message(bytes))) => {
            let message = StoredMessage::decode(bytes).map_err(|error| error.to_string())?;
            let get = |name| properties::get(message.properties, name).ok_or(format!("{name} is missing"));
            let number: u64 = get(NUMBER)?.parse().map_err(|_| "a number is none".to_owned())?;
            let topic = get(properties::REAL_TOPIC)?.into();
            Ok(Waiting { id: number.into(), topic, store_time: message.stamp.store_time })
        }
        other => Err(format!("{other:?}")),
    };
    records(body).map(parse).collect()
}

/// The messages in the body of an answer, one after the other.
pub(crate) fn messages(body: &[u8]) -> Result<Vec<Seen>, String> {
    let parse = |record: Result<(usize, Record<'_>), _>| match record {
        Ok((_, Record::Message(bytes))) => Seen::of(bytes),
        Ok((_, Record::Control(_))) => Err("a control record was served to a client".to_owned()),
        Err(error) => Err(format!("{error}")),
    };
    records(body).map(parse).collect()
}

/// A queue of the one broker.
pub(crate) fn queue(topic: impl Into<Name>, id: QueueId) -> Queue {
    Queue { broker: BROKER.into(), topic: topic.into(), id }
}

/// A place of the one broker.
pub(crate) fn place(queue: &Queue, offset: u64, log_offset: LogOffset) -> Place {
    Place { queue: queue.clone(), offset: QueueOffset::new(offset), log_offset }
}
