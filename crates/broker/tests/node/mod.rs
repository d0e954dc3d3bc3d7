//! A broker on a disk in memory, driven by hand: effects are carried out at once, except writes, which the test
//! may hold back to look at what happens before they are durable.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "test support")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use bytes::{Bytes, BytesMut};
use steadfast_broker::io::{Call, Effect, Freed, Freeing, Input, Now, Origin, ReadJob};
use steadfast_broker::measures::Measures;
use steadfast_broker::reader::Reader;
use steadfast_broker::recovery::{self, Opened};
use steadfast_broker::request::{self, Edge};
use steadfast_broker::{Broker, Membership, Options, TopicConfig};
use steadfast_consensus::{GroupWriter, Role, Write};
use steadfast_store::checkpoint::{self, Checkpoint};
use steadfast_store::disk::Disk;
use steadfast_store::log::{Filler, Layout};
use steadfast_store::retention;
use steadfast_types::record::StoredMessage;
use steadfast_types::{LogOffset, Timestamp, properties};
use steadfast_wire::body::Body;
use steadfast_wire::code::request as code;
use steadfast_wire::frame::{self, Serialize};
use steadfast_wire::header::{ExtFields, Header};
use steadfast_wire::headers;

#[path = "../../../store/tests/common/mod.rs"]
mod common;

pub(crate) use common::MemDisk;

/// An answer as a client reads it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) opaque: i32,
    pub(crate) code: i32,
    pub(crate) remark: String,
    pub(crate) ext: ExtFields<'static>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.ext.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).parse().unwrap()
    }

    /// The messages in a pull or query answer.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut rest = &self.body[..];
        let mut found = Vec::new();
        while let Some(size) = rest.first_chunk::<4>() {
            let (record, after) = rest.split_at(u32::from_be_bytes(*size) as usize);
            let message = StoredMessage::decode(record).unwrap();
            let properties = properties::iter(message.properties);
            found.push(Message {
                body: String::from_utf8_lossy(message.body).into_owned(),
                topic: message.topic.to_owned(),
                log_offset: message.stamp.log_offset.get(),
                store_time: message.stamp.store_time.get(),
                born_time: message.born_time,
                flag: message.flag,
                reconsume_times: message.reconsume_times,
                properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            });
            rest = after;
        }
        found
    }

    /// Bodies of the messages in a pull or query answer.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.messages().into_iter().map(|message| message.body).collect()
    }
}

/// A stored message with what tests look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) body: String,
    pub(crate) topic: String,
    pub(crate) log_offset: u64,
    pub(crate) store_time: u64,
    pub(crate) born_time: u64,
    pub(crate) flag: i32,
    pub(crate) reconsume_times: u32,
    pub(crate) properties: BTreeMap<String, String>,
}

impl Message {
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }
}

pub(crate) struct Node {
    pub(crate) disk: MemDisk,
    pub(crate) options: Options,
    /// The wall clock at ticks 0.
    pub(crate) wall: u64,
    pub(crate) broker: Broker,
    pub(crate) reader: Arc<Reader<MemDisk>>,
    layout: Layout,
    pub(crate) warnings: Vec<String>,
    writer: GroupWriter<MemDisk>,
    filler: Filler<MemDisk>,
    /// What a write needs of it.
    wanted: LogOffset,
    edge: Edge,
    pub(crate) ticks: u64,
    /// Milliseconds that the wall clock is ahead.
    pub(crate) wall_error: u64,
    opaque: i32,
    /// Writes are kept instead of made.
    pub(crate) hold_writes: bool,
    held: Vec<Write>,
    /// Reads are kept instead of made.
    pub(crate) hold_reads: bool,
    pub(crate) held_reads: Vec<(u64, ReadJob)>,
    pub(crate) answers: Vec<Answer>,
    /// Requests to clients, by connection.
    pub(crate) calls: Vec<(u64, Call)>,
    /// What name servers were told last.
    pub(crate) registered: Vec<TopicConfig>,
    /// Checkpoints are not written when that is asked for, but kept here.
    pub(crate) hold_checkpoints: bool,
    pub(crate) checkpoint: Option<Box<Checkpoint>>,
    /// Files are not freed when that is asked for, but kept here.
    pub(crate) hold_freeing: bool,
    pub(crate) freeing: Option<Freeing>,
    /// What reads are told about their time.
    pub(crate) late: bool,
    /// How often each of them may ask until it is late.
    pub(crate) patience: Option<usize>,
    /// The last figures told.
    measures: Option<Measures>,
    /// What it says to other replicas.
    pub(crate) outbox: Vec<steadfast_consensus::Message>,
    /// It has all that it may have acknowledged, as it said last.
    pub(crate) is_complete: bool,
    /// The roles that it had in its group.
    pub(crate) roles: Vec<Role>,
}

/// Small, so that everything happens soon.
pub(crate) fn options() -> Options {
    Options {
        segment_size: 16 << 20,
        control_reserve: 1 << 20,
        checkpoint_messages: 20,
        hot_bytes: 4096,
        disk_free_min: 0,
        shown_config: vec![("brokerId".to_owned(), "0".to_owned())],
        ..Options::default()
    }
}

impl Node {
    pub(crate) fn new() -> Self {
        let disk = MemDisk::default();
        Self::open(disk, options())
    }

    /// Opens the disk as a new process would.
    pub(crate) fn open(disk: MemDisk, options: Options) -> Self {
        Self::open_at(disk, options, 1_000_000)
    }

    /// Opens the disk at a time of the wall clock.
    pub(crate) fn open_at(disk: MemDisk, options: Options, wall: u64) -> Self {
        let mut node = Self::starting(disk, options, wall);
        node.fill();
        node
    }

    /// As [`Node::open_at`], but the broker has no space to begin writing yet.
    pub(crate) fn starting(disk: MemDisk, options: Options, wall: u64) -> Self {
        Self::starting_as(disk, options, wall, &Membership::alone())
    }

    /// As [`Node::starting`], as a replica of a group.
    pub(crate) fn starting_as(disk: MemDisk, options: Options, wall: u64, membership: &Membership) -> Self {
        let opened = match membership.is_alone() {
            true => recovery::open(disk.clone(), &options, 42),
            false => recovery::open_member(disk.clone(), &options, 42, membership),
        };
        let opened = opened.unwrap();
        let Opened { broker, writer, filler, reader, layout, report } = opened;
        let edge = Edge {
            store_host: options.store_host,
            max_body: Arc::new(AtomicUsize::new(options.max_body)),
            region: options.region.to_string(),
            cluster: options.cluster.clone(),
            process_id: 1,
            ids: Arc::new(AtomicU32::new(0)),
        };
        Self {
            disk,
            options,
            wall,
            broker,
            reader,
            layout,
            warnings: report.warnings,
            writer,
            filler,
            wanted: LogOffset::ZERO,
            edge,
            ticks: 0,
            wall_error: 0,
            opaque: 0,
            hold_writes: false,
            held: Vec::new(),
            hold_reads: false,
            held_reads: Vec::new(),
            answers: Vec::new(),
            calls: Vec::new(),
            registered: Vec::new(),
            late: false,
            patience: None,
            measures: None,
            hold_checkpoints: false,
            checkpoint: None,
            hold_freeing: false,
            freeing: None,
            outbox: Vec::new(),
            is_complete: true,
            roles: Vec::new(),
        }
    }

    /// Lets the filler work, and the broker look at its clock.
    pub(crate) fn fill(&mut self) {
        let target = (self.writer.end().end + (3 << 20)).max(self.wanted);
        while self.filler.room().filled_to < target {
            self.filler.step().unwrap();
        }
        let room = self.filler.measure().unwrap();
        self.input(Input::Room(room));
    }

    /// Where its log ends.
    pub(crate) fn log_end(&self) -> u64 {
        self.writer.end().end.get()
    }

    /// Kills the process and starts another one on the same disk.
    pub(crate) fn restart(self) -> Self {
        Self::open_at(self.disk, self.options, self.wall + self.ticks)
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: Timestamp::new(self.wall + self.ticks + self.wall_error), ticks: self.ticks }
    }

    /// Lets time pass, and steps whenever the broker asks for it, as the shell does.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.ticks + ms;
        while let Some(at) = self.broker.deadline().filter(|at| *at <= end) {
            self.ticks = self.ticks.max(at);
            self.step(Vec::new());
            let next = self.broker.deadline();
            assert!(
                self.hold_writes || next.is_none_or(|next| next > self.ticks),
                "the broker spins at {next:?}"
            );
            if next == Some(at) {
                break;
            }
        }
        self.ticks = end;
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.step(vec![input]);
    }

    fn step(&mut self, mut inputs: Vec<Input>) {
        let mut first = true;
        while std::mem::take(&mut first) || !inputs.is_empty() {
            let mut effects = Vec::new();
            self.broker.step(self.now(), inputs.drain(..), &mut |effect| effects.push(effect));
            for effect in effects {
                inputs.extend(self.carry_out(effect));
            }
            inputs.extend(self.reader.take_met().into_iter().map(Input::MetDamage));
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Write(write) if self.hold_writes => {
                self.held.push(write);
                None
            }
            Effect::Write(write) => Some(self.make(&write)),
            Effect::Read(number, job) if self.hold_reads => {
                self.held_reads.push((number, job));
                None
            }
            Effect::Read(number, job) => {
                let asked = Cell::new(0);
                let late = || {
                    asked.set(asked.get() + 1);
                    self.late || self.patience.is_some_and(|patience| asked.get() > patience)
                };
                Some(Input::ReadDone(number, self.reader.perform(job, &late)))
            }
            Effect::Checkpoint(checkpoint) if self.hold_checkpoints => {
                self.checkpoint = Some(checkpoint);
                None
            }
            Effect::Checkpoint(checkpoint) => {
                let snapshot = checkpoint::write(&self.disk, *checkpoint).unwrap();
                self.reader.install(&snapshot);
                Some(Input::CheckpointDone(Ok(snapshot.runs)))
            }
            Effect::Free(freeing) if self.hold_freeing => {
                self.freeing = Some(freeing);
                None
            }
            Effect::Free(freeing) => Some(self.free(freeing)),
            Effect::Reply(origin, reply) => {
                let mut out = BytesMut::new();
                let body = reply.encode(&origin, &mut out);
                body.iter().for_each(|piece| out.extend_from_slice(piece));
                let frame = frame::split(&mut out).unwrap().unwrap();
                let header = Header::decode(frame.serialize, &frame.header).unwrap().into_owned();
                self.answers.push(Answer {
                    opaque: header.opaque,
                    code: header.code,
                    remark: header.remark.unwrap_or_default().into_owned(),
                    ext: header.ext,
                    body: frame.body,
                });
                None
            }
            Effect::Call(conn, call) => {
                self.calls.push((conn, call));
                None
            }
            Effect::Warn(text) | Effect::Poisoned(text) => {
                self.warnings.push(text);
                None
            }
            Effect::Measured(_, measures) => {
                self.measures = Some(*measures);
                None
            }
            Effect::Register(topics) => {
                self.registered = topics;
                None
            }
            Effect::Fill(end) => {
                self.wanted = self.wanted.max(end);
                None
            }
            Effect::Message(message) => {
                self.outbox.push(message);
                None
            }
            Effect::Fetch(fetch) => Some(Input::Fetched(fetch.number, self.reader.fetch(&fetch).ok())),
            Effect::ReadPart(job) => {
                let bytes = self.reader.part(&job);
                Some(Input::PartRead(job, bytes))
            }
            Effect::Mend(job) => Some(Input::Mended(self.reader.mend(job))),
            Effect::Role(_, role) => {
                self.roles.push(role);
                None
            }
            Effect::Complete(is_complete) => {
                self.is_complete = is_complete;
                None
            }
            Effect::Stopped => None,
        }
    }

    pub(crate) fn free(&mut self, freeing: Freeing) -> Input {
        self.reader.forget(&freeing);
        let result = retention::free(&self.disk, self.layout, &freeing.bases, freeing.spares);
        let result = result.map(|()| Freed { bases: freeing.bases, space: self.disk.space().unwrap() });
        Input::Freed(result.map_err(|error| error.to_string()))
    }

    fn make(&mut self, write: &Write) -> Input {
        match self.writer.write(write) {
            Ok(mark) => Input::Persisted(write.number, mark),
            Err(error) => Input::WriteFailed(error.to_string()),
        }
    }

    /// Makes space ahead of the log, for tests that write more than a node has at its start.
    pub(crate) fn make_space(&mut self) {
        for _ in 0..2 {
            let room = self.filler.step().unwrap();
            self.input(Input::Room(room));
        }
    }

    /// All figures, which must be there at once.
    pub(crate) fn measure(&mut self) -> Measures {
        self.input(Input::Measure(7));
        self.measures.take().expect("the figures")
    }

    /// How many writes are kept.
    pub(crate) fn held_writes(&self) -> usize {
        self.held.len()
    }

    /// Makes the writes that were kept; those that follow are kept again.
    pub(crate) fn release_writes(&mut self) {
        for write in std::mem::take(&mut self.held) {
            let done = self.make(&write);
            self.input(done);
        }
    }

    /// Makes the oldest read that was kept.
    pub(crate) fn release_read(&mut self) {
        let (number, job) = self.held_reads.remove(0);
        let done = self.reader.perform(job, &|| false);
        self.input(Input::ReadDone(number, done));
    }

    /// Makes the writes that were kept, and the process dies before it hears of it.
    pub(crate) fn die_after_writes(mut self) -> Self {
        for write in std::mem::take(&mut self.held) {
            self.make(&write);
        }
        self.restart()
    }

    /// Sends a request from connection `conn`; its answer goes to `answers`.
    pub(crate) fn request(&mut self, conn: u64, header: Header<'_>, body: impl Into<Bytes>) -> i32 {
        self.opaque += 1;
        let origin = Origin {
            conn,
            peer: "127.0.0.1:50000".parse().unwrap(),
            opaque: self.opaque,
            serialize: Serialize::Json,
            oneway: header.is_oneway(),
            version: header.version,
            code: header.code,
            received: 0,
            held: false,
        };
        match request::decode(&self.edge, origin.peer, self.now().wall, &header, body.into()) {
            Ok(request) => self.input(Input::Request(origin, request)),
            Err(reply) => {
                self.carry_out(Effect::Reply(origin, reply));
            }
        }
        self.opaque
    }

    /// UPDATE_AND_CREATE_TOPIC; see [`topic`].
    pub(crate) fn create_topic(&mut self, fields: headers::CreateTopic<'_>) -> Answer {
        let mut header = Header::request(code::UPDATE_AND_CREATE_TOPIC, 0);
        fields.encode(&mut header.ext);
        self.ask(header.into_owned(), Bytes::new())
    }

    /// Sends a request and returns its answer, which must be there at once.
    pub(crate) fn ask(&mut self, header: Header<'_>, body: impl Into<Bytes>) -> Answer {
        let opaque = self.request(1, header, body);
        self.answer_to(opaque).unwrap_or_else(|| panic!("request {opaque} was not answered"))
    }

    /// Consumer groups whose members were told of a change since the last time, by connection.
    pub(crate) fn notices(&mut self) -> Vec<(u64, String)> {
        let group = |(conn, call): (u64, Call)| {
            assert_eq!(call.code, code::NOTIFY_CONSUMER_IDS_CHANGED);
            (conn, call.ext.get("consumerGroup").unwrap().to_owned())
        };
        self.calls.drain(..).map(group).collect()
    }

    pub(crate) fn answer_to(&self, opaque: i32) -> Option<Answer> {
        self.answers.iter().find(|answer| answer.opaque == opaque).cloned()
    }

    pub(crate) fn send(&mut self, topic: &str, queue: i32, body: &str, properties: &str) -> Answer {
        let header = send_header(topic, queue, properties);
        self.ask(header, body.as_bytes().to_vec())
    }

    pub(crate) fn pull(&mut self, topic: &str, queue: i32, offset: i64) -> Answer {
        self.ask(pull_header(topic, queue, offset, 0), Bytes::new())
    }

    pub(crate) fn query(&mut self, topic: &str, key: &str) -> Answer {
        self.query_within(topic, key, 0, i64::MAX)
    }

    /// A lookup of what was stored in a time.
    pub(crate) fn query_within(&mut self, topic: &str, key: &str, begin: i64, end: i64) -> Answer {
        self.ask(query_header(topic, key, begin, end), Bytes::new())
    }

    /// A message by its place in the log.
    pub(crate) fn view(&mut self, at: u64) -> Answer {
        let mut header = Header::request(code::VIEW_MESSAGE_BY_ID, 0);
        headers::ViewMessage { offset: at as i64, topic: None }.encode(&mut header.ext);
        self.ask(header.into_owned(), Bytes::new())
    }

    pub(crate) fn commit(&mut self, group: &str, topic: &str, queue: i32, offset: i64) -> i32 {
        let mut header = Header::request(code::UPDATE_CONSUMER_OFFSET, 0);
        let update = headers::UpdateConsumerOffset {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: queue,
            commit_offset: offset,
        };
        update.encode(&mut header.ext);
        self.request(1, header.into_owned(), Bytes::new())
    }

    pub(crate) fn ask_position(&mut self, group: &str, topic: &str, queue: i32) -> i32 {
        let mut header = Header::request(code::QUERY_CONSUMER_OFFSET, 0);
        let query = headers::QueryConsumerOffset {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: queue,
            set_zero_if_not_found: None,
        };
        query.encode(&mut header.ext);
        self.request(1, header.into_owned(), Bytes::new())
    }

    pub(crate) fn json(&mut self, conn: u64, request: i32, body: &impl Body) -> Answer {
        let opaque = self.request(conn, Header::request(request, 0), body.encode());
        self.answer_to(opaque).unwrap()
    }
}

pub(crate) fn send_header(topic: &str, queue: i32, properties: &str) -> Header<'static> {
    let mut header = Header::request(code::SEND_MESSAGE_V2, 0);
    let send = headers::SendMessage {
        producer_group: "producers".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: queue,
        properties: Some(properties.into()),
        ..headers::SendMessage::default()
    };
    send.encode_v2(&mut header.ext);
    header.into_owned()
}

pub(crate) fn pull_header(topic: &str, queue: i32, offset: i64, hold: i64) -> Header<'static> {
    let mut header = Header::request(code::PULL_MESSAGE, 0);
    let pull = headers::PullMessage {
        consumer_group: "consumers".into(),
        topic: topic.into(),
        queue_id: queue,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: if hold > 0 { 6 } else { 4 },
        suspend_timeout_millis: hold,
        subscription: Some("*".into()),
        ..headers::PullMessage::default()
    };
    pull.encode(&mut header.ext);
    header.into_owned()
}

/// What creates a topic that anybody may read and write.
pub(crate) fn topic(name: &str, queues: i32) -> headers::CreateTopic<'_> {
    headers::CreateTopic {
        topic: name.into(),
        default_topic: "TBW102".into(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".into(),
        ..headers::CreateTopic::default()
    }
}

pub(crate) fn query_header(topic: &str, key: &str, begin: i64, end: i64) -> Header<'static> {
    let mut header = Header::request(code::QUERY_MESSAGE, 0);
    let query = headers::QueryMessage {
        topic: topic.into(),
        key: key.into(),
        max_num: 64,
        begin_timestamp: begin,
        end_timestamp: end,
        ..headers::QueryMessage::default()
    };
    query.encode(&mut header.ext);
    header.into_owned()
}
