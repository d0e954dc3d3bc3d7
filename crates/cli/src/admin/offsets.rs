//! Moving a consumer group's position.

use std::fmt;

use clap::Args;
use serde::Serialize;
use steadfast_wire::body::{MessageQueue, ResetOffsetBody};
use steadfast_wire::code::request;
use steadfast_wire::headers::ResetOffset;

use super::cluster::{AskError, Broker, Cluster, Request};
use super::output::Out;
use super::place::boolean;
use super::queue::Queue;
use super::time;

/// In place of a queue: all of them.
const ALL_QUEUES: i32 = -1;
/// In place of an offset: the time tells.
const NO_OFFSET: i64 = -1;

/// Move a consumer group to a time: back to process messages again, or ahead to skip them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin resetOffsetByTime -n 127.0.0.1:9876 -g coupons -t SCANRECORD -s 2026-11-23#09:00:00:000
  steadfast admin resetOffsetByTime -g coupons -t SCANRECORD -s now                  (skip everything)
  steadfast admin resetOffsetByTime -g coupons -t SCANRECORD -s now -b 127.0.0.1:10911 -q 0 -o 7   (one queue)

-s -1 moves to the end of each queue. Columns: the new offset of each queue; the next message that the group gets there \
is the one at this offset. Members that are connected follow within seconds. What lies between the old and the new \
offset is processed again, or never; positionJumps shows both.")]
pub(super) struct ResetByTime {
    /// Consumer group
    #[arg(short, long)]
    group: String,
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// The group goes on with the first message stored at or after this time
    #[arg(short = 's', long, value_name = "TIME", allow_hyphen_values = true, value_parser = At::parse)]
    timestamp: At,
    /// Whether a queue may move ahead too, past messages that are not processed
    #[arg(short, long, value_name = "BOOL", default_value_t = true, value_parser = boolean, action = clap::ArgAction::Set)]
    force: bool,
    /// With -q: the broker of the queue, by its address
    #[arg(short, long, value_name = "HOST:PORT", requires = "queue")]
    broker: Option<String>,
    /// With -b: this queue alone
    #[arg(short, long, requires = "broker")]
    queue: Option<i32>,
    /// With -b and -q: go to this offset, rather than to the time
    #[arg(short, long, requires = "queue", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// Move it on all brokers of this cluster, rather than on those that the topic's route names
    #[arg(short, long, value_name = "CLUSTER", num_args = 0..=1)]
    cluster: Option<Option<String>>,
}

/// A time and how it was written.
#[derive(Debug, Clone)]
struct At {
    text: String,
    millis: i64,
}

impl At {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(At { text: text.trim().to_owned(), millis: time::parse(text)? })
    }
}

/// Positions that were moved.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Moved {
    group: String,
    topic: String,
    queues: Vec<MovedQueue>,
    /// What is said above the columns.
    #[serde(skip)]
    head: String,
    /// One queue needs no columns.
    #[serde(skip)]
    one: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MovedQueue {
    broker_name: String,
    queue_id: i32,
    offset: i64,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head)?;
        if self.one {
            return Ok(());
        }
        writeln!(f, "{:<40}  {:<40}  {:<40}", "#brokerName", "#queueId", "#offset")?;
        for MovedQueue { broker_name, queue_id, offset } in &self.queues {
            writeln!(f, "{broker_name:<40.32}  {queue_id:<40}  {offset:<40}")?;
        }
        Ok(())
    }
}

impl ResetByTime {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let (group, topic, At { text, millis: time }) =
            (self.group.trim(), self.topic.trim(), &self.timestamp);
        let (queues, head) = match self.broker.as_deref().zip(self.queue) {
            Some((addr, queue)) => {
                let offset = self.target(cluster, addr, queue).await?;
                let head = format!(
                    "start reset consumer offset by specified, group[{group}], topic[{topic}], queueId[{queue}], \
                     broker[{addr}], timestamp(string)[{text}], timestamp(long)[{time}]\n\
                     reset consumer offset to {offset}"
                );
                (self.move_to(cluster, addr, Some((queue, offset))).await?, head)
            }
            None => {
                let mut queues = Vec::new();
                for broker in
                    cluster.brokers_of(topic, self.cluster.as_ref().and_then(Option::as_deref)).await?
                {
                    queues.extend(self.move_to(cluster, &broker.addr, None).await?);
                }
                let head = format!(
                    "start reset consumer offset by specified, group[{group}], topic[{topic}], force[{}], \
                     timestamp(string)[{text}], timestamp(long)[{time}]",
                    self.force
                );
                (queues, head)
            }
        };
        out.show(&Moved {
            group: group.to_owned(),
            topic: topic.to_owned(),
            queues,
            head,
            one: self.queue.is_some(),
        })
    }

    /// The offset that one queue goes to.
    async fn target(&self, cluster: &Cluster, addr: &str, id: i32) -> anyhow::Result<i64> {
        if let Some(offset) = self.offset {
            return Ok(offset);
        }
        let broker = Broker { name: String::new(), addr: addr.to_owned() };
        Queue { broker, topic: self.topic.trim().to_owned(), id }.search(cluster, self.timestamp.millis).await
    }

    /// Moves one queue to an offset, or all of a broker's queues to the time; negative is the end of each.
    async fn move_to(
        &self,
        cluster: &Cluster,
        addr: &str,
        one: Option<(i32, i64)>,
    ) -> Result<Vec<MovedQueue>, AskError> {
        let (queue_id, offset) = one.unwrap_or((ALL_QUEUES, NO_OFFSET));
        let fields = ResetOffset {
            topic: self.topic.trim().into(),
            group: self.group.trim().into(),
            queue_id,
            offset: Some(offset),
            timestamp: self.timestamp.millis,
            force: self.force,
        };
        let request = Request::with(request::INVOKE_BROKER_TO_RESET_OFFSET, |ext| fields.encode(ext));
        let moved: ResetOffsetBody = cluster.read(addr, request).await?;
        let row = |(queue, offset): (&MessageQueue, &i64)| MovedQueue {
            broker_name: queue.broker_name.clone(),
            queue_id: queue.queue_id,
            offset: *offset,
        };
        Ok(moved.offset_table.iter().map(row).collect())
    }
}
