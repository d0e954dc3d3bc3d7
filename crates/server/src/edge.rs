//! The broker's port: decodes requests on the network's threads, so that the core does only what needs order.

use std::fmt::Display;
use std::sync::Arc;

use steadfast_broker::io::{Input, Origin};
use steadfast_broker::reply::Reply;
use steadfast_broker::request::{self, Edge};
use steadfast_net::{ConnId, Connection, Handler};
use steadfast_types::Timestamp;
use steadfast_wire::code::request::UPDATE_BROKER_CONFIG;
use steadfast_wire::code::response;
use steadfast_wire::frame::Frame;
use steadfast_wire::header::{Header, HeaderError};

use crate::clock::Clock;
use crate::core::{Core, Event};
use crate::failpoint::{self, Stage};
use crate::metrics::Telemetry;
use crate::settings_port::SettingsPort;

/// Handles the frames of the broker's port.
pub(crate) struct BrokerPort {
    pub(crate) edge: Edge,
    pub(crate) core: Arc<Core>,
    pub(crate) clock: Clock,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) settings: SettingsPort,
}

impl BrokerPort {
    /// Decodes one frame: a request for the core, or None if it was answered here or needs no answer.
    fn decode(
        &self,
        conn: &Arc<Connection>,
        (now, received): (Timestamp, u64),
        frame: Frame,
    ) -> Result<Option<(Origin, request::Request)>, HeaderError> {
        let header = Header::decode(frame.serialize, &frame.header)?;
        // The broker's own requests are all oneway.
        if header.is_response() {
            return Ok(None);
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
        if origin.code == UPDATE_BROKER_CONFIG {
            self.settings.update(conn, origin, frame.body);
            return Ok(None);
        }
        let decoded = failpoint::hit(Stage::Decode)
            .map_err(|failure| Reply::error(response::SYSTEM_ERROR, format!("stored=no; cause: {failure}")))
            .and_then(|()| request::decode(&self.edge, conn.peer(), now, &header, frame.body));
        match decoded {
            Ok(request) => Ok(Some((origin, request))),
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
                Ok(Some((origin, request))) => {
                    if !origin.oneway {
                        requests += 1;
                        bytes += len;
                    }
                    events.push(Event::Input(Input::Request(origin, request)));
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
