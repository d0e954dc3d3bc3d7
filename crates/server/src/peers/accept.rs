//! The receiving side: who may come in, and what they bring.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use steadfast_broker::Membership;
use steadfast_consensus::{CodecError, Message, ReplicaId, decode, message_len};
use steadfast_net::{RareWarning, Room};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::handshake::{self, Claim, Failed};
use super::refusal::Cause;
use super::{Place, Shared, lock, socket};

/// Pause when accepting fails, for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// How long, and how many bytes, are read on from somebody who was refused, so that closing does not overtake the reason.
const FAREWELL: (Duration, u64) = (Duration::from_millis(500), 64 * 1024);

/// Lines about whom this port refused: seldom for each cause, so that one does not hide another.
type Warnings = Arc<Mutex<BTreeMap<Cause, RareWarning>>>;

/// Somebody who is not through the handshake, as long as the flag is not set.
struct Stranger {
    task: AbortHandle,
    is_known: Arc<AtomicBool>,
}

/// Takes connections for ever. Those it has taken end with it.
pub(super) async fn run<F>(shared: Arc<Shared>, listener: TcpListener, deliver: Arc<F>)
where
    F: Fn(Vec<Message>) + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    let mut strangers: VecDeque<Stranger> = VecDeque::new();
    let (warnings, mut failing) = (Warnings::default(), RareWarning::default());
    for number in 0.. {
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                failing.say(|| format!("replication: accepting a connection failed: {error}"));
                sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        strangers.retain(|stranger| !stranger.is_known.load(Relaxed) && !stranger.task.is_finished());
        // The oldest has had the most time: whoever means it is through within a few round trips.
        if strangers.len() >= shared.bounds.strangers
            && let Some(oldest) = strangers.pop_front()
        {
            oldest.task.abort();
            failing.say(|| {
                let limit = shared.bounds.strangers;
                format!("replication: {limit} connections have not said who they are, the oldest is closed")
            });
        }
        let is_known = Arc::new(AtomicBool::new(false));
        let visit = Visit {
            shared: Arc::clone(&shared),
            addr,
            number,
            warnings: Arc::clone(&warnings),
            is_known: Arc::clone(&is_known),
        };
        let deliver = Arc::clone(&deliver);
        let task = connections.spawn(async move { visit.run(stream, &*deliver).await });
        strangers.push_back(Stranger { task, is_known });
    }
}

/// One connection.
struct Visit {
    shared: Arc<Shared>,
    addr: SocketAddr,
    number: u64,
    warnings: Warnings,
    is_known: Arc<AtomicBool>,
}

impl Visit {
    async fn run(&self, mut stream: TcpStream, deliver: &impl Fn(Vec<Message>)) {
        let ended = match self.meet(&mut stream).await {
            Ok(from) => {
                self.is_known.store(true, Relaxed);
                self.listen(from, &mut stream, deliver).await
            }
            Err(failed) => Err(failed),
        };
        match ended {
            Ok(never) => match never {},
            Err(Failed::Refuse { cause, claim }) => {
                self.warn(cause, claim);
                self.refuse(&mut stream, cause).await;
            }
            Err(failed) => {
                tracing::debug!(peer = %self.addr, "replication: connection ended: {failed}");
            }
        }
    }

    async fn meet(&self, stream: &mut TcpStream) -> Result<ReplicaId, Failed> {
        socket::prepare(stream, self.shared.bounds.stalled)?;
        timeout(self.shared.bounds.handshake, handshake::accept(stream, &self.shared.place))
            .await
            .unwrap_or(Err(Failed::Refuse { cause: Cause::Late, claim: None }))
    }

    /// Delivers what `from` sends until it ends, or until a newer connection of the same replica takes its place.
    async fn listen(
        &self,
        from: ReplicaId,
        stream: &mut TcpStream,
        deliver: &impl Fn(Vec<Message>),
    ) -> Result<Infallible, Failed> {
        let peer = &self.shared.peers[&from];
        let replaced = peer.came(self.number);
        peer.is_there.notify_one();
        tracing::debug!(peer = %self.addr, "replication: {} is connected", Membership::name(from));
        let (mut buf, mut room) = (BytesMut::new(), Room::default());
        tokio::pin!(replaced);
        loop {
            let read = select! {
                biased;
                _ = &mut replaced => return Err(Failed::Refuse { cause: Cause::Replaced, claim: None }),
                read = room.read(stream, &mut buf) => read?,
            };
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let mut messages = Vec::new();
            let split = split(&mut buf, &self.shared.place, from, &mut messages);
            if !messages.is_empty() {
                peer.said_something(self.number);
                deliver(messages);
            }
            split.map_err(|cause| Failed::Refuse { cause, claim: None })?;
        }
    }

    fn warn(&self, cause: Cause, claim: Option<Claim>) {
        let claim = claim.map(|claim| format!(" ({claim})")).unwrap_or_default();
        let mut warnings = lock(&self.warnings);
        warnings.entry(cause).or_default().say(|| {
            format!(
                "replication: connection of {}{claim} to group {} closed: {cause}",
                self.addr, self.shared.place.name
            )
        });
    }

    async fn refuse(&self, stream: &mut TcpStream, cause: Cause) {
        let (patience, bytes) = FAREWELL;
        let farewell = async {
            handshake::refuse(stream, &self.shared.place, cause).await?;
            tokio::io::copy(&mut stream.take(bytes), &mut tokio::io::sink()).await
        };
        // Whether it is heard is not this side's concern.
        let _ = timeout(patience, farewell).await;
    }
}

/// Takes the whole messages at the beginning of `buf`.
fn split(
    buf: &mut BytesMut,
    place: &Place,
    from: ReplicaId,
    messages: &mut Vec<Message>,
) -> Result<(), Cause> {
    while let Some(len) = message_len(buf).map_err(cause)?
        && len <= buf.len()
    {
        let message = decode(place.group, buf.split_to(len).freeze()).map_err(cause)?;
        if (message.from, message.to) != (from, place.me) {
            return Err(Cause::Malformed);
        }
        messages.push(message);
    }
    Ok(())
}

fn cause(error: CodecError) -> Cause {
    match error {
        CodecError::NotAMessage | CodecError::Malformed => Cause::Malformed,
        CodecError::Checksum => Cause::Damaged,
        CodecError::Version(_) => Cause::Version,
        CodecError::WrongGroup { .. } => Cause::Group,
    }
}
