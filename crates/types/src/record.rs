//! A record: what an entry of the log consists of. Either a message in RocketMQ's stored layout (so that a
//! pull answer is a slice of the log) or a control record of this server. Both begin with size and magic.
//!
//! Message layout, big-endian (RocketMQ's `MessageDecoder`, commit log record version 1 / 2):
//!
//! ```text
//!  0 u32 size | 4 u32 magic | 8 u32 body CRC | 12 u32 queue id | 16 u32 flag | 20 u64 queue offset
//! 28 u64 log offset | 36 u32 sysFlag | 40 u64 born time | 48 born host 8 / 20 | u64 store time
//!    store host 8 / 20 | u32 reconsume times | u64 prepared transaction offset | u32 + body
//!    u8 (v1) or u16 (v2) + topic | u16 + properties
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, BytesMut};

use crate::sys_flag::{BORN_HOST_V6, STORE_HOST_V6};
use crate::{LogOffset, QueueId, QueueOffset, Timestamp};

/// Magic of a message whose topic length has one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a message whose topic length has two bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of a control record ("SFCR").
pub const MAGIC_CONTROL: u32 = 0x5346_4352;
/// Bytes of size and magic.
pub const PREFIX_LEN: usize = 8;

const QUEUE_ID_AT: usize = 12;
const QUEUE_OFFSET_AT: usize = 20;
const LOG_OFFSET_AT: usize = 28;
const SYS_FLAG_AT: usize = 36;
const BORN_HOST_AT: usize = 48;
/// Smallest message: IPv4 hosts, everything of variable length empty.
const MESSAGE_LEN_MIN: usize = 91;
/// Topics longer than this need version 2 of the layout: their length is read as a signed byte by clients.
const V1_TOPIC_LEN_MAX: usize = 127;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("the record ends early: {0} bytes are missing")]
    Short(usize),
    /// The size field does not fit what the record holds.
    #[error("the record's size field says {stated}, its parts need {actual}")]
    Size {
        /// What the field says.
        stated: usize,
        /// What the parts add up to.
        actual: usize,
    },
    /// Neither a message nor a control record.
    #[error("unknown magic {0:#010x}")]
    Magic(u32),
    /// The body does not match its checksum.
    #[error("the body's CRC is {actual:#010x}, the record says {stated:#010x}")]
    BodyCrc {
        /// What the record says.
        stated: u32,
        /// What the body has.
        actual: u32,
    },
    /// Topic or properties are not UTF-8.
    #[error("topic or properties are not UTF-8")]
    Utf8,
}

/// RocketMQ's body checksum: CRC-32 (IEEE) with the sign bit cleared.
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// A message before the log gave it a place.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// Topic.
    pub topic: &'a str,
    /// The user's flag.
    pub flag: i32,
    /// See [`crate::sys_flag`]; the host bits are set by [`Draft::encode`].
    pub sys_flag: i32,
    /// When the producer made it, in its clock.
    pub born_time: u64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// This server's advertised address.
    pub store_host: SocketAddr,
    /// How often it was retried.
    pub reconsume_times: u32,
    /// Log offset of the half message, 0 if there is none.
    pub prepared_transaction_offset: u64,
    /// The body as it came.
    pub body: &'a [u8],
    /// The properties string, at most [`crate::limits::PROPERTIES_LEN`] bytes.
    pub properties: &'a str,
}

impl Draft<'_> {
    /// Appends the record with queue, offsets and store time still 0; [`stamp`] fills them in.
    pub fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        let v2 = self.topic.len() > V1_TOPIC_LEN_MAX;
        out.reserve(MESSAGE_LEN_MIN + 25 + self.body.len() + self.topic.len() + self.properties.len());
        out.put_u32(0);
        out.put_u32(if v2 { MAGIC_V2 } else { MAGIC_V1 });
        out.put_u32(body_crc(self.body));
        out.put_u32(0);
        out.put_i32(self.flag);
        out.put_u64(0);
        out.put_u64(0);
        out.put_i32(self.sys_flag_with_hosts());
        out.put_u64(self.born_time);
        put_host(out, self.born_host);
        out.put_u64(0);
        put_host(out, self.store_host);
        out.put_u32(self.reconsume_times);
        out.put_u64(self.prepared_transaction_offset);
        out.put_u32(self.body.len() as u32);
        out.put_slice(self.body);
        if v2 {
            out.put_u16(self.topic.len() as u16);
        } else {
            out.put_u8(self.topic.len() as u8);
        }
        out.put_slice(self.topic.as_bytes());
        out.put_u16(self.properties.len() as u16);
        out.put_slice(self.properties.as_bytes());
        let size = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
    }

    fn sys_flag_with_hosts(&self) -> i32 {
        let mut flag = self.sys_flag & !(BORN_HOST_V6 | STORE_HOST_V6);
        if self.born_host.is_ipv6() {
            flag |= BORN_HOST_V6;
        }
        if self.store_host.is_ipv6() {
            flag |= STORE_HOST_V6;
        }
        flag
    }
}

fn put_host(out: &mut BytesMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_u32(u32::from(host.port()));
}

/// The place that the log gives a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Queue of the topic.
    pub queue_id: QueueId,
    /// Position in that queue.
    pub queue_offset: QueueOffset,
    /// Position in the log of the record's first byte.
    pub log_offset: LogOffset,
    /// Store time.
    pub store_time: Timestamp,
}

/// Writes the stamp into an encoded message. `record` must come from [`Draft::encode`].
pub fn stamp(record: &mut [u8], stamp: Stamp) {
    let v6 = i32::from_be_bytes(array(record, SYS_FLAG_AT)) & BORN_HOST_V6 != 0;
    let store_time_at = BORN_HOST_AT + host_len(v6);
    record[QUEUE_ID_AT..QUEUE_ID_AT + 4].copy_from_slice(&stamp.queue_id.get().to_be_bytes());
    record[QUEUE_OFFSET_AT..QUEUE_OFFSET_AT + 8].copy_from_slice(&stamp.queue_offset.get().to_be_bytes());
    record[LOG_OFFSET_AT..LOG_OFFSET_AT + 8].copy_from_slice(&stamp.log_offset.get().to_be_bytes());
    record[store_time_at..store_time_at + 8].copy_from_slice(&stamp.store_time.get().to_be_bytes());
}

/// A stored message, borrowed from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage<'a> {
    /// Where the log put it.
    pub stamp: Stamp,
    /// The user's flag.
    pub flag: i32,
    /// See [`crate::sys_flag`].
    pub sys_flag: i32,
    /// When the producer made it.
    pub born_time: u64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// The server's advertised address when it was stored.
    pub store_host: SocketAddr,
    /// How often it was retried.
    pub reconsume_times: u32,
    /// Log offset of the half message, 0 if there is none.
    pub prepared_transaction_offset: u64,
    /// The body as it came.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// The properties string.
    pub properties: &'a str,
}

impl<'a> StoredMessage<'a> {
    /// Reads one whole record and checks its structure and its body's CRC.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (message, stated_crc) = Self::parse(bytes)?;
        let actual = body_crc(message.body);
        if stated_crc != actual {
            return Err(RecordError::BodyCrc { stated: stated_crc, actual });
        }
        Ok(message)
    }

    /// Reads one whole record without checking the body's CRC: for bytes that a stronger checksum vouches for.
    pub fn decode_verified(bytes: &'a [u8]) -> Result<Self, RecordError> {
        Self::parse(bytes).map(|(message, _)| message)
    }

    fn parse(bytes: &'a [u8]) -> Result<(Self, u32), RecordError> {
        let mut r = Reader { bytes, at: 0 };
        let stated = r.u32()? as usize;
        let magic = r.u32()?;
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(RecordError::Magic(magic));
        }
        let body_crc = r.u32()?;
        let queue_id = QueueId::new(r.u32()?);
        let flag = r.u32()? as i32;
        let queue_offset = QueueOffset::new(r.u64()?);
        let log_offset = LogOffset::new(r.u64()?);
        let sys_flag = r.u32()? as i32;
        let born_time = r.u64()?;
        let born_host = r.host(sys_flag & BORN_HOST_V6 != 0)?;
        let store_time = Timestamp::new(r.u64()?);
        let store_host = r.host(sys_flag & STORE_HOST_V6 != 0)?;
        let reconsume_times = r.u32()?;
        let prepared_transaction_offset = r.u64()?;
        let body_len = r.u32()? as usize;
        let body = r.take(body_len)?;
        let topic_len = if magic == MAGIC_V2 { usize::from(r.u16()?) } else { usize::from(r.u8()?) };
        let topic = r.text(topic_len)?;
        let properties_len = usize::from(r.u16()?);
        let properties = r.text(properties_len)?;
        if stated != r.at || stated != bytes.len() {
            return Err(RecordError::Size { stated, actual: r.at });
        }
        let stamp = Stamp { queue_id, queue_offset, log_offset, store_time };
        let message = Self {
            stamp,
            flag,
            sys_flag,
            born_time,
            born_host,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        };
        Ok((message, body_crc))
    }
}

/// One record of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A message with all of its bytes.
    Message(&'a [u8]),
    /// A control record's payload, without size and magic.
    Control(&'a [u8]),
}

/// The records of an entry with their distance in bytes from its first one.
pub fn records(payload: &[u8]) -> Records<'_> {
    Records { payload, at: 0 }
}

/// Iterator of [`records`]; ends after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(usize, Record<'a>), RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.payload[self.at..];
        if rest.is_empty() {
            return None;
        }
        let at = self.at;
        let result = split_record(rest);
        match result {
            Ok((record, size)) => {
                self.at += size;
                Some(Ok((at, record)))
            }
            Err(error) => {
                self.at = self.payload.len();
                Some(Err(error))
            }
        }
    }
}

fn split_record(bytes: &[u8]) -> Result<(Record<'_>, usize), RecordError> {
    if bytes.len() < PREFIX_LEN {
        return Err(RecordError::Short(PREFIX_LEN - bytes.len()));
    }
    let size = u32::from_be_bytes(array(bytes, 0)) as usize;
    let magic = u32::from_be_bytes(array(bytes, 4));
    if size > bytes.len() {
        return Err(RecordError::Short(size - bytes.len()));
    }
    if size < PREFIX_LEN {
        return Err(RecordError::Size { stated: size, actual: PREFIX_LEN });
    }
    match magic {
        MAGIC_V1 | MAGIC_V2 => Ok((Record::Message(&bytes[..size]), size)),
        MAGIC_CONTROL => Ok((Record::Control(&bytes[PREFIX_LEN..size]), size)),
        other => Err(RecordError::Magic(other)),
    }
}

/// Appends a control record around `payload`.
pub fn encode_control(payload: &[u8], out: &mut BytesMut) {
    out.put_u32((PREFIX_LEN + payload.len()) as u32);
    out.put_u32(MAGIC_CONTROL);
    out.put_slice(payload);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let rest = &self.bytes[self.at..];
        if len > rest.len() {
            return Err(RecordError::Short(len - rest.len()));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_be_bytes(array(self.take(2)?, 0)))
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_be_bytes(array(self.take(4)?, 0)))
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_be_bytes(array(self.take(8)?, 0)))
    }

    fn text(&mut self, len: usize) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.take(len)?).map_err(|_| RecordError::Utf8)
    }

    fn host(&mut self, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(array::<16>(self.take(16)?, 0)))
        } else {
            IpAddr::V4(Ipv4Addr::from(array::<4>(self.take(4)?, 0)))
        };
        Ok(SocketAddr::new(ip, self.u32()? as u16))
    }
}

const fn host_len(v6: bool) -> usize {
    if v6 { 20 } else { 8 }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
