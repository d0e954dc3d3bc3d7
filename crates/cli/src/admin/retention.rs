//! What keeps a broker's log as long as it is: a command of our own.

use std::fmt;

use clap::Args;
use serde::Serialize;
use steadfast_wire::body::{PinnedMessages, RetentionReport};
use steadfast_wire::code::request;

use super::cluster::{Broker, Cluster, Request};
use super::output::Out;
use super::place::Place;
use super::time;

/// Show what keeps the log: files, unprocessed messages of protected topics, damage (Steadfast only)
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin retention -n 127.0.0.1:9876 -b 127.0.0.1:10911

The log of a broker begins at its retention head; what is before the replication head is needed by consumers only, not
to start. A file stays until its time has come, and longer if somebody needs a message in it: then the line says who,
and the table below how to release it.")]
pub(super) struct Retention {
    #[command(flatten)]
    place: Place,
}

/// The reports of some brokers.
#[derive(Debug, Serialize)]
struct Reports {
    brokers: Vec<OfBroker>,
}

#[derive(Debug, Serialize)]
struct OfBroker {
    addr: String,
    retention: RetentionReport,
}

impl Retention {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let mut brokers = Vec::new();
        for Broker { addr, .. } in self.place.masters(cluster).await? {
            let retention = cluster.read(&addr, Request::new(request::GET_RETENTION)).await?;
            brokers.push(OfBroker { addr, retention });
        }
        out.show(&Reports { brokers })
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.brokers.iter().try_for_each(|broker| broker.fmt(f))
    }
}

impl fmt::Display for OfBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.retention;
        let used = report.disk_total.saturating_sub(report.disk_free);
        writeln!(f, "{}", self.addr)?;
        writeln!(
            f,
            "log from {} to {}, replication head {}; disk: {used} of {} bytes in use",
            report.retention_head, report.end, report.replication_head, report.disk_total
        )?;
        writeln!(f, "{:<22}{:<26}#Kept because", "#File", "#Newest message")?;
        for segment in &report.segments {
            let newest = i64::try_from(segment.newest).unwrap_or(i64::MAX);
            writeln!(f, "{:<22}{:<26}{}", segment.base, time::human(newest), segment.why)?;
        }
        for pin in &report.pins {
            let PinnedMessages {
                topic, queue_id, from, messages, bytes, age, segments, why, release, ..
            } = pin;
            writeln!(
                f,
                "{topic}/{queue_id} from offset {from}: {messages} messages, about {bytes} bytes in {} files, {} s old: \
                 {why}. To release them: {release}",
                segments.len(),
                age / 1000
            )?;
        }
        for message in &report.damaged {
            writeln!(
                f,
                "damaged: offset {} of queue {}/{}, at log offset {}",
                message.offset, message.topic, message.queue_id, message.log_offset
            )?;
        }
        Ok(())
    }
}
