//! The two message ids of RocketMQ: `offsetMsgId`, which names a place in a server's log, and the unique key,
//! which the producer makes. Layouts: protocol section "Message identity" of RocketMQ's `MessageDecoder` and
//! `MessageClientIDSetter`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::{LogOffset, Timestamp};

/// `offsetMsgId`: upper-case hex of the store host's address (4 or 16 bytes), port (4) and log offset (8).
pub fn offset_msg_id(store_host: SocketAddr, offset: LogOffset) -> String {
    let mut id = String::with_capacity(56);
    push_host(&mut id, store_host);
    push_hex(&mut id, &offset.get().to_be_bytes());
    id
}

/// The server and the log offset that an `offsetMsgId` names, or None if `id` is not one. A unique key has the same
/// form: only a server that is known to be one tells them apart.
pub fn parse_offset_msg_id(id: &str) -> Option<(SocketAddr, LogOffset)> {
    if !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let octet = |at: usize| id.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Vec<u8> = (0..id.len()).step_by(2).map(octet).collect::<Option<_>>()?;
    let (host, place) = bytes.split_at_checked(bytes.len().checked_sub(12)?)?;
    let ip = match host.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(host).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(host).ok()?),
        _ => return None,
    };
    let (port, offset) = place.split_at(4);
    let port = u32::from_be_bytes(port.try_into().ok()?);
    let offset = u64::from_be_bytes(offset.try_into().ok()?);
    Some((SocketAddr::new(ip, port as u16), LogOffset::new(offset)))
}

/// A unique key for a message whose producer sent none: address (4 or 16 bytes), process id (2), a constant in
/// place of Java's class loader hash (4), time (4) and counter (2), in upper-case hex.
pub fn unique_key(host: SocketAddr, process_id: u32, now: Timestamp, counter: u16) -> String {
    let mut id = String::with_capacity(56);
    push_ip(&mut id, host.ip());
    push_hex(&mut id, &(process_id as u16).to_be_bytes());
    push_hex(&mut id, b"SFMQ");
    push_hex(&mut id, &((now.get() & 0xFFFF_FFFF) as u32).to_be_bytes());
    push_hex(&mut id, &counter.to_be_bytes());
    id
}

fn push_host(out: &mut String, host: SocketAddr) {
    push_ip(out, host.ip());
    push_hex(out, &u32::from(host.port()).to_be_bytes());
}

fn push_ip(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => push_hex(out, &ip.octets()),
        IpAddr::V6(ip) => push_hex(out, &ip.octets()),
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        let _ = out.write_char(DIGITS[usize::from(byte >> 4)] as char);
        let _ = out.write_char(DIGITS[usize::from(byte & 15)] as char);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_msg_id_has_rocketmqs_layout() {
        let host = "127.0.0.1:10911".parse().unwrap();
        let id = offset_msg_id(host, LogOffset::new(0x1234));
        assert_eq!(id, "7F00000100002A9F0000000000001234");
        assert_eq!(parse_offset_msg_id(&id), Some((host, LogOffset::new(0x1234))));
        let v6 = "[::1]:1".parse().unwrap();
        let id = offset_msg_id(v6, LogOffset::ZERO);
        assert_eq!((id.len(), parse_offset_msg_id(&id)), (56, Some((v6, LogOffset::ZERO))));
        for other in
            ["", "orderId", "7F00000100002A9F000000000000123", "+F00000100002A9F0000000000001234", "é"]
        {
            assert_eq!(parse_offset_msg_id(other), None, "{other}");
        }
    }

    #[test]
    fn unique_keys_differ_by_counter() {
        let host = "127.0.0.1:1".parse().unwrap();
        let a = unique_key(host, 7, Timestamp::new(5), 1);
        assert_eq!(a.len(), 32);
        assert_ne!(a, unique_key(host, 7, Timestamp::new(5), 2));
    }
}
