//! What goes into the broker and what comes out: the whole contract between the core and its shell. The shell
//! (the server process, or the simulator) owns the clock, the sockets and the disk; the core owns the state.

use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;
use steadfast_consensus::{Fetch, Message, ReplicaId, Role, Write};
use steadfast_store::checkpoint::Checkpoint;
use steadfast_store::disk::Space;
use steadfast_store::log::{Entry, Gone, Mark, Mend, MendError, Next, Room};
use steadfast_store::reader::Records;
use steadfast_store::run::RunInfo;
use steadfast_store::unit::{KeyEntry, QueueName, Unit};
use steadfast_types::{LogOffset, QueueOffset, Term, Timestamp};
use steadfast_wire::frame::Serialize;
use steadfast_wire::header::ExtFields;

use crate::filter::TagFilter;
use crate::measures::Measures;
use crate::options::Options;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::TopicConfig;

/// A client's connection, numbered by the shell; never reused.
pub type ConnId = u64;

/// The time of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock: for stamps only, it may jump.
    pub wall: Timestamp,
    /// Milliseconds since some start, never going back: for every deadline.
    pub ticks: u64,
}

/// Where a request came from and how its answer finds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The connection.
    pub conn: ConnId,
    /// The client's address.
    pub peer: SocketAddr,
    /// The request's id on its connection.
    pub opaque: i32,
    /// Encoding of the request's header, which the answer must use.
    pub serialize: Serialize,
    /// A oneway request gets no answer, not even an error.
    pub oneway: bool,
    /// Version ordinal of the client.
    pub version: i32,
    /// The request's code.
    pub code: i32,
    /// When it came, in microseconds of the shell's clock; the core does not look at it.
    pub received: u64,
    /// The request waits or waited for a message.
    pub held: bool,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A decoded request.
    Request(Origin, Request),
    /// The client of a connection answered an [`Effect::Call`], or something that nobody asked.
    CallAnswered(ConnId, CallAnswer),
    /// A connection is gone.
    Disconnected(ConnId),
    /// [`Effect::Write`] with this number is durable; the log now ends at the mark.
    Persisted(u64, Mark),
    /// A write failed: final for this group until the process has restarted (promise P3).
    WriteFailed(String),
    /// The space ahead of the log's tail changed.
    Room(Room),
    /// [`Effect::Read`] was done.
    ReadDone(u64, ReadResult),
    /// [`Effect::Checkpoint`] was done: its snapshot is verified and names these runs, or the old ones stay.
    CheckpointDone(Result<Vec<RunInfo>, String>),
    /// Other settings, for whoever asked for them; only those that can be changed at run time may differ.
    Reconfigure(Origin, Box<Options>),
    /// Tell all figures in [`Effect::Measured`] with the same number.
    Measure(u64),
    /// [`Effect::Free`] was done, or not; then it is tried again later.
    Freed(Result<Freed, String>),
    /// A segment was verified in the background.
    Scrubbed(Scrubbed),
    /// An operator gives damaged messages up; they become holes.
    GiveUp(Vec<DamagedRecord>),
    /// A replica of the group says something.
    Message(Message),
    /// [`Effect::Fetch`] with this number was done: the entries, each with the log offset of its frame; None if they could
    /// not be read.
    Fetched(u64, Option<Vec<(Entry, LogOffset)>>),
    /// Damage was met at a place of the log ([`crate::reader::Reader::take_met`], or by a fetch). A group of several repairs it.
    MetDamage(LogOffset),
    /// [`Effect::ReadPart`] was done; None if the bytes are not there.
    PartRead(PartJob, Option<Bytes>),
    /// [`Effect::Mend`] was done.
    Mended(MendDone),
    /// Hand leadership of the group over, if this replica has it: to this one, or to the one whose log goes furthest.
    Transfer(Option<ReplicaId>),
    /// Stop cleanly: refuse what is new, finish what is in flight, then [`Effect::Stopped`].
    Stop,
}

/// A request from the broker to a client, over the connection that the client opened.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its id on the connection.
    pub opaque: i32,
    /// Request code.
    pub code: i32,
    /// No answer is wanted.
    pub oneway: bool,
    /// The header's fields.
    pub ext: ExtFields<'static>,
    /// The body.
    pub body: Bytes,
}

/// A client's answer to a [`Call`].
#[derive(Debug, Clone)]
pub struct CallAnswer {
    /// The call's id.
    pub opaque: i32,
    /// Response code.
    pub code: i32,
    /// Text for people.
    pub remark: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Something the shell is asked to do. Order between effects of one step matters only where noted.
#[derive(Debug)]
pub enum Effect {
    /// Answer a request.
    Reply(Origin, Reply),
    /// Send a request to the client of a connection.
    Call(ConnId, Call),
    /// Make entries durable, then give [`Input::Persisted`].
    Write(Write),
    /// Have the space ahead of the log's tail ready up to here, as a write waits for it that needs more than is kept ready
    /// anyway; [`Input::Room`] tells when it is. Only of a group of several.
    Fill(LogOffset),
    /// Send a message to the replica it names. It may be lost, late, or come twice.
    Message(Message),
    /// Read entries from the log ([`Fetch::perform`]), then give [`Input::Fetched`].
    Fetch(Fetch),
    /// Read bytes of the log for another replica ([`crate::reader::Reader::part`]), then give [`Input::PartRead`].
    ReadPart(PartJob),
    /// Go on with a damaged segment ([`crate::reader::Reader::mend`]), then give [`Input::Mended`]. At most one is under way, and
    /// none while files are freed.
    Mend(MendJob),
    /// The replica has this role in its group from now on. Only of a group of several.
    Role(Term, Role),
    /// Whether the replica has all that it may have acknowledged, from now on; it has at first. Only of a group of several.
    Complete(bool),
    /// Read from disk, then give [`Input::ReadDone`] with the same number.
    Read(u64, ReadJob),
    /// Write an index run and a snapshot, then give [`Input::CheckpointDone`]. At most one is under way.
    Checkpoint(Box<Checkpoint>),
    /// Free the files of segments that the log has dropped ([`crate::reader::Reader::forget`], then
    /// [`steadfast_store::retention::free`]), then give [`Input::Freed`]. Never while a checkpoint is written, and
    /// at most one is under way.
    Free(Freeing),
    /// Topics changed: register with the name servers. Emitted before the reply to the request that changed them.
    Register(Vec<TopicConfig>),
    /// The group takes no more writes; reads go on.
    Poisoned(String),
    /// What [`Input::Measure`] with this number asked for.
    Measured(u64, Box<Measures>),
    /// A line for the operator's log: a rare event that somebody should know of.
    Warn(String),
    /// Everything acknowledged is done; the process may end.
    Stopped,
}

/// Bytes of the log that another replica asks for; they lie in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartJob {
    /// Who asks.
    pub to: ReplicaId,
    /// The number of its question.
    pub number: u64,
    /// Which bytes.
    pub stretch: Range<LogOffset>,
}

/// A damaged segment, and what another replica has of what it needs.
#[derive(Debug)]
pub struct MendJob {
    /// The segment.
    pub mend: Box<Mend>,
    /// What was asked for, if anything was.
    pub part: Option<Bytes>,
}

/// How it is with a damaged segment.
#[derive(Debug)]
pub struct MendDone {
    /// The segment.
    pub mend: Box<Mend>,
    /// What is next.
    pub result: Result<Next, MendError>,
}

/// Files to be freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeing {
    /// Bases of the segments.
    pub bases: Vec<LogOffset>,
    /// Files that are kept for new segments.
    pub spares: usize,
    /// All that the log has dropped so far.
    pub gone: Gone,
}

/// Files that were freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// Bases of the segments.
    pub bases: Vec<LogOffset>,
    /// How full the disk is now.
    pub space: Space,
}

/// Where the messages of a queue lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The queue.
    pub queue: QueueName,
    /// Those in each of the stretches that were asked for, empty if there are none.
    pub offsets: Vec<Range<QueueOffset>>,
}

/// What verifying a closed segment found ([`crate::reader::Reader::scrub`]).
#[derive(Debug, Clone)]
pub struct Scrubbed {
    /// The segment.
    pub base: LogOffset,
    /// Its damaged messages, or why it could not be verified.
    pub result: Result<Vec<DamagedRecord>, String>,
}

/// A message whose bytes are not what was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRecord {
    /// Its queue.
    pub queue: QueueName,
    /// Its offset there.
    pub offset: QueueOffset,
    /// Its place in the log.
    pub log_offset: LogOffset,
    /// Bytes in its record.
    pub size: u32,
    /// Unique key and keys as the damaged bytes have them, which may be wrong.
    pub keys: Vec<String>,
}

/// Something to read from disk.
#[derive(Debug, Clone)]
pub enum ReadJob {
    /// The next messages of a queue, from index runs; see [`ReadResult::Messages`].
    Queue {
        /// The queue.
        queue: QueueName,
        /// First offset wanted, and the end of what the index runs hold.
        offsets: Range<QueueOffset>,
        /// Which messages.
        filter: TagFilter,
        /// Offsets of damaged messages, which match every filter; ascending.
        fenced: Vec<QueueOffset>,
        /// Offsets of messages that were given up, which nobody is given; ascending.
        holes: Vec<QueueOffset>,
        /// Most messages.
        max_messages: usize,
        /// Most bytes; one message is always returned.
        max_bytes: usize,
        /// End of the committed log.
        committed: LogOffset,
    },
    /// Records whose units the core still has.
    Records {
        /// The units, in order of the queue.
        units: Vec<Unit>,
        /// Most bytes; one record is always returned.
        max_bytes: usize,
        /// End of the committed log.
        committed: LogOffset,
    },
    /// Messages of a topic with a key, newest first.
    Query {
        /// Topic.
        topic: String,
        /// Key.
        key: String,
        /// Candidates that no index run has yet.
        recent: Vec<KeyEntry>,
        /// Places of messages of the topic that were given up.
        holes: Vec<LogOffset>,
        /// By queue, the offset of the first message since the topic was made.
        born: Vec<QueueOffset>,
        /// Only messages stored in this time.
        stored: Range<Timestamp>,
        /// Most messages.
        max_messages: usize,
        /// End of the committed log.
        committed: LogOffset,
    },
    /// The message whose record starts at a log offset.
    View {
        /// Where.
        at: LogOffset,
        /// End of the committed log.
        committed: LogOffset,
    },
    /// Units of a queue.
    Units {
        /// The queue.
        queue: QueueName,
        /// Which, all of them in index runs.
        offsets: Range<QueueOffset>,
    },
    /// Store time of the record of one unit, wherever it is.
    StoreTime {
        /// The queue.
        queue: QueueName,
        /// The offset in it.
        offset: QueueOffset,
        /// Its unit, if the core still has it.
        unit: Option<Unit>,
        /// End of the committed log.
        committed: LogOffset,
    },
    /// The offset in a queue of the first message stored at or after a time, by binary search.
    Search {
        /// The queue.
        queue: QueueName,
        /// Offsets to search.
        offsets: Range<QueueOffset>,
        /// Units that no index run has yet, the last ones of `offsets`.
        recent: Vec<Unit>,
        /// Offsets of messages that were given up; ascending.
        holes: Vec<QueueOffset>,
        /// The time.
        time: Timestamp,
        /// RocketMQ's boundary: the first message not before, or the last one not after.
        upper: bool,
        /// End of the committed log.
        committed: LogOffset,
    },
    /// Which messages of some queues lie in some stretches of the log.
    Extents {
        /// The stretches, ascending; index runs cover them.
        stretches: Vec<Range<LogOffset>>,
        /// The queues, each with the offsets to look at, which index runs have.
        queues: Vec<(QueueName, Range<QueueOffset>)>,
    },
}

/// What a read found.
#[derive(Debug, Clone)]
pub enum ReadResult {
    /// Records, and the first queue offset that was not looked at.
    Messages {
        /// The records.
        records: Records,
        /// Where the next pull goes on.
        next: QueueOffset,
    },
    /// A record that no index run covers yet: only its body was checked, the core has its unit.
    Unproven(Bytes),
    /// Units, in the order of the queue.
    Units(Vec<Unit>),
    /// A number: a queue offset or a time.
    Number(u64),
    /// Where queues lie.
    Extents(Vec<Extent>),
    /// There is no such record.
    NotFound,
    /// A record is damaged; it is never skipped.
    Damaged(String),
    /// Index runs are being made again and the read could not be completed in time; the text says the bound.
    Incomplete(String),
    /// The disk refused.
    Failed(String),
}
