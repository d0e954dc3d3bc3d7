//! Accepts connections and keeps their number, their silence and their memory bounded.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use steadfast_types::limits;
use steadfast_wire::frame::Frame;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::connection::{ConnId, Connection};
use crate::rare_warning::RareWarning;
use crate::read;
use crate::unfinished::Unfinished;

/// What is done with the frames of all connections of a port. Called on the runtime's threads: must not block.
pub trait Handler: Send + Sync + 'static {
    /// A connection was accepted. Comes before everything else about it.
    fn opened(&self, _conn: &Arc<Connection>) {}

    /// Takes all whole frames of one read, leaving `frames` empty.
    fn frames(&self, conn: &Arc<Connection>, frames: &mut Vec<Frame>);

    /// The connection is gone.
    fn closed(&self, conn: ConnId);
}

/// Bounds of a port and of each of its connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections; further ones are closed at once.
    pub connections: usize,
    /// A connection that sends no frame for so long is closed.
    pub idle: Duration,
    /// Most unanswered requests of a connection before reading stops.
    pub unanswered: usize,
    /// Most bytes in unanswered requests of a connection before reading stops.
    pub unanswered_bytes: usize,
    /// Most bytes that wait to be read by a client before it is disconnected.
    pub out_bytes: usize,
    /// Most bytes that unfinished frames of all connections hold; the oldest frame's connection is closed then.
    pub unfinished_bytes: usize,
    /// Most bytes that wait to be read by all clients; then one that much waits for is disconnected.
    pub unread_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 16_384,
            // RocketMQ's `serverChannelMaxIdleTimeSeconds`.
            idle: Duration::from_secs(120),
            unanswered: 8192,
            unanswered_bytes: 32 * 1024 * 1024,
            out_bytes: 64 * 1024 * 1024,
            unfinished_bytes: limits::UNFINISHED_FRAMES,
            unread_bytes: limits::UNREAD_ANSWERS,
        }
    }
}

/// A port that is being served until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    limits: Limits,
    started: Instant,
    peers: Mutex<BTreeMap<ConnId, Peer>>,
    unfinished: Unfinished,
    unread: Arc<AtomicUsize>,
}

struct Peer {
    conn: Arc<Connection>,
    activity: Arc<Activity>,
}

/// When a connection last sent a frame.
pub(crate) struct Activity {
    started: Instant,
    millis: AtomicU64,
}

impl Activity {
    pub(crate) fn touch(&self) {
        self.millis.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    fn silence(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.millis.load(Relaxed)))
    }
}

impl Server {
    /// Serves `listener` on the current runtime.
    pub fn start<H: Handler>(listener: TcpListener, limits: Limits, handler: Arc<H>) -> Self {
        let shared = Arc::new(Shared {
            limits,
            started: Instant::now(),
            peers: Mutex::default(),
            unfinished: Unfinished::new(limits.unfinished_bytes),
            unread: Arc::default(),
        });
        let accept = tokio::spawn(accept(Arc::clone(&shared), listener, handler));
        let sweep = tokio::spawn(sweep(Arc::clone(&shared)));
        Server { shared, tasks: [accept, sweep] }
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.peers().len()
    }

    /// Takes no more connections. Those that are open go on.
    pub fn stop_accepting(&self) {
        self.tasks[0].abort();
    }

    /// Closes all connections.
    pub fn close_connections(&self) {
        self.shared.peers().values().for_each(|peer| peer.conn.close());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.close_connections();
    }
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<ConnId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept<H: Handler>(shared: Arc<Shared>, listener: TcpListener, handler: Arc<H>) {
    let mut refused = RareWarning::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) if shared.peers().len() >= shared.limits.connections => {
                drop(stream);
                refused.say(|| {
                    let limit = shared.limits.connections;
                    format!("connection of {peer} refused: the limit of {limit} connections is reached")
                });
            }
            Ok((stream, peer)) => open(&shared, stream, peer, &handler),
            Err(error) => {
                refused.say(|| format!("accepting a connection failed: {error}"));
                // Out of descriptors or memory: trying again at once would only burn the processor.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn open<H: Handler>(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, handler: &Arc<H>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, "TCP_NODELAY: {error}");
    }
    let (reading, writing) = stream.into_split();
    let conn = Arc::new(Connection::new(writing, peer, shared.limits, Arc::clone(&shared.unread)));
    let activity = Arc::new(Activity { started: shared.started, millis: AtomicU64::new(0) });
    activity.touch();
    shared.peers().insert(conn.id(), Peer { conn: Arc::clone(&conn), activity: Arc::clone(&activity) });
    let (shared, handler) = (Arc::clone(shared), Arc::clone(handler));
    handler.opened(&conn);
    tokio::spawn(async move {
        let ended = read::run(reading, &conn, (&activity, &shared.unfinished), handler.as_ref()).await;
        shared.unfinished.forget(conn.id());
        report(peer, ended);
        conn.close();
        shared.peers().remove(&conn.id());
        handler.closed(conn.id());
    });
}

fn report(peer: SocketAddr, ended: Result<(), read::ReadError>) {
    match ended {
        Ok(()) => tracing::debug!(%peer, "connection closed"),
        Err(read::ReadError::Io(error)) => tracing::debug!(%peer, "connection lost: {error}"),
        Err(error) => tracing::warn!(%peer, "connection closed: {error}"),
    }
}

/// Closes connections that have been silent for too long.
async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval((shared.limits.idle / 4).max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        // A client whose requests we do not read is not silent.
        let is_idle = |peer: &&Peer| peer.activity.silence() > shared.limits.idle && !peer.conn.is_busy(2);
        for peer in shared.peers().values().filter(is_idle) {
            tracing::info!(peer = %peer.conn.peer(), "no frame for {:?}: connection closed", shared.limits.idle);
            peer.conn.close();
        }
    }
}

/// Takes a port without listening yet: clients are refused, and nobody else can take it.
pub fn reserve(addr: SocketAddr) -> io::Result<tokio::net::TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restarted server must not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
