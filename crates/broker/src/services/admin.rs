//! What tools and dashboards ask: settings, figures, and who is connected.

use std::collections::BTreeSet;

use steadfast_types::Timestamp;
use steadfast_wire::body::{
    Body, ConsumerConnection, DataVersion, GroupList, KVTable, MessageQueue, TopicOffset, TopicStatsTable,
};
use steadfast_wire::code::response;

use super::Answer;
use super::directory::{connection, to_wire};
use super::rates::Count;
use crate::broker::{Broker, Phase};
use crate::io::Now;
use crate::measures::Traffic;
use crate::reply::{Reply, ReplyHeader};
use crate::state::Queue;

impl Broker {
    /// GET_BROKER_CONFIG: RocketMQ's properties text.
    pub(super) fn broker_config(&self) -> Reply {
        let id = self.broker_id();
        let line = |(key, value): &(String, String)| match key.as_str() {
            "brokerId" => format!("{key}={id}"),
            _ => format!("{key}={value}"),
        };
        let lines: Vec<_> = self.options.shown_config.iter().map(line).collect();
        let version = String::from_utf8_lossy(&DataVersion::default().encode()).into_owned();
        let body = vec![lines.join("\n").into()];
        Reply { body, ..Reply::with(ReplyHeader::Field("version", version)) }
    }

    /// GET_BROKER_RUNTIME_INFO, once it is known when the oldest message was stored.
    pub(super) fn runtime_info(&self, now: Now, oldest: Option<Timestamp>) -> Reply {
        let earliest = oldest.map_or(-1, |time| time.get() as i64);
        let averages = |counts: &[Count]| self.statistics.averages(now.ticks, counts);
        let (producers, consumers) = self.clients.counts();
        let phase = match &self.phase {
            Phase::Leading => "serving".to_owned(),
            Phase::Following => "following".to_owned(),
            Phase::Starting => "starting".to_owned(),
            Phase::Stopping | Phase::Stopped => "stopping".to_owned(),
            Phase::Poisoned(cause) => format!("no writes since: {cause}"),
        };
        let s = &self.statistics;
        let Traffic { messages: stored, bytes: stored_bytes } = s.stored;
        let average = stored_bytes.checked_div(stored).unwrap_or(0);
        let skipped: u64 = self.state.jumps.counts().map(|(_, _, count)| count.skipped).sum();
        let figures = [
            // Tools compare this with RocketMQ's versions: it tells which protocol is spoken.
            ("brokerVersionDesc", "V5_5_0".to_owned()),
            ("steadfastVersion", env!("CARGO_PKG_VERSION").to_owned()),
            ("bootTimestamp", now.wall.get().saturating_sub(now.ticks).to_string()),
            ("brokerVersion", steadfast_wire::header::VERSION.to_string()),
            ("brokerActive", (self.phase == Phase::Leading).to_string()),
            ("state", phase),
            ("term", self.group.term().to_string()),
            ("runtime", format!("[ {} ms ]", now.ticks)),
            ("msgPutTotalTodayNow", stored.to_string()),
            ("msgGetTotalTodayNow", s.served.to_string()),
            ("msgPutTotalTodayMorning", "0".to_owned()),
            ("msgPutTotalYesterdayMorning", "0".to_owned()),
            ("msgGetTotalTodayMorning", "0".to_owned()),
            ("msgGetTotalYesterdayMorning", "0".to_owned()),
            ("putMessageTimesTotal", stored.to_string()),
            ("putMessageSizeTotal", stored_bytes.to_string()),
            ("putMessageAverageSize", average.to_string()),
            ("putTps", averages(&[Count::Stored])),
            ("getTransferredTps", averages(&[Count::Served])),
            ("getTransferedTps", averages(&[Count::Served])),
            ("getFoundTps", averages(&[Count::Found])),
            ("getMissTps", averages(&[Count::Missed])),
            ("getTotalTps", averages(&[Count::Found, Count::Missed])),
            ("commitLogMinOffset", self.gone().head().to_string()),
            ("commitLogMaxOffset", self.committed().to_string()),
            ("commitLogDiskRatio", (f64::from(self.room.space.used_percent()) / 100.0).to_string()),
            ("consumeQueueDiskRatio", "0.0".to_owned()),
            ("earliestMessageTimeStamp", earliest.to_string()),
            ("pageCacheLockTimeMills", "0".to_owned()),
            ("dispatchBehindBytes", "0".to_owned()),
            ("timerReadBehind", "0".to_owned()),
            ("timerOffsetBehind", "0".to_owned()),
            ("timerCongestNum", "0".to_owned()),
            ("timerEnqueueTps", "0.0".to_owned()),
            ("timerDequeueTps", "0.0".to_owned()),
            ("sendThreadPoolQueueSize", self.pending.sends.len().to_string()),
            ("sendThreadPoolQueueCapacity", "10000".to_owned()),
            ("sendThreadPoolQueueHeadWaitTimeMills", "0".to_owned()),
            ("pullThreadPoolQueueSize", self.held.len().to_string()),
            ("pullThreadPoolQueueCapacity", "100000".to_owned()),
            ("pullThreadPoolQueueHeadWaitTimeMills", "0".to_owned()),
            // mqadmin clusterList prints "N" where this one is missing.
            ("litePullThreadPoolQueueSize", "0".to_owned()),
            ("litePullThreadPoolQueueCapacity", "100000".to_owned()),
            ("litePullThreadPoolQueueHeadWaitTimeMills", "0".to_owned()),
            ("ackThreadPoolQueueSize", "0".to_owned()),
            ("ackThreadPoolQueueCapacity", "100000".to_owned()),
            ("ackThreadPoolQueueHeadWaitTimeMills", "0".to_owned()),
            ("queryThreadPoolQueueSize", "0".to_owned()),
            ("queryThreadPoolQueueCapacity", "20000".to_owned()),
            ("queryThreadPoolQueueHeadWaitTimeMills", "0".to_owned()),
            ("EndTransactionQueueSize", "0".to_owned()),
            ("EndTransactionThreadPoolQueueCapacity", "100000".to_owned()),
            // Messages that groups were not given because their positions jumped.
            ("positionJumpsSkipped", skipped.to_string()),
            ("damagedMessages", self.damaged().len().to_string()),
            ("damagedReads", self.damage.reads.to_string()),
            ("unverifiedSegments", self.damage.unverified().to_string()),
            ("scrubbedSegments", self.damage.scrubbed.to_string()),
            ("producers", producers.to_string()),
            ("consumers", consumers.to_string()),
        ];
        let figures = figures.into_iter().map(|(key, value)| (key.to_owned(), value));
        Reply::json(&KVTable { table: figures.chain(self.delay_figures()).collect() })
    }

    /// GET_TOPIC_CONFIG.
    pub(super) fn topic_config(&self, name: &str) -> Answer {
        let topic = self.state.topics.get(name).ok_or_else(|| super::no_topic(name))?;
        Ok(Some(Reply::json(&to_wire(&topic.config))))
    }

    /// GET_TOPIC_STATS_INFO.
    pub(super) fn topic_stats(&self, name: &str) -> Answer {
        let topic = self.state.topics.get(name).ok_or_else(|| super::no_topic(name))?;
        let offsets = topic.queues.iter().map(|queue| {
            let last = if queue.end == queue.min { 0 } else { queue.last_store_time.get() };
            let offset = TopicOffset {
                min_offset: queue.min.get() as i64,
                max_offset: queue.end.get() as i64,
                last_update_timestamp: last as i64,
            };
            (self.message_queue(queue), offset)
        });
        let offset_table = offsets.collect();
        Ok(Some(Reply::json(&TopicStatsTable { offset_table, ..TopicStatsTable::default() })))
    }

    /// GET_CONSUMER_CONNECTION_LIST.
    pub(super) fn consumer_connections(&self, name: &str) -> Answer {
        let Some(group) = self.clients.consumer_group(name) else {
            let remark = format!("no consumer of group {name} is connected");
            return Err(Reply::error(response::CONSUMER_NOT_ONLINE, remark));
        };
        let connection_set = group.members.iter().map(|(id, member)| connection(id, member));
        Ok(Some(Reply::json(&ConsumerConnection {
            connection_set: connection_set.collect(),
            consume_from_where: group.from_where,
            consume_type: group.consume_type,
            message_model: group.model,
            subscription_table: group.subscriptions.clone(),
        })))
    }

    /// QUERY_TOPIC_CONSUME_BY_WHO.
    pub(super) fn topic_consumers(&self, topic: &str) -> Reply {
        let with_position = self.state.positions.groups_of(topic).map(|g| g.to_string());
        let groups: BTreeSet<String> =
            with_position.chain(self.clients.subscribers(topic).cloned()).collect();
        Reply::json(&GroupList { group_list: groups.into_iter().collect() })
    }

    pub(super) fn message_queue(&self, queue: &Queue) -> MessageQueue {
        MessageQueue {
            broker_name: self.options.broker_name.clone(),
            queue_id: queue.name.queue_id.get() as i32,
            topic: queue.name.topic.to_string(),
        }
    }
}
