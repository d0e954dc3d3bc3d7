//! Builds the records of a send at the edge: everything that needs no order is done here, so that the one core
//! thread only stamps and copies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use steadfast_store::log::{CONTROL_ROOM, PAYLOAD_MAX, head_len};
use steadfast_store::unit::key_hash;
use steadfast_types::java_hash::tag_code;
use steadfast_types::properties::{self, Lookup};
use steadfast_types::record::Draft;
use steadfast_types::{Timestamp, limits, message_id, sys_flag, topic};
use steadfast_wire::batch;
use steadfast_wire::code::response;
use steadfast_wire::headers::SendMessage;

use super::{Edge, compression};
use crate::measures::MessageKind;
use crate::reply::Reply;

/// A send whose records are ready but for their place.
#[derive(Debug, Clone)]
pub struct SendRequest {
    /// Topic.
    pub topic: String,
    /// Queue, or -1 for the broker's choice.
    pub queue_id: i32,
    /// The client wants the topic made if it does not exist.
    pub may_create_topic: bool,
    /// Queues it should then have.
    pub default_topic_queues: i32,
    /// The records; more than one for a batch.
    pub records: Vec<PreparedRecord>,
    /// The unique key of the first.
    pub unique_key: String,
    /// Delay level, 0 for a message that is to be delivered at once. Never with a batch.
    pub delay_level: u32,
    /// How often the message was retried.
    pub reconsume_times: u32,
    /// Retries after which a message for a retry topic is a dead letter, if the sender says so.
    pub max_reconsume_times: Option<i32>,
}

/// A record without its stamp, and what is derived from it.
#[derive(Debug, Clone)]
pub struct PreparedRecord {
    /// From [`Draft::encode`].
    pub bytes: BytesMut,
    /// Tag code.
    pub tag: i32,
    /// Hashes of all its lookup keys.
    pub keys: Vec<u64>,
    /// How it is counted; None for a copy that the broker makes by itself.
    pub kind: Option<MessageKind>,
    /// Topic that a dead letter was of.
    pub dead_of: Option<Arc<str>>,
}

impl PreparedRecord {
    /// Encodes a message and derives what is derived from it.
    pub(crate) fn new(draft: &Draft<'_>, kind: Option<MessageKind>) -> Self {
        let mut bytes = BytesMut::new();
        draft.encode(&mut bytes);
        let (tag, keys) = derived(draft.topic, draft.properties);
        Self { bytes, tag, keys, kind, dead_of: None }
    }
}

impl SendRequest {
    /// Bytes of all records.
    pub fn len(&self) -> usize {
        self.records.iter().map(|r| r.bytes.len()).sum()
    }

    /// Whether there are no records, which no decoded request has.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Tag code and key hashes of a message: what queues and index hold besides its place. The edge uses it for
/// new messages, recovery for those in the log.
pub(crate) fn derived(topic: &str, properties: &str) -> (i32, Vec<u64>) {
    let lookup = Lookup::parse(properties);
    (tag_code(lookup.tags), lookup.lookup_keys().map(|key| key_hash(topic, key)).collect())
}

pub(super) fn prepare(
    edge: &Edge,
    peer: SocketAddr,
    now: Timestamp,
    header: &SendMessage<'_>,
    is_batch: bool,
    body: Bytes,
) -> Result<SendRequest, Reply> {
    check(edge, header, is_batch, body.len())?;
    let reconsume_times = header.reconsume_times.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let one = |flag: i32, body: &[u8], properties: &str| {
        compression::check(header.sys_flag, body).map_err(illegal)?;
        let StoredProperties { properties, unique_key, kind } = stored_properties(edge, now, properties)?;
        let draft = Draft {
            topic: &header.topic,
            flag,
            sys_flag: header.sys_flag & !(sys_flag::TRANSACTION_MASK | sys_flag::INNER_BATCH),
            born_time: u64::try_from(header.born_timestamp).unwrap_or(0),
            born_host: peer,
            store_host: edge.store_host,
            reconsume_times,
            prepared_transaction_offset: 0,
            body,
            properties: &properties,
        };
        Ok::<_, Reply>((PreparedRecord::new(&draft, Some(kind)), unique_key))
    };
    let outer_properties = header.properties.as_deref().unwrap_or("");
    let mut delay_level = 0;
    let mut records = Vec::with_capacity(1);
    let mut first_key = None;
    if is_batch {
        check_batch(outer_properties)?;
        for record in batch::records(&body) {
            let record = record.map_err(|e| illegal(format!("the batch is not usable: {e}")))?;
            check_batch(record.properties)?;
            let (record, key) = one(record.flag, &record.body, record.properties)?;
            records.push(record);
            first_key.get_or_insert(key);
        }
    } else {
        delay_level = delay_level_of(outer_properties)?;
        let (record, key) = one(header.flag, &body, outer_properties)?;
        records.push(record);
        first_key = Some(key);
    }
    let Some(unique_key) = first_key else { return Err(illegal("the batch is empty")) };
    check_fits_an_entry(&records)?;
    Ok(SendRequest {
        topic: header.topic.as_ref().to_owned(),
        queue_id: header.queue_id,
        may_create_topic: header.default_topic == topic::AUTO_CREATE,
        default_topic_queues: header.default_topic_queue_nums,
        records,
        unique_key,
        delay_level,
        reconsume_times,
        max_reconsume_times: header.max_reconsume_times,
    })
}

/// What a batch as a whole or one of its messages cannot ask for.
fn check_batch(properties: &str) -> Result<(), Reply> {
    let half = properties::get(properties, properties::TRAN_MSG);
    if delay_level_of(properties)? > 0 || half.is_some_and(|half| half.eq_ignore_ascii_case("true")) {
        return Err(illegal(
            "a batch can be neither delayed nor transactional; send its messages one by one",
        ));
    }
    Ok(())
}

/// The delay level that a message asks for; 0 if it does not.
fn delay_level_of(properties: &str) -> Result<u32, Reply> {
    let Some(text) = properties::get(properties, properties::DELAY) else { return Ok(0) };
    let level: i32 = text.parse().map_err(|_| illegal(format!("the delay level (DELAY) is {text:?}")))?;
    Ok(u32::try_from(level).unwrap_or(0))
}

fn illegal(remark: impl Into<std::borrow::Cow<'static, str>>) -> Reply {
    Reply::error(response::MESSAGE_ILLEGAL, remark)
}

fn check(edge: &Edge, header: &SendMessage<'_>, is_batch: bool, body_len: usize) -> Result<(), Reply> {
    if let Err(error) = topic::check_topic(&header.topic) {
        return Err(illegal(format!("topic {:?}: {error}", header.topic)));
    }
    if !topic::may_send(&header.topic) {
        let remark = format!("topic {} belongs to the system; send to a topic of your own", header.topic);
        return Err(Reply::error(response::NO_PERMISSION, remark));
    }
    let max = edge.max_body.load(Ordering::Relaxed);
    if body_len > max {
        return Err(illegal(format!("the body has {body_len} bytes, the limit is {max} (maxMessageSize)")));
    }
    if is_batch && header.topic.starts_with(topic::RETRY_PREFIX) {
        return Err(illegal("a batch cannot be sent to a retry topic; send its messages one by one"));
    }
    Ok(())
}

/// Most bytes that one send takes in the log.
const SEND_MAX: usize = PAYLOAD_MAX - CONTROL_ROOM;

/// A batch of many tiny messages can take far more space in the log than on the wire.
fn check_fits_an_entry(records: &[PreparedRecord]) -> Result<(), Reply> {
    let stored = head_len(records.len()) + records.iter().map(|r| r.bytes.len()).sum::<usize>();
    if stored > SEND_MAX {
        let remark = format!(
            "the batch of {} messages takes {stored} bytes in the log, the limit is {SEND_MAX}; \
             send fewer messages at a time",
            records.len()
        );
        return Err(illegal(remark));
    }
    Ok(())
}

/// The properties as they are stored, and what they say.
struct StoredProperties {
    properties: String,
    unique_key: String,
    kind: MessageKind,
}

fn stored_properties(edge: &Edge, now: Timestamp, sent: &str) -> Result<StoredProperties, Reply> {
    let mut stored = String::with_capacity(sent.len() + 112);
    let mut unique_key = None;
    let mut kind = MessageKind::Normal;
    for (name, value) in properties::iter(sent) {
        match name {
            // Ours to set, not the client's.
            properties::POP_CK | properties::MSG_REGION | properties::TRACE_ON | properties::CLUSTER => {
                continue;
            }
            properties::UNIQ_KEY => unique_key = Some(value),
            properties::SHARDING_KEY => kind = MessageKind::Fifo,
            // A delay level wins, as in RocketMQ. Delivering the message at once would be worse than refusing it.
            name if properties::TIMER.contains(&name) => {
                if delay_level_of(sent)? == 0 {
                    return Err(illegal(NO_TIMER));
                }
                continue;
            }
            properties::TRAN_MSG if value.eq_ignore_ascii_case("true") => {
                return Err(illegal(NO_TRANSACTION));
            }
            _ => {}
        }
        properties::push(&mut stored, name, value);
    }
    let unique_key = match unique_key {
        Some(key) => key.to_owned(),
        None => {
            let counter = edge.ids.fetch_add(1, Ordering::Relaxed) as u16;
            let key = message_id::unique_key(edge.store_host, edge.process_id, now, counter);
            properties::push(&mut stored, properties::UNIQ_KEY, &key);
            key
        }
    };
    properties::push(&mut stored, properties::MSG_REGION, &edge.region);
    properties::push(&mut stored, properties::TRACE_ON, "true");
    properties::push(&mut stored, properties::CLUSTER, &edge.cluster);
    if stored.len() > limits::PROPERTIES_LEN {
        let (len, max) = (stored.len(), limits::PROPERTIES_LEN);
        return Err(illegal(format!("the properties have {len} bytes, the limit is {max}")));
    }
    Ok(StoredProperties { properties: stored, unique_key, kind })
}

const NO_TIMER: &str = "this server does not deliver at a time of the sender's choice (TIMER_*) yet, only after a delay \
     level (DELAY); the message was not stored";
const NO_TRANSACTION: &str =
    "this server does not take transactional messages yet; the message was not stored";
