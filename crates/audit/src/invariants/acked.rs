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
    if book.owed && book.acks.is_empty() && run.copies(id, &book.topic) == 0 {
        let text = format!("message {id}, which the server took on, is nowhere in topic {}", book.topic);
        findings.add(Acked, &[id], None, text);
    }
}
