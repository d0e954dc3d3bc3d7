//! Locks of queues for orderly consumption (LOCK_BATCH_MQ, UNLOCK_BATCH_MQ): at most one client of a group consumes a
//! queue at a time. A lock is granted when its holder is in the log, so that also after a restart nobody else has it
//! (RocketMQ forgets all of them). Clients renew their locks every 20 s and take one for lost after 30 s.

use std::collections::BTreeMap;
use std::sync::Arc;

use steadfast_store::unit::QueueName;
use steadfast_types::topic;
use steadfast_wire::body::{LockBatchRequest, LockBatchResponse, MessageQueue};
use steadfast_wire::code::response;

use super::Answer;
use crate::broker::{Broker, Phase};
use crate::control::Control;
use crate::io::{Now, Origin};
use crate::reply::Reply;
use crate::request::QueueRef;
use crate::state::{Lock, Locks};

/// Milliseconds after which a lock that was not renewed is anyone's (RocketMQ's `REBALANCE_LOCK_MAX_LIVE_TIME`).
const LOCK_MAX: u64 = 60_000;

/// Who holds which queue and renewed it when: what is in the log, and what is on its way there.
#[derive(Debug, Default)]
pub(crate) struct LockHolders {
    by_group: BTreeMap<Arc<str>, BTreeMap<QueueName, Holder>>,
}

#[derive(Debug)]
struct Holder {
    client: Arc<str>,
    /// Ticks of the last request for it.
    renewed: u64,
}

impl LockHolders {
    /// Those of the log; they have all their time.
    pub(crate) fn new(locks: &Locks, ticks: u64) -> Self {
        let mut this = Self::default();
        for (group, queue, client) in locks.iter() {
            let holder = Holder { client: client.clone(), renewed: ticks };
            this.by_group.entry(group.clone()).or_default().insert(queue.clone(), holder);
        }
        this
    }

    /// Takes or renews a lock, unless another client has it.
    fn take(&mut self, group: &Arc<str>, queue: &QueueName, client: &Arc<str>, ticks: u64) -> bool {
        let queues = self.by_group.entry(group.clone()).or_default();
        let free = queues
            .get(queue)
            .is_none_or(|holder| holder.client == *client || holder.renewed + LOCK_MAX <= ticks);
        if free {
            queues.insert(queue.clone(), Holder { client: client.clone(), renewed: ticks });
        }
        free
    }

    /// Gives a lock back, if the client has it.
    fn give_back(&mut self, group: &str, queue: &QueueName, client: &str) -> bool {
        let Some(queues) = self.by_group.get_mut(group) else { return false };
        let held = queues.get(queue).is_some_and(|holder| *holder.client == *client);
        if held {
            queues.remove(queue);
        }
        held
    }
}

impl Broker {
    /// LOCK_BATCH_MQ: answers which of the queues the client holds now.
    pub(super) fn lock_queues(&mut self, now: Now, origin: Origin, request: LockBatchRequest) -> Answer {
        // What is held can be renewed as long as messages are served.
        if !matches!(self.phase, Phase::Poisoned(_)) {
            self.check_writable()?;
        }
        let LockBatchRequest { client_id, consumer_group, mq_set, .. } = request;
        if let Err(error) = topic::check_group(&consumer_group) {
            let remark = format!("group {consumer_group:?}: {error}");
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        }
        let (group, client): (Arc<str>, Arc<str>) = (consumer_group.into(), client_id.into());
        let is_moving = self.is_lock_under_way(&group);
        let (mut granted, mut queues) = (Vec::new(), Vec::new());
        for named in mq_set {
            let Some(queue) = self.lockable(&named) else { continue };
            if !self.lock_holders.take(&group, &queue, &client, now.ticks) {
                continue;
            }
            granted.push(named);
            if is_moving || self.state.locks.holder(&group, &queue) != Some(&client) {
                queues.push(queue);
            }
        }
        let answer = Reply::json(&LockBatchResponse { lock_ok_mq_set: granted });
        if queues.is_empty() {
            return Ok(Some(answer));
        }
        self.check_writable()?;
        let lock = Lock { group, client, queues, held: true };
        self.pending.push_control(now, Control::Lock(lock), Some((origin, answer)));
        Ok(None)
    }

    /// UNLOCK_BATCH_MQ: a lock that the client does not hold is none of its business, and no error.
    pub(super) fn unlock_queues(&mut self, now: Now, origin: Origin, request: LockBatchRequest) -> Answer {
        self.check_writable()?;
        let LockBatchRequest { client_id, consumer_group, mq_set, .. } = request;
        let named = mq_set.iter().filter_map(|named| self.lockable(named)).collect::<Vec<_>>();
        let holders = &mut self.lock_holders;
        let queues: Vec<_> =
            named.into_iter().filter(|queue| holders.give_back(&consumer_group, queue, &client_id)).collect();
        if queues.is_empty() {
            return Ok(Some(Reply::ok()));
        }
        let lock = Lock { group: consumer_group.into(), client: client_id.into(), queues, held: false };
        self.pending.push_control(now, Control::Lock(lock), Some((origin, Reply::ok())));
        Ok(None)
    }

    /// The queue that is named, if there is one: nothing is kept for others.
    fn lockable(&self, named: &MessageQueue) -> Option<QueueName> {
        let queue = QueueRef { topic: named.topic.clone(), queue_id: named.queue_id };
        self.known_queue(&queue).ok().map(|queue| queue.name.clone())
    }

    fn is_lock_under_way(&self, group: &str) -> bool {
        self.controls_under_way().any(|c| matches!(c, Control::Lock(lock) if *lock.group == *group))
    }
}
