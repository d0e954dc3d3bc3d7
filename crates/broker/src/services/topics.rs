//! Making, changing and deleting topics by hand.

use steadfast_types::topic;
use steadfast_wire::code::response;

use super::Answer;
use crate::broker::Broker;
use crate::control::Control;
use crate::io::{Now, Origin};
use crate::reply::Reply;
use crate::state::TopicConfig;
use crate::state::attributes::Changes;

impl Broker {
    pub(super) fn create_topic(
        &mut self,
        now: Now,
        origin: Origin,
        mut config: TopicConfig,
        changes: &Changes,
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
        // Attributes that are not named stay as they are.
        let known = self.state.topics.get(&config.name).map(|topic| topic.config.attributes.clone());
        config.attributes = known.unwrap_or_default().with(changes);
        self.pending.push_control(now, Control::PutTopic(config), Some((origin, Reply::ok())));
        Ok(None)
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
