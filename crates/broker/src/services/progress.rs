//! How far a group is (GET_CONSUME_STATS). When a queue's last processed message was stored stands in that message, so
//! the answer may have to wait for the disk.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_types::QueueOffset;
use steadfast_types::topic::RETRY_PREFIX;
use steadfast_wire::body::{ConsumeStats, MessageQueue, OffsetWrapper, PositionJump, SubscriptionData};

use super::Answer;
use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, reply};
use crate::io::{Origin, ReadResult};
use crate::reply::Reply;
use crate::state::{Queue, Topic};

/// Most reads for one answer; times beyond are not told.
const READS_MAX: usize = 512;

/// Answers that wait for the disk, by number.
#[derive(Debug, Default)]
pub(crate) struct ProgressAnswers {
    next: u64,
    by_number: BTreeMap<u64, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    origin: Origin,
    stats: ConsumeStats,
    reads: usize,
}

impl Broker {
    /// GET_CONSUME_STATS: how far a group is in one topic or in all of them.
    pub(super) fn consume_stats(
        &mut self,
        origin: Origin,
        group: &str,
        topic: Option<&str>,
        out: &mut Out<'_>,
    ) -> Answer {
        let mut topics = self.topics_with_progress(group, topic);
        let position_jumps = topics.iter().flat_map(|topic| self.latest_jumps(group, topic)).collect();
        self.retain_subscribed(group, &mut topics);
        let (mut stats, mut jobs) = (ConsumeStats { position_jumps, ..ConsumeStats::default() }, Vec::new());
        for topic in topics.iter().filter_map(|name| self.state.topics.get(name)) {
            for queue in topic.queues.iter().take(topic.config.read_queues as usize) {
                let Some(mut progress) = self.progress(group, topic, queue) else { continue };
                let name = self.message_queue(queue);
                // The message before the position, if the queue still has it.
                if let Some(last) = (progress.consumer_offset as u64).checked_sub(1).map(QueueOffset::new)
                    && last >= queue.min
                {
                    match queue.unit(last).and_then(|unit| self.hot_time(unit)) {
                        Some(time) => progress.last_timestamp = time.get() as i64,
                        None if jobs.len() < READS_MAX => {
                            jobs.push((name.clone(), self.time_of(queue, last)))
                        }
                        None => {}
                    }
                }
                stats.offset_table.insert(name, progress);
            }
        }
        if jobs.is_empty() {
            return Ok(Some(Reply::json(&stats)));
        }
        let answer = self.progress_answers.next;
        self.progress_answers.next += 1;
        self.progress_answers.by_number.insert(answer, UnderWay { origin, stats, reads: jobs.len() });
        for (queue, job) in jobs {
            self.read(ReadPurpose::Progress { answer, queue }, job, out);
        }
        Ok(None)
    }

    /// When the last message of a queue that a group processed was stored, was read; a time that cannot be read is not
    /// told.
    pub(super) fn progress_read(
        &mut self,
        (answer, queue): (u64, &MessageQueue),
        result: &ReadResult,
        out: &mut Out<'_>,
    ) {
        let Some(under_way) = self.progress_answers.by_number.get_mut(&answer) else { return };
        if let (ReadResult::Number(time), Some(progress)) =
            (result, under_way.stats.offset_table.get_mut(queue))
        {
            progress.last_timestamp = *time as i64;
        }
        under_way.reads -= 1;
        if under_way.reads == 0
            && let Some(UnderWay { origin, stats, .. }) = self.progress_answers.by_number.remove(&answer)
        {
            reply(origin, Reply::json(&stats), out);
        }
    }

    /// The topic that was named, or all in which the group has positions or subscriptions.
    fn topics_with_progress(&self, group: &str, topic: Option<&str>) -> BTreeSet<String> {
        if let Some(topic) = topic {
            return [topic.to_owned()].into();
        }
        let subscribed = self.subscriptions(group).into_iter().flat_map(|topics| topics.keys().cloned());
        self.state.positions.topics(group).map(|t| t.to_string()).chain(subscribed).collect()
    }

    /// While members are connected, what none of them subscribes to any more makes no progress, as in RocketMQ. The
    /// group's jumps there are told nevertheless.
    fn retain_subscribed(&self, group: &str, topics: &mut BTreeSet<String>) {
        if let Some(subscriptions) =
            self.subscriptions(group).filter(|subscriptions| !subscriptions.is_empty())
        {
            topics.retain(|topic| subscriptions.contains_key(topic));
        }
    }

    /// What the connected members of a group subscribe to, by topic; None if there is none.
    fn subscriptions(&self, group: &str) -> Option<&BTreeMap<String, SubscriptionData>> {
        self.clients.consumer_group(group).map(|group| &group.subscriptions)
    }

    /// How far a group is in a queue. RocketMQ keeps no position in a retry topic that never had a message.
    fn progress(&self, group: &str, topic: &Topic, queue: &Queue) -> Option<OffsetWrapper> {
        let name = &topic.config.name;
        if queue.end == QueueOffset::ZERO && name.starts_with(RETRY_PREFIX) {
            return None;
        }
        let position = self.state.positions.get(group, name, queue.name.queue_id);
        let position = position.unwrap_or(QueueOffset::ZERO).max(queue.min);
        Some(OffsetWrapper {
            broker_offset: queue.end.get() as i64,
            consumer_offset: position.get() as i64,
            pull_offset: self.given_from(group, queue, position).get() as i64,
            last_timestamp: 0,
        })
    }

    /// First offset of a queue that was not given to a group whose position is this.
    pub(super) fn given_from(&self, group: &str, queue: &Queue, position: QueueOffset) -> QueueOffset {
        let given = self.statistics.given_up_to(group, &queue.name.topic, queue.name.queue_id);
        given.unwrap_or(position).min(queue.end).max(position)
    }

    fn latest_jumps(&self, group: &str, topic: &str) -> impl Iterator<Item = PositionJump> {
        self.state.jumps.latest(group, topic).map(|jumped| PositionJump {
            cause: jumped.cause.name().to_owned(),
            from: jumped.moved.from.map(|from| from.get() as i64),
            queue_id: jumped.moved.queue_id.get() as i32,
            timestamp: jumped.at.get() as i64,
            to: jumped.moved.to.get() as i64,
            topic: topic.to_owned(),
        })
    }
}
