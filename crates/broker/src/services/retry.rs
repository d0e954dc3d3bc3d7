//! Retries and dead letters. A consumer that cannot process a message sends it back (CONSUMER_SEND_MSG_BACK): it comes
//! again from the group's retry topic after a delay, or, retried too often, rests in the group's dead letters. The
//! copy keeps everything of the message, and is one entry of the log, with the group's position if that was at it.

use bytes::Bytes;
use steadfast_store::unit::QueueName;
use steadfast_types::message_id::offset_msg_id;
use steadfast_types::record::StoredMessage;
use steadfast_types::topic::{RETRY_PREFIX, SCHEDULE, check_group, dlq_topic, retry_topic};
use steadfast_types::{LogOffset, QueueId, properties};
use steadfast_wire::body::SubscriptionGroupConfig;
use steadfast_wire::code::response;

use super::Answer;
use super::lookup::Viewed;
use super::reads::ReadPurpose;
use super::subscription_groups::no_group;
use crate::broker::{Broker, Out, reply};
use crate::control::{Control, Position};
use crate::io::{Now, Origin, ReadJob, ReadResult};
use crate::measures::MessageKind;
use crate::pending::{Bundle, is_position_under_way, not_stored};
use crate::reply::Reply;
use crate::request::{PreparedRecord, Request, SendBackRequest, SendRequest};
use crate::state::TopicConfig;

/// Version ordinal of RocketMQ 3.4.9: only clients from then on mean what they say about the most retries.
const SAYS_MAX_RETRIES: i32 = 121;
/// Delay level of the first retry, if the consumer asks for none.
const FIRST_RETRY_LEVEL: u32 = 3;

impl Broker {
    /// CONSUMER_SEND_MSG_BACK. The message is read by its log offset first.
    pub(super) fn send_back(
        &mut self,
        now: Now,
        origin: Origin,
        request: Box<SendBackRequest>,
        out: &mut Out<'_>,
    ) -> Answer {
        self.check_takes(0)?;
        if let Err(error) = check_group(&request.group) {
            let cause = format!("group {:?}: {error}", request.group);
            return Err(not_stored(response::INVALID_PARAMETER, &cause));
        }
        if self.group_settings(&request.group).is_none() {
            return Err(no_group(&request.group));
        }
        self.ensure_group(now, &request.group);
        let committed = self.committed();
        let at = request.offset;
        if at >= committed.get() {
            let cause = format!("there is no message at log offset {at}; the log ends at {committed}");
            return Err(not_stored(response::SYSTEM_ERROR, &cause));
        }
        let covered = at < self.stretch.from.get();
        let job = ReadJob::View { at: LogOffset::new(at), committed };
        self.read(ReadPurpose::SendBack { origin, request, covered }, job, out);
        Ok(None)
    }

    /// The message that is sent back was read, or not.
    pub(super) fn send_back_read_done(
        &mut self,
        now: Now,
        origin: Origin,
        (request, covered): (Box<SendBackRequest>, bool),
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        let at = request.offset;
        let answer = match self.viewed(now, (at, covered), result, out) {
            Viewed::Message(record) => self.take_back(now, origin, request, &record),
            Viewed::AskAgain => self.send_back(now, origin, request, out),
            Viewed::Nothing => {
                let cause = format!("no message begins at log offset {at}");
                Err(not_stored(response::SYSTEM_ERROR, &cause))
            }
            Viewed::Unreadable(cause) => Err(not_stored(response::SYSTEM_ERROR, &cause)),
        };
        match answer {
            Ok(None) => {}
            Ok(Some(answer)) | Err(answer) => reply(origin, answer, out),
        }
    }

    fn take_back(
        &mut self,
        now: Now,
        origin: Origin,
        request: Box<SendBackRequest>,
        record: &Bytes,
    ) -> Answer {
        self.check_writable()?;
        let Ok(message) = StoredMessage::decode_verified(record) else {
            return Err(not_stored(response::SYSTEM_ERROR, "the message cannot be read"));
        };
        let first_topic = properties::get(message.properties, properties::RETRY_TOPIC);
        if let Some(named) = request.origin_topic.as_deref()
            && named != message.topic
            && Some(named) != first_topic
        {
            let (at, topic) = (request.offset, message.topic);
            let cause = format!("the message at log offset {at} is of topic {topic}, not of {named}");
            return Err(not_stored(response::SYSTEM_ERROR, &cause));
        }
        let Some(settings) = self.group_settings(&request.group) else {
            return Err(no_group(&request.group));
        };
        let max = max_retries(&origin, request.max_reconsume_times, &settings);
        // RocketMQ takes no retry queues for leave to drop the message. Dead letters lose nothing.
        let is_dead = i64::from(message.reconsume_times) >= i64::from(max)
            || request.delay_level < 0
            || settings.retry_queue_nums == 0;
        let moved = if is_dead {
            self.dead_letter(now, origin, &request, &message)?
        } else {
            self.retry(now, origin, &request, &message)?
        };
        // Without it, a topic is being made, and the request is asked again.
        if let Some(moved) = moved {
            let controls = self.acknowledgement(&request.group, &message).into_iter().collect();
            let bundle = Bundle { controls, messages: vec![moved], origin: Some(origin), since: now.ticks };
            self.pending.push_bundle(bundle);
        }
        Ok(None)
    }

    /// The message for the group's retry topic, to be stored until it is due.
    fn retry(
        &mut self,
        now: Now,
        origin: Origin,
        request: &SendBackRequest,
        message: &StoredMessage<'_>,
    ) -> Result<Option<(QueueName, PreparedRecord)>, Reply> {
        let real_topic = retry_topic(&request.group);
        let Some(topic) = self.state.topics.get(&real_topic) else {
            let again = Request::SendBack(Box::new(request.clone()));
            self.park(now, origin, again, TopicConfig::new(real_topic, 1, 1))?;
            return Ok(None);
        };
        let queues = topic.config.write_queues;
        let level = match u32::try_from(request.delay_level) {
            Ok(level @ 1..) => level,
            _ => FIRST_RETRY_LEVEL.saturating_add(message.reconsume_times),
        };
        let level = level.min(self.options.delay_levels.count());
        let queue_id = self.options.delay_levels.queue(level);
        if !self.has_schedule_queue(queue_id) {
            let again = Request::SendBack(Box::new(request.clone()));
            self.park_for_schedule(now, origin, again)?;
            return Ok(None);
        }
        let real_queue = self.any_queue(&real_topic, queues).to_string();
        let (level, first) = (level.to_string(), First::of(message));
        let changes = [
            (properties::RETRY_TOPIC, Some(first.topic)),
            (properties::ORIGIN_MESSAGE_ID, Some(first.id.as_str())),
            (properties::DELAY, Some(level.as_str())),
            (properties::REAL_TOPIC, Some(real_topic.as_str())),
            (properties::REAL_QID, Some(real_queue.as_str())),
        ];
        let record = self.rewritten(message, SCHEDULE, message.reconsume_times + 1, &changes)?;
        Ok(Some((QueueName::new(SCHEDULE, queue_id), record)))
    }

    /// The message for the group's dead letters.
    fn dead_letter(
        &mut self,
        now: Now,
        origin: Origin,
        request: &SendBackRequest,
        message: &StoredMessage<'_>,
    ) -> Result<Option<(QueueName, PreparedRecord)>, Reply> {
        let topic = dlq_topic(&request.group);
        if self.state.topics.get(&topic).is_none() {
            let again = Request::SendBack(Box::new(request.clone()));
            self.park(now, origin, again, TopicConfig::new(topic, 1, 1))?;
            return Ok(None);
        }
        let record = self.dead(message, &topic, message.reconsume_times + 1)?;
        // A copy by the broker, and counted all the same: somebody has to look at it.
        let record = PreparedRecord { kind: Some(MessageKind::Normal), ..record };
        Ok(Some((QueueName::new(topic, QueueId::ZERO), record)))
    }

    fn dead(
        &self,
        message: &StoredMessage<'_>,
        topic: &str,
        reconsume_times: u32,
    ) -> Result<PreparedRecord, Reply> {
        let first = First::of(message);
        let changes = [
            (properties::RETRY_TOPIC, Some(first.topic)),
            (properties::ORIGIN_MESSAGE_ID, Some(first.id.as_str())),
            (properties::DLQ_ORIGIN_TOPIC, Some(first.topic)),
            (properties::DLQ_ORIGIN_MESSAGE_ID, Some(first.id.as_str())),
            (properties::DELAY, None),
        ];
        let record = self.rewritten(message, topic, reconsume_times, &changes)?;
        Ok(PreparedRecord { dead_of: Some(first.topic.into()), ..record })
    }

    /// The group's position behind the message, if the message is what the group has to process next: whoever sends
    /// it back has done with it. Elsewhere the position is the consumer's to tell, as it knows what else is open.
    fn acknowledgement(&self, group: &str, message: &StoredMessage<'_>) -> Option<Control> {
        let (topic, queue_id, offset) = (message.topic, message.stamp.queue_id, message.stamp.queue_offset);
        let may_be_next = self.state.positions.get(group, topic, queue_id) == Some(offset)
            || is_position_under_way(&self.pending, &self.in_flight, (group, topic, queue_id));
        let (group, topic) = (group.into(), topic.into());
        may_be_next.then_some(Control::Processed(Position { group, topic, queue_id, offset }))
    }

    /// A consumer that could not send a message back sends it to its retry topic itself. Past the most retries it
    /// becomes a dead letter here too.
    pub(super) fn past_retries(
        &self,
        origin: &Origin,
        mut request: Box<SendRequest>,
    ) -> Result<Box<SendRequest>, Reply> {
        let Some(group) = request.topic.strip_prefix(RETRY_PREFIX) else { return Ok(request) };
        let settings = self.group_settings(group).ok_or_else(|| no_group(group))?;
        let max = max_retries(origin, request.max_reconsume_times, &settings);
        if i64::from(request.reconsume_times) <= i64::from(max) {
            return Ok(request);
        }
        let topic = dlq_topic(group);
        let Ok(message) = StoredMessage::decode_verified(&request.records[0].bytes) else {
            return Err(not_stored(response::SYSTEM_ERROR, "the message cannot be read again"));
        };
        let kind = request.records[0].kind;
        let record = self.dead(&message, &topic, message.reconsume_times)?;
        request.records = vec![PreparedRecord { kind, ..record }];
        request.topic = topic;
        request.queue_id = 0;
        request.delay_level = 0;
        Ok(request)
    }
}

fn max_retries(origin: &Origin, said: Option<i32>, settings: &SubscriptionGroupConfig) -> i32 {
    said.filter(|_| origin.version >= SAYS_MAX_RETRIES).unwrap_or(settings.retry_max_times)
}

/// What a message was before its first retry.
struct First<'a> {
    topic: &'a str,
    id: String,
}

impl<'a> First<'a> {
    fn of(message: &StoredMessage<'a>) -> Self {
        let topic = properties::get(message.properties, properties::RETRY_TOPIC).unwrap_or(message.topic);
        let id = properties::get(message.properties, properties::ORIGIN_MESSAGE_ID)
            .map_or_else(|| offset_msg_id(message.store_host, message.stamp.log_offset), str::to_owned);
        Self { topic, id }
    }
}
