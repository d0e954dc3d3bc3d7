//! A process of the server: the broker, and the threads around it, each a chain of events.

mod mending;
mod scrub;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use steadfast_broker::io::{ConnId, Effect, Freed, Freeing, Input, Now, Origin};
use steadfast_broker::reader::Reader;
use steadfast_broker::recovery::Opened;
use steadfast_broker::reply::Reply;
use steadfast_broker::request::{self, Edge};
use steadfast_broker::{Broker, Flush};
use steadfast_consensus::{GroupWriter, Message, Role, Write};
use steadfast_store::checkpoint;
use steadfast_store::disk::Disk;
use steadfast_store::log::{Filler, Kind, Layout, Room};
use steadfast_store::retention;
use steadfast_types::{LogOffset, Term, Timestamp};
use steadfast_wire::frame;
use steadfast_wire::header::Header;

use crate::brief::Brief;
use crate::clock::Micros;
use crate::disk::{Submitted, VirtualDisk};
use crate::event::{Event, Life, NodeEvent};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::scheduler::EventId;
use crate::stage::Stage;
use scrub::Scrubbing;

/// Time between two syncs under ASYNC_FLUSH.
const SYNC_EVERY: Micros = Micros::millis(500);
/// Pause of the filler on a full disk.
const FULL_PAUSE: Micros = Micros::secs(1);

/// See the module's page.
pub(crate) struct Node {
    life: Life,
    disk: VirtualDisk,
    rng: Rng,
    broker: Broker,
    reader: Arc<Reader<VirtualDisk>>,
    layout: Layout,
    edge: Edge,
    /// What the core takes at its next step.
    inbox: Vec<Input>,
    step_planned: bool,
    deadline: Option<EventId>,
    /// How far its machine's wall clock is from that of everybody else, in milliseconds.
    pub(crate) clock_error: i64,
    /// Milliseconds on the process's clock when it was zero on the simulation's.
    ticks_at_zero: u64,
    writer: Writing,
    filler: Filling,
    scrub: Option<Scrubbing>,
    /// Requests that were not answered yet, and when they came.
    pub(crate) unanswered: BTreeMap<(ConnId, i32), Micros>,
    /// Log offset of the last durable batch: damage of anything before it can be told from a torn tail.
    pub(crate) last_batch: LogOffset,
    covered: LogOffset,
    /// The broker takes no more writes.
    pub(crate) poisoned: bool,
    /// What it says to the other replicas of its group.
    pub(crate) outbox: Vec<Message>,
    /// Roles that it has had since somebody looked.
    pub(crate) roles: Vec<(Term, Role)>,
}

struct Writing {
    writer: GroupWriter<VirtualDisk>,
    /// Sync from time to time.
    lazily: bool,
    queue: VecDeque<Job>,
    busy: bool,
    /// Whether a sync is planned.
    sync_planned: bool,
    /// Where the batch being written begins.
    batch: Option<LogOffset>,
}

enum Job {
    Write(Write),
    Sync,
    Finish,
}

struct Filling {
    filler: Filler<VirtualDisk>,
    ahead: u64,
    tail: LogOffset,
    told: Room,
    busy: bool,
}

impl Node {
    pub(crate) fn new(
        life: Life,
        opened: Opened<VirtualDisk>,
        disk: VirtualDisk,
        plan: &Plan,
        mut rng: Rng,
    ) -> Self {
        let Opened { broker, writer, filler, reader, layout, report } = opened;
        let edge = plan.edge(life);
        let told = filler.room();
        Self {
            life,
            disk,
            broker,
            reader,
            layout,
            edge,
            inbox: Vec::new(),
            step_planned: false,
            deadline: None,
            clock_error: 0,
            ticks_at_zero: rng.below(1 << 40),
            writer: Writing {
                writer,
                lazily: plan.options.flush == Flush::Async,
                queue: VecDeque::new(),
                busy: false,
                sync_planned: false,
                batch: None,
            },
            filler: Filling { filler, ahead: plan.ahead, tail: report.end, told, busy: false },
            scrub: plan.workload.scrub.map(Scrubbing::new),
            unanswered: BTreeMap::new(),
            last_batch: LogOffset::ZERO,
            covered: LogOffset::ZERO,
            poisoned: false,
            outbox: Vec::new(),
            roles: Vec::new(),
            rng,
        }
    }

    /// Whether the log is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.writer.busy
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Where the log ends that was written.
    pub(crate) fn log_end(&self) -> LogOffset {
        self.filler.tail
    }

    /// Up to where snapshots cover the log, those too that are being written.
    pub(crate) fn covered(&self) -> LogOffset {
        self.covered
    }

    fn wall(&self, stage: &Stage) -> Timestamp {
        stage.wall_off_by(stage.clock_error + self.clock_error)
    }

    /// The process begins to serve.
    pub(crate) fn begin(&mut self, stage: &mut Stage) {
        self.step(stage);
        self.fill(stage);
        self.plan_scrub(stage);
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    fn plan(&self, delay: Micros, event: NodeEvent, stage: &mut Stage) -> EventId {
        stage.scheduler.after(delay, Event::Node(self.life, event))
    }

    /// A request arrives at the edge.
    pub(crate) fn request(&mut self, conn: ConnId, mut bytes: BytesMut, stage: &mut Stage) {
        let frame = frame::split(&mut bytes).ok().flatten().expect("clients send whole frames");
        let header = Header::decode(frame.serialize, &frame.header).expect("clients send valid headers");
        let peer = ([10, 0, 0, 1], 40_000 + (conn % 20_000) as u16).into();
        let origin = Origin {
            conn,
            peer,
            opaque: header.opaque,
            serialize: frame.serialize,
            oneway: header.is_oneway(),
            version: header.version,
            code: header.code,
            received: 0,
            held: false,
        };
        if !origin.oneway {
            self.unanswered.insert((conn, origin.opaque), stage.now());
        }
        match request::decode(&self.edge, peer, self.wall(stage), &header, frame.body) {
            Ok(request) => self.input(Input::Request(origin, request), stage),
            Err(reply) if origin.oneway => drop(reply),
            Err(reply) => self.reply(&origin, reply, stage),
        }
    }

    /// A connection is gone.
    pub(crate) fn hung_up(&mut self, conn: ConnId, stage: &mut Stage) {
        self.unanswered.retain(|(of, _), _| *of != conn);
        self.input(Input::Disconnected(conn), stage);
    }

    /// Something for the core.
    pub(crate) fn input(&mut self, input: Input, stage: &mut Stage) {
        self.inbox.push(input);
        if !self.step_planned {
            self.step_planned = true;
            let delay = Micros::new(self.rng.skewed(1..300));
            self.plan(delay, NodeEvent::Step, stage);
        }
    }

    pub(crate) fn event(&mut self, event: NodeEvent, stage: &mut Stage) {
        match event {
            NodeEvent::Step => {
                self.step_planned = false;
                self.step(stage);
            }
            NodeEvent::Deadline => {
                self.deadline = None;
                self.step(stage);
            }
            NodeEvent::Wrote(window, number, result) => {
                self.disk.settle(window);
                if let Ok(mark) = &result {
                    stage.mark = *mark;
                    self.last_batch = self.writer.batch.unwrap_or(self.last_batch);
                    self.filler.tail = mark.end;
                    self.fill(stage);
                }
                self.input(
                    result.map_or_else(Input::WriteFailed, |mark| Input::Persisted(number, mark)),
                    stage,
                );
                self.written(stage);
            }
            NodeEvent::Synced(window, result) => {
                self.disk.settle(window);
                if let Err(cause) = result {
                    self.input(Input::WriteFailed(cause), stage);
                }
                self.written(stage);
            }
            NodeEvent::SyncDue => {
                self.writer.queue.push_back(Job::Sync);
                self.write(stage);
            }
            NodeEvent::Filled(window, result) => {
                self.disk.settle(window);
                self.filled(result, stage);
            }
            NodeEvent::Fill => {
                self.filler.busy = false;
                self.fill(stage);
            }
            NodeEvent::Read(number, job) => {
                // Lookups that wait for missing runs may be told to give up.
                let late = stage.phase == crate::stage::Phase::Faults && self.rng.one_in(20);
                let result = self.reader.perform(*job, &|| late);
                self.tell_damage(stage);
                let Submitted { window, latency, .. } = self.disk.take_window();
                self.plan(latency, NodeEvent::HasRead(window, number, Box::new(result)), stage);
            }
            NodeEvent::HasRead(window, number, result) => {
                self.disk.settle(window);
                self.input(Input::ReadDone(number, *result), stage);
            }
            NodeEvent::Checkpointed(window, result) => {
                self.disk.settle(window);
                let runs = result.map(|snapshot| {
                    self.reader.install(&snapshot);
                    self.disk.take_window();
                    snapshot.runs
                });
                self.input(Input::CheckpointDone(runs), stage);
            }
            NodeEvent::Fetched(window, number, entries) => {
                self.disk.settle(window);
                self.input(Input::Fetched(number, entries), stage);
            }
            NodeEvent::HasPart(window, part) => {
                self.disk.settle(window);
                self.input(Input::PartRead(part.0, part.1), stage);
            }
            NodeEvent::HasMended(window, done) => {
                self.disk.settle(window);
                self.input(Input::Mended(*done), stage);
            }
            NodeEvent::Freed(window, result) => {
                self.disk.settle(window);
                self.input(Input::Freed(result), stage);
            }
            NodeEvent::Scrub => self.scrub(stage),
            NodeEvent::HasScrubbed(window, scrubbed) => self.scrubbed(window, *scrubbed, stage),
            // These are the world's.
            NodeEvent::Opened(_) | NodeEvent::Exit => {}
        }
    }

    fn step(&mut self, stage: &mut Stage) {
        let ticks = self.ticks_at_zero + stage.now().as_millis();
        let now = Now { wall: self.wall(stage), ticks };
        let inputs = std::mem::take(&mut self.inbox);
        for input in &inputs {
            stage.note("node <-", format_args!("{}", Brief(input)));
        }
        let mut effects = Vec::new();
        self.broker.step(now, inputs, &mut |effect| effects.push(effect));
        for effect in effects {
            self.perform(effect, stage);
        }
        self.look_for_holes(stage);
        if let Some(old) = self.deadline.take() {
            stage.scheduler.cancel(old);
        }
        if let Some(deadline) = self.broker.deadline() {
            let at = Micros::millis(deadline.max(ticks + 1) - self.ticks_at_zero);
            let event = Event::Node(self.life, NodeEvent::Deadline);
            self.deadline = Some(stage.scheduler.at(at, event));
        }
    }

    fn perform(&mut self, effect: Effect, stage: &mut Stage) {
        stage.note("node ->", format_args!("{}", Brief(&effect)));
        match effect {
            Effect::Reply(origin, reply) => self.reply(&origin, reply, stage),
            Effect::Write(write) => {
                self.writer.queue.push_back(Job::Write(write));
                self.write(stage);
            }
            Effect::Read(number, job) => {
                let delay = Micros::new(self.rng.skewed(1..500));
                self.plan(delay, NodeEvent::Read(number, Box::new(job)), stage);
            }
            Effect::Checkpoint(checkpoint) => {
                self.covered = checkpoint.snapshot.mark.end;
                let result = checkpoint::write(&self.disk, *checkpoint);
                let result = result.map(Box::new).map_err(|error| error.to_string());
                let Submitted { window, latency, .. } = self.disk.take_window();
                self.plan(latency, NodeEvent::Checkpointed(window, result), stage);
            }
            Effect::Free(freeing) => {
                let result = self.free(freeing);
                let Submitted { window, latency, .. } = self.disk.take_window();
                self.plan(latency, NodeEvent::Freed(window, result), stage);
            }
            Effect::Poisoned(_) => self.poisoned = true,
            Effect::Stopped => {
                self.writer.queue.push_back(Job::Finish);
                self.write(stage);
            }
            Effect::Fill(end) => {
                self.filler.tail = end;
                self.fill(stage);
            }
            Effect::Message(message) => self.outbox.push(message),
            Effect::Fetch(fetch) => self.fetch(&fetch, stage),
            Effect::ReadPart(job) => self.read_part(job, stage),
            Effect::Mend(job) => self.mend(job, stage),
            Effect::Complete(_) => {}
            Effect::Role(term, role) => self.roles.push((term, role)),
            Effect::Call(..) | Effect::Register(_) | Effect::Warn(_) | Effect::Measured(..) => {}
        }
    }

    fn free(&mut self, freeing: Freeing) -> Result<Freed, String> {
        self.reader.forget(&freeing);
        retention::free(&self.disk, self.layout, &freeing.bases, freeing.spares)
            .map_err(|error| error.to_string())?;
        let space = self.disk.space().map_err(|error| error.to_string())?;
        Ok(Freed { bases: freeing.bases, space })
    }

    fn reply(&mut self, origin: &Origin, reply: Reply, stage: &mut Stage) {
        self.unanswered.remove(&(origin.conn, origin.opaque));
        let mut bytes = BytesMut::new();
        for piece in reply.encode(origin, &mut bytes) {
            bytes.extend_from_slice(&piece);
        }
        stage.respond(origin.conn, bytes);
    }

    /// The log writer takes its next job.
    fn write(&mut self, stage: &mut Stage) {
        if self.writer.busy {
            return;
        }
        let Some(job) = self.writer.queue.pop_front() else { return };
        self.writer.busy = true;
        match job {
            Job::Write(write) => {
                let batch = write.entries.iter().rfind(|(entry, _)| entry.kind == Kind::Batch);
                self.writer.batch = batch.map(|(_, at)| *at);
                let result = self.writer.writer.write(&write).map_err(|error| error.to_string());
                let Submitted { window, latency, .. } = self.disk.take_window();
                self.plan(latency, NodeEvent::Wrote(window, write.number, result), stage);
                if self.writer.lazily && !self.writer.sync_planned {
                    self.writer.sync_planned = true;
                    self.plan(SYNC_EVERY, NodeEvent::SyncDue, stage);
                }
            }
            Job::Sync => {
                self.writer.sync_planned = false;
                let result = self.writer.writer.sync().map_err(|error| error.to_string());
                let Submitted { window, latency, .. } = self.disk.take_window();
                self.plan(latency, NodeEvent::Synced(window, result), stage);
            }
            Job::Finish => {
                let _ = self.writer.writer.sync();
                let latency = self.disk.take_window().latency;
                self.plan(latency, NodeEvent::Exit, stage);
            }
        }
    }

    fn written(&mut self, stage: &mut Stage) {
        self.writer.busy = false;
        self.write(stage);
    }

    /// The filler does a step if there is too little ahead of the tail.
    fn fill(&mut self, stage: &mut Stage) {
        let Filling { filler, ahead, tail, told, busy } = &mut self.filler;
        if *busy || (filler.room().filled_to >= *tail + *ahead && !told.disk_full) {
            return;
        }
        *busy = true;
        let result = filler.step().map_err(|error| error.to_string());
        let Submitted { window, latency, .. } = self.disk.take_window();
        self.plan(latency, NodeEvent::Filled(window, result), stage);
    }

    /// An error ends the filler: what a failed write left on the medium is not known (promise P3).
    fn filled(&mut self, result: Result<Room, String>, stage: &mut Stage) {
        let room = match result {
            Ok(room) => room,
            Err(cause) => return self.input(Input::WriteFailed(cause), stage),
        };
        if self.filler.told != room {
            self.filler.told = room;
            self.input(Input::Room(room), stage);
        }
        if room.disk_full {
            self.plan(FULL_PAUSE, NodeEvent::Fill, stage);
        } else {
            self.filler.busy = false;
            self.fill(stage);
        }
    }
}
