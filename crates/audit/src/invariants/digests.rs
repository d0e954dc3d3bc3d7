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
