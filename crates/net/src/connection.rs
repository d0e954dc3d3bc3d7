//! The sending half of a server's connection, usable from any thread.
//!
//! Whoever steps the core queues all answers of a step and then flushes each connection once: one system call carries
//! them all, made right there, without waking a task. Only what the socket does not take at once is left to a task.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::out_buffer::{OutBuffer, SLICES};
use crate::server::Limits;

/// Number of a connection; never reused within a process.
pub type ConnId = u64;

/// What waits for a client counts among all that waits from here on: most connections never have so much.
const COUNTED_MIN: usize = 64 * 1024;
/// A client that has less than this waiting is not to blame for too much that waits for all.
const BLAMED_MIN: usize = 1024 * 1024;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A client's connection.
pub struct Connection {
    id: ConnId,
    peer: SocketAddr,
    limits: Limits,
    runtime: Handle,
    state: Mutex<State>,
    /// Bytes that wait to be read by all clients of the port.
    unread: Arc<AtomicUsize>,
    /// Wakes the reader when enough was answered.
    pub(crate) answered: Notify,
    /// Wakes the reader when the connection is to be closed.
    pub(crate) closing: Notify,
}

struct State {
    /// None once the connection is closed.
    socket: Option<Arc<OwnedWriteHalf>>,
    out: OutBuffer,
    /// A task waits for the socket to take more.
    draining: bool,
    unanswered: usize,
    /// Bytes of the unanswered requests: an estimate, since answers come in any order.
    unanswered_bytes: usize,
    /// What of `out` is counted in [`Connection::unread`].
    counted: usize,
}

impl Connection {
    pub(crate) fn new(
        socket: OwnedWriteHalf,
        peer: SocketAddr,
        limits: Limits,
        unread: Arc<AtomicUsize>,
    ) -> Self {
        let state = State {
            socket: Some(Arc::new(socket)),
            out: OutBuffer::default(),
            draining: false,
            unanswered: 0,
            unanswered_bytes: 0,
            counted: 0,
        };
        Connection {
            id: NEXT_ID.fetch_add(1, Relaxed),
            peer,
            limits,
            runtime: Handle::current(),
            state: Mutex::new(state),
            unread,
            answered: Notify::new(),
            closing: Notify::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Counts requests that will be answered with [`Connection::reply`], and their bytes: with too many of them
    /// nothing more is read from the connection.
    pub fn expect_replies(&self, requests: usize, bytes: usize) {
        let mut state = self.state();
        state.unanswered += requests;
        state.unanswered_bytes += bytes;
    }

    /// Queues the answer to a request counted by [`Connection::expect_replies`]; see [`Connection::queue`].
    pub fn reply(&self, encode: impl FnOnce(&mut BytesMut) -> Vec<Bytes>) {
        let mut state = self.state();
        let was_busy = state.is_busy(&self.limits, 2);
        let average = state.unanswered_bytes.checked_div(state.unanswered).unwrap_or(0);
        state.unanswered = state.unanswered.saturating_sub(1);
        state.unanswered_bytes -= average;
        if was_busy && !state.is_busy(&self.limits, 2) {
            self.answered.notify_one();
        }
        self.enqueue(state, encode);
    }

    /// Queues one frame: `encode` appends its beginning to the buffer and returns the rest, which is sent
    /// without copying if it is large. Nothing is sent before [`Connection::flush`].
    pub fn queue(&self, encode: impl FnOnce(&mut BytesMut) -> Vec<Bytes>) {
        self.enqueue(self.state(), encode);
    }

    fn enqueue(&self, mut state: MutexGuard<'_, State>, encode: impl FnOnce(&mut BytesMut) -> Vec<Bytes>) {
        if state.socket.is_none() {
            return;
        }
        state.out.append(encode);
        self.count(&mut state);
        let (waiting, unread) = (state.out.len(), self.unread.load(Relaxed));
        let is_too_much = unread > self.limits.unread_bytes && waiting >= BLAMED_MIN;
        if waiting > self.limits.out_bytes || is_too_much {
            tracing::warn!(
                peer = %self.peer,
                "client does not read its answers, {waiting} bytes wait (limit {}), {unread} for all clients (limit {}): \
                 connection closed",
                self.limits.out_bytes,
                self.limits.unread_bytes
            );
            self.close_locked(&mut state);
        }
    }

    /// Takes up in the count of all connections what waits on this one now.
    fn count(&self, state: &mut State) {
        let counted = Some(state.out.len()).filter(|bytes| *bytes >= COUNTED_MIN).unwrap_or(0);
        if counted != state.counted {
            self.unread.fetch_add(counted.wrapping_sub(state.counted), Relaxed);
            state.counted = counted;
        }
    }

    /// Writes what is queued. Does not block: what the socket does not take now follows by itself.
    pub fn flush(self: &Arc<Self>) {
        let mut state = self.state();
        if state.draining {
            return state.out.settle();
        }
        if !self.write_some(&mut state) {
            state.out.settle();
            state.draining = true;
            self.runtime.spawn(Arc::clone(self).drain());
        }
    }

    /// Queues and flushes one frame.
    pub fn send(self: &Arc<Self>, encode: impl FnOnce(&mut BytesMut) -> Vec<Bytes>) {
        self.queue(encode);
        self.flush();
    }

    /// Closes the connection; what was not sent is dropped.
    pub fn close(&self) {
        self.close_locked(&mut self.state());
    }

    /// Whether so much is unanswered that nothing more may be read. `part` 2: half of the limits.
    pub(crate) fn is_busy(&self, part: usize) -> bool {
        self.state().is_busy(&self.limits, part)
    }

    fn close_locked(&self, state: &mut State) {
        state.socket = None;
        state.out = OutBuffer::default();
        self.count(state);
        self.closing.notify_one();
    }

    /// Writes until all is written, or the connection has failed (true), or the socket is full (false).
    fn write_some(&self, state: &mut State) -> bool {
        let is_done = self.write_all_it_takes(state);
        self.count(state);
        is_done
    }

    fn write_all_it_takes(&self, state: &mut State) -> bool {
        while !state.out.is_empty() {
            let Some(socket) = &state.socket else { return true };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let written = match state.out.slices(&mut slices) {
                1 => socket.try_write(&slices[0]),
                count => socket.try_write_vectored(&slices[..count]),
            };
            match written {
                Ok(sent) => state.out.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(peer = %self.peer, "writing failed: {error}");
                    self.close_locked(state);
                }
            }
        }
        true
    }

    /// Goes on writing when the socket takes more.
    async fn drain(self: Arc<Self>) {
        loop {
            let socket = self.state().socket.clone();
            let failed = match socket {
                Some(socket) => socket.writable().await.is_err(),
                None => true,
            };
            let mut state = self.state();
            if failed {
                self.close_locked(&mut state);
            }
            if self.write_some(&mut state) {
                state.draining = false;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_busy(&self, limits: &Limits, part: usize) -> bool {
        self.unanswered >= limits.unanswered / part || self.unanswered_bytes >= limits.unanswered_bytes / part
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} {})", self.id, self.peer)
    }
}
