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
