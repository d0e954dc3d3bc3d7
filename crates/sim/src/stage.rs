//! What clients and server of a run share: the clock, the network between them, and the record of it all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use bytes::BytesMut;
use steadfast_audit::Ledger;
use steadfast_broker::io::ConnId;
use steadfast_consensus::ReplicaId;
use steadfast_store::log::Mark;
use steadfast_types::Timestamp;
use steadfast_wire::code::response;
use steadfast_wire::frame::{self, Serialize};
use steadfast_wire::header::Header;

use crate::call::{Answer, Call, CallId, ClientNo, Outcome, Response, observe};
use crate::clock::Micros;
use crate::event::Event;
use crate::message::Seen;
use crate::rng::Rng;
use crate::scheduler::{EventId, Scheduler};
use crate::trace::{Keep, Trace};
use crate::watch::Watch;

/// The wall clock at the start of a run.
const EPOCH: u64 = 1_750_000_000_000;

/// The only server where there is one.
pub(crate) const SERVER: ReplicaId = 1;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Clients work, faults strike.
    Faults,
    /// Everything is healed; senders finish, consumers catch up.
    Draining,
    /// Everything is read once more.
    Audit,
}

/// See the module's page.
pub(crate) struct Stage {
    pub(crate) scheduler: Scheduler<Event>,
    pub(crate) trace: Trace,
    pub(crate) ledger: Ledger,
    pub(crate) watch: Watch,
    pub(crate) phase: Phase,
    /// Requests that clients made.
    pub(crate) operations: u32,
    /// How far the wall clock is from where it should be, in milliseconds.
    pub(crate) clock_error: i64,
    /// Where the log ended when it was last written.
    pub(crate) mark: Mark,
    /// Where the log ended each time when the server was started.
    pub(crate) starts: Vec<u64>,
    /// Clients wait for a little while only before they ask elsewhere.
    pub(crate) impatient: bool,
    /// Producers with a message under way.
    pub(crate) sending: u32,
    /// What the last pull that was answered returned.
    pub(crate) last_seen: Vec<Seen>,
    last_message: u64,
    net: Net,
}

struct Net {
    rng: Rng,
    latency: Range<u64>,
    /// How many servers there are, 1 and so on.
    servers: u64,
    /// Those that accept connections.
    open: BTreeSet<ReplicaId>,
    /// Whom clients are told to be the leader.
    leader: ReplicaId,
    /// Where a client connects to.
    turned: BTreeMap<ClientNo, ReplicaId>,
    conns: BTreeMap<ConnId, Conn>,
    /// The connection of each client.
    of_client: BTreeMap<ClientNo, ConnId>,
    calls: BTreeMap<CallId, Pending>,
    last_conn: ConnId,
}

/// A connection delivers in order, each way.
struct Conn {
    client: ClientNo,
    server: ReplicaId,
    up: Micros,
    down: Micros,
}

struct Pending {
    client: ClientNo,
    conn: Option<ConnId>,
    call: Call,
    /// None if the client has stopped waiting.
    timeout: Option<EventId>,
}

/// Who calls, and how it writes headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) no: ClientNo,
    pub(crate) serialize: Serialize,
}

impl Stage {
    pub(crate) fn new(seed: u64, latency: Range<u64>, keep: Keep) -> Self {
        let net = Net {
            rng: Rng::stream(seed, "network"),
            latency,
            servers: 1,
            open: BTreeSet::new(),
            leader: SERVER,
            turned: BTreeMap::new(),
            conns: BTreeMap::new(),
            of_client: BTreeMap::new(),
            calls: BTreeMap::new(),
            last_conn: 0,
        };
        Self {
            scheduler: Scheduler::new(seed),
            trace: Trace::new(keep),
            ledger: Ledger::new(),
            watch: Watch::default(),
            phase: Phase::Faults,
            operations: 0,
            clock_error: 0,
            mark: Mark::default(),
            starts: Vec::new(),
            impatient: false,
            sending: 0,
            last_seen: Vec::new(),
            last_message: 0,
            net,
        }
    }

    pub(crate) fn now(&self) -> Micros {
        self.scheduler.now()
    }

    /// What a right wall clock shows, or that of the only server.
    pub(crate) fn wall(&self) -> Timestamp {
        self.wall_off_by(self.clock_error)
    }

    /// What a wall clock shows that is so many milliseconds from where it should be.
    pub(crate) fn wall_off_by(&self, error: i64) -> Timestamp {
        let right = (EPOCH + self.now().as_millis()) as i64;
        Timestamp::new((right + error).max(1) as u64)
    }

    /// Records an event.
    pub(crate) fn note(&mut self, part: &str, what: fmt::Arguments<'_>) {
        let now = self.now();
        self.trace.event(now, part, what);
    }

    /// The number of a new message.
    pub(crate) fn next_message(&mut self) -> u64 {
        self.last_message += 1;
        self.last_message
    }

    /// Wakes a client later.
    pub(crate) fn wake(&mut self, client: ClientNo, delay: Micros) {
        self.scheduler.after(delay, Event::Wake(client));
    }

    /// A client calls the server: it is answered exactly once.
    pub(crate) fn call(
        &mut self,
        caller: Caller,
        header: Header<'_>,
        body: &[u8],
        timeout: Micros,
        call: Call,
    ) {
        let id = self.next_call();
        let conn = self.submit(caller, header, body, id);
        let hurry = self.impatient && self.phase == Phase::Faults;
        let timeout = if hurry { Micros::new(timeout.get() / 30) } else { timeout };
        let timeout = self.scheduler.after(timeout, Event::TimedOut(id));
        self.net.calls.insert(id, Pending { client: caller.no, conn, call, timeout: Some(timeout) });
        if conn.is_none() {
            let delay = self.net.delay();
            self.scheduler.after(delay, Event::Failed(id));
        }
    }

    /// A client sends without wanting an answer; tells whether it left.
    pub(crate) fn tell(&mut self, caller: Caller, header: Header<'_>, body: &[u8]) -> bool {
        let id = self.next_call();
        self.submit(caller, header.oneway(), body, id).is_some()
    }

    fn next_call(&mut self) -> CallId {
        self.watch.last_call += 1;
        self.watch.last_call
    }

    fn submit(&mut self, caller: Caller, mut header: Header<'_>, body: &[u8], id: CallId) -> Option<ConnId> {
        let conn = self.connection(caller.no)?;
        self.operations += 1;
        header.opaque = id as i32;
        let mut bytes = BytesMut::with_capacity(256 + body.len());
        frame::encode(caller.serialize, &header, body.len(), &mut bytes);
        bytes.extend_from_slice(body);
        let at = self.now() + self.net.delay();
        let way = &mut self.net.conns.get_mut(&conn)?.up;
        *way = at.max(*way + Micros::new(1));
        let at = *way;
        self.scheduler.at(at, Event::Request(conn, bytes));
        Some(conn)
    }

    fn connection(&mut self, client: ClientNo) -> Option<ConnId> {
        // Now and then it asks for the route again.
        if self.net.servers > 1 && self.net.rng.one_in(15) {
            self.turn(client);
        }
        if let Some(conn) = self.net.of_client.get(&client) {
            return Some(*conn);
        }
        let server = self.net.turned.get(&client).copied().unwrap_or(self.net.leader);
        if !self.net.open.contains(&server) {
            return None;
        }
        self.net.last_conn += 1;
        let conn = self.net.last_conn;
        self.net.conns.insert(conn, Conn { client, server, up: Micros::ZERO, down: Micros::ZERO });
        self.net.of_client.insert(client, conn);
        Some(conn)
    }

    /// There are so many servers.
    pub(crate) fn set_servers(&mut self, servers: u64) {
        self.net.servers = servers;
    }

    /// Clients that look for the leader are told this one.
    pub(crate) fn set_leader(&mut self, leader: ReplicaId) {
        self.net.leader = leader;
    }

    /// A server accepts connections from now on.
    pub(crate) fn open_door(&mut self, server: ReplicaId) {
        self.net.open.insert(server);
    }

    /// A server is gone, and with it every connection.
    pub(crate) fn close_door(&mut self, server: ReplicaId) {
        self.net.open.remove(&server);
        let conns = self.net.conns.iter().filter(|(_, conn)| conn.server == server);
        let all: Vec<ConnId> = conns.map(|(id, _)| *id).collect();
        all.into_iter().for_each(|conn| self.hang_up(conn));
    }

    /// Where a connection leads, if it still is there.
    pub(crate) fn server_of(&self, conn: ConnId) -> Option<ReplicaId> {
        self.net.conns.get(&conn).map(|conn| conn.server)
    }

    /// A client looks for another server, mostly for the leader.
    fn turn(&mut self, client: ClientNo) {
        if self.net.servers == 1 {
            return;
        }
        let server = match self.net.rng.percent(70) {
            true => self.net.leader,
            false => self.net.rng.within(1..self.net.servers + 1),
        };
        // The connection that it had stays: something may still be answered there.
        if self.net.turned.insert(client, server) != Some(server) {
            self.net.of_client.remove(&client);
        }
    }

    /// A connection breaks: nobody learns what became of what is under way.
    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        let Some(gone) = self.net.conns.remove(&conn) else { return };
        if self.net.of_client.get(&gone.client) == Some(&conn) {
            self.net.of_client.remove(&gone.client);
        }
        let lost: Vec<CallId> = self
            .net
            .calls
            .iter()
            .filter(|(_, pending)| pending.conn == Some(conn))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            let delay = self.net.delay();
            self.scheduler.after(delay, Event::Failed(id));
        }
        let delay = self.net.delay();
        self.scheduler.after(delay, Event::HungUp(gone.server, conn));
    }

    /// The connection of some client, if there is one.
    pub(crate) fn any_connection(&self, rng: &mut Rng) -> Option<ConnId> {
        let all: Vec<ConnId> = self.net.conns.keys().copied().collect();
        (!all.is_empty()).then(|| *rng.pick(&all))
    }

    /// Whether the server still has this connection.
    pub(crate) fn is_connected(&self, conn: ConnId) -> bool {
        self.net.conns.contains_key(&conn)
    }

    /// The server sends bytes to a client.
    pub(crate) fn respond(&mut self, conn: ConnId, bytes: BytesMut) {
        let at = self.now() + self.net.delay();
        let Some(way) = self.net.conns.get_mut(&conn).map(|conn| &mut conn.down) else { return };
        *way = at.max(*way + Micros::new(1));
        let at = *way;
        self.scheduler.at(at, Event::Response(conn, bytes));
    }

    /// Bytes arrive at a client: the answer, and the client if it still waits for it.
    pub(crate) fn receive(&mut self, conn: ConnId, mut bytes: BytesMut) -> Option<(ClientNo, Call, Answer)> {
        if !self.is_connected(conn) {
            return None;
        }
        let frame = frame::split(&mut bytes).ok().flatten();
        let frame = frame.expect("the server sends whole frames");
        let header = Header::decode(frame.serialize, &frame.header).expect("the server sends valid headers");
        if !header.is_response() {
            return None;
        }
        let id = header.opaque as CallId;
        let pending = self.net.calls.remove(&id)?;
        self.watch.answering = id;
        let response = Response {
            code: header.code,
            remark: header.remark.unwrap_or_default().into_owned(),
            ext: header.ext.into_owned(),
            body: frame.body,
        };
        observe(&pending.call, &response, self);
        if response.code == response::SERVICE_NOT_AVAILABLE {
            self.turn(pending.client);
        }
        let timeout = pending.timeout?;
        self.scheduler.cancel(timeout);
        Some((pending.client, pending.call, Answer::Reply(response)))
    }

    /// A call failed.
    pub(crate) fn fail(&mut self, id: CallId) -> Option<(ClientNo, Call, Answer)> {
        let pending = self.net.calls.remove(&id)?;
        let timeout = pending.timeout?;
        self.scheduler.cancel(timeout);
        self.turn(pending.client);
        let answer = if pending.conn.is_some() { Answer::Lost } else { Answer::NotSent };
        match &pending.call {
            Call::Send { messages, .. } if pending.conn.is_none() => {
                messages.iter().for_each(|message| self.ledger.refused(&message.id()));
            }
            Call::DeleteTopic { topic } if pending.conn.is_none() => {
                self.watch.topic_deleted(topic, Outcome::NotDone);
            }
            _ => {}
        }
        Some((pending.client, pending.call, answer))
    }

    /// A client stops waiting. What is still answered later goes into the books.
    pub(crate) fn time_out(&mut self, id: CallId) -> Option<(ClientNo, Call, Answer)> {
        let pending = self.net.calls.get_mut(&id)?;
        pending.timeout.take()?;
        let (client, call) = (pending.client, pending.call.clone());
        self.turn(client);
        Some((client, call, Answer::Lost))
    }
}

impl Net {
    fn delay(&mut self) -> Micros {
        Micros::new(self.rng.skewed(self.latency.clone()))
    }
}
