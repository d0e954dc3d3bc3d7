//! K: every acknowledged message is found by each of its keys, unless the answer says that it is limited.

use super::{Findings, Run};
use crate::Name;
use crate::ledger::MessageBook;
use crate::verdict::Invariant::Keys;

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    let Some(lookups) = &run.state.lookups else { return };
    for (id, book) in run.ledger.messages.iter().filter(|(_, book)| book.is_acked() && !is_gone(run, book)) {
        for key in &book.keys {
            let (topic, names) = (&book.topic, (Name::clone(&book.topic), Name::clone(key)));
            let text = match lookups.get(&names) {
                None => format!("nobody looked up key {key} of message {id} in topic {topic}"),
                Some(lookup) if lookup.found.contains(id) => continue,
                Some(lookup) if lookup.limited && !lookup.found.is_empty() => continue,
                Some(lookup) => {
                    let found = lookup.found.len();
                    format!("message {id} is not among the {found} that key {key} finds in topic {topic}")
                }
            };
            findings.add(Keys, &[id], book.acks.first().map(|(place, _)| place.clone()), text);
        }
    }
}

/// Whether retention may have removed every place of a message.
fn is_gone(run: &Run<'_>, book: &MessageBook) -> bool {
    !book.owed && book.acks.iter().all(|(place, _)| run.ledger.may_be_gone(&place.queue, place.offset))
}
