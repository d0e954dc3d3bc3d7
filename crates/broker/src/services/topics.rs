//! Making, changing and deleting topics by hand.

use steadfast_types::topic;
use steadfast_wire::code::response;

use super::Answer;
use crate::broker::Broker;
use crate::control::Control;
use crate::io::{Now, Origin};
use crate::pending::PendingControl;
use crate::reply::Reply;
use crate::state::TopicConfig;

impl Broker {
    pub(super) fn create_topic(&mut self, now: Now, origin: Origin, config: TopicConfig) -> Answer {
        self.check_writable()?;
        if let Err(error) = topic::check_topic(&config.name) {
            return Err(Reply::error(
                response::INVALID_PARAMETER,
                format!("topic {:?}: {error}", config.name),
            ));
        }
        if topic::is_system(&config.name) {
            let remark = format!("topic {} belongs to the system", config.name);
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        }
        self.change(now, origin, Control::PutTopic(config));
        Ok(None)
    }

    pub(super) fn delete_topic(&mut self, now: Now, origin: Origin, name: &str) -> Answer {
        self.check_writable()?;
        if topic::is_system(name) {
            let remark = format!("topic {name} belongs to the system");
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        }
        if self.state.topics.get(name).is_none() {
            return Ok(Some(Reply::ok()));
        }
        self.change(now, origin, Control::DeleteTopic(name.into()));
        Ok(None)
    }

    fn change(&mut self, now: Now, origin: Origin, control: Control) {
        let pending = PendingControl { control, origin: Some(origin), since: now.ticks };
        self.pending.controls.push_back(pending);
    }
}
