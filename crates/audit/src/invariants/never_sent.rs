//! N: nothing is served that was never sent to its topic, or whose every attempt was refused.

use super::{Findings, Run, place};
use crate::ledger::Witness;
use crate::verdict::Invariant::NeverSent;
use crate::{MessageId, Place};

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    for (id, what) in &run.ledger.strays {
        findings.add(NeverSent, &[id], None, format!("message {id} {what}"));
    }
    for (queue, found) in run.all() {
        check_message(run, &found.id, place(queue, found), "is stored", findings);
    }
    for (queue, offsets) in &run.ledger.queues {
        for (offset, claims) in offsets {
            for claim in claims {
                if let Witness::Consumer(group, _) = &claim.by {
                    let place = Place { queue: queue.clone(), offset: *offset, log_offset: claim.log_offset };
                    check_message(run, &claim.id, place, &format!("was delivered to {group}"), findings);
                }
            }
        }
    }
}

fn check_message(run: &Run<'_>, id: &MessageId, place: Place, what: &str, findings: &mut Findings) {
    let reason = match run.ledger.messages.get(id) {
        None => "nobody sent it",
        Some(book) if book.allowed_in(&place.queue.topic) > 0 => return,
        Some(book) if book.topic == place.queue.topic => "the server had said that it was not stored",
        Some(_) => "nobody sent it to that topic",
    };
    findings.add(
        NeverSent,
        &[id],
        Some(place.clone()),
        format!("message {id} {what} at {place}, but {reason}"),
    );
}
