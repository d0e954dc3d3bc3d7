//! One connection under load: fills it with requests, and takes the responses.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use steadfast_wire::code::response;
use steadfast_wire::frame::{self, Frame};
use steadfast_wire::header::Header;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::pace::Pace;
use super::slots::{Open, Slots};
use super::stats::{Ack, Outcome, Stats, outcome};
use super::target::response_name;
use super::template::{Millis, Template};

/// Bytes of requests that are made before they are written.
const OUT_BYTES: usize = 128 * 1024;
const IN_BYTES: usize = 64 * 1024;
/// How often a connection that hears nothing looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Pause before a lost connection is opened again.
const RECONNECT: Duration = Duration::from_millis(100);
/// In an open loop, what was due just before the end is still sent for so long.
const GRACE: Duration = Duration::from_millis(10);
/// Refusals in a row after which a connection gives up.
const HOPELESS: u32 = 1000;
/// Bits of a message's number that count within a connection.
const SEQUENCE_BITS: u32 = 40;

/// What all connections of a run share.
#[derive(Debug)]
pub(super) struct Run {
    /// End of the warm-up.
    pub(super) measure_from: Instant,
    /// No request is made from here on.
    pub(super) until: Option<Instant>,
    /// Messages that may still be sent after the warm-up.
    pub(super) budget: Option<AtomicU64>,
    pub(super) pace: Option<Pace>,
    /// After so long without an answer the connection is given up.
    pub(super) timeout: Duration,
    pub(super) progress: Progress,
}

/// Counts for the progress line.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) acked: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Run {
    /// Takes `messages` from the budget; false if it is used up.
    fn afford(&self, now: Instant, messages: u64) -> bool {
        let Some(budget) = &self.budget else { return true };
        let take = |left: u64| (left > 0).then(|| left.saturating_sub(messages));
        now < self.measure_from || budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn is_measured(&self, at: Instant) -> bool {
        at >= self.measure_from && self.until.is_none_or(|until| at <= until)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Lane {
    number: u64,
    broker: u16,
    addr: String,
    /// One for each queue.
    templates: Rc<[Template]>,
    /// Messages in a request.
    batch: u64,
    run: Arc<Run>,
    stats: Rc<RefCell<Stats>>,
    /// Woken when a request is due, in an open loop.
    wake: Option<mpsc::Receiver<()>>,
    slots: Slots,
    /// Requests made so far.
    made: u64,
    refusals: u32,
    stopped: bool,
    out: Vec<u8>,
    written: usize,
    input: BytesMut,
}

/// Where a lane belongs.
#[derive(Debug)]
pub(super) struct Place {
    /// Number among all connections.
    pub(super) number: u32,
    /// Number of the broker.
    pub(super) broker: u16,
    pub(super) addr: String,
    /// Requests in flight.
    pub(super) in_flight: u32,
}

impl Lane {
    pub(super) fn new(
        place: Place,
        templates: Rc<[Template]>,
        run: Arc<Run>,
        stats: Rc<RefCell<Stats>>,
        wake: Option<mpsc::Receiver<()>>,
    ) -> Self {
        Self {
            number: place.number.into(),
            broker: place.broker,
            addr: place.addr,
            batch: templates[0].batch().into(),
            templates,
            run,
            stats,
            wake,
            slots: Slots::new(place.in_flight),
            made: 0,
            refusals: 0,
            stopped: false,
            out: Vec::with_capacity(OUT_BYTES * 2),
            written: 0,
            input: BytesMut::with_capacity(IN_BYTES),
        }
    }

    /// Sends until the run ends, over as many connections as that takes.
    pub(super) async fn run(mut self, first: TcpStream) {
        let mut stream = Ok(first);
        loop {
            let ended = match stream {
                Ok(stream) => self.session(stream).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => break,
                Err(error) => self.lost(&error),
            }
            if self.is_over() {
                break;
            }
            tokio::time::sleep(RECONNECT).await;
            stream = self.reconnect().await;
        }
        self.count_unsent();
    }

    async fn reconnect(&self) -> io::Result<TcpStream> {
        let connecting = tokio::time::timeout(self.run.timeout, TcpStream::connect(&self.addr));
        let stream = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Uses one connection until the run ends and all requests are answered.
    async fn session(&mut self, mut stream: TcpStream) -> io::Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill();
            if self.stopped && self.slots.is_idle() {
                return Ok(());
            }
            poll_fn(|cx| self.poll_exchange(&mut stream, &mut tick, cx)).await?;
            self.take_responses()?;
        }
    }

    /// Makes requests as long as there is room, and one is due.
    fn fill(&mut self) {
        if !self.slots.has_room() || self.stopped {
            return;
        }
        let now = Instant::now();
        let mut time = None;
        while self.slots.has_room() && self.out.len() < OUT_BYTES {
            let Some(due) = self.next_due(now) else { break };
            let queue = (self.number + self.made) % self.templates.len() as u64;
            let template = &self.templates[queue as usize];
            let first_id = (self.number << SEQUENCE_BITS) + self.made * self.batch;
            let open = Open { first_id, queue: queue as u32, due, sent: now };
            let Some(opaque) = self.slots.take(open) else { break };
            template.append(first_id, opaque, time.get_or_insert_with(unix_millis), &mut self.out);
            self.made += 1;
        }
    }

    /// When the next request is or was due; None if it is not yet, or if the run is over.
    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let (due, grace) = match self.run.pace {
            Some(pace) => (pace.due(self.number, self.made), GRACE),
            None => (now, Duration::ZERO),
        };
        if self.run.until.is_some_and(|until| due >= until || now >= until + grace) {
            self.stopped = true;
            return None;
        }
        if due > now {
            return None;
        }
        if !self.run.afford(now, self.batch) {
            self.stopped = true;
            return None;
        }
        Some(due)
    }

    /// Writes what can be written; ready when something was read or the lane should look around.
    fn poll_exchange(
        &mut self,
        stream: &mut TcpStream,
        tick: &mut Interval,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let was_full = self.out.len() >= OUT_BYTES;
        while self.written < self.out.len() {
            match Pin::new(&mut *stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Ready(written) => self.written += written?,
                Poll::Pending => break,
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        self.input.reserve(IN_BYTES / 2);
        if let Poll::Ready(read) = pin!(stream.read_buf(&mut self.input)).poll(cx) {
            return Poll::Ready(match read? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
                _ => Ok(()),
            });
        }
        let due = self.wake.as_mut().is_some_and(|wake| wake.poll_recv(cx).is_ready());
        if due || (was_full && self.out.is_empty()) {
            return Poll::Ready(Ok(()));
        }
        tick.poll_tick(cx).map(|_| self.check_time())
    }

    fn check_time(&self) -> io::Result<()> {
        let waited = self.slots.oldest().map_or(Duration::ZERO, |oldest| oldest.elapsed());
        if waited > self.run.timeout {
            let text = format!("no answer within {} s", self.run.timeout.as_secs_f64());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        Ok(())
    }

    fn take_responses(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let stats = Rc::clone(&self.stats);
        let mut stats = stats.borrow_mut();
        while let Some(frame) = frame::split(&mut self.input).map_err(io::Error::other)? {
            self.take_response(&frame, now, &mut stats).map_err(io::Error::other)?;
        }
        if self.refusals >= HOPELESS {
            self.stopped = true;
        }
        Ok(())
    }

    fn take_response(&mut self, frame: &Frame, now: Instant, stats: &mut Stats) -> anyhow::Result<()> {
        let header = Header::decode(frame.serialize, &frame.header)?;
        if !header.is_response() {
            return Ok(());
        }
        let Some(open) = self.slots.answer(header.opaque) else { return Ok(()) };
        let messages = self.batch;
        if header.code != response::SUCCESS {
            let remark = header.remark.as_deref().unwrap_or_default();
            self.failed(open, outcome(header.code), stats);
            stats.error(format!("{} {remark}", response_name(header.code)), messages);
            return Ok(());
        }
        let offset = header.ext.get("queueOffset").and_then(|text| text.parse().ok());
        let Some(offset) = offset else { anyhow::bail!("an acknowledgement names no queue offset") };
        stats.acks.push(Ack {
            first_id: open.first_id,
            offset,
            broker: self.broker,
            queue: open.queue as u16,
            count: messages as u32,
        });
        self.refusals = 0;
        self.run.progress.acked.fetch_add(messages, Ordering::Relaxed);
        if self.run.is_measured(now) {
            stats.measured += messages;
            stats.last_ack = Some(now);
        }
        if open.due >= self.run.measure_from {
            stats.latencies.record(now - open.due, messages);
        }
        Ok(())
    }

    /// A request ended without an acknowledgement.
    fn failed(&mut self, open: Open, outcome: Outcome, stats: &mut Stats) {
        let messages = self.batch;
        self.run.progress.failed.fetch_add(messages, Ordering::Relaxed);
        self.refusals += 1;
        match outcome {
            Outcome::Refused => stats.refused += messages,
            Outcome::Unknown => stats.unknown.extend(open.first_id..open.first_id + messages),
        }
    }

    /// The connection is gone, and with it all that was in flight.
    fn lost(&mut self, error: &io::Error) {
        let stats = Rc::clone(&self.stats);
        let mut stats = stats.borrow_mut();
        let abandoned = self.slots.abandon();
        let messages = abandoned.len() as u64 * self.batch;
        stats.error(format!("connection to {}: {error}", self.addr), messages);
        for open in abandoned {
            self.failed(open, Outcome::Unknown, &mut stats);
        }
        self.out.clear();
        self.written = 0;
        self.input.clear();
    }

    fn is_over(&self) -> bool {
        self.stopped || self.run.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Requests of an open loop that were due and never made count with the time they had waited at the end.
    fn count_unsent(&mut self) {
        let (Some(pace), Some(until)) = (self.run.pace, self.run.until) else { return };
        let messages = self.batch;
        let mut stats = self.stats.borrow_mut();
        for nth in self.made.. {
            let due = pace.due(self.number, nth);
            if due >= until {
                break;
            }
            stats.unsent += messages;
            if due >= self.run.measure_from {
                stats.latencies.record(until - due, messages);
            }
        }
    }
}

fn unix_millis() -> Millis {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::new(now.as_millis() as u64)
}
