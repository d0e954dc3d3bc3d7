//! The server side of connections against raw sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use steadfast_net::server::reserve;
use steadfast_net::{ConnId, Connection, Handler, Limits, Server};
use steadfast_wire::frame::{self, Frame, Serialize};
use steadfast_wire::header::Header;

/// What a server saw.
enum Event {
    Frames(Arc<Connection>, Vec<Frame>),
    Closed(ConnId),
}

struct Recorder(Mutex<Sender<Event>>);

impl Handler for Recorder {
    fn frames(&self, conn: &Arc<Connection>, frames: &mut Vec<Frame>) {
        let frames: Vec<_> = std::mem::take(frames);
        conn.expect_replies(frames.len(), frames.iter().map(|frame| frame.body.len()).sum());
        let _ = self.0.lock().expect("no panic").send(Event::Frames(Arc::clone(conn), frames));
    }

    fn closed(&self, conn: ConnId) {
        let _ = self.0.lock().expect("no panic").send(Event::Closed(conn));
    }
}

struct Fixture {
    addr: SocketAddr,
    events: Receiver<Event>,
    server: Server,
    _runtime: tokio::runtime::Runtime,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Fixture {
    fn start(limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, events) = channel();
        let (addr, server) = runtime.block_on(async {
            let socket = reserve(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
            let listener = socket.listen(64).expect("listening");
            let addr = listener.local_addr().expect("an address");
            (addr, Server::start(listener, limits, Arc::new(Recorder(Mutex::new(sender)))))
        });
        Fixture { addr, events, server, _runtime: runtime }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.addr).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        socket
    }

    /// The next batch of frames.
    fn frames(&self) -> (Arc<Connection>, Vec<Frame>) {
        match self.events.recv_timeout(PATIENCE).expect("frames") {
            Event::Frames(conn, frames) => (conn, frames),
            Event::Closed(_) => panic!("connection closed"),
        }
    }

    /// Waits until a frame has come, or until the server has closed this connection.
    fn takes_frame(&self, socket: &mut TcpStream) -> bool {
        socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a time-out");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.events.try_iter().any(|event| matches!(event, Event::Frames(..))) {
                return true;
            }
            match socket.read(&mut [0]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        panic!("neither a frame nor an end");
    }

    fn closed(&self) -> ConnId {
        loop {
            if let Event::Closed(conn) = self.events.recv_timeout(PATIENCE).expect("a closed connection") {
                return conn;
            }
        }
    }
}

fn request(opaque: i32, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(Serialize::Json, &Header::request(10, opaque), body.len(), &mut out);
    out.extend_from_slice(body);
    out.to_vec()
}

fn opaque(frame: &Frame) -> i32 {
    Header::decode(frame.serialize, &frame.header).expect("a header").opaque
}

fn answer(conn: &Connection, opaque: i32, body: Bytes) {
    conn.reply(|out| {
        frame::encode(Serialize::Json, &Header::response(0, opaque), body.len(), out);
        vec![body]
    });
}

fn assert_ended(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn frames_arrive_in_order_however_they_are_cut() {
    let fixture = Fixture::start(Limits::default());
    let mut socket = fixture.connect();
    let bytes: Vec<u8> = (0..200).flat_map(|i| request(i, &vec![7; (i as usize % 40) * 500])).collect();
    let writer = std::thread::spawn(move || {
        for cut in bytes.chunks(3001) {
            socket.write_all(cut).expect("a write");
        }
        socket
    });
    let mut seen = Vec::new();
    while seen.len() < 200 {
        seen.extend(fixture.frames().1);
    }
    assert_eq!(seen.iter().map(opaque).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    assert!(seen.iter().enumerate().all(|(i, frame)| frame.body.len() == (i % 40) * 500));
    drop(writer.join().expect("the writer"));
    fixture.closed();
}

#[test]
fn answers_queued_on_any_thread_leave_with_one_flush() {
    let fixture = Fixture::start(Limits::default());
    let mut socket = fixture.connect();
    let body = Bytes::from(vec![1_u8; 100_000]);
    for round in 0..20 {
        socket.write_all(&request(round, b"")).expect("a write");
        let (conn, _) = fixture.frames();
        // 10 MB: more than the socket takes at once.
        for i in 0..100 {
            answer(&conn, i, body.clone());
        }
        conn.flush();
        let mut received = BytesMut::new();
        let mut chunk = vec![0; 1 << 16];
        let mut next = 0;
        while next < 100 {
            let read = socket.read(&mut chunk).expect("answers");
            assert_ne!(read, 0, "connection closed");
            received.extend_from_slice(&chunk[..read]);
            while let Some(frame) = frame::split(&mut received).expect("a frame") {
                assert_eq!((opaque(&frame), frame.body.len()), (next, body.len()));
                next += 1;
            }
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let fixture = Fixture::start(Limits { out_bytes: 1 << 20, ..Limits::default() });
    let mut socket = fixture.connect();
    socket.write_all(&request(1, b"")).expect("a write");
    let (conn, _) = fixture.frames();
    let body = Bytes::from(vec![1_u8; 100_000]);
    // The kernel's buffers take some of it; 64 MB is more than they have.
    for i in 0..640 {
        answer(&conn, i, body.clone());
        conn.flush();
    }
    assert_eq!(fixture.closed(), conn.id());
    assert_ended(&mut socket);
}

/// None of them has more waiting than one may have; together they would take all memory.
#[test]
fn of_many_clients_that_do_not_read_some_are_disconnected() {
    let fixture = Fixture::start(Limits { unread_bytes: 32 << 20, ..Limits::default() });
    let body = Bytes::from(vec![1_u8; 1 << 20]);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut socket = fixture.connect();
            socket.write_all(&request(1, b"")).expect("a write");
            let conn = fixture.frames().0;
            (socket, conn)
        })
        .collect();
    // 24 MB for each of eight clients, of which the kernel's buffers take a part.
    for i in 0..24 {
        for (_, conn) in &clients {
            answer(conn, i, body.clone());
            conn.flush();
        }
    }
    fixture.closed();
    assert!(fixture.server.connections() < 8);
    // Who reads is served, and what was waiting for the others does not count any more.
    drop(clients);
    while fixture.server.connections() > 0 {
        fixture.closed();
    }
    let mut socket = fixture.connect();
    socket.write_all(&request(1, b"")).expect("a write");
    let conn = loop {
        if let Event::Frames(conn, _) = fixture.events.recv_timeout(PATIENCE).expect("frames") {
            break conn;
        }
    };
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; 16 << 20];
        socket.read_exact(&mut bytes).map(|()| socket)
    });
    for i in 0..16 {
        answer(&conn, i, body.clone());
        conn.flush();
    }
    reader.join().expect("the reader").expect("all answers");
}

#[test]
fn reading_stops_while_too_much_is_unanswered() {
    for limits in [
        Limits { unanswered: 100, ..Limits::default() },
        Limits { unanswered_bytes: 100_000, ..Limits::default() },
    ] {
        let fixture = Fixture::start(limits);
        let socket = fixture.connect();
        let mut writing = socket.try_clone().expect("a handle");
        let writer = std::thread::spawn(move || {
            for i in 0..20_000 {
                writing.write_all(&request(i, &[0; 1000])).expect("a write");
            }
            writing.shutdown(Shutdown::Write).expect("a shutdown");
        });
        let mut waiting = Vec::new();
        while waiting.len() < 100 {
            let (conn, frames) = fixture.frames();
            waiting.extend(frames.iter().map(|frame| (Arc::clone(&conn), opaque(frame))));
        }
        // Each read may pass the limit by what it holds, but there is no further one.
        assert!(waiting.len() < 100 + 256, "{} unanswered", waiting.len());
        assert!(fixture.events.recv_timeout(Duration::from_millis(100)).is_err(), "more was read");
        let mut seen = waiting.len();
        loop {
            waiting.drain(..).for_each(|(conn, opaque)| answer(&conn, opaque, Bytes::new()));
            if seen == 20_000 {
                break;
            }
            while waiting.len() < 50 && seen < 20_000 {
                let (conn, frames) = fixture.frames();
                seen += frames.len();
                waiting.extend(frames.iter().map(|frame| (Arc::clone(&conn), opaque(frame))));
            }
        }
        writer.join().expect("the writer");
        drop(socket);
        fixture.closed();
    }
}

#[test]
fn a_silent_connection_is_closed() {
    let fixture = Fixture::start(Limits { idle: Duration::from_millis(50), ..Limits::default() });
    let mut socket = fixture.connect();
    // Half a frame is silence too.
    socket.write_all(&request(1, b"body")[..20]).expect("a write");
    fixture.closed();
    assert_ended(&mut socket);
}

/// Each is small enough for a connection of its own; together they would take all memory.
#[test]
fn of_too_many_unfinished_frames_the_oldest_ends() {
    let fixture = Fixture::start(Limits { unfinished_bytes: 8 << 20, ..Limits::default() });
    let body = vec![7; 1 << 20];
    let half = &request(1, &body)[..body.len() / 2];
    let mut sockets: Vec<_> = (0..40)
        .map(|i| {
            let mut socket = fixture.connect();
            socket.write_all(half).expect("a write");
            // Half a MiB may take up to a whole one.
            if i >= 16 {
                fixture.closed();
            }
            socket
        })
        .collect();
    assert_ended(&mut sockets[0]);
    // The server reads connections in no certain order and may not have read the last few of these: one that comes now
    // may be the oldest for a moment. Those are 40 at most, so one of the next 41 gets through.
    let whole = request(1, &body);
    let got_through = (0..=sockets.len()).any(|_| {
        let mut socket = fixture.connect();
        let (first, rest) = whole.split_at(body.len() / 2);
        socket.write_all(first).and_then(|()| socket.write_all(rest)).is_ok()
            && fixture.takes_frame(&mut socket)
    });
    assert!(got_through, "the newest goes on");
}

#[test]
fn what_is_not_the_protocol_is_cut_off() {
    let fixture = Fixture::start(Limits::default());
    let oversized = 0x0200_0000_u32.to_be_bytes();
    let header_too_long = [0, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0, 0];
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        &oversized,
        &header_too_long,
        &[0, 0, 0, 1, 0, 0, 0, 0],
        &[0, 0, 0, 8, 9, 0, 0, 0],
    ] {
        let mut socket = fixture.connect();
        socket.write_all(garbage).expect("a write");
        fixture.closed();
        assert_ended(&mut socket);
    }
    let mut socket = fixture.connect();
    socket.write_all(&request(5, b"")).expect("a write");
    assert_eq!(fixture.frames().1.len(), 1, "the server goes on");
}

#[test]
fn connections_past_the_limit_are_refused() {
    let fixture = Fixture::start(Limits { connections: 2, ..Limits::default() });
    let mut sockets: Vec<_> = (0..2).map(|_| fixture.connect()).collect();
    for socket in &mut sockets {
        socket.write_all(&request(1, b"")).expect("a write");
        fixture.frames();
    }
    assert_ended(&mut fixture.connect());
    assert_eq!(fixture.server.connections(), 2);
    drop(sockets);
    fixture.closed();
    fixture.closed();
    let mut socket = fixture.connect();
    socket.write_all(&request(1, b"")).expect("a write");
    fixture.frames();
}

#[test]
fn a_stopped_server_takes_no_connection_but_serves_the_old_ones() {
    let fixture = Fixture::start(Limits::default());
    let mut socket = fixture.connect();
    socket.write_all(&request(1, b"")).expect("a write");
    fixture.frames();
    fixture.server.stop_accepting();
    while TcpStream::connect(fixture.addr).is_ok() {
        std::thread::yield_now();
    }
    socket.write_all(&request(2, b"")).expect("a write");
    fixture.frames();
    fixture.server.close_connections();
    fixture.closed();
    assert_ended(&mut socket);
}
