//! Carries out what the broker asks for.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use steadfast_broker::io::{Effect, Input, Origin};
use steadfast_broker::reply::Reply;
use steadfast_net::{ConnId, Connection};
use steadfast_store::checkpoint::Checkpoint;
use steadfast_wire::code::request;
use steadfast_wire::frame::{self, Serialize};
use steadfast_wire::header::Header;
use steadfast_wire::headers::NotifyConsumerIdsChanged;

use crate::core::{Event, Milestone, WriterJob};
use crate::failpoint::{self, Stage};
use crate::inbox::Inbox;
use crate::readers::Readers;
use crate::register::Registrar;

/// Carries out effects.
pub(crate) struct Shell {
    pub(crate) writer: Arc<Inbox<WriterJob>>,
    pub(crate) readers: Readers,
    pub(crate) checkpoints: Arc<Inbox<Box<Checkpoint>>>,
    pub(crate) registrar: Registrar,
    pub(crate) milestone: Box<dyn Fn(Milestone) + Send>,
    peers: HashMap<ConnId, Peer>,
    /// Connections with queued frames.
    touched: Vec<Arc<Connection>>,
    next_opaque: i32,
}

struct Peer {
    conn: Arc<Connection>,
    /// Whether it is among the touched ones.
    touched: bool,
}

impl Shell {
    pub(crate) fn new(
        writer: Arc<Inbox<WriterJob>>,
        readers: Readers,
        checkpoints: Arc<Inbox<Box<Checkpoint>>>,
        registrar: Registrar,
        milestone: Box<dyn Fn(Milestone) + Send>,
    ) -> Self {
        let (peers, touched, next_opaque) = (HashMap::new(), Vec::new(), 0);
        Shell { writer, readers, checkpoints, registrar, milestone, peers, touched, next_opaque }
    }

    /// Takes up what concerns connections and passes on what concerns the broker.
    pub(crate) fn receive(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Input(input) => Some(input),
            Event::Opened(conn) => {
                self.peers.insert(conn.id(), Peer { conn, touched: false });
                None
            }
            Event::Closed(conn) => {
                self.peers.remove(&conn);
                Some(Input::Disconnected(conn))
            }
        }
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(origin, reply) => self.reply(&origin, reply),
            Effect::NotifyConsumerIdsChanged(conn, group) => self.notify(conn, &group),
            Effect::Write(write) => self.writer.push(WriterJob::Write(write)),
            Effect::Read(number, job) => self.readers.submit(number, job),
            Effect::Checkpoint(checkpoint) => self.checkpoints.push(checkpoint),
            Effect::Register(topics) => {
                self.registrar.announce(topics);
                (self.milestone)(Milestone::Serving);
            }
            Effect::Poisoned(cause) => {
                tracing::error!(
                    "no more writes: {cause}. Senders get errors from now on, committed messages stay readable. \
                     Check the disk, then restart: what was acknowledged is read again, the rest is cut off"
                );
                (self.milestone)(Milestone::Poisoned(cause));
            }
            Effect::Warn(text) => tracing::warn!("{text}"),
            Effect::Stopped => self.writer.push(WriterJob::Finish),
        }
    }

    fn reply(&mut self, origin: &Origin, reply: Reply) {
        if let Some(conn) = self.touch(origin.conn) {
            match failpoint::hit(Stage::Reply) {
                Ok(()) => conn.reply(|out| reply.encode(origin, out)),
                Err(_) => conn.close(),
            }
        }
    }

    fn notify(&mut self, conn: ConnId, group: &str) {
        self.next_opaque = self.next_opaque.wrapping_add(1);
        let mut header = Header::request(request::NOTIFY_CONSUMER_IDS_CHANGED, self.next_opaque).oneway();
        NotifyConsumerIdsChanged { consumer_group: group.into() }.encode(&mut header.ext);
        if let Some(conn) = self.touch(conn) {
            conn.queue(|out| {
                frame::encode(Serialize::Json, &header, 0, out);
                Vec::<Bytes>::new()
            });
        }
    }

    /// The connection, if it is still there; it is flushed at the end of the step.
    fn touch(&mut self, conn: ConnId) -> Option<&Connection> {
        let peer = self.peers.get_mut(&conn)?;
        if !peer.touched {
            peer.touched = true;
            self.touched.push(Arc::clone(&peer.conn));
        }
        Some(&peer.conn)
    }

    pub(crate) fn flush(&mut self) {
        for conn in self.touched.drain(..) {
            match failpoint::hit(Stage::SocketWrite) {
                Ok(()) => conn.flush(),
                Err(_) => conn.close(),
            }
            if let Some(peer) = self.peers.get_mut(&conn.id()) {
                peer.touched = false;
            }
        }
    }
}
