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

#[cfg(test)]
mod tests {
    use steadfast_types::LogOffset;

    use crate::fixture::{History, at, digest, queue};
    use crate::verdict::Invariant::Readable;

    #[test]
    fn what_was_seen_and_stays_is_fine() {
        let mut history = History::default();
        history.settled("a", 1);
        history.deliver("a", 1);
        // Unknown to its producer, but seen, and there.
        history.send("b");
        history.deliver("b", 2);
        history.store("b", 2);
        history.send("old");
        history.deliver("old", 0);
        history.ledger.expired(&queue(), at(1));
        history.assert_clean();
    }

    #[test]
    fn what_was_seen_and_is_gone_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.send("b");
        history.deliver("b", 1);
        history.assert_broken(
            Readable,
            &["g saw message b at b0/T/0@1 (log 101), but now it is gone: the queue has offsets 0 to 1"],
        );
    }

    #[test]
    fn what_was_seen_and_changed_is_caught() {
        let mut history = History::default();
        history.send("a");
        history.deliver("a", 0);
        history.send("b");
        history.store("b", 0);
        let saw = "g saw message a at b0/T/0@0 (log 100), but now ";
        history.assert_broken(Readable, &[&format!("{saw}message b stands there")]);

        history.state.queues.clear();
        history.store("a", 0);
        history.state.queues.get_mut(&queue()).unwrap().messages[0].digest = digest("x");
        history.assert_broken(Readable, &[&format!("{saw}its content is another one")]);
        history.state.queues.get_mut(&queue()).unwrap().messages[0].log_offset = LogOffset::new(3);
        history.assert_broken(Readable, &[&format!("{saw}its log offset is 3")]);
    }
}
