//! The stored message: it survives encoding, and nothing that was changed, cut or extended passes for it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use proptest::prelude::*;
use steadfast_types::record::{Draft, RecordError, Stamp, StoredMessage, body_crc, stamp};
use steadfast_types::{LogOffset, QueueId, QueueOffset, Timestamp};

fn encode(topic: &str, body: &[u8], properties: &str, born_host: SocketAddr) -> BytesMut {
    let draft = Draft {
        topic,
        flag: -3,
        sys_flag: 1,
        born_time: 1_700_000_000_000,
        born_host,
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 2,
        prepared_transaction_offset: 99,
        body,
        properties,
    };
    let mut bytes = BytesMut::new();
    draft.encode(&mut bytes);
    bytes
}

fn place() -> Stamp {
    Stamp {
        queue_id: QueueId::new(3),
        queue_offset: QueueOffset::new(1 << 33),
        log_offset: LogOffset::new(1 << 41),
        store_time: Timestamp::new(1_800_000_000_000),
    }
}

fn host() -> SocketAddr {
    "192.168.1.2:50000".parse().unwrap()
}

proptest! {
    #[test]
    fn survives_encoding(
        topic in "[a-zA-Z0-9_%-]{1,255}",
        body in proptest::collection::vec(any::<u8>(), 0..500),
        properties in "\\PC{0,200}",
        ip: IpAddr,
        port: u16,
    ) {
        let born_host = SocketAddr::new(ip, port);
        let mut bytes = encode(&topic, &body, &properties, born_host);
        stamp(&mut bytes, place());
        let message = StoredMessage::decode(&bytes).unwrap();
        prop_assert_eq!(message.stamp, place());
        prop_assert_eq!(message.topic, topic);
        prop_assert_eq!(message.body, body);
        prop_assert_eq!(message.properties, properties);
        prop_assert_eq!(message.born_host, born_host);
        prop_assert_eq!((message.flag, message.reconsume_times), (-3, 2));
        prop_assert_eq!(message.prepared_transaction_offset, 99);
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = StoredMessage::decode(&bytes);
    }
}

#[test]
fn every_cut_and_every_extension_is_an_error() {
    let bytes = encode("TopicTest", b"body", "KEYS\u{1}k\u{2}", host());
    for end in 0..bytes.len() {
        assert!(StoredMessage::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.extend_from_slice(&[0]);
    assert!(matches!(StoredMessage::decode(&longer), Err(RecordError::Size { .. })));
}

/// rmq#9121: a checksum that happens to be 0 is as good as any other.
#[test]
fn a_body_whose_checksum_is_zero_is_fine() {
    let body = [0x9D, 0x0A, 0xD9, 0x6D];
    assert_eq!(body_crc(&body), 0);
    let bytes = encode("TopicTest", &body, "", host());
    assert_eq!(StoredMessage::decode(&bytes).unwrap().body, body);
}

#[test]
fn the_smallest_message_has_rocketmqs_91_bytes() {
    assert_eq!(encode("", b"", "", host()).len(), 91);
}

#[test]
fn a_long_topic_takes_version_two() {
    let topic = "%RETRY%".to_owned() + &"g".repeat(200);
    let bytes = encode(&topic, b"", "", host());
    assert_eq!(bytes[4..8], 0xDAA3_20AB_u32.to_be_bytes());
    assert_eq!(StoredMessage::decode(&bytes).unwrap().topic, topic);
}
