//! D: what consumers and the full read got is what was sent.

use super::{Findings, Run, place};
use crate::ledger::Witness;
use crate::verdict::Invariant::Digests;
use crate::{Digest, MessageId, Place};

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    for (queue, found) in run.all() {
        compare(run, &found.id, found.digest, place(queue, found), "the full read", findings);
    }
    for (queue, offsets) in &run.ledger.queues {
        for (offset, claims) in offsets {
            for claim in claims {
                if let Witness::Consumer(group, digest) = &claim.by {
                    let place = Place { queue: queue.clone(), offset: *offset, log_offset: claim.log_offset };
                    compare(run, &claim.id, *digest, place, group, findings);
                }
            }
        }
    }
}

fn compare(run: &Run<'_>, id: &MessageId, got: Digest, place: Place, who: &str, findings: &mut Findings) {
    let Some(book) = run.ledger.messages.get(id) else { return };
    if book.digest != got {
        let sent = book.digest;
        let text = format!("message {id} at {place} has digest {got} for {who}, but was sent with {sent}");
        findings.add(Digests, &[id], Some(place), text);
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{History, digest, place, queue};
    use crate::verdict::Invariant::Digests;

    #[test]
    fn the_same_content_everywhere_is_fine() {
        let mut history = History::default();
        history.settled("a", 0);
        history.deliver("a", 0);
        history.assert_clean();
    }

    #[test]
    fn changed_content_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.ledger.delivered(&"a".into(), &place(0), digest("x"), &"g".into());
        history.state.queues.get_mut(&queue()).unwrap().messages[0].digest = digest("y");
        let [x, y, sent] = ["x", "y", "a"].map(digest);
        history.assert_broken(
            Digests,
            &[
                &format!(
                    "message a at b0/T/0@0 (log 100) has digest {y} for the full read, but was sent with {sent}"
                ),
                &format!("message a at b0/T/0@0 (log 100) has digest {x} for g, but was sent with {sent}"),
            ],
        );
    }
}
