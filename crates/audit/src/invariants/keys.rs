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
    let is_anywhere = book.owed && !run.ledger.has_expired(&book.topic);
    !is_anywhere && book.acks.iter().all(|(place, _)| run.ledger.may_be_gone(&place.queue, place.offset))
}

#[cfg(test)]
mod tests {
    use crate::fixture::{History, at, queue};
    use crate::verdict::Invariant::Keys;

    #[test]
    fn found_limited_expired_and_unacknowledged_are_fine() {
        let mut history = History::default();
        history.send("old");
        history.ack("old", 0);
        history.ledger.expired(&queue(), at(1));
        history.settled("a", 1);
        history.lookup("a", &["a"], false);
        history.settled("b", 2);
        history.lookup("b", &["many", "others"], true);
        history.send("c");
        history.assert_clean();
        let keys = history.ledger.keys();
        assert_eq!(keys, ["a", "b", "old"].map(|id| ("T".into(), format!("key-{id}").into())));
    }

    #[test]
    fn a_message_that_its_key_does_not_find_is_caught() {
        let mut history = History::default();
        history.settled("a", 0);
        history.lookup("a", &["b"], false);
        history.assert_broken(Keys, &["message a is not among the 1 that key key-a finds in topic T"]);
        history.lookup("a", &[], true);
        history.assert_broken(Keys, &["message a is not among the 0 that key key-a finds in topic T"]);
    }

    #[test]
    fn a_lookup_that_nobody_made_proves_nothing() {
        let mut history = History::default();
        history.settled("a", 0);
        history.state.lookups = Some([].into());
        history.assert_broken(Keys, &["nobody looked up key key-a of message a in topic T"]);
    }
}
