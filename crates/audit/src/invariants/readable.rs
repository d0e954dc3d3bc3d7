//! V: readable means acknowledged. What a consumer saw at an offset is there at the end, with the same content.

use super::{Findings, Run};
use crate::Place;
use crate::ledger::Witness;
use crate::verdict::Invariant::Readable;

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    for (queue, offsets) in &run.ledger.queues {
        for (offset, claims) in offsets {
            for claim in claims {
                let Witness::Consumer(group, digest) = &claim.by else { continue };
                let place = Place { queue: queue.clone(), offset: *offset, log_offset: claim.log_offset };
                let id = &claim.id;
                let now = match run.at(queue, *offset) {
                    None if run.ledger.may_be_gone(queue, *offset) => continue,
                    None => format!("it is gone: {}", run.range(queue)),
                    Some(found) if found.id != *id => format!("message {} stands there", found.id),
                    Some(found) if found.log_offset != claim.log_offset => {
                        format!("its log offset is {}", found.log_offset)
                    }
                    Some(found) if found.digest != *digest => "its content is another one".to_owned(),
                    Some(_) => continue,
                };
                let text = format!("{group} saw message {id} at {place}, but now {now}");
                findings.add(Readable, &[id], Some(place), text);
            }
        }
    }
}
