//! Delayed messages on their way in. A message with a delay level is stored in a queue of the topic
//! SCHEDULE_TOPIC_XXXX, one queue for each level, so that each queue is in the order in which its messages become due.
//! `deliver.rs` brings them to the topic they are for.

use steadfast_types::record::{Draft, StoredMessage};
use steadfast_types::topic::SCHEDULE;
use steadfast_types::{QueueId, limits, properties};
use steadfast_wire::code::response;

use super::Answer;
use crate::broker::Broker;
use crate::io::{Now, Origin};
use crate::measures::MessageKind;
use crate::pending::{PendingSend, not_stored};
use crate::reply::Reply;
use crate::request::{PreparedRecord, Request, SendRequest};
use crate::state::TopicConfig;

/// Changes of properties: a name, and the new value or none.
pub(super) type Changes<'a> = [(&'a str, Option<&'a str>)];

impl Broker {
    /// Stores a send for queue `queue_id` of its topic until it is due. The sender is told the queue it is for, and the
    /// offset it has in the queue where it waits, as by RocketMQ.
    pub(super) fn send_delayed(
        &mut self,
        now: Now,
        origin: Origin,
        mut request: Box<SendRequest>,
        queue_id: QueueId,
    ) -> Answer {
        let schedule_queue = self.options.delay_levels.queue(request.delay_level);
        if !self.has_schedule_queue(schedule_queue) {
            return self.park_for_schedule(now, origin, Request::Send(request));
        }
        let bytes = &request.records[0].bytes;
        let Ok(message) = StoredMessage::decode_verified(bytes) else {
            return Err(not_stored(response::SYSTEM_ERROR, "the message cannot be read again"));
        };
        let real_queue = queue_id.to_string();
        let changes = [
            (properties::REAL_TOPIC, Some(request.topic.as_str())),
            (properties::REAL_QID, Some(real_queue.as_str())),
        ];
        let reconsume_times = message.reconsume_times;
        let mut record = self.rewritten(&message, SCHEDULE, reconsume_times, &changes)?;
        record.kind = Some(MessageKind::Delay);
        request.records = vec![record];
        request.topic = SCHEDULE.to_owned();
        self.pending.push_send(PendingSend {
            origin,
            queue_id: schedule_queue,
            told_queue: queue_id,
            request,
            since: now.ticks,
        });
        Ok(None)
    }

    /// Whether the topic of delayed messages has this queue.
    pub(super) fn has_schedule_queue(&self, queue: QueueId) -> bool {
        self.state.topics.queue(SCHEDULE, queue).is_some()
    }

    /// Lets a request wait until the topic of delayed messages has a queue for each level.
    pub(super) fn park_for_schedule(&mut self, now: Now, origin: Origin, request: Request) -> Answer {
        let levels = self.options.delay_levels.count();
        self.park(now, origin, request, TopicConfig::new(SCHEDULE, levels, levels))
    }

    /// The record of a message that goes to another topic, with some of its properties changed and all else kept.
    ///
    /// # Errors
    /// The answer to who asked for it, if the properties become too long.
    pub(super) fn rewritten(
        &self,
        message: &StoredMessage<'_>,
        topic: &str,
        reconsume_times: u32,
        changes: &Changes<'_>,
    ) -> Result<PreparedRecord, Reply> {
        let properties = properties::edit(message.properties, changes);
        if properties.len() > limits::PROPERTIES_LEN {
            let (len, max) = (properties.len(), limits::PROPERTIES_LEN);
            let cause = format!("the properties would have {len} bytes, the limit is {max}");
            return Err(not_stored(response::MESSAGE_ILLEGAL, &cause));
        }
        let draft = Draft {
            topic,
            flag: message.flag,
            sys_flag: message.sys_flag,
            born_time: message.born_time,
            born_host: message.born_host,
            store_host: self.options.store_host,
            reconsume_times,
            prepared_transaction_offset: message.prepared_transaction_offset,
            body: message.body,
            properties: &properties,
        };
        Ok(PreparedRecord::new(&draft, None))
    }
}
