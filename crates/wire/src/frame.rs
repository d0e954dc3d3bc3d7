//! The remoting frame: 4-byte total length, 4-byte header mark, header, body.
//!
//! The total length counts everything after itself. The top byte of the header mark is the serialize type of the
//! header, the low 24 bits are the header's length. All integers are big-endian.

use bytes::{BufMut, Bytes, BytesMut};

use crate::code;
use crate::header::Header;

/// Largest accepted value of the total-length field, as in RocketMQ (`com.rocketmq.remoting.frameMaxLength`).
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// Largest header the 24-bit length can express.
const MAX_HEADER: usize = 0xFF_FFFF;

/// How a header is serialized; a response uses the type of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Serialize {
    /// JSON text.
    Json = 0,
    /// RocketMQ's binary form.
    RocketMq = 1,
}

/// One frame, its parts sharing the buffer they were read into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// How `header` is serialized.
    pub serialize: Serialize,
    /// The encoded header, see [`Header::decode`].
    pub header: Bytes,
    /// The body; empty when the frame has none.
    pub body: Bytes,
}

/// Why bytes are not a frame. The stream cannot be read on after one: close the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The total length exceeds [`MAX_FRAME`].
    #[error("frame of {length} bytes is over the limit of {MAX_FRAME}")]
    TooLarge {
        /// The claimed length, in bytes.
        length: u32,
    },
    /// The total length does not even cover the header mark.
    #[error("frame length {length} is shorter than its own 4-byte header mark")]
    TooShort {
        /// The claimed length, in bytes.
        length: u32,
    },
    /// The header does not fit the frame.
    #[error("header of {header} bytes does not fit a frame of {length}")]
    HeaderTooLong {
        /// The claimed header length, in bytes.
        header: u32,
        /// The claimed total length, in bytes.
        length: u32,
    },
    /// The top byte of the header mark is no known serialize type.
    #[error("unknown serialize type {0}")]
    UnknownSerialize(u8),
}

/// Splits the next whole frame off the front of `buf`; `Ok(None)` means more bytes are needed.
///
/// Both length fields are judged as soon as they are there, so an oversized frame is refused before its bytes
/// arrive. Never reserves memory.
pub fn split(buf: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some((length, rest)) = split_u32(buf) else { return Ok(None) };
    if length as usize > MAX_FRAME {
        return Err(FrameError::TooLarge { length });
    }
    if length < 4 {
        return Err(FrameError::TooShort { length });
    }
    let Some((mark, _)) = split_u32(rest) else { return Ok(None) };
    let serialize = match (mark >> 24) as u8 {
        0 => Serialize::Json,
        1 => Serialize::RocketMq,
        other => return Err(FrameError::UnknownSerialize(other)),
    };
    let header = mark & MAX_HEADER as u32;
    if header > length - 4 {
        return Err(FrameError::HeaderTooLong { header, length });
    }
    if buf.len() < 4 + length as usize {
        return Ok(None);
    }
    let mut body = buf.split_to(4 + length as usize).freeze().split_off(8);
    let header = body.split_to(header as usize);
    Ok(Some(Frame { serialize, header, body }))
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(first, rest)| (u32::from_be_bytes(*first), rest))
}

/// Appends the 8 length bytes and the encoded `header` to `out`; the caller sends `body_len` bytes after it and
/// keeps header and body together under [`MAX_FRAME`], else the peer closes the connection.
///
/// A header the 24-bit length cannot express is replaced by one without ext fields that says so (a response also
/// turns into a system error): the stream stays in step.
pub fn encode(serialize: Serialize, header: &Header<'_>, body_len: usize, out: &mut BytesMut) {
    let start = out.len();
    out.put_u64(0);
    header.encode(serialize, out);
    if out.len() - start - 8 > MAX_HEADER {
        let mut bare = Header::request(header.code, header.opaque);
        bare.flag = header.flag;
        bare.remark = Some("the header did not fit a frame".into());
        if header.is_response() {
            bare.code = code::response::SYSTEM_ERROR;
        }
        out.truncate(start + 8);
        bare.encode(serialize, out);
    }
    let header_len = out.len() - start - 8;
    let total = u32::try_from(4 + header_len + body_len).unwrap_or(u32::MAX);
    let mark = ((serialize as u32) << 24) | header_len as u32;
    out[start..start + 4].copy_from_slice(&total.to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&mark.to_be_bytes());
}
