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

#[cfg(test)]
mod tests {
    use crate::Queue;
    use crate::fixture::{History, digest, found, queue};
    use crate::verdict::Invariant::NeverSent;

    #[test]
    fn unknown_attempts_and_copies_on_request_may_appear() {
        let mut history = History::default();
        history.send("a");
        history.store("a", 0);
        history.deliver("a", 0);
        // One attempt was refused, the other one was not.
        history.send("b");
        history.ledger.refused(&"b".into());
        history.send("b");
        history.store("b", 1);
        // Refused and not there.
        history.send("c");
        history.ledger.refused(&"c".into());
        // Sent back by a consumer.
        history.ledger.copied(&"a".into(), "%RETRY%g");
        let mut copy = found("a", 0);
        copy.log_offset = copy.log_offset + 50;
        history.state.push(&Queue::new("b0", "%RETRY%g", 0), copy);
        history.assert_clean();
    }

    #[test]
    fn a_message_nobody_sent_is_caught() {
        let mut history = History::default();
        history.store("ghost", 0);
        history.deliver("ghost", 0);
        history.assert_broken(
            NeverSent,
            &[
                "message ghost is stored at b0/T/0@0 (log 100), but nobody sent it",
                "message ghost was delivered to g at b0/T/0@0 (log 100), but nobody sent it",
            ],
        );
    }

    #[test]
    fn a_refused_message_is_caught() {
        let mut history = History::default();
        history.send("a");
        history.ledger.refused(&"a".into());
        history.store("a", 0);
        history.assert_broken(
            NeverSent,
            &["message a is stored at b0/T/0@0 (log 100), but the server had said that it was not stored"],
        );
    }

    #[test]
    fn a_message_in_the_wrong_topic_is_caught() {
        let mut history = History::default();
        history.send("a");
        let place = Queue::new("b0", "other", 0).place(0, 1);
        history.ledger.delivered(&"a".into(), &place, digest("a"), &"g".into());
        history.assert_broken(
            NeverSent,
            &["message a was delivered to g at b0/other/0@0 (log 1), but nobody sent it to that topic"],
        );
    }

    #[test]
    fn answers_about_messages_nobody_sent_are_caught() {
        let mut history = History::default();
        history.ledger.acked(&"ghost".into(), queue().place(0, 0));
        history.assert_broken(NeverSent, &["message ghost was acknowledged but never sent"]);
    }
}
