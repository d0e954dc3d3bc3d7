//! O: one offset of a queue, and one offset of a log, never names two messages, whoever says so and whenever;
//! and a queue has a message at each of its offsets, but for those that were given up.

use std::collections::BTreeMap;
use std::ops::Range;

use steadfast_types::{LogOffset, QueueOffset};

use super::{Findings, Run, place};
use crate::verdict::Invariant::Offsets;
use crate::{MessageId, Name, Place, Queue};

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    let mut claims = claims(run);
    claims.sort();
    claims.dedup();
    queue_offsets(&claims, findings);
    log_offsets(&claims, findings);
    for (queue, content) in &run.state.queues {
        let offsets: Vec<_> = content.messages.iter().map(|found| found.offset).collect();
        holes(run, queue, content.min..content.max, offsets, findings);
    }
}

type Claim<'a> = (Place, &'a MessageId);

/// Everything that acknowledgements, consumers and the full read said about places.
fn claims<'a>(run: &Run<'a>) -> Vec<Claim<'a>> {
    let mut all = Vec::new();
    for (queue, offsets) in &run.ledger.queues {
        for (offset, claims) in offsets {
            for claim in claims {
                let place = Place { queue: queue.clone(), offset: *offset, log_offset: claim.log_offset };
                all.push((place, &claim.id));
            }
        }
    }
    for (queue, content) in &run.state.queues {
        all.extend(content.messages.iter().map(|found| (place(queue, found), &found.id)));
    }
    all
}

fn queue_offsets(claims: &[Claim<'_>], findings: &mut Findings) {
    for pair in claims.windows(2) {
        let [(first, a), (second, b)] = pair else { continue };
        let same_offset = first.queue == second.queue && first.offset == second.offset;
        if same_offset && a != b {
            let text = format!("{first} named message {a}, and {second} message {b}");
            findings.add(Offsets, &[a, b], Some(first.clone()), text);
        }
    }
}

fn log_offsets(claims: &[Claim<'_>], findings: &mut Findings) {
    let mut seen: BTreeMap<(&Name, LogOffset), &Claim<'_>> = BTreeMap::new();
    for claim in claims {
        let (place, id) = claim;
        let (other_place, other) = seen.entry((&place.queue.broker, place.log_offset)).or_insert(claim);
        let same_queue_offset = (&other_place.queue, other_place.offset) == (&place.queue, place.offset);
        if other != id && !same_queue_offset {
            let text =
                format!("log offset {} named {other} at {other_place} and {id} at {place}", place.log_offset);
            findings.add(Offsets, &[other, id], Some(place.clone()), text);
        }
    }
}

fn holes(
    run: &Run<'_>,
    queue: &Queue,
    Range { start: min, end: max }: Range<QueueOffset>,
    mut offsets: Vec<QueueOffset>,
    findings: &mut Findings,
) {
    let read = offsets.len();
    offsets.sort();
    offsets.dedup();
    if offsets.len() < read {
        let text = format!("a read of {queue} returned {} offsets more than once", read - offsets.len());
        findings.add(Offsets, &[], None, text);
    }
    let end = offsets.last().map_or(min, |last| last.next());
    if end > max {
        findings.add(Offsets, &[], None, format!("{queue} ends at {max} but has messages up to {end}"));
    }
    let mut expected = min;
    for offset in offsets.into_iter().chain([max]) {
        let mut missing = (expected.get()..offset.get()).map(QueueOffset::new);
        if missing.any(|offset| !run.ledger.is_given_up(queue, offset)) {
            let text = format!("{queue} has no message at offsets {expected} up to {offset}");
            findings.add(Offsets, &[], None, text);
        }
        expected = offset.next();
    }
}

#[cfg(test)]
mod tests {
    use crate::Queue;
    use crate::fixture::{History, at, digest, queue};
    use crate::verdict::Invariant::Offsets;

    #[test]
    fn one_message_per_offset_whoever_says_so() {
        let mut history = History::default();
        history.settled("a", 0);
        history.deliver("a", 0);
        history.deliver("a", 0);
        history.settled("b", 1);
        // Another broker has its own log.
        history.send("c");
        history.ledger.acked(&"c".into(), Queue::new("b1", "T", 0).place(0, 100));
        let verdict = history.ledger.check(&history.state);
        assert_eq!(verdict.of(Offsets).count(), 0, "{verdict}");
    }

    #[test]
    fn a_reused_queue_offset_is_caught() {
        let mut history = History::default();
        // A consumer saw "a" before it was committed; after a crash its offset went to "b".
        history.send("a");
        history.deliver("a", 0);
        history.send("b");
        history.ledger.acked(&"b".into(), queue().place(0, 777));
        history.assert_broken(
            Offsets,
            &["b0/T/0@0 (log 100) named message a, and b0/T/0@0 (log 777) message b"],
        );
    }

    #[test]
    fn a_reused_log_offset_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.send("b");
        let place = Queue::new("b0", "T", 1).place(5, 100);
        history.ledger.delivered(&"b".into(), &place, digest("b"), &"g".into());
        history.assert_broken(
            Offsets,
            &["log offset 100 named a at b0/T/0@0 (log 100) and b at b0/T/1@5 (log 100)"],
        );
    }

    #[test]
    fn holes_repetitions_and_wrong_ends_are_caught() {
        let mut history = History::default();
        history.send("c");
        history.settled("a", 0);
        history.settled("b", 2);
        history.assert_broken(Offsets, &["b0/T/0 has no message at offsets 1 up to 2"]);
        history.ack("c", 1);
        history.store("c", 1);
        history.assert_clean();

        history.state.queues.get_mut(&queue()).unwrap().max = at(5);
        history.assert_broken(Offsets, &["b0/T/0 has no message at offsets 3 up to 5"]);
        history.state.queues.get_mut(&queue()).unwrap().max = at(2);
        history.assert_broken(Offsets, &["b0/T/0 ends at 2 but has messages up to 3"]);
        history.state.queues.get_mut(&queue()).unwrap().max = at(3);
        history.store("a", 0);
        history.assert_broken(Offsets, &["a read of b0/T/0 returned 1 offsets more than once"]);
    }
}
