//! What unfinished frames of all connections of a port hold together, bounded.
//!
//! A frame that is complete is taken by the handler, and a client that has many unanswered is not read any more. One
//! that is not complete holds what has come of it for as long as its client likes: many clients that each leave a large
//! frame unfinished could take all memory. When all of them together hold too much, the connection that has been
//! waiting for the end of its frame for the longest time is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::connection::{ConnId, Connection};

/// What is smaller is not counted: most connections hold a little at times.
const COUNTED_MIN: usize = 16 * 1024;

/// The unfinished frames of a port.
pub(crate) struct Unfinished {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    /// Frames that began to be counted so far.
    begun: u64,
    frames: BTreeMap<ConnId, Partial>,
}

struct Partial {
    bytes: usize,
    /// Number in the order of beginning.
    begun: u64,
    conn: Arc<Connection>,
}

impl Unfinished {
    pub(crate) fn new(limit: usize) -> Self {
        Unfinished { limit, held: Mutex::default() }
    }

    /// A connection holds so many bytes of an unfinished frame now; `is_new` if it is another frame than before.
    pub(crate) fn hold(&self, conn: &Arc<Connection>, bytes: usize, is_new: bool) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.take(conn.id());
        if bytes < COUNTED_MIN {
            return;
        }
        held.begun += 1;
        let begun = before.filter(|_| !is_new).unwrap_or(held.begun);
        held.bytes += bytes;
        held.frames.insert(conn.id(), Partial { bytes, begun, conn: Arc::clone(conn) });
        while held.bytes > self.limit {
            let Some(oldest) = held.oldest() else { return };
            let (all, count) = (held.bytes, held.frames.len());
            held.take(oldest.id());
            tracing::warn!(
                peer = %oldest.peer(),
                "unfinished frames of {count} connections hold {all} bytes (limit {}): connection closed, its frame is \
                 the oldest",
                self.limit
            );
            oldest.close();
        }
    }

    /// A connection has ended.
    pub(crate) fn forget(&self, conn: ConnId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take(conn);
    }
}

impl Held {
    /// Stops counting what a connection holds; returns when its frame began.
    fn take(&mut self, conn: ConnId) -> Option<u64> {
        let partial = self.frames.remove(&conn)?;
        self.bytes -= partial.bytes;
        Some(partial.begun)
    }

    fn oldest(&self) -> Option<Arc<Connection>> {
        let oldest = self.frames.values().min_by_key(|partial| partial.begun);
        oldest.map(|partial| Arc::clone(&partial.conn))
    }
}
