//! R: a queue appends. Of two messages in it, one that was acknowledged before the other was first sent stands
//! before it; that makes a queue as ordered as its producers can see.

use std::collections::BTreeMap;

use steadfast_types::QueueOffset;

use super::{Findings, Run};
use crate::ledger::Moment;
use crate::verdict::Invariant::RealTime;
use crate::{MessageId, Queue};

struct Append<'a> {
    id: &'a MessageId,
    sent: Moment,
    acked: Moment,
}

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    let mut queues: BTreeMap<&Queue, BTreeMap<QueueOffset, Append<'_>>> = BTreeMap::new();
    for (id, book) in &run.ledger.messages {
        for (place, acked) in &book.acks {
            let append = Append { id, sent: book.first_sent, acked: *acked };
            queues.entry(&place.queue).or_default().entry(place.offset).or_insert(append);
        }
    }
    for (queue, appends) in queues {
        check_queue(queue, &appends, findings);
    }
}

/// From the end to the start, with the earliest acknowledgement of what stands behind.
fn check_queue(queue: &Queue, appends: &BTreeMap<QueueOffset, Append<'_>>, findings: &mut Findings) {
    let mut earliest: Option<(QueueOffset, &Append<'_>)> = None;
    for (offset, append) in appends.iter().rev() {
        if let Some((behind, other)) = earliest.filter(|(_, other)| other.acked < append.sent) {
            let (id, other) = (append.id, other.id);
            let text = format!(
                "message {id} stands at {queue}@{offset}, before message {other} at @{behind}, which was \
                 acknowledged before {id} was sent"
            );
            findings.add(RealTime, &[id, other], None, text);
        }
        if earliest.is_none_or(|(_, other)| append.acked < other.acked) {
            earliest = Some((*offset, append));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::History;
    use crate::verdict::Invariant::RealTime;

    #[test]
    fn concurrent_sends_may_stand_in_any_order() {
        let mut history = History::default();
        history.send("a");
        history.send("b");
        history.ack("b", 0);
        history.ack("a", 1);
        history.store("b", 0);
        history.store("a", 1);
        history.settled("c", 2);
        history.assert_clean();
    }

    #[test]
    fn a_message_before_one_acknowledged_earlier_is_caught() {
        let mut history = History::default();
        history.settled("a", 1);
        history.settled("b", 2);
        history.settled("c", 0);
        history.assert_broken(
            RealTime,
            &["message c stands at b0/T/0@0, before message a at @1, which was acknowledged before c was sent"],
        );
    }
}
