//! The write of a lone sender. Handing it to another thread and back costs two thread switches, which on a
//! virtual machine can take as long as the disk does. So when nothing else waits for the core, the core writes by
//! itself. A disk that turns slow ends that for a while: then reads and heartbeats must not wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use steadfast_broker::io::Input;
use steadfast_consensus::Write;

use crate::core::{Event, WriterJob};
use crate::inbox::Inbox;

/// A write that took longer sends the next ones to the writer's thread...
const SLOW: Duration = Duration::from_millis(5);
/// ...for so long.
const CAUTION: Duration = Duration::from_secs(1);
/// Larger writes are left to the writer's thread: the core has other things to do meanwhile.
const BYTES_MAX: usize = 64 * 1024;

/// The core's access to the log's writer.
pub(crate) struct LogAccess {
    pub(crate) thread: Arc<Inbox<WriterJob>>,
    /// None where every write goes to the thread.
    pub(crate) lone: Option<LoneWrites>,
}

impl LogAccess {
    /// Takes up a write: keeps it for [`LogAccess::write_lone`], or gives it to the thread at once.
    pub(crate) fn write(&mut self, write: Write) {
        match &mut self.lone {
            Some(lone) if lone.suits(&write) => lone.kept = Some(write),
            _ => self.thread.push(WriterJob::Write(write)),
        }
    }

    /// Makes a kept write, if nothing has arrived meanwhile; returns what to tell the broker.
    pub(crate) fn write_lone(&mut self) -> Option<Input> {
        let lone = self.lone.as_mut()?;
        let write = lone.kept.take()?;
        if !lone.inbox.is_empty() {
            self.thread.push(WriterJob::Write(write));
            return None;
        }
        Some(lone.make(&write))
    }

    /// Everything is written; see [`WriterJob::Finish`].
    pub(crate) fn finish(&self) {
        self.thread.push(WriterJob::Finish);
    }
}

/// Writes that the core makes by itself.
pub(crate) struct LoneWrites {
    inbox: Arc<Inbox<Event>>,
    make: Box<dyn Fn(&Write) -> Input + Send>,
    kept: Option<Write>,
    not_before: Option<Instant>,
}

impl LoneWrites {
    /// `inbox` is the core's, `make` makes a write durable.
    pub(crate) fn new(inbox: Arc<Inbox<Event>>, make: impl Fn(&Write) -> Input + Send + 'static) -> Self {
        LoneWrites { inbox, make: Box::new(make), kept: None, not_before: None }
    }

    fn suits(&self, write: &Write) -> bool {
        let bytes: usize = write.entries.iter().map(|(entry, _)| entry.payload.len()).sum();
        bytes <= BYTES_MAX
            && self.inbox.is_empty()
            && self.not_before.is_none_or(|until| Instant::now() >= until)
    }

    fn make(&mut self, write: &Write) -> Input {
        let begun = Instant::now();
        let done = (self.make)(write);
        self.not_before = (begun.elapsed() > SLOW).then(|| begun + CAUTION);
        done
    }
}
