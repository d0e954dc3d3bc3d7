//! Reading queues by pulls: each queue has one pull in flight, and shares a connection with others.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use steadfast_audit::Queue;
use steadfast_net::client::{Client, Response};
use steadfast_types::record::{self, Record, StoredMessage};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers::{PullMessage, PullMessageResponse, UpdateConsumerOffset};
use tokio::task::{JoinSet, LocalSet};

use super::target::{Range, Target, response_name};
use super::template::GROUP;

/// Bits of a pull's sysFlag: hold the request until there is a message; the subscription is in the header.
const SUSPEND: i32 = 2;
const SUBSCRIPTION: i32 = 4;
/// How long the server may hold a pull.
const HOLD: Duration = Duration::from_millis(500);
/// How long to wait for messages that were acknowledged and are not yet readable.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks for them.
const PAUSE: Duration = Duration::from_millis(20);

/// Takes what is read.
pub(super) trait Visit {
    /// A message of the `nth` range, which is of `queue`.
    fn message(&mut self, nth: usize, queue: &Queue, message: &StoredMessage<'_>);
}

/// How to read.
#[derive(Debug, Clone)]
pub(super) struct How {
    pub(super) connections: u32,
    /// Messages asked for in one pull.
    pub(super) batch: u32,
    /// Ends ranges without an end, once all that is there was read.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) commit: Commit,
}

/// When the position after the messages of an answer is committed, before the next ones are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    Never,
    /// Before they are handed over: a consumer that dies with them never gets them again.
    Before,
    /// After they were handed over.
    After,
}

impl How {
    /// Reading ranges that have an end.
    pub(super) fn to_the_end(connections: u32, batch: u32) -> Self {
        Self { connections, batch, stop: Arc::new(AtomicBool::new(false)), commit: Commit::Never }
    }
}

/// Reads the ranges concurrently and returns the visitor. A range whose messages do not turn up ends early: what
/// is missing is for the visitor to find out.
pub(super) async fn read<V: Visit + 'static>(
    target: &Target,
    ranges: &[Range],
    how: &How,
    visitor: V,
) -> anyhow::Result<V> {
    let visitor = Rc::new(RefCell::new(visitor));
    let local = LocalSet::new();
    let reading = async {
        let mut readers = JoinSet::new();
        for (broker, server) in target.brokers.iter().enumerate() {
            let ranges: Vec<_> =
                ranges.iter().enumerate().filter(|(_, range)| range.broker == broker).collect();
            let mut clients = Vec::new();
            for _ in 0..how.connections.min(ranges.len() as u32) {
                clients.push(target.connect(&server.addr).await?);
            }
            for (number, (nth, range)) in ranges.into_iter().enumerate() {
                let reader = Reader {
                    client: clients[number % clients.len()].clone(),
                    queue: server.queues[range.queue as usize].clone(),
                    nth,
                    range: *range,
                    how: how.clone(),
                    timeout: target.timeout,
                };
                readers.spawn_local(reader.run(Rc::clone(&visitor)));
            }
        }
        while let Some(ended) = readers.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    local.run_until(reading).await?;
    drop(local);
    Ok(Rc::into_inner(visitor).context("a reader outlived its run")?.into_inner())
}

/// Reads one queue.
struct Reader {
    client: Client,
    queue: Queue,
    /// Position among all ranges.
    nth: usize,
    range: Range,
    how: How,
    timeout: Duration,
}

impl Reader {
    async fn run<V: Visit>(self, visitor: Rc<RefCell<V>>) -> anyhow::Result<()> {
        let mut next = self.range.from;
        let mut last_progress = Instant::now();
        while self.range.to.is_none_or(|to| next < to) {
            let stopping = self.how.stop.load(Ordering::Relaxed);
            let answer = self.pull(next).await?;
            let fields = PullMessageResponse::decode(&answer.header()?.ext)?;
            let mut after = u64::try_from(fields.next_begin_offset).unwrap_or(0).max(next);
            match answer.code {
                response::SUCCESS => {
                    if self.how.commit == Commit::Before {
                        self.commit(after).await?;
                    }
                    let end = self.visit(next, answer.body(), &mut *visitor.borrow_mut())?;
                    after = after.max(end);
                    if self.how.commit == Commit::After {
                        self.commit(after).await?;
                    }
                }
                response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY | response::PULL_OFFSET_MOVED => {
                }
                code => bail!("pull from {}@{next}: {} {}", self.queue, response_name(code), answer.remark()),
            }
            if after > next {
                next = after;
                last_progress = Instant::now();
            } else if self.range.to.is_none() && stopping {
                break;
            } else if self.range.to.is_some() {
                if last_progress.elapsed() > PATIENCE {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    async fn commit(&self, offset: u64) -> anyhow::Result<()> {
        let fields = UpdateConsumerOffset {
            consumer_group: GROUP.into(),
            topic: (&*self.queue.topic).into(),
            queue_id: self.range.queue as i32,
            commit_offset: offset as i64,
        };
        let mut header = Header::request(request::UPDATE_CONSUMER_OFFSET, 0);
        fields.encode(&mut header.ext);
        let answer = self.client.request(header, &[], self.timeout).await?;
        ensure!(
            answer.code == response::SUCCESS,
            "committing {}@{offset}: {} {}",
            self.queue,
            response_name(answer.code),
            answer.remark()
        );
        Ok(())
    }

    async fn pull(&self, offset: u64) -> anyhow::Result<Response> {
        let hold = self.range.to.is_none();
        let fields = PullMessage {
            consumer_group: GROUP.into(),
            topic: (&*self.queue.topic).into(),
            queue_id: self.range.queue as i32,
            queue_offset: offset as i64,
            max_msg_nums: self.how.batch as i32,
            sys_flag: if hold { SUSPEND | SUBSCRIPTION } else { SUBSCRIPTION },
            suspend_timeout_millis: if hold { HOLD.as_millis() as i64 } else { 0 },
            subscription: Some("*".into()),
            expression_type: Some("TAG".into()),
            ..PullMessage::default()
        };
        let mut header = Header::request(request::PULL_MESSAGE, 0);
        fields.encode(&mut header.ext);
        // RocketMQ looks at held pulls every 5 s only, whatever the request says.
        Ok(self.client.request(header, &[], self.timeout.max(PATIENCE)).await?)
    }

    /// Hands over the messages of an answer; returns the offset after the last one.
    fn visit<V: Visit>(&self, from: u64, body: &[u8], visitor: &mut V) -> anyhow::Result<u64> {
        let mut next = from;
        for item in record::records(body) {
            let at = || format!("{}@{next}: what the server returned is damaged", self.queue);
            let (_, record) = item.with_context(at)?;
            let Record::Message(bytes) = record else { bail!("{}", at()) };
            let message = StoredMessage::decode(bytes).with_context(at)?;
            let offset = message.stamp.queue_offset.get();
            ensure!(
                message.stamp.queue_id == self.queue.id && message.topic == &*self.queue.topic,
                "{}@{next}: the server returned a message of {}/{}",
                self.queue,
                message.topic,
                message.stamp.queue_id
            );
            if self.range.to.is_some_and(|to| offset >= to) {
                break;
            }
            visitor.message(self.nth, &self.queue, &message);
            next = next.max(offset + 1);
        }
        Ok(next)
    }
}
