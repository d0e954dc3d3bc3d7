//! C: a group whose consumers ran until nothing was left got every message of its topics that was acknowledged
//! before. Only a jump that the server has on record excuses what it went over; one into a new queue leads to its oldest
//! message and excuses nothing. Positions that clients moved forwards on purpose do not either: such a run must not call
//! the group drained.

use steadfast_types::QueueOffset;

use super::{Findings, Run, place};
use crate::ledger::Witness;
use crate::verdict::Invariant::Consumed;
use crate::{Name, Position, Queue};

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    for (queue, found) in run.all() {
        let acks = run.ledger.messages.get(&found.id).map_or(&[][..], |book| &book.acks);
        let acked = acks.iter().map(|(_, when)| *when).min();
        let owing =
            run.state.drained.iter().filter(|((_, topic), when)| {
                *topic == queue.topic && acked.is_some_and(|acked| acked < **when)
            });
        for ((group, _), _) in owing {
            let claims = run.ledger.queues.get(queue).and_then(|offsets| offsets.get(&found.offset));
            let got = claims.into_iter().flatten().any(|claim| {
                claim.id == found.id && matches!(&claim.by, Witness::Consumer(by, _) if by == group)
            });
            if !got && !jumped_over(run, group, queue, found.offset) {
                let (id, place) = (&found.id, place(queue, found));
                let text = format!("{group} consumed to the end but never got message {id} at {place}");
                findings.add(Consumed, &[id], Some(place), text);
            }
        }
    }
}

/// The cause of the jump that gives a group its first position in a queue.
const NEW_QUEUE: &str = "new_queue";

/// Whether the server says that the group's position jumped over an offset.
fn jumped_over(run: &Run<'_>, group: &Name, queue: &Queue, offset: QueueOffset) -> bool {
    let position = Position { group: group.clone(), queue: queue.clone() };
    let jumps = run.state.jumps.as_ref().and_then(|jumps| jumps.get(&position));
    let mut excuses = jumps.into_iter().flatten().filter(|jump| *jump.cause != *NEW_QUEUE);
    excuses.any(|jump| jump.from.is_none_or(|from| from <= offset) && offset < jump.to)
}

#[cfg(test)]
mod tests {
    use crate::Jump;
    use crate::fixture::{History, jump, position};
    use crate::verdict::Invariant::Consumed;

    #[test]
    fn a_group_that_got_everything_is_fine() {
        let mut history = History::default();
        history.settled("a", 0);
        // A group that did not run to the end owes nothing.
        history.assert_clean();
        history.deliver("a", 0);
        history.drain();
        history.assert_clean();
    }

    #[test]
    fn a_skipped_message_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.settled("b", 1);
        history.deliver("b", 1);
        history.drain();
        history.assert_broken(
            Consumed,
            &["g consumed to the end but never got message a at b0/T/0@0 (log 100)"],
        );
    }

    #[test]
    fn a_jump_on_record_excuses_what_it_went_over_and_no_more() {
        let mut history = History::default();
        for (offset, id) in ["a", "b", "c"].into_iter().enumerate() {
            history.settled(id, offset as u64);
        }
        history.drain();
        history.state.jumps = Some([(position(), vec![jump("expired", 0, 2)])].into());
        history.assert_broken(
            Consumed,
            &["g consumed to the end but never got message c at b0/T/0@2 (log 102)"],
        );
    }

    #[test]
    fn a_new_queue_is_no_excuse() {
        let mut history = History::default();
        history.settled("a", 0);
        history.drain();
        history.state.jumps =
            Some([(position(), vec![Jump { from: None, ..jump("new_queue", 0, 1) }])].into());
        history.assert_broken(
            Consumed,
            &["g consumed to the end but never got message a at b0/T/0@0 (log 100)"],
        );
    }

    #[test]
    fn messages_that_came_later_are_not_owed() {
        let mut history = History::default();
        history.drain();
        history.settled("a", 0);
        history.assert_clean();
    }
}
