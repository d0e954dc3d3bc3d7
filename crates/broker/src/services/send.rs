//! Sending: checks a message against the state and queues it for the next batch.

use steadfast_types::topic::{DLQ_PREFIX, PERM_WRITE, RETRY_PREFIX};
use steadfast_types::{QueueId, limits};
use steadfast_wire::code::response;

use super::{Answer, no_topic};
use crate::broker::{Broker, Out};
use crate::control::Control;
use crate::io::{Now, Origin};
use crate::pending::{Parked, PendingSend, not_stored};
use crate::reply::Reply;
use crate::request::{Request, SendRequest};
use crate::state::TopicConfig;
use crate::state::attributes::QUOTA;

impl Broker {
    pub(super) fn send(
        &mut self,
        now: Now,
        origin: Origin,
        request: Box<SendRequest>,
        _out: &mut Out<'_>,
    ) -> Answer {
        self.check_takes(request.len())?;
        let request = self.past_retries(&origin, request)?;
        let Some(topic) = self.state.topics.get(&request.topic) else {
            return self.make_topic(now, origin, request);
        };
        if !topic.config.is_writable() {
            let cause = format!("topic {} is not writable (perm {})", request.topic, topic.config.perm);
            return Err(not_stored(response::NO_PERMISSION, &cause));
        }
        if let Some(quota) = topic.config.attributes.quota().filter(|_| self.state.is_protected(topic)) {
            let pinned = self.state.pinned_bytes(topic);
            if pinned >= quota {
                return Err(not_stored(
                    response::SERVICE_NOT_AVAILABLE,
                    &over_quota(&request.topic, pinned, quota),
                ));
            }
        }
        let writable = topic.config.write_queues;
        let queue_id = match u32::try_from(request.queue_id) {
            Ok(id) if (id as usize) < topic.queues.len() => QueueId::new(id),
            Ok(id) => {
                let cause =
                    format!("queue {id} of topic {} does not exist, it has {writable}", request.topic);
                return Err(not_stored(response::SYSTEM_ERROR, &cause));
            }
            Err(_) => self.any_queue(&request.topic, writable),
        };
        if request.delay_level > 0 {
            return self.send_delayed(now, origin, request, queue_id);
        }
        let told_queue = queue_id;
        self.pending.push_send(PendingSend { origin, queue_id, told_queue, request, since: now.ticks });
        Ok(None)
    }

    /// Whether the broker takes a message of `len` bytes now.
    pub(super) fn check_takes(&self, len: usize) -> Result<(), Reply> {
        self.check_writable()?;
        if self.options.permission & PERM_WRITE == 0 {
            let cause =
                format!("the broker takes no messages (brokerPermission={})", self.options.permission);
            return Err(not_stored(response::NO_PERMISSION, &cause));
        }
        if let Err(cause) = self.check_space() {
            return Err(not_stored(response::SERVICE_NOT_AVAILABLE, &cause));
        }
        let waiting = self.pending.bytes;
        if waiting > 0 && waiting + len > self.options.pending_bytes {
            let cause = format!("{waiting} bytes wait to be written already");
            return Err(not_stored(response::SYSTEM_BUSY, &cause));
        }
        Ok(())
    }

    /// Sends with queue id -1 take the queues of the topic in turn.
    pub(super) fn any_queue(&mut self, topic: &str, queues: u32) -> QueueId {
        let next = match self.next_queue.get_mut(topic) {
            Some(next) => next,
            None => self.next_queue.entry(topic.to_owned()).or_default(),
        };
        *next = next.wrapping_add(1);
        QueueId::new(*next % queues.max(1))
    }

    /// Creates the topic of a send, which waits until that is durable: a message never lies in the log before
    /// its topic.
    fn make_topic(&mut self, now: Now, origin: Origin, request: Box<SendRequest>) -> Answer {
        let derived = request.topic.starts_with(RETRY_PREFIX) || request.topic.starts_with(DLQ_PREFIX);
        let allowed = derived || (self.options.auto_create_topic && request.may_create_topic);
        if !allowed {
            let auto = self.options.auto_create_topic;
            let mut reply = no_topic(&request.topic);
            reply.remark = reply.remark.map(|r| format!("{r} (autoCreateTopicEnable={auto})").into());
            return Err(reply);
        }
        let asked = u32::try_from(request.default_topic_queues).unwrap_or(0).max(1);
        let queues =
            if derived { 1 } else { asked.min(self.options.default_topic_queues).min(limits::QUEUES) };
        let config = TopicConfig::new(request.topic.as_str(), queues, queues);
        self.park(now, origin, Request::Send(request), config)
    }

    /// Makes a topic and lets a request wait until that is durable.
    pub(super) fn park(&mut self, now: Now, origin: Origin, request: Request, topic: TopicConfig) -> Answer {
        let name = topic.name.to_string();
        if !self.is_topic_under_way(&name) {
            let control = Control::PutTopic(topic);
            self.pending.push_control(now, control, None);
        }
        self.parked.push(Parked { origin, request, topic: name, since: now.ticks });
        Ok(None)
    }

    /// Topics were made: requests that waited for them go on.
    pub(crate) fn unpark(&mut self, now: Now, out: &mut Out<'_>) {
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| self.state.topics.get(&parked.topic).is_some());
        self.parked = waiting;
        for Parked { origin, request, .. } in ready {
            self.request(now, origin, request, out);
        }
    }
}

fn over_quota(topic: &str, pinned: u64, quota: u64) -> String {
    format!(
        "protected topic {topic} has about {pinned} bytes that a consumer group has not processed, of {quota} allowed \
         ({QUOTA}); let its consumers catch up or raise the quota"
    )
}
