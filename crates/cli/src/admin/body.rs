//! A message's body: unpacked if it was compressed, and read as text.

use std::fmt;
use std::io::Read;

use serde::Serialize;
use serde::ser::SerializeMap;
use steadfast_types::{limits, sys_flag};

use super::charset::Charset;

/// A body that grows beyond this is no message any more.
const LIMIT: usize = 16 * limits::BODY_LEN;

/// A body.
#[derive(Debug, Clone)]
pub(super) struct MessageBody {
    /// As the consumer gets it.
    pub(super) bytes: Vec<u8>,
    /// How it is compressed, if it cannot be unpacked.
    packed: Option<&'static str>,
    /// What the user said that it is.
    pub(super) charset: Option<Charset>,
}

/// `body` where it is text, else `bodyHex`.
impl Serialize for MessageBody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match (self.charset, std::str::from_utf8(&self.bytes)) {
            (Some(_), _) => map.serialize_entry("body", &self.to_string())?,
            (None, Ok(text)) => map.serialize_entry("body", text)?,
            (None, Err(_)) => {
                let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                map.serialize_entry("bodyHex", &hex)?;
            }
        }
        if let Some(packed) = self.packed {
            map.serialize_entry("bodyPacked", packed)?;
        }
        map.end()
    }
}

impl fmt::Display for MessageBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.charset.unwrap_or_default().decode(&self.bytes))
    }
}

impl MessageBody {
    /// Whether it is compressed, and cannot be unpacked.
    pub(super) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// Old clients set no compression type; theirs is zlib.
    pub(super) fn unpack(stored: &[u8], sys_flag: i32) -> Self {
        if sys_flag & sys_flag::COMPRESSED == 0 {
            return MessageBody { bytes: stored.to_vec(), packed: None, charset: None };
        }
        let (unpacked, damaged) = match sys_flag & sys_flag::COMPRESSION_TYPE {
            sys_flag::COMPRESSION_LZ4 => (read(lz4_flex::frame::FrameDecoder::new(stored)), "LZ4, damaged"),
            sys_flag::COMPRESSION_ZSTD => {
                (ruzstd::decoding::StreamingDecoder::new(stored).ok().and_then(read), "ZSTD, damaged")
            }
            _ => {
                let unpacked = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stored, LIMIT);
                (unpacked.ok(), "ZLIB, damaged")
            }
        };
        match unpacked {
            Some(bytes) => MessageBody { bytes, packed: None, charset: None },
            None => MessageBody { bytes: stored.to_vec(), packed: Some(damaged), charset: None },
        }
    }
}

/// All that a decoder has to give; None if it is damaged or too much.
fn read(decoder: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = decoder.take(LIMIT as u64 + 1).read_to_end(&mut bytes).ok()?;
    (read <= LIMIT).then_some(bytes)
}
