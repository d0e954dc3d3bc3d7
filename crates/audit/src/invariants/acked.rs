//! L: every acknowledgement's place holds its message, and no message is there more often than it was sent.

use super::{Findings, Run};
use crate::ledger::MessageBook;
use crate::verdict::Invariant::Acked;
use crate::{MessageId, Place};

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    for (id, book) in &run.ledger.messages {
        for (place, _) in &book.acks {
            check_place(run, id, place, findings);
        }
        check_copies(run, id, book, findings);
    }
}

fn check_place(run: &Run<'_>, id: &MessageId, place: &Place, findings: &mut Findings) {
    match run.at(&place.queue, place.offset) {
        None if run.ledger.may_be_gone(&place.queue, place.offset) => {}
        None => {
            let range = run.range(&place.queue);
            let text = format!("message {id}, acknowledged at {place}, is missing: {range}");
            findings.add(Acked, &[id], Some(place.clone()), text);
        }
        Some(found) if found.id != *id => {
            let other = &found.id;
            let text =
                format!("message {id}, acknowledged at {place}, is missing: message {other} stands there");
            findings.add(Acked, &[id, other], Some(place.clone()), text);
        }
        Some(found) if found.log_offset != place.log_offset => {
            let log = found.log_offset;
            let text = format!("message {id}, acknowledged at {place}, is at log offset {log} instead");
            findings.add(Acked, &[id], Some(place.clone()), text);
        }
        Some(_) => {}
    }
}

fn check_copies(run: &Run<'_>, id: &MessageId, book: &MessageBook, findings: &mut Findings) {
    let topics = std::iter::once(&book.topic).chain(book.copies.keys().filter(|topic| **topic != book.topic));
    for topic in topics {
        let (copies, allowed) = (run.copies(id, topic), book.allowed_in(topic));
        // None allowed at all is the case of a refused message, which is not about acknowledgements.
        if copies > allowed && allowed > 0 {
            let text =
                format!("message {id} is {copies} times in topic {topic}, but can be there {allowed} times");
            findings.add(Acked, &[id], None, text);
        }
    }
    for (topic, owed) in &book.owed_copies {
        let copies = run.copies(id, topic);
        if copies < *owed && !run.ledger.has_expired(topic) {
            let text = format!(
                "message {id} is {copies} times in topic {topic}, but the server took it on for there {owed} times"
            );
            findings.add(Acked, &[id], None, text);
        }
    }
    let may_be_gone = run.ledger.has_expired(&book.topic);
    if book.owed && book.acks.is_empty() && run.copies(id, &book.topic) == 0 && !may_be_gone {
        let text = format!("message {id}, which the server took on, is nowhere in topic {}", book.topic);
        findings.add(Acked, &[id], None, text);
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{History, at, queue};
    use crate::verdict::Invariant::Acked;
    use steadfast_types::LogOffset;

    #[test]
    fn retries_may_leave_copies_and_expiry_may_take() {
        let mut history = History::default();
        // The queue's first message ran out of retention.
        history.send("old");
        history.ack("old", 0);
        history.ledger.expired(&queue(), at(1));
        history.settled("a", 1);
        // The first attempt ended in a time-out and was stored all the same.
        history.send("b");
        history.ledger.unknown(&"b".into());
        history.store("b", 2);
        history.settled("b", 3);
        // Nobody knows about this one, and it is not there.
        history.send("c");
        history.assert_clean();
        let books = history.ledger.check(&history.state).books;
        assert_eq!(
            books.to_string(),
            "sent 4 = acked 3 + refused 0 + unknown 1; delivered 0; found 3, of these 1 further copies"
        );
    }

    #[test]
    fn a_lost_message_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.send("b");
        history.ack("b", 1);
        history.assert_broken(
            Acked,
            &["message b, acknowledged at b0/T/0@1 (log 101), is missing: the queue has offsets 0 to 1"],
        );
        history.state.queues.clear();
        assert_eq!(history.ledger.check(&history.state).of(Acked).count(), 2);
    }

    #[test]
    fn a_message_replaced_by_another_one_is_caught() {
        let mut history = History::default();
        history.send("a");
        history.ack("a", 0);
        history.send("b");
        history.store("b", 0);
        history.assert_broken(
            Acked,
            &["message a, acknowledged at b0/T/0@0 (log 100), is missing: message b stands there"],
        );
    }

    #[test]
    fn a_message_that_moved_in_the_log_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.state.queues.get_mut(&queue()).unwrap().messages[0].log_offset = LogOffset::new(7);
        history.assert_broken(
            Acked,
            &["message a, acknowledged at b0/T/0@0 (log 100), is at log offset 7 instead"],
        );
    }

    #[test]
    fn more_copies_than_attempts_are_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.store("a", 1);
        history.assert_broken(Acked, &["message a is 2 times in topic T, but can be there 1 times"]);
    }

    #[test]
    fn what_the_server_took_on_must_turn_up() {
        let mut history = History::default();
        history.send("timer");
        history.ledger.owed(&"timer".into());
        history.assert_broken(Acked, &["message timer, which the server took on, is nowhere in topic T"]);
        history.ledger.expired(&queue(), at(1));
        history.assert_clean();
        history.store("timer", 0);
        history.assert_clean();
    }
}
