//! Consumer positions: everything before a group's position in a queue has been processed.

use steadfast_types::{QueueOffset, topic};
use steadfast_wire::code::response;

use super::Answer;
use crate::broker::Broker;
use crate::control::{Control, Position};
use crate::io::{Now, Origin};
use crate::pending::{PendingControl, is_position_under_way};
use crate::reply::{Reply, ReplyHeader};
use crate::request::{QueueRef, Request};

impl Broker {
    /// QUERY_CONSUMER_OFFSET. A group without a position starts where its settings say, which the client
    /// decides on 22, with two exceptions that keep it from skipping messages: a queue that still has its first
    /// message answers 0 (as RocketMQ does), and a queue that is new to a group which has positions in the
    /// topic answers its oldest offset (promise P6; RocketMQ skips to the end there).
    ///
    /// The answer covers every update that came before the question: a consumer that takes over a queue must
    /// not start where its predecessor was some time ago.
    pub(super) fn query_consumer_offset(
        &mut self,
        origin: Origin,
        group: String,
        queue: QueueRef,
        zero_if_absent: bool,
    ) -> Answer {
        if let Some(id) = queue.id()
            && is_position_under_way(&self.pending, self.in_flight.as_ref(), (&group, &queue.topic, id))
        {
            self.waiting_queries
                .push((origin, Request::QueryConsumerOffset { group, queue, zero_if_absent }));
            return Ok(None);
        }
        self.known_position(&group, &queue, zero_if_absent)
    }

    fn known_position(&self, group: &str, queue: &QueueRef, zero_if_absent: bool) -> Answer {
        let found = self.known_queue(queue)?;
        let answer = |offset: QueueOffset| Ok(Some(Reply::with(ReplyHeader::Offset(offset.get() as i64))));
        if let Some(position) = self.state.positions.get(group, &queue.topic, found.name.queue_id) {
            return answer(position);
        }
        let known_group = self.state.positions.of_topic(group, &queue.topic).is_some();
        if known_group || (zero_if_absent && found.min == QueueOffset::ZERO) {
            return answer(found.min);
        }
        let remark = format!("group {group} has no position in {} yet", found.name);
        Err(Reply::error(response::QUERY_NOT_FOUND, remark))
    }

    /// UPDATE_CONSUMER_OFFSET. Answered once the position is durable.
    pub(super) fn update_consumer_offset(
        &mut self,
        now: Now,
        origin: Origin,
        group: &str,
        queue: &QueueRef,
        offset: i64,
    ) -> Answer {
        self.check_writable()?;
        if let Err(error) = topic::check_group(group) {
            return Err(Reply::error(response::INVALID_PARAMETER, format!("group {group:?}: {error}")));
        }
        let found = self.known_queue(queue)?;
        let Ok(offset) = u64::try_from(offset) else {
            let remark = format!("{offset} is not a position; positions begin at 0");
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        };
        let (queue_id, offset) = (found.name.queue_id, QueueOffset::new(offset));
        if self.state.positions.get(group, &queue.topic, queue_id) == Some(offset)
            && self.pending.controls.is_empty()
            && self.in_flight.is_none()
        {
            return Ok(Some(Reply::ok()));
        }
        let (group, topic) = (group.into(), queue.topic.as_str().into());
        let control = Control::Position(Position { group, topic, queue_id, offset });
        let pending = PendingControl { control, origin: Some(origin), since: now.ticks };
        self.pending.controls.push_back(pending);
        Ok(None)
    }
}
