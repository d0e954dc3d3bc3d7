//! Carries out what the broker asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use steadfast_broker::io::{Call, Effect, Input, Origin, ReadJob};
use steadfast_broker::measures::Measures;
use steadfast_broker::reply::Reply;
use steadfast_consensus::Role;
use steadfast_net::{ConnId, Connection};
use steadfast_types::Term;
use steadfast_wire::frame::{self, Serialize};
use steadfast_wire::header::Header;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::core::{Event, Milestone, WriterJob};
use crate::failpoint::{self, Stage};
use crate::group::Standing;
use crate::inbox::Inbox;
use crate::metrics::Telemetry;
use crate::readers::Given;
use crate::register::Registrar;
use crate::writing::{Job, Tail};

/// Carries out effects.
pub(crate) struct Shell {
    pub(crate) writer: Arc<Inbox<WriterJob>>,
    tail: Arc<Tail>,
    /// Reads that the last step asked for.
    pub(crate) reads: Vec<(u64, ReadJob)>,
    /// What it asked for on behalf of other replicas.
    pub(crate) fetches: Vec<Given>,
    pub(crate) checkpoints: Arc<Inbox<Job>>,
    pub(crate) registrar: Registrar,
    pub(crate) milestone: Box<dyn Fn(Milestone) + Send>,
    /// None in a group of one.
    standing: Option<Standing>,
    peers: HashMap<ConnId, Peer>,
    /// Connections with queued frames.
    touched: Vec<Arc<Connection>>,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    /// When the write in flight was issued, in microseconds.
    proposed: Option<u64>,
    /// Who waits for figures, by number.
    measuring: HashMap<u64, oneshot::Sender<Box<Measures>>>,
    next_measure: u64,
}

struct Peer {
    conn: Arc<Connection>,
    /// Whether it is among the touched ones.
    touched: bool,
}

impl Shell {
    pub(crate) fn new(
        (writer, tail): (Arc<Inbox<WriterJob>>, Arc<Tail>),
        checkpoints: Arc<Inbox<Job>>,
        registrar: Registrar,
        milestone: Box<dyn Fn(Milestone) + Send>,
        standing: Option<Standing>,
        (telemetry, clock): (Arc<Telemetry>, Clock),
    ) -> Self {
        Shell {
            writer,
            tail,
            reads: Vec::new(),
            fetches: Vec::new(),
            checkpoints,
            registrar,
            milestone,
            standing,
            peers: HashMap::new(),
            touched: Vec::new(),
            telemetry,
            clock,
            proposed: None,
            measuring: HashMap::new(),
            next_measure: 0,
        }
    }

    /// Takes up what concerns connections and passes on what concerns the broker.
    pub(crate) fn receive(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Input(input) => {
                if matches!(input, Input::Persisted(..))
                    && let Some(since) = self.proposed.take()
                {
                    self.telemetry.commits.record(self.clock.since(since));
                }
                Some(input)
            }
            Event::Opened(conn) => {
                self.peers.insert(conn.id(), Peer { conn, touched: false });
                self.telemetry.connections.store(self.peers.len(), Relaxed);
                None
            }
            Event::Closed(conn) => {
                self.peers.remove(&conn);
                self.telemetry.connections.store(self.peers.len(), Relaxed);
                Some(Input::Disconnected(conn))
            }
            Event::Ping(sign) => {
                // Whoever asked may have stopped waiting.
                let _ = sign.send(());
                None
            }
            Event::Measure(tell) => {
                self.measuring.retain(|_, waiting| !waiting.is_closed());
                self.next_measure += 1;
                self.measuring.insert(self.next_measure, tell);
                Some(Input::Measure(self.next_measure))
            }
        }
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(origin, reply) => self.reply(&origin, reply),
            Effect::Call(conn, call) => self.call(conn, call),
            Effect::Write(write) => {
                self.proposed = Some(self.clock.micros());
                self.writer.push(WriterJob::Write(write));
            }
            Effect::Read(number, job) => self.reads.push((number, job)),
            Effect::Checkpoint(checkpoint) => self.checkpoints.push(Job::Checkpoint(checkpoint)),
            Effect::Free(freeing) => self.checkpoints.push(Job::Free(freeing)),
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
            Effect::Measured(number, measures) => {
                if let Some(tell) = self.measuring.remove(&number) {
                    let _ = tell.send(measures);
                }
            }
            Effect::Message(message) => {
                if let Some(standing) = &self.standing {
                    standing.send(message);
                }
            }
            Effect::Fill(end) => self.tail.will_be(end),
            Effect::Fetch(fetch) => self.fetches.push(Given::Entries(fetch)),
            Effect::ReadPart(part) => self.fetches.push(Given::Part(part)),
            Effect::Mend(job) => self.checkpoints.push(Job::Mend(job)),
            Effect::Role(term, role) => self.has_role(term, role),
            Effect::Complete(is_complete) => {
                if let Some(standing) = &self.standing {
                    standing.is_complete(is_complete);
                }
            }
            Effect::Stopped => self.writer.push(WriterJob::Finish),
        }
    }

    /// Name servers learn of it at once. A leader is announced when it takes messages, by [`Effect::Register`].
    fn has_role(&mut self, term: Term, role: Role) {
        if let Some(standing) = &self.standing {
            standing.has_role(term, role);
        }
        self.registrar.has_role(term, role);
        if matches!(role, Role::Follower(Some(_))) {
            (self.milestone)(Milestone::Serving);
        }
    }

    fn reply(&mut self, origin: &Origin, reply: Reply) {
        let took = self.clock.since(origin.received);
        self.telemetry.answered(origin.code, reply.code, origin.held, took);
        if let Some(conn) = self.touch(origin.conn) {
            match failpoint::hit(Stage::Reply) {
                Ok(()) => conn.reply(|out| reply.encode(origin, out)),
                Err(_) => conn.close(),
            }
        }
    }

    fn call(&mut self, conn: ConnId, call: Call) {
        let Call { opaque, code, oneway, ext, body } = call;
        let request = Header::request(code, opaque);
        let request = if oneway { request.oneway() } else { request };
        if let Some(conn) = self.touch(conn) {
            conn.queue(|out| {
                frame::encode(Serialize::Json, &Header { ext, ..request }, body.len(), out);
                vec![body]
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
