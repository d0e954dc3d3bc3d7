//! The recorded frames of `tests/data`.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use steadfast_wire::frame::{self, Frame};

/// A request and what the server or the client answered.
pub(crate) struct Sample {
    /// File and line, to name the sample in a failure.
    pub(crate) place: String,
    pub(crate) code: i32,
    pub(crate) request: Recorded,
    pub(crate) response: Option<Recorded>,
}

/// A frame and the header that another decoder read from it.
pub(crate) struct Recorded {
    pub(crate) frame: Frame,
    pub(crate) header: Value,
    /// Whether the recording has the whole body; long ones are cut.
    pub(crate) whole: bool,
}

/// All recorded samples.
pub(crate) fn samples() -> Vec<Sample> {
    [
        ("cpp-python", include_str!("../data/cpp-python.jsonl")),
        ("go-remoting", include_str!("../data/go-remoting.jsonl")),
        ("java-mqadmin-5", include_str!("../data/java-mqadmin-5.jsonl")),
        ("java-remoting-4", include_str!("../data/java-remoting-4.jsonl")),
        ("java-remoting-5", include_str!("../data/java-remoting-5.jsonl")),
        ("node-ons", include_str!("../data/node-ons.jsonl")),
    ]
    .iter()
    .flat_map(|(file, text)| text.lines().enumerate().map(move |(line, text)| sample(file, line + 1, text)))
    .collect()
}

fn sample(file: &str, line: usize, text: &str) -> Sample {
    let value: Value = serde_json::from_str(text).expect("a line is JSON");
    Sample {
        place: format!("{file}.jsonl:{line}"),
        code: i32::try_from(value["code"].as_i64().expect("code")).expect("code"),
        request: recorded(&value["request"]).expect("a request"),
        response: value.get("response").and_then(recorded),
    }
}

/// `None` if there was no answer, or if it was recorded without its bytes.
fn recorded(value: &Value) -> Option<Recorded> {
    let hex = value.get("hex")?.as_str().filter(|hex| !hex.is_empty())?;
    let (hex, whole) = hex.strip_suffix("...").map_or((hex, true), |cut| (cut, false));
    let mut buf = BytesMut::from(&unhex(hex)[..]);
    if !whole {
        let length = buf.len() as u32 - 4;
        buf[..4].copy_from_slice(&length.to_be_bytes());
    }
    let frame = frame::split(&mut buf).expect("a valid frame").expect("a whole frame");
    assert!(buf.is_empty(), "the frame is all there is");
    Some(Recorded { frame, header: value["header"].clone(), whole })
}

fn unhex(text: &str) -> Bytes {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
