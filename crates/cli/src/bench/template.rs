//! Send requests as patched copies. The codec encodes one request per queue with placeholders of fixed width;
//! what differs between requests is written over them, and the bodies are made in place.

use anyhow::{Context, ensure};
use bytes::BytesMut;
use steadfast_types::properties;
use steadfast_wire::batch;
use steadfast_wire::code::request;
use steadfast_wire::frame::{self, Serialize};
use steadfast_wire::header::Header;
use steadfast_wire::headers::SendMessage;

use super::content::{self, Content, KEY_LEN, UNIQUE_KEY_LEN};

/// Group name that requests carry.
pub(super) const GROUP: &str = "steadfast-bench";
/// Opaques start here, so that all have ten digits.
pub(super) const FIRST_OPAQUE: u32 = 1_000_000_000;

const PLACEHOLDER_OPAQUE: u32 = 1_987_654_321;
/// Thirteen digits, as every time in milliseconds from 2001 to 2286 has.
const PLACEHOLDER_TIME: i64 = 7_777_777_777_777;
const TIME_LEN: usize = 13;
const PLACEHOLDER_UNIQUE_KEY: &str = "UUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUU";
const PLACEHOLDER_KEY: &str = "KKKKKKKK";

/// A request to one queue.
#[derive(Debug, Clone)]
pub(super) struct Template {
    content: Content,
    /// The frame without what follows its header.
    head: Vec<u8>,
    opaque: Opaque,
    time: usize,
    ids: Ids,
    /// What stands before and behind each body; empty when the message is not part of a batch.
    record: Record,
    /// Messages in the request.
    batch: u32,
}

/// Where the opaque stands.
#[derive(Debug, Clone, Copy)]
enum Opaque {
    Text(usize),
    Binary(usize),
}

/// Where unique key and business key stand.
#[derive(Debug, Clone, Copy, Default)]
struct Ids {
    unique_key: Option<usize>,
    key: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Record {
    before: Vec<u8>,
    after: Vec<u8>,
    /// Within `after`.
    ids: Ids,
}

/// The place of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<'a> {
    pub(super) topic: &'a str,
    /// None when the broker's name is not known.
    pub(super) broker_name: Option<&'a str>,
    pub(super) queue: u32,
    /// Queues of the topic.
    pub(super) queues: u32,
}

impl Template {
    /// The template for requests of `batch` messages to `to`.
    pub(super) fn new(
        content: Content,
        to: Destination<'_>,
        batch: u32,
        serialize: Serialize,
    ) -> anyhow::Result<Self> {
        let record = if batch > 1 { Record::new(content)? } else { Record::default() };
        let length = (record.before.len() + content.size + record.after.len()) * batch as usize;
        let head = encode_head(content, to, batch, serialize, length);
        let opaque = match serialize {
            Serialize::Json => Opaque::Text(find(&head, PLACEHOLDER_OPAQUE.to_string().as_bytes())?),
            Serialize::RocketMq => Opaque::Binary(find(&head, &PLACEHOLDER_OPAQUE.to_be_bytes())?),
        };
        let time = find(&head, PLACEHOLDER_TIME.to_string().as_bytes())?;
        let ids = if batch > 1 { Ids::default() } else { Ids::find(&head, content)? };
        Ok(Self { content, head, opaque, time, ids, record, batch })
    }

    /// Messages in one request.
    pub(super) fn batch(&self) -> u32 {
        self.batch
    }

    /// Appends a request with the messages from `first_id` on.
    pub(super) fn append(&self, first_id: u64, opaque: u32, time: &Millis, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.head);
        let head = &mut out[start..];
        head[self.time..self.time + TIME_LEN].copy_from_slice(&time.0);
        match self.opaque {
            Opaque::Text(at) => write_digits(opaque.into(), &mut head[at..at + 10]),
            Opaque::Binary(at) => head[at..at + 4].copy_from_slice(&opaque.to_be_bytes()),
        }
        self.ids.write(&self.content, first_id, head);
        for id in first_id..first_id + u64::from(self.batch) {
            out.extend_from_slice(&self.record.before);
            let body = out.len();
            out.resize(body + self.content.size, 0);
            content::fill_body(self.content.run, id, &mut out[body..]);
            let after = out.len();
            out.extend_from_slice(&self.record.after);
            self.record.ids.write(&self.content, id, &mut out[after..]);
        }
    }
}

impl Ids {
    fn find(bytes: &[u8], content: Content) -> anyhow::Result<Self> {
        let unique_key = Some(find(bytes, PLACEHOLDER_UNIQUE_KEY.as_bytes())?);
        let key = (content.keys > 0).then(|| find(bytes, PLACEHOLDER_KEY.as_bytes())).transpose()?;
        Ok(Self { unique_key, key })
    }

    fn write(&self, content: &Content, id: u64, bytes: &mut [u8]) {
        if let Some(at) = self.unique_key {
            content.write_unique_key(id, &mut bytes[at..at + UNIQUE_KEY_LEN]);
        }
        if let Some(at) = self.key {
            content.write_key(id, &mut bytes[at..at + KEY_LEN]);
        }
    }
}

impl Record {
    fn new(content: Content) -> anyhow::Result<Self> {
        let mut bytes = BytesMut::new();
        batch::encode(0, &vec![0; content.size], &message_properties(content), &mut bytes)?;
        // Five integers precede the body.
        let (before, rest) = bytes.split_at(20);
        let after = rest[content.size..].to_vec();
        let ids = Ids::find(&after, content)?;
        Ok(Self { before: before.to_vec(), after, ids })
    }
}

fn encode_head(
    content: Content,
    to: Destination<'_>,
    batch: u32,
    serialize: Serialize,
    body_len: usize,
) -> Vec<u8> {
    let batched = batch > 1;
    let code = if batched { request::SEND_BATCH_MESSAGE } else { request::SEND_MESSAGE_V2 };
    let properties = if batched { "WAIT\u{1}true\u{2}".to_owned() } else { message_properties(content) };
    let fields = SendMessage {
        producer_group: GROUP.into(),
        topic: to.topic.into(),
        default_topic: steadfast_types::topic::AUTO_CREATE.into(),
        default_topic_queue_nums: to.queues as i32,
        queue_id: to.queue as i32,
        born_timestamp: PLACEHOLDER_TIME,
        properties: Some(properties.into()),
        reconsume_times: Some(0),
        batch: batched,
        broker_name: to.broker_name.map(Into::into),
        ..SendMessage::default()
    };
    let mut header = Header::request(code, PLACEHOLDER_OPAQUE as i32);
    fields.encode_v2(&mut header.ext);
    let mut out = BytesMut::new();
    frame::encode(serialize, &header, body_len, &mut out);
    out.to_vec()
}

/// What a Java client sets on each message.
fn message_properties(content: Content) -> String {
    let mut text = String::new();
    if content.keys > 0 {
        properties::push(&mut text, properties::KEYS, PLACEHOLDER_KEY);
    }
    properties::push(&mut text, properties::UNIQ_KEY, PLACEHOLDER_UNIQUE_KEY);
    properties::push(&mut text, properties::WAIT, "true");
    text
}

/// Where `placeholder` stands; it must stand there once.
fn find(bytes: &[u8], placeholder: &[u8]) -> anyhow::Result<usize> {
    let mut places = bytes.windows(placeholder.len()).enumerate().filter(|(_, found)| *found == placeholder);
    let (at, _) = places.next().context("the header codec changed a placeholder")?;
    ensure!(
        places.next().is_none(),
        "the topic's name looks like a placeholder of the bench; choose another"
    );
    Ok(at)
}

/// A time in milliseconds as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Millis([u8; TIME_LEN]);

impl Millis {
    /// Writes the time as text.
    pub(super) fn new(millis: u64) -> Self {
        let mut digits = [0; TIME_LEN];
        write_digits(millis, &mut digits);
        Self(digits)
    }
}

fn write_digits(value: u64, out: &mut [u8]) {
    let mut rest = value;
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const CONTENT: Content = Content { run: 0xABCD, size: 100, keys: 10 };
    const TO: Destination<'_> = Destination { topic: "t", broker_name: Some("b"), queue: 3, queues: 8 };

    /// A request as a server reads it: header fields, opaque, body.
    fn request(template: &Template, serialize: Serialize) -> (SendMessage<'static>, i32, Bytes) {
        let mut out = vec![];
        template.append(7, FIRST_OPAQUE + 5, &Millis::new(1_700_000_000_123), &mut out);
        let mut bytes = BytesMut::from(&out[..]);
        let frame = frame::split(&mut bytes).unwrap().unwrap();
        assert!(bytes.is_empty());
        assert_eq!(frame.serialize, serialize);
        let header = Header::decode(frame.serialize, &frame.header).unwrap().into_owned();
        let fields = SendMessage::decode_v2(&header.ext).unwrap();
        let fields = SendMessage {
            topic: fields.topic.into_owned().into(),
            properties: fields.properties.map(|text| text.into_owned().into()),
            producer_group: "".into(),
            default_topic: "".into(),
            broker_name: None,
            ..fields
        };
        (fields, header.opaque, frame.body)
    }

    fn properties_of(id: u64) -> String {
        let (mut unique_key, mut key) = ([0; UNIQUE_KEY_LEN], [0; KEY_LEN]);
        CONTENT.write_unique_key(id, &mut unique_key);
        CONTENT.write_key(id, &mut key);
        let (unique_key, key) =
            (std::str::from_utf8(&unique_key).unwrap(), std::str::from_utf8(&key).unwrap());
        format!("KEYS\u{1}{key}\u{2}UNIQ_KEY\u{1}{unique_key}\u{2}WAIT\u{1}true\u{2}")
    }

    fn body_of(id: u64) -> Vec<u8> {
        let mut body = vec![0; CONTENT.size];
        content::fill_body(CONTENT.run, id, &mut body);
        body
    }

    #[test]
    fn single_messages() {
        for serialize in [Serialize::Json, Serialize::RocketMq] {
            let template = Template::new(CONTENT, TO, 1, serialize).unwrap();
            let (fields, opaque, body) = request(&template, serialize);
            assert_eq!(opaque as u32, FIRST_OPAQUE + 5);
            assert_eq!((fields.topic.as_ref(), fields.queue_id), ("t", 3));
            assert_eq!(fields.born_timestamp, 1_700_000_000_123);
            assert_eq!(fields.properties.unwrap(), properties_of(7));
            assert_eq!(body, body_of(7));
        }
    }

    #[test]
    fn batches() {
        for serialize in [Serialize::Json, Serialize::RocketMq] {
            let template = Template::new(CONTENT, TO, 3, serialize).unwrap();
            let (fields, _, body) = request(&template, serialize);
            assert!(fields.batch);
            let records: Vec<_> = batch::records(&body).collect::<Result<_, _>>().unwrap();
            assert_eq!(records.len(), 3);
            for (record, id) in records.iter().zip(7..) {
                assert_eq!(record.properties, properties_of(id));
                assert_eq!(record.body, body_of(id));
            }
        }
    }

    #[test]
    fn a_topic_that_looks_like_a_placeholder_is_refused() {
        let to = Destination { topic: PLACEHOLDER_UNIQUE_KEY, ..TO };
        assert!(Template::new(CONTENT, to, 1, Serialize::Json).is_err());
    }
}
