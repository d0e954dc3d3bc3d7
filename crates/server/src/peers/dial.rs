//! The sending side of a link: dial, prove who is who, write what the outbox has, and again when it breaks.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use steadfast_broker::Membership;
use steadfast_consensus::{ReplicaId, encode};
use steadfast_net::{OutBuffer, SLICES};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::select;
use tokio::time::{Instant, sleep, timeout};

use super::handshake::{self, Failed};
use super::refusal::Cause;
use super::{Peer, Shared, lock, socket};

/// Encoded bytes that are ready to be written: enough for one system call to carry much. What waits in the outbox can
/// still be overtaken by a vote or a heartbeat.
const READY: usize = 256 * 1024;
/// Most addresses of a host that are tried.
const ADDRS_MAX: usize = 8;
/// How long a broken connection is asked why.
const LAST_WORD: Duration = Duration::from_millis(500);
/// A link that lasted so long was fine: the next dial is made at once.
const WAS_FINE: Duration = Duration::from_secs(1);
/// The same trouble is logged this often, other trouble sooner.
const REMIND: Duration = Duration::from_secs(60);
/// Least time between two lines about a link.
const QUIET: Duration = Duration::from_secs(10);

/// Keeps the link to one other replica, for ever.
pub(super) async fn run(shared: Arc<Shared>, id: ReplicaId) {
    let peer = &shared.peers[&id];
    let mut log =
        LinkLog { name: format!("{} ({})", Membership::name(id), peer.addr), last: None, in_trouble: false };
    let (shortest, longest) = shared.bounds.pause;
    let mut pause = shortest;
    loop {
        let failed = match dial(&shared, id, peer).await {
            Ok(stream) => {
                log.connected();
                let begun = Instant::now();
                let failed = hold(&shared, peer, stream).await;
                if begun.elapsed() >= WAS_FINE {
                    pause = shortest;
                }
                failed
            }
            Err(failed) => failed,
        };
        log.failed(peer, &failed);
        select! {
            () = sleep(pause) => pause = (2 * pause).min(longest),
            () = peer.is_there.notified() => {}
        }
    }
}

async fn dial(shared: &Shared, id: ReplicaId, peer: &Peer) -> Result<TcpStream, Failed> {
    let mut stream = connect(&peer.addr, shared.bounds.connect).await?;
    socket::prepare(&stream, shared.bounds.stalled)?;
    let handshake = timeout(shared.bounds.handshake, handshake::dial(&mut stream, &shared.place, id));
    handshake.await.map_err(|_| Failed::Refuse { cause: Cause::Late, claim: None })??;
    Ok(stream)
}

/// Connects to the first address of a host that takes it; each of them may take as long as `limit`.
async fn connect(host: &str, limit: Duration) -> io::Result<TcpStream> {
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("connecting failed: {error}"));
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let addrs = timeout(limit, lookup_host(host)).await.map_err(late).flatten().map_err(failed)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for addr in addrs.take(ADDRS_MAX) {
        match timeout(limit, TcpStream::connect(addr)).await.map_err(late).flatten() {
            Ok(stream) => return Ok(stream),
            Err(error) => last = failed(error),
        }
    }
    Err(last)
}

/// Writes what the outbox has until the connection breaks; returns why.
async fn hold(shared: &Shared, peer: &Peer, mut stream: TcpStream) -> Failed {
    let (mut reading, writing) = stream.split();
    *lock(&peer.trouble) = None;
    peer.outbox.open();
    let failed = select! {
        failed = handshake::until_refused(&mut reading) => failed,
        Err(error) = write(shared, peer, &writing) => last_word(&mut reading, error).await,
    };
    peer.outbox.close();
    failed
}

/// Whoever closes a connection says why, before the writing fails.
async fn last_word(reading: &mut ReadHalf<'_>, error: io::Error) -> Failed {
    match timeout(LAST_WORD, handshake::until_refused(reading)).await {
        Ok(refused @ Failed::Refused(_)) => refused,
        _ => error.into(),
    }
}

async fn write(shared: &Shared, peer: &Peer, socket: &WriteHalf<'_>) -> io::Result<Infallible> {
    let mut ready = OutBuffer::default();
    loop {
        while ready.len() < READY
            && let Some(message) = peer.outbox.take()
        {
            let encoded = encode(shared.place.group, &message);
            ready.append(|_| encoded.pieces().filter(|piece| !piece.is_empty()).cloned().collect());
        }
        if ready.is_empty() {
            peer.outbox.news().await;
        } else {
            write_some(socket, &mut ready, shared.bounds.stalled).await?;
        }
        // Whoever always has something to write must let others run.
        tokio::task::consume_budget().await;
    }
}

async fn write_some(socket: &WriteHalf<'_>, ready: &mut OutBuffer, stalled: Duration) -> io::Result<()> {
    let written = {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = ready.slices(&mut slices);
        socket.try_write_vectored(&slices[..count])
    };
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(written) => {
            ready.advance(written);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let stuck = || format!("it has taken no byte for {stalled:?}; is it stopped or overloaded?");
            timeout(stalled, socket.writable())
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, stuck()))?
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is said about a link, seldom enough.
struct LinkLog {
    name: String,
    /// The trouble that was logged last, and when.
    last: Option<(Instant, String)>,
    /// Its end is worth a line.
    in_trouble: bool,
}

impl LinkLog {
    fn connected(&mut self) {
        if self.in_trouble || self.last.is_none() {
            tracing::info!("replication: connected to {}", self.name);
        }
        self.in_trouble = false;
    }

    fn failed(&mut self, peer: &Peer, failed: &Failed) {
        let trouble = failed.to_string();
        let is_due = self.last.as_ref().is_none_or(|(at, last)| {
            let pause = if *last == trouble { REMIND } else { QUIET };
            at.elapsed() >= pause
        });
        if is_due {
            tracing::warn!("replication: not connected to {}: {trouble}", self.name);
            (self.last, self.in_trouble) = (Some((Instant::now(), trouble.clone())), true);
        }
        *lock(&peer.trouble) = Some(trouble);
    }
}
