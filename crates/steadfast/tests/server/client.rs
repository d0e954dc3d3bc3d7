//! A client of one blocking connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::{Bytes, BytesMut};
use steadfast_wire::body::{Body, TopicRouteData};
use steadfast_wire::code::{request, response};
use steadfast_wire::frame::{self, Serialize};
use steadfast_wire::header::{ExtFields, Header};
use steadfast_wire::headers::{GetMinOffset, GetRouteInfo, OffsetResponse, PullMessage, SendMessage};

use crate::process::PATIENCE;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) header: Header<'static>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn code(&self) -> i32 {
        self.header.code
    }

    pub(crate) fn remark(&self) -> &str {
        self.header.remark.as_deref().unwrap_or_default()
    }
}

/// A connection.
pub(crate) struct Client {
    socket: TcpStream,
    received: BytesMut,
    last: i32,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        let socket = TcpStream::connect(addr).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket.set_nodelay(true).expect("no delay");
        Client { socket, received: BytesMut::new(), last: 0 }
    }

    /// Sends a request without waiting; returns its id.
    pub(crate) fn post(&mut self, code: i32, ext: ExtFields<'static>, body: &[u8]) -> i32 {
        self.last += 1;
        let header = Header { ext, ..Header::request(code, self.last) };
        let mut out = BytesMut::new();
        frame::encode(Serialize::Json, &header, body.len(), &mut out);
        out.extend_from_slice(body);
        self.socket.write_all(&out).expect("a write");
        self.last
    }

    /// The next answer; None when the connection is gone.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        loop {
            let answer = self.next()?;
            if answer.header.is_response() {
                return Some(answer);
            }
        }
    }

    /// Answers the server's next request with this code; returns the request's fields.
    pub(crate) fn respond(&mut self, code: i32, body: &[u8]) -> ExtFields<'static> {
        loop {
            let Answer { header, .. } = self.next().expect("a request");
            if header.is_response() || header.code != code {
                continue;
            }
            let mut out = BytesMut::new();
            let response = Header::response(response::SUCCESS, header.opaque);
            frame::encode(Serialize::Json, &response, body.len(), &mut out);
            out.extend_from_slice(body);
            self.socket.write_all(&out).expect("a write");
            return header.ext;
        }
    }

    /// The next frame of the server.
    fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(frame) = frame::split(&mut self.received).expect("a frame") {
                let header = Header::decode(frame.serialize, &frame.header).expect("a header").into_owned();
                return Some(Answer { header, body: frame.body });
            }
            let mut chunk = vec![0; 64 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.received.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    pub(crate) fn ask(&mut self, code: i32, ext: ExtFields<'static>, body: &[u8]) -> Answer {
        let id = self.post(code, ext, body);
        let answer = self.answer().expect("an answer");
        assert_eq!(answer.header.opaque, id);
        answer
    }

    /// What GET_BROKER_CONFIG says of a key.
    pub(crate) fn setting(&mut self, key: &str) -> String {
        let answer = self.ask(request::GET_BROKER_CONFIG, ExtFields::default(), &[]);
        assert_eq!(answer.code(), response::SUCCESS);
        assert!(answer.header.ext.get("version").is_some());
        let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
        let mut values = text.lines().filter_map(|line| line.split_once('=')).filter(|(k, _)| *k == key);
        let value = values.next().unwrap_or_else(|| panic!("no {key} in:\n{text}")).1.to_owned();
        assert!(values.next().is_none(), "{key} is there twice");
        value
    }

    /// Posts a send of a message.
    pub(crate) fn post_send(&mut self, topic: &'static str, body: &[u8]) -> i32 {
        self.post_send_with(topic, body, "")
    }

    fn post_send_with(&mut self, topic: &'static str, body: &[u8], properties: &str) -> i32 {
        let mut ext = ExtFields::default();
        SendMessage {
            producer_group: "test".into(),
            topic: topic.into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            queue_id: 0,
            born_timestamp: 1,
            properties: Some(properties.to_owned().into()),
            ..SendMessage::default()
        }
        .encode_v2(&mut ext);
        self.post(request::SEND_MESSAGE_V2, ext, body)
    }

    pub(crate) fn send(&mut self, topic: &'static str, body: &[u8]) -> Answer {
        self.post_send(topic, body);
        self.answer().expect("an answer")
    }

    /// Sends a message with properties, as they are stored.
    pub(crate) fn send_with(&mut self, topic: &'static str, body: &[u8], properties: &str) -> Answer {
        self.post_send_with(topic, body, properties);
        self.answer().expect("an answer")
    }

    /// The offset after the last message of queue 0.
    pub(crate) fn max_offset(&mut self, topic: &'static str) -> i64 {
        let mut ext = ExtFields::default();
        GetMinOffset { topic: topic.into(), queue_id: 0 }.encode(&mut ext);
        let answer = self.ask(request::GET_MAX_OFFSET, ext, &[]);
        assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
        OffsetResponse::decode(&answer.header.ext).expect("an offset").offset
    }

    /// What queue 0 has from an offset on, as stored.
    pub(crate) fn pull(&mut self, topic: &'static str, offset: i64) -> Answer {
        let id = self.post_pull(topic, offset, 0);
        let answer = self.answer().expect("an answer");
        assert_eq!(answer.header.opaque, id);
        answer
    }

    /// Posts a pull of queue 0 that waits so many milliseconds for a message.
    pub(crate) fn post_pull(&mut self, topic: &'static str, offset: i64, hold: i64) -> i32 {
        let mut ext = ExtFields::default();
        PullMessage {
            consumer_group: "test".into(),
            topic: topic.into(),
            queue_id: 0,
            queue_offset: offset,
            max_msg_nums: 32,
            // The subscription is in the request.
            sys_flag: if hold > 0 { 4 | 2 } else { 4 },
            suspend_timeout_millis: hold,
            subscription: Some("*".into()),
            ..PullMessage::default()
        }
        .encode(&mut ext);
        self.post(request::PULL_MESSAGE, ext, &[])
    }

    /// Where a topic is, if the name server at the other end knows.
    pub(crate) fn route(&mut self, topic: &'static str) -> Option<TopicRouteData> {
        let mut ext = ExtFields::default();
        GetRouteInfo { topic: topic.into(), ..GetRouteInfo::default() }.encode(&mut ext);
        let answer = self.ask(request::GET_ROUTEINFO_BY_TOPIC, ext, &[]);
        (answer.code() == response::SUCCESS).then(|| TopicRouteData::decode(&answer.body).expect("a route"))
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        // The server may have closed the connection by now.
        let _ = self.socket.write_all(bytes);
    }

    /// Waits until the other side closes.
    pub(crate) fn until_closed(mut self) {
        while self.answer().is_some() {}
    }
}
