//! What is sent, and what is found of it.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use steadfast_audit::{Attempt, Digest, Found, MessageId, Name, Position, Queue};
use steadfast_sim::rng::Rng;
use steadfast_types::properties::{self, KEYS, TAGS, UNIQ_KEY};
use steadfast_types::record::{Record, StoredMessage, records};
use steadfast_wire::batch;
use steadfast_wire::headers::SendMessage;

use super::BROKER;

/// One message in this many is looked up by all of its keys in the end.
const LOOKED_UP: u64 = 16;

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) keys: String,
    pub(crate) tag: &'static str,
    pub(crate) flag: i32,
    pub(crate) body: Vec<u8>,
    is_looked_up: bool,
}

impl Message {
    /// A message with a body of up to `max_body` bytes, mostly far fewer.
    pub(crate) fn draw(id: String, keys: String, rng: &mut Rng, max_body: u64) -> Message {
        let mut body = vec![0; rng.skewed(0..max_body + 1) as usize];
        rng.fill(&mut body);
        let (tag, flag) = (*rng.pick(&["", "red", "green"]), rng.next_u64() as i32);
        Message { id, keys, tag, flag, body, is_looked_up: rng.one_in(LOOKED_UP) }
    }

    pub(crate) fn id(&self) -> MessageId {
        self.id.as_str().into()
    }

    pub(crate) fn properties(&self) -> String {
        let mut text = String::new();
        properties::push(&mut text, UNIQ_KEY, &self.id);
        properties::push(&mut text, KEYS, &self.keys);
        if !self.tag.is_empty() {
            properties::push(&mut text, TAGS, self.tag);
        }
        text
    }

    /// For the ledger.
    pub(crate) fn attempt(&self, topic: &Name) -> Attempt {
        let all = || std::iter::once(self.id.as_str()).chain(self.keys.split(' ')).map(Name::from);
        let keys = if self.is_looked_up { all().collect() } else { Vec::new() };
        Attempt { topic: Name::clone(topic), digest: digest(&self.body, self.flag, &self.properties()), keys }
    }
}

/// A queue of the broker.
pub(crate) fn queue(topic: impl Into<Name>, id: u32) -> Queue {
    Queue::new(BROKER, topic, id)
}

pub(crate) fn position(group: &str, topic: &str, queue_id: u32) -> Position {
    Position { group: group.into(), queue: queue(topic, queue_id) }
}

/// The header that sends messages; what is particular to one is in the batch if there is more than one.
pub(crate) fn send_header<'a>(topic: &'a str, queue_id: i32, messages: &'a [Message]) -> SendMessage<'a> {
    let batch = messages.len() > 1;
    let properties = if batch { Cow::from("") } else { messages[0].properties().into() };
    SendMessage {
        producer_group: "producers".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: super::QUEUES as i32,
        queue_id,
        born_timestamp: 1,
        flag: messages[0].flag,
        properties: Some(properties),
        batch,
        ..SendMessage::default()
    }
}

/// The body that sends messages.
pub(crate) fn send_body(messages: &[Message]) -> Bytes {
    if let [one] = messages {
        return Bytes::copy_from_slice(&one.body);
    }
    let mut body = BytesMut::new();
    for message in messages {
        let encoded = batch::encode(message.flag, &message.body, &message.properties(), &mut body);
        encoded.expect("short properties");
    }
    body.freeze()
}

/// What the client gave, without what the server added.
fn digest(body: &[u8], flag: i32, properties: &str) -> Digest {
    let property = |name| properties::get(properties, name).unwrap_or("").as_bytes();
    Digest::of(&[body, &flag.to_be_bytes(), property(UNIQ_KEY), property(KEYS), property(TAGS)])
}

/// The messages in an answer's body; each is whole, or this panics.
pub(crate) fn found(body: &[u8]) -> Vec<(Queue, Found)> {
    let one = |(_, record)| {
        let Record::Message(bytes) = record else { panic!("not a message: {record:?}") };
        let message = StoredMessage::decode(bytes).expect("a message");
        let found = Found {
            offset: message.stamp.queue_offset,
            log_offset: message.stamp.log_offset,
            id: properties::get(message.properties, UNIQ_KEY).expect("a unique key").into(),
            digest: digest(message.body, message.flag, message.properties),
        };
        (queue(message.topic, message.stamp.queue_id.get()), found)
    };
    records(body).map(|record| one(record.expect("a record"))).collect()
}
