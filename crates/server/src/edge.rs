//! The broker's port: decodes requests on the network's threads, so that the core does only what needs order.

use std::fmt::Display;
use std::sync::Arc;

use steadfast_broker::io::{CallAnswer, Input, Origin};
use steadfast_broker::reply::Reply;
use steadfast_broker::request::{self, Edge};
use steadfast_net::{ConnId, Connection, Handler};
use steadfast_types::Timestamp;
use steadfast_wire::code::{request as code, response};
use steadfast_wire::frame::Frame;
use steadfast_wire::header::{Header, HeaderError};

use crate::clock::Clock;
use crate::core::{Core, Event};
use crate::failpoint::{self, Stage};
use crate::metrics::Telemetry;
use crate::settings_port::SettingsPort;

/// Requests that the fast port does not take.
const PULLS: [i32; 6] = [
    code::PULL_MESSAGE,
    code::LITE_PULL_MESSAGE,
    code::POP_MESSAGE,
    code::PEEK_MESSAGE,
    code::NOTIFICATION,
    code::POLLING_INFO,
];

/// Handles the frames of one of the broker's ports.
#[derive(Clone)]
pub(crate) struct BrokerPort {
    pub(crate) edge: Edge,
    pub(crate) core: Arc<Core>,
    pub(crate) clock: Clock,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) settings: SettingsPort,
    /// The fast port, which is kept free of requests that wait.
    pub(crate) fast: bool,
}

impl BrokerPort {
    /// Decodes one frame: news for the core, or None if it was answered here or needs no answer.
    fn decode(
        &self,
        conn: &Arc<Connection>,
        (now, received): (Timestamp, u64),
        frame: Frame,
    ) -> Result<Option<Input>, HeaderError> {
        let header = Header::decode(frame.serialize, &frame.header)?;
        if header.is_response() {
            let remark = header.remark.map(|remark| remark.into_owned());
            let answer = CallAnswer { opaque: header.opaque, code: header.code, remark, body: frame.body };
            return Ok(Some(Input::CallAnswered(conn.id(), answer)));
        }
        let origin = Origin {
            conn: conn.id(),
            peer: conn.peer(),
            opaque: header.opaque,
            serialize: frame.serialize,
            oneway: header.is_oneway(),
            version: header.version,
            code: header.code,
            received,
            held: false,
        };
        if origin.code == code::UPDATE_BROKER_CONFIG {
            self.settings.update(conn, origin, frame.body);
            return Ok(None);
        }
        let decoded = failpoint::hit(Stage::Decode)
            .map_err(|failure| Reply::error(response::SYSTEM_ERROR, format!("stored=no; cause: {failure}")))
            .and_then(|()| self.check_port(header.code))
            .and_then(|()| request::decode(&self.edge, conn.peer(), now, &header, frame.body));
        match decoded {
            Ok(request) => Ok(Some(Input::Request(origin, request))),
            Err(reply) => {
                if !origin.oneway {
                    let took = self.clock.since(received);
                    self.telemetry.answered(origin.code, reply.code, false, took);
                    conn.send(|out| reply.encode(&origin, out));
                }
                Ok(None)
            }
        }
    }
}

impl BrokerPort {
    /// As in RocketMQ, whatever may be held until there is a message is for the other port.
    fn check_port(&self, code: i32) -> Result<(), Reply> {
        if !self.fast || !PULLS.contains(&code) {
            return Ok(());
        }
        let remark = format!("request type {code} not supported on the fast port; use listenPort");
        Err(Reply::error(response::REQUEST_CODE_NOT_SUPPORTED, remark))
    }
}

impl Handler for BrokerPort {
    fn opened(&self, conn: &Arc<Connection>) {
        self.core.push(Event::Opened(Arc::clone(conn)));
    }

    fn frames(&self, conn: &Arc<Connection>, frames: &mut Vec<Frame>) {
        if let Err(failure) = failpoint::hit(Stage::FrameRead) {
            return close(conn, &failure);
        }
        let now = (self.clock.wall(), self.clock.micros());
        let mut events = Vec::with_capacity(frames.len());
        let (mut requests, mut bytes) = (0, 0);
        for frame in frames.drain(..) {
            let len = frame.header.len() + frame.body.len();
            match self.decode(conn, now, frame) {
                Ok(Some(input)) => {
                    if matches!(&input, Input::Request(origin, _) if !origin.oneway) {
                        requests += 1;
                        bytes += len;
                    }
                    events.push(Event::Input(input));
                }
                Ok(None) => {}
                Err(error) => {
                    close(conn, &error);
                    break;
                }
            }
        }
        if let Err(failure) = failpoint::hit(Stage::Inbox) {
            return close(conn, &failure);
        }
        if !events.is_empty() {
            conn.expect_replies(requests, bytes);
            self.core.extend(events);
        }
    }

    fn closed(&self, conn: ConnId) {
        self.core.push(Event::Closed(conn));
    }
}

fn close(conn: &Connection, cause: &dyn Display) {
    tracing::warn!(peer = %conn.peer(), "connection closed: {cause}");
    conn.close();
}
