//! Positions that moved other than by consuming. RocketMQ keeps no record of them; this command has no counterpart.

use std::fmt;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use steadfast_wire::body::ConsumeStats;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::GetConsumeStats;

use super::cluster::{Cluster, Request};
use super::output::Out;
use super::time;

/// Show how a consumer group's positions jumped: resets, expiry, out of range, new queues (not in RocketMQ)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin positionJumps -n 127.0.0.1:9876 -g coupons
  steadfast admin positionJumps -n 127.0.0.1:9876 -g coupons -t SCANRECORD --json

A position moves when its group commits what it processed. Anything else is a jump; the latest 64 of a group in a \
topic are shown, oldest first. Counts of all of them, by cause, are among the server's metrics \
(steadfast_position_jumps_total).

Columns:
  #Cause     reset: an operator set it; out_of_range: it was outside of the queue; expired: retention removed messages \
that were not processed; new_queue: the queue is new to the group; commit: a client committed less than before; hole: the \
group passed a damaged message that an operator gave up
  #From      the position before, - if there was none
  #To        the position after
  #Skipped   messages that the group was not given
  #Repeated  messages that the group is given once more")]
pub(super) struct PositionJumps {
    /// Consumer group
    #[arg(short, long = "groupName", value_name = "GROUP")]
    group: String,
    /// Only this topic
    #[arg(short, long = "topicName", value_name = "TOPIC")]
    topic: Option<String>,
}

/// Jumps of a group.
#[derive(Debug, Serialize)]
struct Jumps {
    group: String,
    jumps: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    topic: String,
    broker_name: String,
    queue_id: i32,
    cause: String,
    from: Option<i64>,
    to: i64,
    skipped: i64,
    repeated: i64,
    timestamp: i64,
}

impl fmt::Display for Jumps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<64}  {:<32}  {:<4}  {:<12}  {:<20}  {:<20}  {:<20}  {:<20}  #Time",
            "#Topic", "#Broker Name", "#QID", "#Cause", "#From", "#To", "#Skipped", "#Repeated"
        )?;
        for row in &self.jumps {
            let Row { topic, broker_name, queue_id, cause, to, skipped, repeated, .. } = row;
            let from = row.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
            let at = time::human_seconds(row.timestamp);
            writeln!(
                f,
                "{topic:<64.64}  {broker_name:<32.32}  {queue_id:<4}  {cause:<12}  {from:<20}  {to:<20}  \
                 {skipped:<20}  {repeated:<20}  {at}"
            )?;
        }
        Ok(())
    }
}

impl PositionJumps {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let group = self.group.trim();
        let (mut jumps, mut asked) = (Vec::new(), Vec::new());
        for broker in cluster.brokers().await? {
            let fields = GetConsumeStats {
                consumer_group: group.into(),
                topic: self.topic.as_deref().map(Into::into),
                ..GetConsumeStats::default()
            };
            let request = Request::with(request::GET_CONSUME_STATS, |ext| fields.encode(ext));
            let stats: ConsumeStats = match cluster.read(&broker.addr, request).await {
                Err(error) if error.code() == Some(response::SUBSCRIPTION_GROUP_NOT_EXIST) => continue,
                stats => stats?,
            };
            jumps.extend(stats.position_jumps.into_iter().map(|jump| {
                let moved = jump.from.map_or(0, |from| jump.to - from);
                Row {
                    topic: jump.topic,
                    broker_name: broker.name.clone(),
                    queue_id: jump.queue_id,
                    cause: jump.cause,
                    from: jump.from,
                    to: jump.to,
                    skipped: moved.max(0),
                    repeated: (-moved).max(0),
                    timestamp: jump.timestamp,
                }
            }));
            asked.push(format!("{} at {}", broker.name, broker.addr));
        }
        if jumps.is_empty() {
            bail!("not found: no jump of group {group} is on record on {}", asked.join(", "));
        }
        out.show(&Jumps { group: group.to_owned(), jumps })
    }
}
