//! What the broker knows of topics, producers and subscriptions, for tools.

use steadfast_store::unit::Unit;
use steadfast_types::topic;
use steadfast_types::{QueueOffset, limits};
use steadfast_wire::body::{
    Connection, ConsumeQueue, ConsumeQueueUnit, ConsumerOffsets, DataVersion, DelayOffsets,
    GroupSubscription, ProducerConnection, TopicConfig, TopicConfigSerializeWrapper, TopicList,
};
use steadfast_wire::code::response;

use super::Answer;
use super::groups::Member;
use super::offsets::unreadable;
use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, reply};
use crate::io::{Origin, ReadJob, ReadResult};
use crate::reply::{Reply, ReplyHeader};
use crate::request::ConsumeQueueRequest;
use crate::state;

impl Broker {
    /// Whether a topic belongs to the system: by its name, or because cluster and broker are called so.
    pub(super) fn is_system_topic(&self, name: &str) -> bool {
        topic::is_system(name) || self.own_topics().iter().any(|own| own == name)
    }

    /// Topics that are named after the cluster and the broker.
    fn own_topics(&self) -> [String; 3] {
        let cluster = &self.options.cluster;
        [cluster.clone(), self.options.broker_name.clone(), topic::reply_topic(cluster)]
    }

    /// GET_SYSTEM_TOPIC_LIST_FROM_BROKER.
    pub(super) fn system_topics(&self) -> Reply {
        let topic_list = topic::system_topics().map(str::to_owned).chain(self.own_topics()).collect();
        Reply::json(&TopicList { broker_addr: None, topic_list })
    }

    /// GET_ALL_TOPIC_CONFIG: a page of it in the order of names; tools that want all of them get all.
    pub(super) fn all_topic_configs(&self, skip: usize, max: usize) -> Reply {
        let page = self.state.topics.iter().skip(skip).take(max);
        let topic_config_table = page.map(|t| (t.config.name.to_string(), to_wire(&t.config))).collect();
        let data_version = self.data_version();
        let body = TopicConfigSerializeWrapper { data_version, topic_config_table, ..Default::default() };
        let total = self.state.topics.iter().count().to_string();
        Reply { header: ReplyHeader::Field("totalTopicNum", total), ..Reply::json(&body) }
    }

    /// GET_ALL_CONSUMER_OFFSET: every position.
    pub(super) fn consumer_offsets(&self) -> Reply {
        let queues = |group: &str, topic: &str| {
            let offsets = self.state.positions.queues(group, topic);
            offsets.map(|(queue, offset)| (queue.get(), offset.get() as i64)).collect()
        };
        let pairs = self.state.positions.pairs();
        let offset_table =
            pairs.map(|(group, topic)| (format!("{topic}@{group}"), queues(group, topic))).collect();
        Reply::json(&ConsumerOffsets { data_version: self.data_version(), offset_table })
    }

    /// GET_ALL_DELAY_OFFSET: how far each delay level is delivered.
    pub(super) fn delay_offsets(&self) -> Reply {
        let levels = &self.options.delay_levels;
        let next = |level| self.state.delays.next(levels.queue(level)).get() as i64;
        let offset_table = (1..=levels.count()).map(|level| (level, next(level))).collect();
        Reply::json(&DelayOffsets { data_version: self.data_version(), offset_table })
    }

    /// It changes whenever something does.
    fn data_version(&self) -> DataVersion {
        DataVersion { counter: self.committed().get() as i64, ..DataVersion::default() }
    }

    /// GET_PRODUCER_CONNECTION_LIST.
    pub(super) fn producer_connections(&self, group: &str) -> Answer {
        let Some(members) = self.clients.producer_group(group) else {
            let remark = format!("the producer group[{group}] not exist: no producer of it is connected");
            return Err(Reply::error(response::SYSTEM_ERROR, remark));
        };
        let connection_set = members.iter().map(|(id, member)| connection(id, member)).collect();
        Ok(Some(Reply::json(&ProducerConnection { connection_set })))
    }

    /// QUERY_TOPICS_BY_CONSUMER.
    pub(super) fn topics_of(&self, group: &str) -> Reply {
        let topic_list = self.state.positions.topics(group).map(|topic| topic.to_string()).collect();
        Reply::json(&TopicList { broker_addr: Some(self.options.store_host.to_string()), topic_list })
    }

    /// QUERY_SUBSCRIPTION_BY_CONSUMER.
    pub(super) fn subscription(&self, group: String, topic: String) -> Reply {
        let members = self.clients.consumer_group(&group);
        let subscription_data = members.and_then(|members| members.subscriptions.get(&topic)).cloned();
        Reply::json(&GroupSubscription { group, subscription_data, topic })
    }

    /// QUERY_CONSUME_QUEUE: where a queue's messages are in the log.
    pub(super) fn query_consume_queue(
        &mut self,
        origin: Origin,
        query: ConsumeQueueRequest,
        out: &mut Out<'_>,
    ) -> Answer {
        let queue = self.known_queue(&query.queue)?;
        let mut answer = ConsumeQueue {
            max_queue_index: queue.end.get() as i64,
            min_queue_index: queue.min.get() as i64,
            ..ConsumeQueue::default()
        };
        let from = QueueOffset::new(u64::try_from(query.index).unwrap_or(0)).clamp(queue.min, queue.end);
        let count = query.count.min(limits::CONSUME_QUEUE_UNITS) as u64;
        let to = (from + count).min(queue.end);
        if let Some(group) = &query.group {
            let members = self.clients.consumer_group(group);
            answer.subscription_data =
                members.and_then(|members| members.subscriptions.get(&query.queue.topic)).cloned();
            if answer.subscription_data.is_none() {
                answer.filter_data = Some(format!("{group}@{} is not online!", query.queue.topic));
            }
        }
        let recent = queue.units_from(queue.recent_from().max(from));
        let recent = recent.take((to.get().saturating_sub(queue.recent_from().max(from).get())) as usize);
        answer.queue_data = recent.map(to_unit).collect();
        let old = from..to.min(queue.recent_from());
        if old.start >= old.end {
            return Ok(Some(Reply::json(&answer)));
        }
        let job = ReadJob::Units { queue: queue.name.clone(), offsets: old };
        self.read(ReadPurpose::Units { origin, answer: Box::new(answer) }, job, out);
        Ok(None)
    }

    /// The units that are not in memory were read; they come before those that are.
    pub(super) fn units_done(
        origin: Origin,
        mut answer: ConsumeQueue,
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        let answer = match result {
            ReadResult::Units(units) => {
                answer.queue_data.splice(..0, units.iter().map(to_unit));
                Reply::json(&answer)
            }
            other => unreadable(other),
        };
        reply(origin, answer, out);
    }
}

/// A topic's settings as tools read them.
pub(super) fn to_wire(config: &state::TopicConfig) -> TopicConfig {
    TopicConfig {
        order: config.order,
        perm: config.perm as i32,
        read_queue_nums: config.read_queues as i32,
        topic_name: config.name.to_string(),
        topic_sys_flag: config.sys_flag,
        write_queue_nums: config.write_queues as i32,
        attributes: config.attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        ..TopicConfig::default()
    }
}

/// A client's connection as tools read it.
pub(super) fn connection(id: &str, member: &Member) -> Connection {
    Connection {
        client_addr: member.peer.to_string(),
        client_id: id.to_owned(),
        language: member.language.to_owned(),
        version: member.version,
    }
}

fn to_unit(unit: &Unit) -> ConsumeQueueUnit {
    ConsumeQueueUnit {
        physic_offset: unit.log_offset.get() as i64,
        physic_size: unit.size as i32,
        tags_code: unit.tag.into(),
        ..ConsumeQueueUnit::default()
    }
}
