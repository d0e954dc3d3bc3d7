//! Limits and refusals: what is too large, cut short or of the wrong type is refused by name.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use steadfast_wire::batch::{self, BatchError};
use steadfast_wire::body::{self, Body, ClusterInfo, HeartbeatData, RegisterBrokerBody, TopicStatsTable};
use steadfast_wire::frame::{self, FrameError, MAX_FRAME, Serialize};
use steadfast_wire::header::{ExtFields, Header, HeaderError, Language, MAX_EXT_FIELDS};
use steadfast_wire::headers::*;

fn frame_start(length: u32, mark: u32) -> BytesMut {
    let mut buf = BytesMut::new();
    buf.put_u32(length);
    buf.put_u32(mark);
    buf
}

#[test]
fn a_frame_is_refused_as_soon_as_its_lengths_are_known() {
    let too_large = MAX_FRAME as u32 + 1;
    let error = frame::split(&mut BytesMut::from(&too_large.to_be_bytes()[..])).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { length: too_large });
    assert_eq!(error.to_string(), "frame of 16777217 bytes is over the limit of 16777216");

    assert_eq!(frame::split(&mut frame_start(3, 0)), Err(FrameError::TooShort { length: 3 }));
    assert_eq!(frame::split(&mut frame_start(4, 1)), Err(FrameError::HeaderTooLong { header: 1, length: 4 }));
    assert_eq!(frame::split(&mut frame_start(100, 2 << 24)), Err(FrameError::UnknownSerialize(2)));
    assert_eq!(frame::split(&mut frame_start(u32::MAX, 0)), Err(FrameError::TooLarge { length: u32::MAX }));
}

#[test]
fn waiting_for_a_large_frame_reserves_nothing() {
    let mut buf = frame_start(MAX_FRAME as u32, 10);
    let capacity = buf.capacity();
    assert_eq!(frame::split(&mut buf), Ok(None));
    assert_eq!(buf.capacity(), capacity);
    assert_eq!(frame::split(&mut BytesMut::from(&[0, 0, 0][..])), Ok(None));
}

#[test]
fn the_largest_frame_and_the_smallest_pass() {
    let mut buf = frame_start(MAX_FRAME as u32, 1 << 24 | 21);
    buf.put_bytes(0, MAX_FRAME - 4);
    let frame = frame::split(&mut buf).unwrap().unwrap();
    assert_eq!((frame.header.len(), frame.body.len()), (21, MAX_FRAME - 25));
    assert!(Header::decode(frame.serialize, &frame.header).is_ok());

    let frame = frame::split(&mut frame_start(4, 0)).unwrap().unwrap();
    assert!(frame.header.is_empty() && frame.body.is_empty());
}

#[test]
fn a_header_beyond_24_bits_becomes_an_error_in_step_with_the_stream() {
    let response = Header::response(0, 7).with_remark("x".repeat(1 << 24));
    let mut out = BytesMut::new();
    frame::encode(Serialize::Json, &response, 3, &mut out);
    out.put_slice(b"abc");
    let frame = frame::split(&mut out).unwrap().unwrap();
    let header = Header::decode(frame.serialize, &frame.header).unwrap();
    assert_eq!(
        (header.code, header.opaque, header.is_response(), &frame.body[..]),
        (1, 7, true, &b"abc"[..])
    );
    assert!(out.is_empty());
}

fn json(text: &str) -> Result<Header<'_>, HeaderError> {
    Header::decode(Serialize::Json, text.as_bytes())
}

#[test]
fn json_headers_read_with_all_that_peers_leave_out_or_add() {
    let header = json(" { \"code\" : \"310\" , \"remark\":null,\"x\":[{},[],-1.5e+3,true,null] }\n").unwrap();
    assert_eq!(header, Header { version: 0, ..Header::request(310, 0) });
    assert_eq!(json(r#"{"code":1,"language":"COBOL"}"#).unwrap().language, Language::Other);
    assert_eq!(json(r#"{"code":1,"language":9}"#).unwrap().language, Language::Go);

    let ext = json(r#"{"code":1,"extFields":{"n":-7,"b":false,"o":{"a":[1]},"z":null,"d":"1","d":"2"}}"#)
        .unwrap()
        .ext;
    assert_eq!(
        ext.iter().collect::<Vec<_>>(),
        [("n", "-7"), ("b", "false"), ("o", r#"{"a":[1]}"#), ("d", "1"), ("d", "2")]
    );
    assert_eq!(ext.get("d"), Some("2"), "the last of a repeated key counts");

    let remark = |text: &str| {
        json(&format!(r#"{{"code":1,"remark":"{text}"}}"#)).unwrap().into_owned().remark.unwrap()
    };
    assert_eq!(remark(r"\ud83d\ude00 \u00e9\/\b"), "😀 é/\u{8}");
    assert_eq!(remark(r"\ud83d|\ude00|\ud83d\u0041"), "\u{fffd}|\u{fffd}|\u{fffd}A", "lone surrogates");
    assert_eq!(remark("a\u{1}b\tc"), "a\u{1}b\tc", "raw control characters");
}

#[test]
fn malformed_json_headers_are_refused_with_the_place() {
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{}x",
        r#"{"code":1}}"#,
        r#"{"code":1,}"#,
        r#"{"code" 1}"#,
        r#"{"code":1 "flag":2}"#,
        r#"{"code":1,"remark":"a}"#,
        r#"{"code":1,"remark":"\"#,
        r#"{"code":1,"remark":"\u00"}"#,
        r#"{"code":1,"remark":"\é"}"#,
        r#"{"code":1,"x":tru}"#,
        r#"{"code":1,"x":-}"#,
        r#"{"code":1,"x":1.}"#,
        r#"{"code":1,"x":"\q"}"#,
        r#"{"code":1,"x":[1}"#,
        r#"{"code":1,"remark":5}"#,
        r#"{"code":1,"extFields":"a"}"#,
        r#"{code:1}"#,
    ] {
        let error = json(text).unwrap_err();
        assert!(matches!(error, HeaderError::Json { at, .. } if at <= text.len()), "{text}: {error}");
    }
    assert_eq!(
        json("{\"code\":1 \"x\":2}").unwrap_err().to_string(),
        "header JSON: expected a comma or the end of the object at byte 10"
    );
    assert_eq!(json(r#"{"flag":1}"#), Err(HeaderError::Missing { field: "code" }));
    for code in ["1.5", "2147483648", "-", "true", "\"\"", "{}"] {
        assert!(json(&format!(r#"{{"code":{code}}}"#)).is_err(), "{code}");
    }
    assert_eq!(
        Header::decode(Serialize::Json, b"{\"code\":1,\"remark\":\"\xff\"}"),
        Err(HeaderError::NotUtf8)
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!(r#"{{"code":1,"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(json(&nested(60)).is_ok());
    assert!(json(&nested(100_000)).is_err());
    let loose = format!("{{0:{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(serde_json::Value::decode(loose.as_bytes()).is_err());
}

#[test]
fn the_number_of_ext_fields_is_bounded() {
    for serialize in [Serialize::Json, Serialize::RocketMq] {
        for (count, ok) in [(MAX_EXT_FIELDS, true), (MAX_EXT_FIELDS + 1, false)] {
            let mut header = Header::request(1, 1);
            header.ext = (0..count).map(|n| (n.to_string(), "")).collect();
            let mut out = BytesMut::new();
            header.encode(serialize, &mut out);
            let read = Header::decode(serialize, &out);
            assert_eq!(read.is_ok(), ok, "{count}");
            assert!(ok || read == Err(HeaderError::TooManyFields));
        }
    }
}

#[test]
fn binary_lengths_beyond_the_header_are_refused() {
    let mut whole = BytesMut::new();
    let mut header = Header::request(10, 1).with_remark("why");
    header.ext.push("key", "value");
    header.ext.push("empty", "");
    header.encode(Serialize::RocketMq, &mut whole);
    assert_eq!(
        Header::decode(Serialize::RocketMq, &whole).unwrap(),
        header,
        "an empty value is an empty string"
    );
    for length in 0..whole.len() {
        assert!(Header::decode(Serialize::RocketMq, &whole[..length]).is_err(), "cut to {length}");
    }
    // The remark, ext, key and value lengths, each made huge and made negative.
    for (at, width) in [(13, 4), (20, 4), (24, 2), (29, 4)] {
        for byte in [0x7F, 0xFF] {
            let mut damaged = whole.clone();
            damaged[at..at + width].fill(byte);
            assert!(
                matches!(Header::decode(Serialize::RocketMq, &damaged), Err(HeaderError::Binary(_))),
                "{at}"
            );
        }
    }
    // Codes and versions are 16 bits.
    let mut out = BytesMut::new();
    Header::request(200050, 1).encode(Serialize::RocketMq, &mut out);
    assert_eq!(Header::decode(Serialize::RocketMq, &out).unwrap().code, 3442);
}

#[test]
fn a_typed_header_names_the_field_it_misses_or_cannot_read() {
    let ext: ExtFields<'_> = [("topic", "T"), ("queueId", "x1")].into_iter().collect();
    let error = GetMaxOffset::decode(&ext).unwrap_err();
    assert_eq!(error.to_string(), "header field queueId has the invalid value \"x1\"");
    let ext: ExtFields<'_> = [("topic", "T"), ("queueId", "")].into_iter().collect();
    assert_eq!(
        GetMaxOffset::decode(&ext),
        Err(HeaderError::Missing { field: "queueId" }),
        "a null of the binary form"
    );
    let short: ExtFields<'_> = [("a", "G"), ("b", "T")].into_iter().collect();
    assert_eq!(SendMessage::decode_v2(&short).unwrap_err(), HeaderError::Missing { field: "c" });
    assert_eq!(SendMessage::decode(&short).unwrap_err(), HeaderError::Missing { field: "producerGroup" });

    let long = "9".repeat(1000);
    let ext: ExtFields<'_> = [("topic", "T"), ("queueId", long.as_str())].into_iter().collect();
    assert!(
        GetMinOffset::decode(&ext).unwrap_err().to_string().len() < 150,
        "no flood of text in logs and remarks"
    );
}

#[test]
fn defaults_and_spellings_of_typed_fields() {
    let base = [("topic", "T"), ("queueId", "3")];
    let with = |key: &'static str, value: &'static str| -> ExtFields<'static> {
        base.into_iter().chain([(key, value), ("lo", "true"), ("bname", "b")]).collect()
    };
    assert!(GetMaxOffset::decode(&with("x", "y")).unwrap().committed);
    for (text, committed) in
        [("false", false), ("FALSE", false), ("0", false), ("True", true), ("1", true), ("", true)]
    {
        assert_eq!(GetMaxOffset::decode(&with("committed", text)).unwrap().committed, committed, "{text}");
    }
    assert!(GetMaxOffset::decode(&with("committed", "yes")).is_err());
    let search: ExtFields<'_> =
        base.into_iter().chain([("timestamp", "5"), ("boundaryType", "upper")]).collect();
    assert_eq!(SearchOffset::decode(&search).unwrap().boundary, Boundary::Upper);
    assert_eq!(SearchOffset::default().boundary, Boundary::Lower);
}

#[test]
fn batches_that_lie_about_their_size_are_refused() {
    let mut out = BytesMut::new();
    batch::encode(1, b"body", "k\u{1}v\u{2}", &mut out).unwrap();
    let first = |bytes: &[u8]| {
        batch::records(&Bytes::copy_from_slice(bytes)).next().unwrap().map(|record| record.flag)
    };
    assert_eq!(first(&out), Ok(1));
    for length in 1..out.len() {
        assert_eq!(first(&out[..length]), Err(BatchError::Truncated), "cut to {length}");
    }
    let mut damaged = out.clone();
    damaged[3] += 1;
    assert_eq!(first(&damaged), Err(BatchError::SizeMismatch { claimed: 31, actual: 30 }));
    damaged = out.clone();
    damaged[16..20].fill(0xFF);
    assert_eq!(first(&damaged), Err(BatchError::Truncated), "a negative length");
    damaged = out.clone();
    damaged[26] = 0xFF;
    assert_eq!(first(&damaged), Err(BatchError::NotUtf8));
    let long = "p".repeat(32768);
    assert_eq!(batch::encode(0, b"", &long, &mut out), Err(BatchError::PropertiesTooLong(32768)));
    assert_eq!(batch::records(&Bytes::new()).count(), 0);
}

#[test]
fn a_batch_shares_its_buffer() {
    let mut out = BytesMut::new();
    batch::encode(0, &[7; 100], "", &mut out).unwrap();
    let wire = out.freeze();
    let record = batch::records(&wire).next().unwrap().unwrap();
    assert_eq!(record.body.as_ptr(), wire[20..].as_ptr());
}

#[test]
fn integer_keys_are_quoted_and_queue_keys_are_objects() {
    let broker = body::BrokerData {
        broker_addrs: BTreeMap::from([(0, "127.0.0.1:10911".to_owned())]),
        broker_name: "a".to_owned(),
        cluster: "c".to_owned(),
        ..Default::default()
    };
    let route = body::TopicRouteData { broker_datas: vec![broker], ..Default::default() };
    assert_eq!(
        String::from_utf8(route.encode()).unwrap(),
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[]}"#
    );
    let queue = body::MessageQueue { broker_name: "b".to_owned(), queue_id: 0, topic: "t\"\\\n".to_owned() };
    let offset = body::TopicOffset { last_update_timestamp: 3, max_offset: 2, min_offset: 1 };
    let table = TopicStatsTable { offset_table: [(queue, offset)].into_iter().collect(), topic_put_tps: 0.0 };
    assert_eq!(
        String::from_utf8(table.encode()).unwrap(),
        r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t\"\\\n"}:{"lastUpdateTimestamp":3,"maxOffset":2,"minOffset":1}},"topicPutTps":0.0}"#
    );
    assert_eq!(TopicStatsTable::decode(&table.encode()).unwrap(), table);
}

#[test]
fn loose_bodies_read() {
    let cluster = ClusterInfo::decode(
        br#"{"brokerAddrTable":{"a":{"brokerAddrs":{0:"x:1",1:"y:2"},"brokerName":"a","cluster":"c"}}}"#,
    )
    .unwrap();
    assert_eq!(cluster.broker_addr_table["a"].broker_addrs[&1], "y:2");
    for without_sub in ["withoutSub", "isWithoutSub"] {
        let text = format!(r#"{{"clientID":"c","{without_sub}":true,"consumerDataSet":null}}"#);
        assert!(HeartbeatData::decode(text.as_bytes()).unwrap().without_sub);
    }
    for text in
        ["", "{", "{{", r#"{{"a":{}}:1}"#, "{0:1} x", "{0", "{0:", r#"{0:"a"#, "{:1}", r#"{{"a\"#, "[0,]"]
    {
        assert!(serde_json::Value::decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_compressed_registration_is_refused_by_name() {
    let body = RegisterBrokerBody::default();
    assert_eq!(RegisterBrokerBody::decode_registration(&body.encode(), false).unwrap(), body);
    let error = RegisterBrokerBody::decode_registration(b"x\x9c", true).unwrap_err();
    assert!(error.to_string().contains("compressed"), "{error}");
}
