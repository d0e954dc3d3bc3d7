//! Writes a header as JSON.

use bytes::{BufMut, BytesMut};

use super::Header;

/// Members in alphabetical order, as the Java peers send them. `extFields` is there even when empty: Java clients
/// read it from send responses without a null check.
pub(super) fn encode(header: &Header<'_>, out: &mut BytesMut) {
    let ext: usize = header.ext.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
    out.reserve(160 + header.remark.as_ref().map_or(0, |remark| remark.len()) + ext);
    put_number(b"{\"code\":", header.code, out);
    out.put_slice(b",\"extFields\":{");
    for (index, (key, value)) in header.ext.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        put_string(key, out);
        out.put_u8(b':');
        put_string(value, out);
    }
    put_number(b"},\"flag\":", header.flag, out);
    out.put_slice(b",\"language\":\"");
    out.put_slice(header.language.name().as_bytes());
    put_number(b"\",\"opaque\":", header.opaque, out);
    if let Some(remark) = &header.remark {
        out.put_slice(b",\"remark\":");
        put_string(remark, out);
    }
    put_number(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":", header.version, out);
    out.put_u8(b'}');
}

fn put_number(before: &[u8], number: i32, out: &mut BytesMut) {
    out.put_slice(before);
    let mut digits = [0; 10];
    let mut start = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(&digits[start..]);
}

/// Copies runs of plain bytes, escaping only what JSON demands.
fn put_string(text: &str, out: &mut BytesMut) {
    out.put_u8(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.put_slice(&rest[..plain]);
        put_escape(rest[plain], out);
        rest = &rest[plain + 1..];
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

fn put_escape(byte: u8, out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.put_slice(b"\\\""),
        b'\\' => out.put_slice(b"\\\\"),
        b'\n' => out.put_slice(b"\\n"),
        b'\r' => out.put_slice(b"\\r"),
        b'\t' => out.put_slice(b"\\t"),
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.put_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    }
}
