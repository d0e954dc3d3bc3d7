//! The index behind a queue, unit by unit.

use std::fmt;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use steadfast_wire::body::{ConsumeQueue, ConsumeQueueUnit};
use steadfast_wire::code::request;
use steadfast_wire::headers::QueryConsumeQueue;

use super::cluster::{Cluster, Request};
use super::output::{Out, or_null};
use super::pretty;

const RULE: &str = "======================================";

/// Show the units of a queue's index: where each message is in the log, and the hash of its tag
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin queryCq -n 127.0.0.1:9876 -t SCANRECORD -q 0 -i 0 -c 5

max and min are the queue's bounds: the offset that the next message will get, and that of the oldest one. physicOffset and \
physicSize are a message's place in the log and its bytes there, tagsCode is the Java hash of its tag. With -g the \
subscription of that group's members is shown too.")]
pub(super) struct QueryCq {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Queue
    #[arg(short, long)]
    queue: i32,
    /// First place in the queue
    #[arg(short, long)]
    index: i64,
    /// How many
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    count: i32,
    /// Ask this broker, by its address, rather than the first of the topic's
    #[arg(short, long, value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Consumer group whose subscription is shown too
    #[arg(short = 'g', long = "consumer", value_name = "GROUP")]
    group: Option<String>,
}

/// The units.
#[derive(Debug, Serialize)]
struct Units {
    #[serde(flatten)]
    answer: ConsumeQueue,
    #[serde(skip)]
    first: i64,
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = &self.answer;
        if let Some(subscription) = &answer.subscription_data {
            writeln!(f, "Subscription data: \n{}\n{RULE}", pretty::json(subscription))?;
        }
        if let Some(filter) = &answer.filter_data {
            writeln!(f, "Filter data: \n{filter}\n{RULE}")?;
        }
        writeln!(
            f,
            "Queue data: \nmax: {}, min: {}\n{RULE}",
            answer.max_queue_index, answer.min_queue_index
        )?;
        for (index, unit) in (self.first..).zip(&answer.queue_data) {
            let ConsumeQueueUnit { physic_offset, physic_size, tags_code, eval, .. } = unit;
            let [extension, bits, message] =
                [&unit.extend_data_json, &unit.bit_map, &unit.msg].map(|text| or_null(text.as_deref()));
            writeln!(
                f,
                "idx: {index}\nConsumeQueueData{{physicOffset={physic_offset}, physicSize={physic_size}, \
                 tagsCode={tags_code}, extendDataJson='{extension}', bitMap='{bits}', eval={eval}, \
                 msg='{message}'}}\n{RULE}"
            )?;
        }
        Ok(())
    }
}

impl QueryCq {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let addr = match &self.broker {
            Some(addr) => addr.clone(),
            None => {
                let brokers = cluster.brokers_of(&self.topic, None).await?;
                brokers.into_iter().next().context("the topic has no broker")?.addr
            }
        };
        let fields = QueryConsumeQueue {
            topic: self.topic.as_str().into(),
            queue_id: self.queue,
            index: self.index,
            count: self.count,
            consumer_group: self.group.as_deref().map(Into::into),
        };
        let answer = cluster
            .read(&addr, Request::with(request::QUERY_CONSUME_QUEUE, |ext| fields.encode(ext)))
            .await?;
        out.show(&Units { answer, first: self.index })
    }
}
