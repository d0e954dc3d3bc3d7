//! Everything that the scheduler of a run plans.

use bytes::{Bytes, BytesMut};
use steadfast_broker::io::{ConnId, Freed, MendDone, PartJob, ReadJob, ReadResult, Scrubbed};
use steadfast_consensus::ReplicaId;
use steadfast_store::checkpoint::Snapshot;
use steadfast_store::log::{Entry, Mark, Room};
use steadfast_types::LogOffset;

use crate::call::{CallId, ClientNo};
use crate::disk::WindowId;
use crate::plan::{Crash, Fault};

/// A life of the node: from one start of the process to its end. Events of an earlier one are void.
pub(crate) type Life = u32;

/// Something that will happen.
pub(crate) enum Event {
    /// A request arrives at the server.
    Request(ConnId, BytesMut),
    /// A server learns that a connection is gone.
    HungUp(ReplicaId, ConnId),
    /// An answer arrives at the client.
    Response(ConnId, BytesMut),
    /// A client learns that its call failed for a reason other than time.
    Failed(CallId),
    /// A client has waited long enough.
    TimedOut(CallId),
    /// A client has something to do.
    Wake(ClientNo),
    /// The server's process is started.
    Start,
    /// Something in a process.
    Node(Life, NodeEvent),
    /// Something that only a group of several has.
    Group(GroupEvent),
    /// A fault strikes.
    Strike(Fault),
    /// The process of this life dies, if it still lives; None strikes whatever is there.
    Crash(Option<Life>, Crash),
    /// The disk's faults end.
    HealDisk,
    /// The disk has space again.
    FreeDisk,
    /// Somebody looks whether everything goes on.
    Watch,
}

/// Something in a process.
pub(crate) enum NodeEvent {
    /// Recovery is done.
    Opened(WindowId),
    /// The core takes what has arrived.
    Step,
    /// The core has waited long enough.
    Deadline,
    /// The log writer is done.
    Wrote(WindowId, u64, Result<Mark, String>),
    /// The log writer has synced.
    Synced(WindowId, Result<(), String>),
    /// The next sync is due.
    SyncDue,
    /// The filler is done with a step.
    Filled(WindowId, Result<Room, String>),
    /// The filler looks again.
    Fill,
    /// A reader takes up a job.
    Read(u64, Box<ReadJob>),
    /// A reader is done.
    HasRead(WindowId, u64, Box<ReadResult>),
    /// A checkpoint is written.
    Checkpointed(WindowId, Result<Box<Snapshot>, String>),
    /// Entries for another replica were read.
    Fetched(WindowId, u64, Option<Vec<(Entry, LogOffset)>>),
    /// Bytes of the log were read for another replica.
    HasPart(WindowId, Box<(PartJob, Option<Bytes>)>),
    /// A damaged segment was read, or written to.
    HasMended(WindowId, Box<MendDone>),
    /// Files of dropped segments are freed.
    Freed(WindowId, Result<Freed, String>),
    /// The scrub verifies the next segment.
    Scrub,
    /// It is done with it.
    HasScrubbed(WindowId, Box<Scrubbed>),
    /// The process ends, as everything is done.
    Exit,
}

/// Something that only a group of several has.
pub(crate) enum GroupEvent {
    /// The process of a replica is started.
    Start(ReplicaId),
    /// A message arrives at a replica.
    Deliver(ReplicaId, Bytes),
    /// The process of a replica dies, if it is still in this life.
    Crash(ReplicaId, Life),
    /// A fault strikes.
    Strike,
    /// Partitions end.
    Join,
    /// The process of a replica is stopped; who leads hands over first.
    Stop(ReplicaId),
    /// The disk of a replica has space again.
    FreeDisk(ReplicaId),
}
