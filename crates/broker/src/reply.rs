//! An answer, and its encoding into a remoting frame.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use steadfast_types::message_id::offset_msg_id;
use steadfast_types::{LogOffset, QueueId, QueueOffset};
use steadfast_wire::body::Body;
use steadfast_wire::code::response;
use steadfast_wire::frame;
use steadfast_wire::header::Header;
use steadfast_wire::headers::{
    GetAllSubscriptionGroupsResponse, HeartbeatResponse, OffsetResponse, PullMessageResponse,
    QueryMessageResponse, SendMessageResponse, TimestampResponse,
};

use crate::io::Origin;

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// RocketMQ's response code.
    pub code: i32,
    /// Text for people: cause and what to do.
    pub remark: Option<Cow<'static, str>>,
    /// Fields that depend on the request.
    pub header: ReplyHeader,
    /// The body, in pieces that are sent one after the other.
    pub body: Vec<Bytes>,
}

/// The fields of an answer.
#[derive(Debug, Clone)]
pub enum ReplyHeader {
    /// None.
    Empty,
    /// To a send.
    Sent(Box<Sent>),
    /// To a pull, whatever the outcome.
    Pulled(PullMessageResponse),
    /// To a question for an offset.
    Offset(i64),
    /// To a question for a time.
    Timestamp(i64),
    /// To a heartbeat.
    Heartbeat(HeartbeatResponse),
    /// To a query by key: how far the index reaches.
    Query(QueryMessageResponse),
    /// To a question for the settings of groups: how many there are.
    Groups(GetAllSubscriptionGroupsResponse),
    /// One field.
    Field(&'static str, String),
}

/// Where a message, or each message of a batch, was stored.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The server's advertised address.
    pub store_host: SocketAddr,
    /// Log offset of each message.
    pub log_offsets: Vec<LogOffset>,
    /// The queue.
    pub queue_id: QueueId,
    /// Queue offset of the first message.
    pub queue_offset: QueueOffset,
    /// The unique key.
    pub transaction_id: String,
    /// The server's region.
    pub region: Arc<str>,
}

impl Reply {
    /// Success without anything to say.
    pub fn ok() -> Self {
        Self { code: response::SUCCESS, remark: None, header: ReplyHeader::Empty, body: Vec::new() }
    }

    /// Success with fields.
    pub fn with(header: ReplyHeader) -> Self {
        Self { header, ..Self::ok() }
    }

    /// Success with a body of JSON.
    pub fn json(body: &impl Body) -> Self {
        Self { body: vec![body.encode().into()], ..Self::ok() }
    }

    /// A failure. The remark names the cause and the next step.
    pub fn error(code: i32, remark: impl Into<Cow<'static, str>>) -> Self {
        Self { code, remark: Some(remark.into()), ..Self::ok() }
    }

    /// Appends length and header to `out`; the pieces returned are the body, to be sent right after.
    pub fn encode(self, origin: &Origin, out: &mut BytesMut) -> Vec<Bytes> {
        let mut header = Header::response(self.code, origin.opaque);
        header.remark = self.remark;
        match self.header {
            ReplyHeader::Empty => {}
            ReplyHeader::Sent(ref sent) => sent.response().encode(&mut header.ext),
            ReplyHeader::Pulled(pulled) => pulled.encode(&mut header.ext),
            ReplyHeader::Offset(offset) => OffsetResponse { offset }.encode(&mut header.ext),
            ReplyHeader::Timestamp(timestamp) => TimestampResponse { timestamp }.encode(&mut header.ext),
            ReplyHeader::Heartbeat(heartbeat) => heartbeat.encode(&mut header.ext),
            ReplyHeader::Query(query) => query.encode(&mut header.ext),
            ReplyHeader::Groups(groups) => groups.encode(&mut header.ext),
            ReplyHeader::Field(name, value) => header.ext.push(name, value),
        }
        let body_len = self.body.iter().map(Bytes::len).sum();
        frame::encode(origin.serialize, &header, body_len, out);
        self.body
    }
}

impl Sent {
    fn response(&self) -> SendMessageResponse<'_> {
        let mut ids = String::new();
        for (i, at) in self.log_offsets.iter().enumerate() {
            if i > 0 {
                ids.push(',');
            }
            ids.push_str(&offset_msg_id(self.store_host, *at));
        }
        SendMessageResponse {
            msg_id: ids.into(),
            queue_id: self.queue_id.get() as i32,
            queue_offset: self.queue_offset.get() as i64,
            transaction_id: Some(self.transaction_id.as_str().into()),
            region: Some((&*self.region).into()),
            trace_on: Some(true),
            ..SendMessageResponse::default()
        }
    }
}
