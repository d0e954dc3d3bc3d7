//! What holds for all inputs: round trips, agreement with another JSON reader, no panics.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use steadfast_wire::body::{self, Body, MessageQueue, TopicOffset, TopicStatsTable};
use steadfast_wire::frame::{self, Frame, Serialize};
use steadfast_wire::header::{ExtFields, Header, Language};
use steadfast_wire::headers::{SendMessage, SendMessageResponse};
use steadfast_wire::{batch, header};

/// Text rich in what needs escaping, in several scripts and planes.
fn text() -> impl Strategy<Value = String> {
    let symbol = prop_oneof![
        4 => proptest::char::range(' ', '~'),
        2 => proptest::sample::select(vec!['"', '\\', '/', '\n', '\r', '\t', '\u{8}', '\u{c}', '\u{1}', '\u{2}']),
        1 => proptest::char::range('\0', '\u{1f}'),
        1 => any::<char>(),
        1 => proptest::sample::select(vec!['值', 'é', '\u{2028}', '😀', '\u{10ffff}']),
    ];
    vec(symbol, 0..24).prop_map(String::from_iter)
}

fn any_header() -> impl Strategy<Value = Header<'static>> {
    let numbers = (any::<i32>(), 0..14_u8, any::<i32>(), any::<i32>(), any::<i32>());
    (numbers, proptest::option::of(text()), vec((text(), text()), 0..20)).prop_map(
        |((code, language, version, opaque, flag), remark, ext)| Header {
            code,
            language: Language::from_code(language),
            version,
            opaque,
            flag,
            remark: remark.map(Into::into),
            ext: ext.into_iter().collect(),
        },
    )
}

/// Any JSON value, nested.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Such as both readers and writers of floats agree on to the last digit.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        proptest::sample::select(vec![1e300, -2.5e-10]).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let object = vec((text(), inner.clone()), 0..6).prop_map(|o| Value::Object(o.into_iter().collect()));
        prop_oneof![vec(inner, 0..6).prop_map(Value::Array), object]
    })
}

/// JSON text of `value` with what the standard leaves open: white space, and any character as a `\u` escape.
fn spelled(value: &Value, choices: &mut impl Iterator<Item = u8>) -> String {
    let mut out = String::new();
    let mut in_string = false;
    let mut chars = value.to_string().chars().collect::<Vec<_>>().into_iter();
    while let Some(symbol) = chars.next() {
        let choice = choices.next().unwrap_or_default();
        match symbol {
            '\\' => {
                out.push(symbol);
                let kind = chars.next();
                let digits = if kind == Some('u') { 4 } else { 0 };
                out.extend(kind.into_iter().chain(chars.by_ref().take(digits)));
            }
            '"' => {
                in_string = !in_string;
                out.push(symbol);
            }
            _ if in_string && choice.is_multiple_of(4) => {
                for unit in symbol.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            ',' | ':' | '{' | '}' | '[' | ']' if !in_string && choice.is_multiple_of(4) => {
                out.push_str(&format!(" \n{symbol}\t\r"));
            }
            _ => out.push(symbol),
        }
    }
    out
}

/// What RocketMQ reads an ext value as: the text of a string, else the JSON itself.
fn ext_text(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone())),
        Value::Bool(value) => Some(Some(value.to_string())),
        Value::Number(value) => Some(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => None,
    }
}

proptest! {
    #[test]
    fn a_header_survives_json(header in any_header()) {
        let mut out = BytesMut::new();
        header.encode(Serialize::Json, &mut out);
        let other: Value = serde_json::from_slice(&out).expect("our JSON is JSON");
        prop_assert_eq!(other["remark"].as_str(), header.remark.as_deref());
        prop_assert_eq!(Header::decode(Serialize::Json, &out).unwrap(), header);
    }

    #[test]
    fn a_header_survives_the_binary_form(header in any_header()) {
        let mut out = BytesMut::new();
        header.encode(Serialize::RocketMq, &mut out);
        let mut expected = header;
        expected.code = i32::from(expected.code as i16);
        expected.version = i32::from(expected.version as i16);
        expected.remark = expected.remark.filter(|remark| !remark.is_empty());
        prop_assert_eq!(Header::decode(Serialize::RocketMq, &out).unwrap(), expected);
    }

    #[test]
    fn the_json_reader_agrees_with_serde(
        header in any_header(),
        ext in vec((text(), any_value()), 0..12),
        unknown in vec((text(), any_value()), 0..4),
        quoted in any::<bool>(),
        choices in vec(any::<u8>(), 0..400),
    ) {
        let number = |value: i32| if quoted { Value::from(value.to_string()) } else { Value::from(value) };
        let mut object: serde_json::Map<_, _> = unknown.into_iter().map(|(k, v)| (format!("x{k}"), v)).collect();
        object.insert("code".into(), number(header.code));
        object.insert("opaque".into(), number(header.opaque));
        object.insert("flag".into(), number(header.flag));
        object.insert("version".into(), number(header.version));
        object.insert("language".into(), header.language.name().into());
        object.insert("remark".into(), header.remark.as_deref().into());
        object.insert("extFields".into(), Value::Object(ext.into_iter().collect()));
        let json = spelled(&Value::Object(object), &mut choices.into_iter());

        let oracle: Value = serde_json::from_str(&json).expect("a valid spelling");
        let read = Header::decode(Serialize::Json, json.as_bytes()).unwrap();
        prop_assert_eq!(Header { ext: ExtFields::default(), ..read.clone() }, Header { ext: ExtFields::default(), ..header });
        for (key, value) in oracle["extFields"].as_object().unwrap() {
            match ext_text(value) {
                Some(text) => prop_assert_eq!(read.ext.get(key), text.as_deref()),
                None => prop_assert_eq!(&serde_json::from_str::<Value>(read.ext.get(key).unwrap()).unwrap(), value),
            }
        }
    }

    #[test]
    fn frames_come_out_of_any_chunking(
        bodies in vec(vec(any::<u8>(), 0..40), 1..6),
        cuts in vec(1..30_usize, 1..60),
    ) {
        let mut wire = BytesMut::new();
        let mut expected = Vec::new();
        for (opaque, body) in bodies.iter().enumerate() {
            let serialize = if opaque % 2 == 0 { Serialize::Json } else { Serialize::RocketMq };
            let header = Header::request(10, opaque as i32);
            let mut encoded = BytesMut::new();
            header.encode(serialize, &mut encoded);
            expected.push(Frame { serialize, header: encoded.freeze(), body: Bytes::from(body.clone()) });
            frame::encode(serialize, &header, body.len(), &mut wire);
            wire.extend_from_slice(body);
        }
        let mut cuts = cuts.iter().cycle();
        let (mut buf, mut split) = (BytesMut::new(), Vec::new());
        while !wire.is_empty() {
            let chunk = wire.split_to(wire.len().min(*cuts.next().unwrap()));
            buf.extend_from_slice(&chunk);
            while let Some(frame) = frame::split(&mut buf).unwrap() {
                split.push(frame);
            }
        }
        prop_assert!(buf.is_empty());
        prop_assert_eq!(split, expected);
    }

    #[test]
    fn a_batch_survives(records in vec((any::<i32>(), vec(any::<u8>(), 0..50), text()), 0..8), cut in any::<usize>()) {
        let mut out = BytesMut::new();
        for (flag, body, properties) in &records {
            batch::encode(*flag, body, properties, &mut out).unwrap();
        }
        let wire = out.freeze();
        let read: Vec<_> = batch::records(&wire).map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), records.len());
        for (read, (flag, body, properties)) in read.iter().zip(&records) {
            prop_assert_eq!((read.flag, &read.body[..], read.properties), (*flag, &body[..], properties.as_str()));
        }
        // Cut anywhere: whole records, then at most one error.
        let cut = wire.slice(..cut % (wire.len() + 1));
        let read: Vec<_> = batch::records(&cut).collect();
        prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
    }

    #[test]
    fn a_send_header_survives_both_names(
        (group, topic, properties) in (text(), text(), proptest::option::of(text())),
        (queue_id, born_timestamp, reconsume_times) in (any::<i32>(), any::<i64>(), any::<Option<i32>>()),
        batch in any::<bool>(),
    ) {
        let typed = SendMessage {
            producer_group: group.into(),
            topic: topic.into(),
            properties: properties.map(Into::into),
            queue_id,
            born_timestamp,
            reconsume_times,
            batch,
            ..Default::default()
        };
        let (mut long, mut short) = (ExtFields::default(), ExtFields::default());
        typed.clone().encode(&mut long);
        typed.clone().encode_v2(&mut short);
        prop_assert_eq!(&SendMessage::decode(&long).unwrap(), &typed);
        prop_assert_eq!(&SendMessage::decode_v2(&short).unwrap(), &typed);
    }

    #[test]
    fn a_queue_table_survives(entries in vec((text(), any::<i32>(), text(), any::<i64>()), 0..6)) {
        let table = TopicStatsTable {
            offset_table: entries
                .into_iter()
                .map(|(broker_name, queue_id, topic, max_offset)| {
                    let offset = TopicOffset { max_offset, ..Default::default() };
                    (MessageQueue { broker_name, queue_id, topic }, offset)
                })
                .collect(),
            topic_put_tps: 1.5,
        };
        prop_assert_eq!(&TopicStatsTable::decode(&table.encode()).unwrap(), &table);
        // fastjson's strict form, with the queues as quoted text.
        prop_assert_eq!(TopicStatsTable::decode(&serde_json::to_vec(&table).unwrap()).unwrap(), table);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    /// Damaged but plausible input gets further than noise does.
    #[test]
    fn damaged_headers_never_panic(header in any_header(), at in any::<usize>(), byte: u8, binary: bool) {
        let mut out = BytesMut::new();
        header.encode(if binary { Serialize::RocketMq } else { Serialize::Json }, &mut out);
        let at = at % out.len();
        read_everything(&out[..at]);
        out[at] = byte;
        read_everything(&out);
    }

    #[test]
    fn damaged_loose_json_never_panics(text in "[{}\\[\\]\":,0-9a-z\\\\ \n.-]{0,60}") {
        read_everything(text.as_bytes());
    }
}

fn read_everything(bytes: &[u8]) {
    for serialize in [Serialize::Json, Serialize::RocketMq] {
        if let Ok(header) = Header::decode(serialize, bytes) {
            let _ = SendMessage::decode(&header.ext);
            let _ = SendMessage::decode_v2(&header.ext);
            let _ = SendMessageResponse::decode(&header.ext);
            assert!(header.ext.len() <= header::MAX_EXT_FIELDS);
        }
    }
    let mut buf = BytesMut::from(bytes);
    while let Ok(Some(_)) = frame::split(&mut buf) {}
    let shared = Bytes::copy_from_slice(bytes);
    assert!(batch::records(&shared).filter(Result::is_err).count() <= 1);
    let _ = Value::decode(bytes);
    let _ = body::HeartbeatData::decode(bytes);
    let _ = TopicStatsTable::decode(bytes);
    let _ = body::TopicRouteData::decode(bytes);
}
