//! The replication port: how the replicas of a group reach each other.
//!
//! ```text
//! send ─▶ outbox of the peer ─▶ its task: dial, handshake, encode, write ─▶ TCP ─▶ accept, handshake, split, decode ─▶ deliver
//! ```
//!
//! One connection for each direction: who dials sends, who accepts reads. So nobody has to decide which of two
//! connections is the right one. Raft takes loss: what does not fit in a peer's outbox is dropped, and so is what
//! waits for a peer that is not there. Each peer has its own outbox, connection and task; a slow one delays nobody.

mod accept;
mod dial;
mod handshake;
mod outbox;
mod refusal;
mod secret;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use steadfast_consensus::{Message, ReplicaId};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use self::outbox::Outbox;
pub(crate) use self::secret::Secret;

/// A replica's place in its group, as the transport needs it.
#[derive(Debug)]
pub(crate) struct Place {
    /// Identity of the group: in the meta file and in every message.
    pub(crate) group: u64,
    /// Its name, for texts (dLegerGroup).
    pub(crate) name: String,
    /// This replica.
    pub(crate) me: ReplicaId,
    /// The other replicas: `host:port` of their replication port, looked up at each dial.
    pub(crate) others: BTreeMap<ReplicaId, String>,
    /// What all replicas of the group know and nobody else.
    pub(crate) secret: Option<Secret>,
}

/// What is known of the way to another replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The other replica.
    pub(crate) peer: ReplicaId,
    /// Its address.
    pub(crate) addr: String,
    /// Whether messages to it leave.
    pub(crate) connected: bool,
    /// When it said something last, if it is connected to this replica.
    pub(crate) heard: Option<Instant>,
    /// Bytes that wait to leave.
    pub(crate) queued: usize,
    /// Messages that did not leave: it was not connected, or more waited than is allowed.
    pub(crate) dropped: u64,
    /// Why it is not connected, as far as that is known.
    pub(crate) trouble: Option<String>,
}

/// How long things may take and how much they may hold.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// To look up an address and connect.
    connect: Duration,
    /// To get through the handshake, on both sides.
    handshake: Duration,
    /// A connection that takes no byte for so long is given up.
    stalled: Duration,
    /// Shortest and longest pause before dialing again.
    pause: (Duration, Duration),
    /// Connections that are not through the handshake; for a further one the oldest is closed.
    strangers: usize,
    /// Bytes of entries that wait for one peer.
    queued: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connect: Duration::from_secs(2),
            handshake: Duration::from_secs(5),
            stalled: Duration::from_secs(10),
            pause: (Duration::from_millis(50), Duration::from_secs(1)),
            strangers: 128,
            queued: 64 * 1024 * 1024,
        }
    }
}

/// The links to all other replicas; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    bounds: Bounds,
    peers: BTreeMap<ReplicaId, Peer>,
}

/// What the tasks of one other replica share.
#[derive(Debug)]
struct Peer {
    addr: String,
    outbox: Outbox,
    /// It has just connected to this replica, so dialing it is worth a try.
    is_there: Notify,
    incoming: Mutex<Option<Incoming>>,
    trouble: Mutex<Option<String>>,
}

/// The newest connection of another replica to this one.
#[derive(Debug)]
struct Incoming {
    /// Its number in the order in which connections were accepted.
    number: u64,
    /// When it brought something last.
    last: Instant,
    /// Dropped to end it.
    end: oneshot::Sender<()>,
}

impl Peers {
    /// Dials every other replica for ever and takes their connections on `listener`, on the current runtime.
    /// `deliver` is called on the runtime's threads with all messages that one read brought, in order; must not block.
    pub(crate) fn start(
        place: Place,
        listener: TcpListener,
        deliver: impl Fn(Vec<Message>) + Send + Sync + 'static,
    ) -> Peers {
        Self::within(Bounds::default(), place, listener, deliver)
    }

    fn within(
        bounds: Bounds,
        place: Place,
        listener: TcpListener,
        deliver: impl Fn(Vec<Message>) + Send + Sync + 'static,
    ) -> Peers {
        let peers = place.others.iter().map(|(id, addr)| (*id, Peer::new(addr, bounds.queued))).collect();
        let shared = Arc::new(Shared { place, bounds, peers });
        let accept = tokio::spawn(accept::run(Arc::clone(&shared), listener, Arc::new(deliver)));
        let dials = shared.peers.keys().map(|id| tokio::spawn(dial::run(Arc::clone(&shared), *id)));
        let tasks = dials.chain([accept]).map(|task| task.abort_handle()).collect();
        Peers { shared, tasks }
    }

    /// Queues a message to the replica that it names. Never blocks, never fails: what does not fit, and what is for a
    /// replica that is not connected, is dropped and counted.
    pub(crate) fn send(&self, message: Message) {
        if let Some(peer) = self.shared.peers.get(&message.to) {
            peer.outbox.push(message);
        }
    }

    /// How it stands with each other replica.
    pub(crate) fn links(&self) -> Vec<Link> {
        self.shared.peers.iter().map(|(id, peer)| peer.link(*id)).collect()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Peer {
    fn new(addr: &str, queued: usize) -> Self {
        Peer {
            addr: addr.to_owned(),
            outbox: Outbox::new(queued),
            is_there: Notify::new(),
            incoming: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Takes note of a connection of it, unless there is a newer one. Whoever waits on what is returned is told when there
    /// is.
    fn came(&self, number: u64) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        let mut incoming = lock(&self.incoming);
        if incoming.as_ref().is_none_or(|known| known.number < number) {
            *incoming = Some(Incoming { number, last: Instant::now(), end });
        }
        ended
    }

    /// The connection with this number brought something.
    fn said_something(&self, number: u64) {
        if let Some(incoming) = lock(&self.incoming).as_mut().filter(|incoming| incoming.number == number) {
            incoming.last = Instant::now();
        }
    }

    fn link(&self, peer: ReplicaId) -> Link {
        let waiting = self.outbox.waiting();
        Link {
            peer,
            addr: self.addr.clone(),
            connected: waiting.connected,
            heard: lock(&self.incoming).as_ref().filter(|at| !at.end.is_closed()).map(|at| at.last),
            queued: waiting.bytes,
            dropped: waiting.dropped,
            trouble: lock(&self.trouble).clone(),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
