//! A header that reads survives being written and read again; its JSON reader agrees with serde_json.

use std::collections::BTreeMap;

use bytes::BytesMut;
use serde::Deserialize;
use steadfast_wire::frame::Serialize;
use steadfast_wire::header::{ExtFields, Header, HeaderError};
use steadfast_wire::headers::{PullMessage, SendMessage};

/// The data is a header, read in both serializations.
pub(crate) fn run(data: &[u8]) {
    for serialize in [Serialize::Json, Serialize::RocketMq] {
        if let Ok(header) = Header::decode(serialize, data) {
            let mut out = BytesMut::new();
            header.encode(serialize, &mut out);
            assert_eq!(Header::decode(serialize, &out).as_ref(), Ok(&header));
            check_typed(&header.ext);
        }
    }
    check_against_serde(data);
}

fn check_typed(ext: &ExtFields<'_>) {
    let mut again = ExtFields::default();
    if let Ok(send) = SendMessage::decode(ext) {
        send.clone().encode(&mut again);
        assert_eq!(SendMessage::decode(&again), Ok(send));
    }
    let mut again = ExtFields::default();
    if let Ok(send) = SendMessage::decode_v2(ext) {
        send.clone().encode_v2(&mut again);
        assert_eq!(SendMessage::decode_v2(&again), Ok(send));
    }
    let mut again = ExtFields::default();
    if let Ok(pull) = PullMessage::decode(ext) {
        pull.clone().encode(&mut again);
        assert_eq!(PullMessage::decode(&again), Ok(pull));
    }
}

/// A header as serde_json sees it, of the documented types only.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Oracle {
    code: i32,
    language: Option<String>,
    version: Option<i32>,
    opaque: Option<i32>,
    flag: Option<i32>,
    remark: Option<String>,
    ext_fields: Option<BTreeMap<String, Option<String>>>,
}

fn check_against_serde(data: &[u8]) {
    // serde_json skips text that is not UTF-8 in members it ignores; we refuse it anywhere.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(oracle) = serde_json::from_str::<Oracle>(text) else { return };
    let header = match Header::decode(Serialize::Json, data) {
        Ok(header) => header,
        Err(HeaderError::TooManyFields | HeaderError::Json { what: "nested too deeply", .. }) => return,
        Err(error) => panic!("serde_json reads it, but: {error}"),
    };
    assert_eq!(header.code, oracle.code);
    assert_eq!(header.version, oracle.version.unwrap_or(0));
    assert_eq!(header.opaque, oracle.opaque.unwrap_or(0));
    assert_eq!(header.flag, oracle.flag.unwrap_or(0));
    assert_eq!(header.remark.as_deref(), oracle.remark.as_deref());
    if let Some(language) = oracle.language.filter(|_| header.language.name() != "OTHER") {
        assert!(language == header.language.name() || language.parse::<u8>().is_ok());
    }
    for (key, value) in oracle.ext_fields.unwrap_or_default() {
        // A null erases the value before it in serde_json's map, but is no value for us.
        if value.is_some() {
            assert_eq!(header.ext.get(&key), value.as_deref());
        }
    }
}
