//! Consumer positions: everything before a group's position in a queue has been processed. A position only moves by
//! commits of what was processed, or by jumps, none of which is silent (promise P6; see `jump.rs`).

use steadfast_store::sabotage::{self, Sabotage};
use steadfast_types::{QueueId, QueueOffset, topic};
use steadfast_wire::code::response;

use super::Answer;
use crate::broker::{Broker, Out};
use crate::control::{Control, Position};
use crate::io::{Effect, Now, Origin};
use crate::jump::{Jump, JumpCause, Move};
use crate::pending::is_position_under_way;
use crate::reply::{Reply, ReplyHeader};
use crate::request::{PullRequest, QueueRef, Request};

/// What RocketMQ says to a commit that a reset has overtaken.
const RESET_BEFORE: &str = "Offset has been previously reset";

impl Broker {
    /// QUERY_CONSUMER_OFFSET. A group without a position starts where its settings say, which the client
    /// decides on 22, with two exceptions that keep it from skipping messages: a queue that still has its first
    /// message answers 0 (as RocketMQ does), and a queue that is new to a group which has positions in the
    /// topic answers its oldest offset, which becomes the group's position (RocketMQ skips to the end there).
    ///
    /// The answer covers every update that came before the question: a consumer that takes over a queue must
    /// not start where its predecessor was some time ago.
    pub(super) fn query_consumer_offset(
        &mut self,
        now: Now,
        origin: Origin,
        group: String,
        queue: QueueRef,
        zero_if_absent: bool,
    ) -> Answer {
        let found = self.known_queue(&queue)?;
        let (id, min, end) = (found.name.queue_id, found.min, found.end);
        let answer = |offset: QueueOffset| Ok(Some(Reply::with(ReplyHeader::Offset(offset.get() as i64))));
        if !self.is_moving(&group, &queue.topic, id) {
            if let Some(position) = self.state.positions.get(&group, &queue.topic, id) {
                return answer(position);
            }
            if !self.state.positions.knows(&group, &queue.topic) {
                if zero_if_absent && min == QueueOffset::ZERO {
                    return answer(min);
                }
                let remark = format!("group {group} has no position in {}/{id} yet", queue.topic);
                return Err(Reply::error(response::QUERY_NOT_FOUND, remark));
            }
            if self.check_writable().is_err() {
                return answer(min);
            }
            let to = if sabotage::is(Sabotage::NewQueueStartsAtEnd) { end } else { min };
            let moved = Move { queue_id: id, from: None, to };
            let jump = Jump::one(&group, &queue.topic, JumpCause::NewQueue, moved);
            self.pending.push_control(now, Control::Jump(jump), None);
        }
        self.waiting_queries.push((origin, Request::QueryConsumerOffset { group, queue, zero_if_absent }));
        Ok(None)
    }

    /// Whether an update of a position was admitted and is not durable yet.
    pub(super) fn is_moving(&self, group: &str, topic: &str, queue_id: QueueId) -> bool {
        is_position_under_way(&self.pending, &self.in_flight, (group, topic, queue_id))
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
        let (queue_id, end) = (found.name.queue_id, found.end);
        let Ok(offset) = u64::try_from(offset) else {
            let remark = format!("{offset} is not a position; positions begin at 0");
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        };
        if offset > end.get() {
            let remark = format!(
                "{offset} is not a position in queue {}: it ends at {end}, nobody can have processed more",
                found.name
            );
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        }
        let offset = QueueOffset::new(offset);
        if self.state.positions.reset_to(group, &queue.topic, queue_id).is_some_and(|to| to != offset) {
            return Ok(Some(Reply { remark: Some(RESET_BEFORE.into()), ..Reply::ok() }));
        }
        if self.is_durably(group, &queue.topic, queue_id, offset)
            && self.pending.controls.is_empty()
            && self.in_flight.is_empty()
        {
            return Ok(Some(Reply::ok()));
        }
        let control = position(group, &queue.topic, queue_id, offset);
        self.pending.push_control(now, control, Some((origin, Reply::ok())));
        Ok(None)
    }

    /// Whether committing `offset` would change nothing.
    fn is_durably(&self, group: &str, topic: &str, queue_id: QueueId, offset: QueueOffset) -> bool {
        self.state.positions.get(group, topic, queue_id) == Some(offset)
            && self.state.positions.reset_to(group, topic, queue_id).is_none()
    }

    /// The position that a pull brings along. A wrong one is not taken; the pull is served all the same.
    pub(super) fn commit_on_the_way(&mut self, now: Now, pull: &PullRequest, offset: QueueOffset) {
        if self.check_writable().is_err() {
            return;
        }
        let Ok(found) = self.known_queue(&pull.queue) else { return };
        let (queue_id, end) = (found.name.queue_id, found.end);
        let (group, topic) = (&pull.group, &pull.queue.topic);
        let overtaken = self.state.positions.reset_to(group, topic, queue_id).is_some_and(|to| to != offset);
        if offset > end || overtaken || self.is_durably(group, topic, queue_id, offset) {
            return;
        }
        self.pending.push_control(now, position(group, topic, queue_id, offset), None);
    }

    /// Where a pull must go on instead because the position was reset. The reset is over when a client of the group
    /// pulls from there, not before: an answer may be lost.
    pub(super) fn follow_reset(
        &mut self,
        now: Now,
        pull: &PullRequest,
        queue_id: QueueId,
    ) -> Option<QueueOffset> {
        let (group, topic) = (&pull.group, &pull.queue.topic);
        let target = self.state.positions.reset_to(group, topic, queue_id)?;
        if u64::try_from(pull.offset) != Ok(target.get()) {
            return Some(target);
        }
        if self.check_writable().is_ok() && !self.is_moving(group, topic, queue_id) {
            self.pending.push_control(now, position(group, topic, queue_id, target), None);
        }
        None
    }

    /// Where a pull goes on whose offset the queue does not have: at the oldest message if that is gone, at the group's
    /// position, or else at the end. A position that is out of range itself is corrected.
    pub(super) fn back_in_range(&mut self, now: Now, pull: &PullRequest, queue_id: QueueId) -> QueueOffset {
        let (group, topic) = (&pull.group, &pull.queue.topic);
        let Some(queue) = self.state.topics.queue(topic, queue_id) else { return QueueOffset::ZERO };
        let (min, end) = (queue.min, queue.end);
        let known = self.state.positions.get(group, topic, queue_id);
        let next = match known {
            _ if u64::try_from(pull.offset).map_or(true, |asked| asked < min.get()) => min,
            Some(position) => position.clamp(min, end),
            None => end,
        };
        if let Some(from) = known.filter(|position| !(min..=end).contains(position))
            && self.check_writable().is_ok()
            && !self.is_moving(group, topic, queue_id)
        {
            let moved = Move { queue_id, from: Some(from), to: from.clamp(min, end) };
            let jump = Jump::one(group, topic, JumpCause::OutOfRange, moved);
            self.pending.push_control(now, Control::Jump(jump), None);
        }
        next
    }

    /// Positions jumped: the operator learns of it, and clients that a reset concerns are answered at once.
    pub(crate) fn jumped(&mut self, now: Now, jump: &Jump, out: &mut Out<'_>) {
        // Clients that take over a queue may commit a little less than the ones before them, all day.
        if jump.cause != JumpCause::Commit {
            out(Effect::Warn(jump.describe()));
        }
        if jump.cause == JumpCause::Reset {
            for moved in &jump.moves {
                self.wake_group(now, &jump.group, &jump.topic, moved.queue_id, out);
            }
            if !self.options.server_side_reset {
                self.tell_of_reset(now, jump, out);
            }
        }
    }
}

fn position(group: &str, topic: &str, queue_id: QueueId, offset: QueueOffset) -> Control {
    Control::Position(Position { group: group.into(), topic: topic.into(), queue_id, offset })
}
