//! C: a group whose consumers ran until nothing was left got every message of its topics that was acknowledged
//! before. Only a jump that the server has on record excuses what it went over; one into a new queue leads to its oldest
//! message and excuses nothing. Positions that clients moved forwards on purpose do not either: such a run must not call
//! the group drained. What was given up is passed with a jump on record, too.

use steadfast_types::QueueOffset;

use super::{Findings, Run, place};
use crate::ledger::{Claim, Witness};
use crate::verdict::Invariant::Consumed;
use crate::{Name, Position, Queue};

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    check_given_up(run, findings);
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

/// A group that stood before a message that was given up, and stands behind it, did not pass it in silence.
fn check_given_up(run: &Run<'_>, findings: &mut Findings) {
    let lost = run.ledger.given_up.iter().flat_map(|(queue, all)| all.iter().map(move |at| (queue, *at)));
    for (queue, offset) in lost.filter(|(queue, offset)| is_hole(run, queue, *offset)) {
        for (group, _) in run.state.drained.keys().filter(|(_, topic)| *topic == queue.topic) {
            let claims = run.ledger.queues.get(queue).and_then(|offsets| offsets.get(&offset));
            let got = |claim: &Claim| matches!(&claim.by, Witness::Consumer(by, _) if by == group);
            if passed(run, group, queue, offset)
                && !claims.into_iter().flatten().any(got)
                && !jumped_over(run, group, queue, offset)
                && !has_forgotten(run, group, queue)
            {
                let text =
                    format!("{group} passed {queue}@{offset}, which was given up, and no jump says so");
                findings.add(Consumed, &[], None, text);
            }
        }
    }
}

/// Whether a message that may have been given up is: retention has not come to it, and it is not there.
fn is_hole(run: &Run<'_>, queue: &Queue, offset: QueueOffset) -> bool {
    run.state.queues.get(queue).is_some_and(|content| content.min <= offset)
        && run.at(queue, offset).is_none()
}

/// Whether a group's position was at an offset or before it, and is behind it now.
fn passed(run: &Run<'_>, group: &Name, queue: &Queue, offset: QueueOffset) -> bool {
    let position = Position { group: group.clone(), queue: queue.clone() };
    let now = run.state.positions.as_ref().and_then(|positions| positions.get(&position));
    let commits = run.ledger.positions.get(&position).into_iter().flat_map(|book| &book.commits);
    let mut was = commits.filter(|commit| commit.acked.is_some()).filter_map(|commit| commit.offset);
    now.is_some_and(|now| *now > offset) && was.any(|was| was <= offset)
}

/// Jumps of a group in a topic that a server keeps on record.
const KEPT: usize = 64;

/// Whether older jumps may have left the record.
fn has_forgotten(run: &Run<'_>, group: &Name, queue: &Queue) -> bool {
    let all = run.state.jumps.iter().flatten();
    let of = all.filter(|(position, _)| position.group == *group && position.queue.topic == queue.topic);
    of.map(|(_, jumps)| jumps.len()).sum::<usize>() >= KEPT
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
    use crate::fixture::{History, at, jump, position, queue};
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

    /// A message that was given up stood between two that were processed.
    fn given_up() -> History {
        let mut history = History::default();
        history.settled("a", 0);
        history.send("lost");
        history.ack("lost", 1);
        history.settled("c", 2);
        history.deliver("a", 0);
        history.deliver("c", 2);
        history.ledger.committed(&position(), at(1));
        history.ledger.giving_up(&queue(), at(1));
        history.ledger.committed(&position(), at(3));
        history.state.positions = Some([(position(), at(3))].into());
        history.drain();
        history
    }

    #[test]
    fn a_message_that_was_given_up_is_passed_with_a_jump() {
        let mut history = given_up();
        history.state.jumps = Some([(position(), vec![jump("hole", 1, 2)])].into());
        history.assert_clean();
        // It had got it before.
        let mut history = given_up();
        history.deliver("lost", 1);
        history.assert_clean();
    }

    #[test]
    fn a_message_that_is_passed_in_silence_is_caught() {
        given_up().assert_broken(Consumed, &["g passed b0/T/0@1, which was given up, and no jump says so"]);
    }

    #[test]
    fn messages_that_came_later_are_not_owed() {
        let mut history = History::default();
        history.drain();
        history.settled("a", 0);
        history.assert_clean();
    }
}
