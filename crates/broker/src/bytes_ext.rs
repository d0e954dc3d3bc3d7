//! Length-prefixed strings in the broker's own encodings (control records, snapshots).

use bytes::{Buf, BufMut};

/// The bytes end early or are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encoding is cut short or not text")]
pub(crate) struct Malformed;

impl From<bytes::TryGetError> for Malformed {
    fn from(_: bytes::TryGetError) -> Self {
        Self
    }
}

/// Appends a string of at most 65535 bytes.
pub(crate) fn put_text(out: &mut impl BufMut, text: &str) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

/// Reads what [`put_text`] wrote.
pub(crate) fn get_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, Malformed> {
    let len = bytes.try_get_u32()? as usize;
    let (text, rest) = bytes.split_at_checked(len).ok_or(Malformed)?;
    *bytes = rest;
    std::str::from_utf8(text).map_err(|_| Malformed)
}
