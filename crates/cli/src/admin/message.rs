//! A message as the commands show it: decoded from what a server returned, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, bail};
use serde::Serialize;
use steadfast_types::message_id::offset_msg_id;
use steadfast_types::properties::{self, KEYS, TAGS, UNIQ_KEY};
use steadfast_types::record::{self, Record, StoredMessage};
use steadfast_types::sys_flag;

use super::body::MessageBody;
use super::output::{java_map, or_null};
use super::time;

/// A stored message. The JSON has exactly these fields; times are milliseconds since 1970.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    /// What `send` returned to the producer: the unique key, or the offset id of a message without one.
    pub(super) msg_id: String,
    /// The id that names the place in the server's log.
    pub(super) offset_msg_id: String,
    /// Broker that returned it, if known.
    pub(super) broker_name: String,
    pub(super) topic: String,
    pub(super) tags: Option<String>,
    /// Business keys, separated by spaces.
    pub(super) keys: Option<String>,
    pub(super) queue_id: u32,
    pub(super) queue_offset: u64,
    pub(super) commit_log_offset: u64,
    pub(super) born_timestamp: u64,
    pub(super) store_timestamp: u64,
    pub(super) born_host: String,
    pub(super) store_host: String,
    pub(super) reconsume_times: u32,
    pub(super) prepared_transaction_offset: u64,
    pub(super) flag: i32,
    pub(super) sys_flag: i32,
    /// Bytes in the log.
    pub(super) store_size: usize,
    /// Of the body as it is stored.
    #[serde(rename = "bodyCRC")]
    pub(super) body_crc: u32,
    pub(super) properties: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(super) body: MessageBody,
}

/// The messages of an answer's body.
pub(super) fn decode(body: &[u8], broker_name: &str) -> anyhow::Result<Vec<Message>> {
    let mut messages = Vec::new();
    for item in record::records(body) {
        let (_, record) = item.context("the server returned something that is no message")?;
        let Record::Message(bytes) = record else { bail!("the server returned a record that is no message") };
        let stored = StoredMessage::decode(bytes).context("the server returned a damaged message")?;
        messages.push(Message::new(&stored, bytes.len(), broker_name));
    }
    Ok(messages)
}

impl Message {
    fn new(stored: &StoredMessage<'_>, store_size: usize, broker_name: &str) -> Self {
        let property = |name| properties::get(stored.properties, name).map(str::to_owned);
        let offset_msg_id = offset_msg_id(stored.store_host, stored.stamp.log_offset);
        let body = MessageBody::unpack(stored.body, stored.sys_flag);
        // As consumers see it: what is unpacked is not compressed any more.
        let unpacked = if body.is_packed() { 0 } else { sys_flag::COMPRESSED };
        Message {
            msg_id: property(UNIQ_KEY).unwrap_or_else(|| offset_msg_id.clone()),
            offset_msg_id,
            broker_name: broker_name.to_owned(),
            topic: stored.topic.to_owned(),
            tags: property(TAGS),
            keys: property(KEYS),
            queue_id: stored.stamp.queue_id.get(),
            queue_offset: stored.stamp.queue_offset.get(),
            commit_log_offset: stored.stamp.log_offset.get(),
            born_timestamp: stored.born_time,
            store_timestamp: stored.stamp.store_time.get(),
            born_host: stored.born_host.to_string(),
            store_host: stored.store_host.to_string(),
            reconsume_times: stored.reconsume_times,
            prepared_transaction_offset: stored.prepared_transaction_offset,
            flag: stored.flag,
            sys_flag: stored.sys_flag & !unpacked,
            store_size,
            body_crc: record::body_crc(stored.body),
            properties: properties::iter(stored.properties)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body,
        }
    }

    /// Whether `key` is one of its keys.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.keys.as_deref().is_some_and(|keys| keys.split(' ').any(|one| one == key))
    }

    /// Writes the body to the file where RocketMQ's tool puts it.
    ///
    /// The directory is everybody's, and a producer chose the id: what is there under the name is replaced, never written
    /// through, and a name leads nowhere else.
    pub(super) fn save_body(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = Path::new("/tmp/rocketmq/msgbodys");
        let name = name.replace('/', "_");
        let (path, new) = (directory.join(&name), directory.join(format!(".{name}.{}", process::id())));
        let write = || {
            fs::create_dir_all(directory)?;
            OpenOptions::new().write(true).create_new(true).open(&new)?.write_all(&self.body.bytes)?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("writing the body to {}", path.display()))?;
        Ok(path)
    }

    /// The lines of `queryMsgById`, from the topic to the properties.
    pub(super) fn write_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut field = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<20} {value}");
        field("Topic:", &self.topic)?;
        field("Tags:", &format_args!("[{}]", or_null(self.tags.as_deref())))?;
        field("Keys:", &format_args!("[{}]", or_null(self.keys.as_deref())))?;
        field("Queue ID:", &self.queue_id)?;
        field("Queue Offset:", &self.queue_offset)?;
        field("CommitLog Offset:", &self.commit_log_offset)?;
        field("Reconsume Times:", &self.reconsume_times)?;
        field("Born Timestamp:", &time::human(self.born_timestamp as i64))?;
        field("Store Timestamp:", &time::human(self.store_timestamp as i64))?;
        field("Born Host:", &self.born_host)?;
        field("Store Host:", &self.store_host)?;
        field("System Flag:", &self.sys_flag)?;
        field("Properties:", &self.java_properties())
    }

    fn java_properties(&self) -> String {
        java_map(self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// One line with everything, as `printMsg` writes it.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: Vec<String> = self.body.bytes.iter().map(|byte| (*byte as i8).to_string()).collect();
        write!(
            f,
            "MessageExt [brokerName={}, queueId={}, storeSize={}, queueOffset={}, sysFlag={}, bornTimestamp={}, \
             bornHost=/{}, storeTimestamp={}, storeHost=/{}, msgId={}, commitLogOffset={}, bodyCRC={}, \
             reconsumeTimes={}, preparedTransactionOffset={}, toString()=Message{{topic='{}', flag={}, \
             properties={}, body=[{}], transactionId='{}'}}]",
            self.broker_name,
            self.queue_id,
            self.store_size,
            self.queue_offset,
            self.sys_flag,
            self.born_timestamp,
            self.born_host,
            self.store_timestamp,
            self.store_host,
            self.offset_msg_id,
            self.commit_log_offset,
            self.body_crc,
            self.reconsume_times,
            self.prepared_transaction_offset,
            self.topic,
            self.flag,
            self.java_properties(),
            body.join(", "),
            or_null(self.properties.get("__transactionId__").map(String::as_str)),
        )
    }
}
