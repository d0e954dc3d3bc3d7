//! The ROCKETMQ binary header: 21 fixed bytes, remark, ext fields.

use std::borrow::Cow;

use bytes::{Buf, BufMut, BytesMut, TryGetError};

use super::{ExtFields, Header, HeaderError, Language, MAX_EXT_FIELDS};

pub(super) fn decode(mut bytes: &[u8]) -> Result<Header<'_>, HeaderError> {
    let input = &mut bytes;
    let code = i32::from(input.try_get_i16()?);
    let language = Language::from_code(input.try_get_u8()?);
    let version = i32::from(input.try_get_i16()?);
    let opaque = input.try_get_i32()?;
    let flag = input.try_get_i32()?;
    let remark = i64::from(input.try_get_i32()?);
    let remark = Some(text(input, remark)?).filter(|remark| !remark.is_empty()).map(Cow::Borrowed);
    let ext = i64::from(input.try_get_i32()?);
    let ext = ext_fields(take(input, ext)?)?;
    Ok(Header { code, language, version, opaque, flag, remark, ext })
}

fn ext_fields(mut bytes: &[u8]) -> Result<ExtFields<'_>, HeaderError> {
    let input = &mut bytes;
    let mut fields = ExtFields::default();
    while input.has_remaining() {
        if fields.len() == MAX_EXT_FIELDS {
            return Err(HeaderError::TooManyFields);
        }
        let key = i64::from(input.try_get_i16()?);
        let key = text(input, key)?;
        let value = i64::from(input.try_get_i32()?);
        fields.push(key, text(input, value)?);
    }
    Ok(fields)
}

fn text<'a>(input: &mut &'a [u8], length: i64) -> Result<&'a str, HeaderError> {
    std::str::from_utf8(take(input, length)?).map_err(|_| HeaderError::NotUtf8)
}

fn take<'a>(input: &mut &'a [u8], length: i64) -> Result<&'a [u8], HeaderError> {
    let length = usize::try_from(length).map_err(|_| HeaderError::Binary("a length is negative"))?;
    let (taken, rest) =
        input.split_at_checked(length).ok_or(HeaderError::Binary("a length exceeds the header"))?;
    *input = rest;
    Ok(taken)
}

impl From<TryGetError> for HeaderError {
    fn from(_: TryGetError) -> Self {
        HeaderError::Binary("it ends early")
    }
}

/// Codes and versions beyond 16 bits are cut, as RocketMQ does: peers that need those codes use JSON.
pub(super) fn encode(header: &Header<'_>, out: &mut BytesMut) {
    out.put_i16(header.code as i16);
    out.put_u8(header.language as u8);
    out.put_i16(header.version as i16);
    out.put_i32(header.opaque);
    out.put_i32(header.flag);
    put_text(header.remark.as_deref().unwrap_or_default(), out);
    let length_at = out.len();
    out.put_u32(0);
    for (key, value) in header.ext.iter().filter(|(key, _)| key.len() <= i16::MAX as usize) {
        out.put_u16(key.len() as u16);
        out.put_slice(key.as_bytes());
        put_text(value, out);
    }
    let length = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_text(text: &str, out: &mut BytesMut) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}
