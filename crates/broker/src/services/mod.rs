//! What the broker does for each request, one file per service.

mod admin;
mod calls;
mod confirming;
mod conflicts;
mod delay;
mod deliver;
mod directory;
mod groups;
mod held;
mod locks;
mod lookup;
mod measuring;
mod offsets;
mod positions;
mod progress;
mod pull;
mod rates;
mod reads;
mod relay;
mod resets;
mod retention;
mod retry;
mod send;
mod statistics;
mod subscription_groups;
mod topics;

pub(crate) use calls::Calls;
pub(crate) use confirming::{Confirming, refused};
pub(crate) use deliver::Deliveries;
pub(crate) use groups::Clients;
pub(crate) use held::HeldPulls;
pub(crate) use locks::LockHolders;
pub(crate) use measuring::Measuring;
pub(crate) use progress::ProgressAnswers;
pub(crate) use reads::{ReadPurpose, ReadsUnderWay};
pub(crate) use relay::Statuses;
pub(crate) use resets::Resets;
pub(crate) use statistics::Statistics;
use steadfast_wire::code::response;
pub use subscription_groups::GroupPage;

use crate::broker::{Broker, Out, reply};
use crate::io::{Now, Origin};
use crate::reply::Reply;
use crate::request::{QueueRef, Request};
use crate::state::Queue;

/// What a handler says at once; None if the answer comes later.
type Answer = Result<Option<Reply>, Reply>;

impl Broker {
    /// From request to handler.
    pub(crate) fn request(&mut self, now: Now, origin: Origin, request: Request, out: &mut Out<'_>) {
        let answer = match request {
            Request::Send(send) => self.send(now, origin, send, out),
            Request::Pull(pull) => self.pull(now, origin, *pull, out),
            Request::QueryMessage(query) => self.query_message(now, origin, query, out),
            Request::ViewMessage(at) => self.view_for(origin, at, None, out),
            Request::QueryConsumerOffset { group, queue, zero_if_absent } => {
                self.query_consumer_offset(now, origin, group, queue, zero_if_absent)
            }
            Request::UpdateConsumerOffset { group, queue, offset } => {
                self.update_consumer_offset(now, origin, &group, &queue, offset)
            }
            Request::SearchOffset { queue, time, upper } => {
                self.search_offset(now, origin, &queue, time, upper, out)
            }
            Request::GetMaxOffset(queue) => self.max_offset(&queue),
            Request::GetMinOffset(queue) => self.min_offset(&queue),
            Request::GetEarliestStoreTime(queue) => self.earliest_store_time(origin, &queue, out),
            Request::Heartbeat(data, language) => self.heartbeat(now, origin, *data, language, out),
            Request::UnregisterClient { client_id, producer_group, consumer_group } => {
                self.unregister_client(&client_id, producer_group.as_deref(), consumer_group.as_deref(), out)
            }
            Request::GetConsumerList(group) => self.consumer_list(&group),
            Request::CheckClientConfig(config) => Self::check_client_config(&config),
            Request::CreateTopic(config, changes) => self.create_topic(now, origin, config, &changes, out),
            Request::DeleteTopic(topic) => self.delete_topic(now, origin, &topic),
            Request::GetTopicConfig(topic) => self.topic_config(&topic),
            Request::GetBrokerConfig => Ok(Some(self.broker_config())),
            Request::GetRetention => self.retention_report(origin, out),
            Request::GetRuntimeInfo => self.ask_runtime_info(now, origin, out),
            Request::GetTopicStats(topic) => self.topic_stats(&topic),
            Request::GetConsumerConnections(group) => self.consumer_connections(&group),
            Request::GetConsumeStats(group, topic) => {
                self.consume_stats(origin, &group, topic.as_deref(), out)
            }
            Request::Relay(relay) => self.relay(now, origin, relay, out),
            Request::GetConsumerStatus(status) => self.consumer_status(now, origin, *status, out),
            Request::GetProducerConnections(group) => self.producer_connections(&group),
            Request::GetAllTopicConfig { skip, max } => Ok(Some(self.all_topic_configs(skip, max))),
            Request::GetSystemTopics => Ok(Some(self.system_topics())),
            Request::QueryTopicsByConsumer(group) => Ok(Some(self.topics_of(&group))),
            Request::QuerySubscription { group, topic } => Ok(Some(self.subscription(group, topic))),
            Request::QueryConsumeQueue(query) => self.query_consume_queue(origin, *query, out),
            Request::ResetOffset(reset) => self.reset_offset(now, origin, *reset, out),
            Request::QueryTopicConsumers(topic) => Ok(Some(self.topic_consumers(&topic))),
            Request::LockQueues(lock) => self.lock_queues(now, origin, *lock),
            Request::UnlockQueues(lock) => self.unlock_queues(now, origin, *lock),
            Request::GetConsumerOffsets => Ok(Some(self.consumer_offsets())),
            Request::GetDelayOffsets => Ok(Some(self.delay_offsets())),
            Request::SendBack(request) => self.send_back(now, origin, request, out),
            Request::PutGroups(groups) => self.put_groups(now, origin, groups),
            Request::DeleteGroup { group, with_positions } => {
                self.delete_group(now, origin, &group, with_positions)
            }
            Request::GetGroup(group) => self.get_group(&group),
            Request::GetGroups(page) => Ok(Some(self.get_groups(page))),
        };
        match answer {
            Ok(None) => {}
            Ok(Some(answer)) | Err(answer) => reply(origin, answer, out),
        }
    }

    /// The queue that a client named.
    fn known_queue(&self, queue: &QueueRef) -> Result<&Queue, Reply> {
        let topic = self.state.topics.get(&queue.topic).ok_or_else(|| no_topic(&queue.topic))?;
        let found = queue.id().and_then(|id| topic.queues.get(id.get() as usize));
        found.ok_or_else(|| {
            let (name, id, count) = (&queue.topic, queue.queue_id, topic.queues.len());
            let remark = format!("queue {id} of topic {name} does not exist, it has {count} queues");
            Reply::error(response::SYSTEM_ERROR, remark)
        })
    }
}

fn no_topic(topic: &str) -> Reply {
    let remark = format!("topic {topic} does not exist; create it with updateTopic or send a message to it");
    Reply::error(response::TOPIC_NOT_EXIST, remark)
}
