//! A single message of a run as a request, for modes whose cost lies elsewhere.

use std::time::SystemTime;

use steadfast_types::{properties, topic};
use steadfast_wire::code::request;
use steadfast_wire::header::Header;
use steadfast_wire::headers::SendMessage;

use super::content::{self, Content, UNIQUE_KEY_LEN};
use super::template::GROUP;

/// SEND_MESSAGE_V2 with message `id` for a queue, and its body. `delay_level` is RocketMQ's, if there is one.
pub(super) fn send<'a>(
    content: Content,
    id: u64,
    (topic_name, queue): (&'a str, u32),
    delay_level: Option<i32>,
) -> anyhow::Result<(Header<'a>, Vec<u8>)> {
    let mut key = [0; UNIQUE_KEY_LEN];
    content.write_unique_key(id, &mut key);
    let mut text = String::new();
    properties::push(&mut text, properties::UNIQ_KEY, str::from_utf8(&key)?);
    properties::push(&mut text, properties::WAIT, "true");
    if let Some(level) = delay_level {
        properties::push(&mut text, properties::DELAY, &level.to_string());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let fields = SendMessage {
        producer_group: GROUP.into(),
        topic: topic_name.into(),
        default_topic: topic::AUTO_CREATE.into(),
        queue_id: queue as i32,
        born_timestamp: now.as_millis() as i64,
        properties: Some(text.into()),
        reconsume_times: Some(0),
        ..SendMessage::default()
    };
    let mut header = Header::request(request::SEND_MESSAGE_V2, 0);
    fields.encode_v2(&mut header.ext);
    let mut body = vec![0; content.size];
    content::fill_body(content.run, id, &mut body);
    Ok((header, body))
}
