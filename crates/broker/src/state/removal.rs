//! What leaves the log: old messages by retention, damaged ones when an operator gives them up. Whoever had not processed
//! them jumps, and that is recorded (promise P6).

use std::ops::Range;

use steadfast_store::sabotage::{self, Sabotage};
use steadfast_store::unit::QueueName;
use steadfast_types::{QueueId, QueueOffset, Timestamp, topic};

use super::State;
use crate::control::{Expire, Hole, Position, QueueStart};
use crate::jump::{Jump, JumpCause, Move};

impl State {
    /// Old messages go, and with them what was known of them. Positions before what is left move to it.
    pub(super) fn expire(&mut self, expire: &Expire, at: Timestamp) -> Vec<Jump> {
        let mut jumps = Vec::new();
        // A position may have been moved back, or a topic been protected, since this was decided. Then nothing that
        // follows in the decision holds either.
        let follows = expire.part == 0 || expire.part == self.expiring;
        if !follows || expire.starts.iter().any(|start| self.needs(start)) {
            self.expiring = 0;
            return jumps;
        }
        self.expiring = if expire.segments.is_empty() { expire.part + 1 } else { 0 };
        for QueueStart { topic, queue_id, min } in &expire.starts {
            let Some(queue) = self.topics.queue_mut(topic, *queue_id) else { continue };
            queue.begin_at(*min);
            let min = queue.min;
            for (group, moved) in self.positions.raise(topic, *queue_id, min) {
                jumps.push(self.note(&group, topic, JumpCause::Expired, vec![moved], at));
            }
        }
        if expire.segments.is_empty() {
            return jumps;
        }
        for queue in self.topics.queues_mut() {
            queue.forget_damaged(|at| expire.segments.contains(&self.segments.base_of(at)));
        }
        self.segments.drop(&expire.segments);
        jumps
    }

    /// Whether a queue may not begin there, as messages before are needed.
    fn needs(&self, start: &QueueStart) -> bool {
        let Some(topic) = self.topics.get(&start.topic).filter(|topic| self.holds(topic)) else {
            return false;
        };
        let pin = topic.queues.get(start.queue_id.get() as usize).and_then(|queue| self.pin(queue));
        pin.is_some_and(|pin| pin.from < start.min)
    }

    /// A damaged message is given up.
    pub(super) fn give_up(&mut self, hole: &Hole) {
        if let Some(queue) = self.topics.queue_mut(&hole.topic, hole.queue_id) {
            queue.give_up(hole.offset, hole.log_offset);
        }
        if *hole.topic == *topic::SCHEDULE {
            self.forget_given_up(hole.queue_id);
        }
    }

    /// Delayed messages that were given up will not be delivered.
    pub(super) fn forget_given_up(&mut self, queue_id: QueueId) {
        if let Some(queue) = self.topics.queue(topic::SCHEDULE, queue_id) {
            self.delays.give_up(queue_id, queue.holes());
        }
    }

    /// The jump over the holes between a group's last position and the one that it has now.
    pub(super) fn pass_holes(
        &mut self,
        position: &Position,
        from: QueueOffset,
        at: Timestamp,
    ) -> Option<Jump> {
        let name = QueueName::new(position.topic.clone(), position.queue_id);
        let moves = self.holes_in(&name, from..position.offset.max(from));
        if sabotage::is(Sabotage::HolePassedInSilence) {
            return None;
        }
        (!moves.is_empty()).then(|| self.note(&position.group, &position.topic, JumpCause::Hole, moves, at))
    }

    /// Holes of a queue, those side by side as one.
    fn holes_in(&self, name: &QueueName, offsets: Range<QueueOffset>) -> Vec<Move> {
        let Some(queue) = self.topics.queue(&name.topic, name.queue_id) else { return Vec::new() };
        let mut moves: Vec<Move> = Vec::new();
        for (offset, _) in queue.holes().range(offsets) {
            match moves.last_mut() {
                Some(last) if last.to == *offset => last.to = offset.next(),
                _ => moves.push(Move { queue_id: name.queue_id, from: Some(*offset), to: offset.next() }),
            }
        }
        moves
    }
}
