//! A message in the log's layout: whatever the bytes are, decoding ends; what decodes encodes to the same bytes.

use bytes::BytesMut;
use steadfast_types::record::{Draft, RecordError, StoredMessage, records, stamp};

pub(crate) fn run(data: &[u8]) {
    let _ = records(data).count();
    let Ok(message) = StoredMessage::decode(data) else {
        // Without its body's checksum a record may still hold together; it must not decode to anything else.
        if let Err(error) = StoredMessage::decode_verified(data) {
            assert!(!matches!(error, RecordError::BodyCrc { .. }));
        }
        return;
    };
    let draft = Draft {
        topic: message.topic,
        flag: message.flag,
        sys_flag: message.sys_flag,
        born_time: message.born_time,
        born_host: message.born_host,
        store_host: message.store_host,
        reconsume_times: message.reconsume_times,
        prepared_transaction_offset: message.prepared_transaction_offset,
        body: message.body,
        properties: message.properties,
    };
    let mut again = BytesMut::new();
    draft.encode(&mut again);
    stamp(&mut again, message.stamp);
    assert_eq!(StoredMessage::decode(&again), Ok(message));
}
