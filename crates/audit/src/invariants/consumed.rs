//! C: a group whose consumers ran until nothing was left got every message of its topics. Positions that
//! clients moved forwards on purpose are no excuse here: such a run must not call the group drained.

use super::{Findings, Run, place};
use crate::ledger::Witness;
use crate::verdict::Invariant::Consumed;

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    for (queue, found) in run.all() {
        for (group, _) in run.state.drained.iter().filter(|(_, topic)| *topic == queue.topic) {
            let claims = run.ledger.queues.get(queue).and_then(|offsets| offsets.get(&found.offset));
            let got = claims.into_iter().flatten().any(|claim| {
                claim.id == found.id && matches!(&claim.by, Witness::Consumer(by, _) if by == group)
            });
            if !got {
                let (id, place) = (&found.id, place(queue, found));
                let text = format!("{group} consumed to the end but never got message {id} at {place}");
                findings.add(Consumed, &[id], Some(place), text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::History;
    use crate::verdict::Invariant::Consumed;

    #[test]
    fn a_group_that_got_everything_is_fine() {
        let mut history = History::default();
        history.settled("a", 0);
        // A group that did not run to the end owes nothing.
        history.assert_clean();
        history.deliver("a", 0);
        history.state.drained.insert(("g".into(), "T".into()));
        history.assert_clean();
    }

    #[test]
    fn a_skipped_message_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.settled("b", 1);
        history.deliver("b", 1);
        history.state.drained.insert(("g".into(), "T".into()));
        history.assert_broken(
            Consumed,
            &["g consumed to the end but never got message a at b0/T/0@0 (log 100)"],
        );
    }
}
