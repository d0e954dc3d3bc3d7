//! Making, changing and deleting topics by hand.

use steadfast_store::unit::QueueName;
use steadfast_types::topic;
use steadfast_wire::code::response;

use super::Answer;
use crate::broker::{Broker, Out};
use crate::control::Control;
use crate::io::{Effect, Now, Origin};
use crate::reply::Reply;
use crate::state::attributes::Changes;
use crate::state::{Queue, Topic, TopicConfig};

impl Broker {
    pub(super) fn create_topic(
        &mut self,
        now: Now,
        origin: Origin,
        mut config: TopicConfig,
        changes: &Changes,
        out: &mut Out<'_>,
    ) -> Answer {
        self.check_writable()?;
        if let Err(error) = topic::check_topic(&config.name) {
            return Err(Reply::error(
                response::INVALID_PARAMETER,
                format!("topic {:?}: {error}", config.name),
            ));
        }
        if self.is_system_topic(&config.name) {
            let remark = format!("topic {} belongs to the system", config.name);
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        }
        let known = self.state.topics.get(&config.name);
        if let Some(hidden) = known.and_then(|topic| self.hidden_by(topic, &config)) {
            out(Effect::Warn(hidden));
        }
        // Attributes that are not named stay as they are.
        let attributes = known.map(|topic| topic.config.attributes.clone());
        config.attributes = attributes.unwrap_or_default().with(changes);
        self.pending.push_control(now, Control::PutTopic(config), Some((origin, Reply::ok())));
        Ok(None)
    }

    /// What to tell of messages that consumers do not come to any more, as they do not read their queues after a change.
    fn hidden_by(&self, topic: &Topic, change: &TopicConfig) -> Option<String> {
        let TopicConfig { name, read_queues, .. } = &topic.config;
        let gone = change.read_queues..*read_queues;
        let queues = topic.queues.iter().filter(|queue| gone.contains(&queue.name.queue_id.get()));
        let unprocessed = queues.map(|queue| (queue.name.queue_id, self.unprocessed(queue)));
        let hidden: Vec<_> = unprocessed.filter(|(_, messages)| *messages > 0).collect();
        if hidden.is_empty() {
            return None;
        }
        let messages: u64 = hidden.iter().map(|(_, messages)| messages).sum();
        let ids: Vec<String> = hidden.iter().map(|(id, _)| id.to_string()).collect();
        Some(format!(
            "topic {name} is changed from {read_queues} queues to read from to {}: {messages} messages in its queues {} \
             are not processed, and not delivered any more; to have them delivered: updateTopic -t {name} -r \
             {read_queues}",
            change.read_queues,
            ids.join(", ")
        ))
    }

    /// Messages of a queue that some group of its topic has not processed; all of them if there is no group.
    fn unprocessed(&self, queue: &Queue) -> u64 {
        let QueueName { topic, queue_id } = &queue.name;
        let groups = self.state.positions.groups_of(topic);
        let positions = groups.map(|group| self.state.positions.get(group, topic, *queue_id));
        let slowest = positions.map(|position| position.unwrap_or(queue.min)).min();
        queue.end.get() - slowest.unwrap_or(queue.min).clamp(queue.min, queue.end).get()
    }

    pub(super) fn delete_topic(&mut self, now: Now, origin: Origin, name: &str) -> Answer {
        self.check_writable()?;
        if self.is_system_topic(name) {
            let remark = format!("topic {name} belongs to the system");
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        }
        if self.state.topics.get(name).is_none() {
            return Ok(Some(Reply::ok()));
        }
        self.pending.push_control(now, Control::DeleteTopic(name.into()), Some((origin, Reply::ok())));
        Ok(None)
    }
}
