//! J: a position moves by what consumers commit, or by a jump that the server has on record with its cause and range.
//! Every reset that was acknowledged is on record, nothing is on record as a reset that nobody asked for, and every
//! jump begins where the position was, but for one over messages that were given up, which are all that it is over.

use steadfast_types::QueueOffset;

use super::{Findings, Run};
use crate::ledger::PositionBook;
use crate::verdict::Invariant::Jumps;
use crate::{Jump, Position};

/// The cause of a jump over messages that were given up.
const HOLE: &str = "hole";
/// The cause of a jump that an operator asked for.
const RESET: &str = "reset";

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    let Some(recorded) = &run.state.jumps else { return };
    let none = PositionBook::default();
    for (position, jumps) in recorded {
        let book = run.ledger.positions.get(position).unwrap_or(&none);
        for jump in jumps {
            if *jump.cause == *HOLE {
                check_hole(run, position, jump, findings);
            } else {
                check_jump(position, book, jumps, jump, findings);
            }
        }
    }
    for (position, book) in &run.ledger.positions {
        let jumps = recorded.get(position).map_or(&[][..], Vec::as_slice);
        for reset in book.commits.iter().filter(|commit| commit.reset && commit.acked.is_some()) {
            let is_recorded = jumps.iter().any(|jump| *jump.cause == *RESET && Some(jump.to) == reset.offset);
            if let (false, Some(to)) = (is_recorded, reset.offset) {
                let text = format!("the position of {position} was reset to {to}, which is not on record");
                findings.add(Jumps, &[], None, text);
            }
        }
    }
}

fn check_hole(run: &Run<'_>, position: &Position, jump: &Jump, findings: &mut Findings) {
    let from = jump.from.map_or(0, QueueOffset::get);
    let mut over = (from..jump.to.get()).map(QueueOffset::new);
    if from >= jump.to.get() || over.any(|offset| !run.ledger.is_given_up(&position.queue, offset)) {
        let to = jump.to;
        let text = format!(
            "the position of {position} is said to have passed holes from {from} to {to}, which are none"
        );
        findings.add(Jumps, &[], None, text);
    }
}

fn check_jump(position: &Position, book: &PositionBook, all: &[Jump], jump: &Jump, findings: &mut Findings) {
    let asked = |commit: &crate::ledger::Commit| commit.reset && commit.offset.is_none_or(|to| to == jump.to);
    if *jump.cause == *RESET && !book.commits.iter().any(asked) {
        let text = format!("the position of {position} is said to have been reset to {}, by nobody", jump.to);
        findings.add(Jumps, &[], None, text);
    }
    let Some(from) = jump.from else { return };
    let was_set = book.commits.iter().any(|commit| commit.offset.is_none_or(|to| to == from));
    if !was_set && !all.iter().any(|other| other.to == from) {
        let text = format!(
            "the position of {position} is said to have jumped from {from} to {}, but never was there",
            jump.to
        );
        findings.add(Jumps, &[], None, text);
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{History, at, jump, position, queue};
    use crate::verdict::Invariant::Jumps;

    fn reset(history: &mut History, to: u64) {
        let ticket = history.ledger.resetting(&position(), None);
        history.ledger.acknowledge_reset(&ticket, at(to));
    }

    #[test]
    fn resets_on_record_are_fine() {
        let mut history = History::default();
        history.ledger.committed(&position(), at(4));
        reset(&mut history, 9);
        reset(&mut history, 2);
        // Its answer was lost.
        history.ledger.resetting(&position(), Some(at(7)));
        let jumps = [jump("reset", 4, 9), jump("reset", 9, 2), jump("reset", 2, 7)];
        history.state.jumps = Some([(position(), jumps.into())].into());
        history.assert_clean();
    }

    #[test]
    fn holes_are_what_was_given_up() {
        let mut history = History::default();
        history.ledger.committed(&position(), at(4));
        [6, 7].into_iter().for_each(|offset| history.ledger.giving_up(&queue(), at(offset)));
        history.state.jumps = Some([(position(), vec![jump("hole", 6, 8)])].into());
        history.assert_clean();
        history.state.jumps = Some([(position(), vec![jump("hole", 6, 9)])].into());
        history.assert_broken(
            Jumps,
            &["the position of g on b0/T/0 is said to have passed holes from 6 to 9, which are none"],
        );
    }

    #[test]
    fn a_reset_that_is_not_on_record_is_caught() {
        let mut history = History::default();
        reset(&mut history, 9);
        history.state.jumps = Some([].into());
        history.assert_broken(Jumps, &["the position of g on b0/T/0 was reset to 9, which is not on record"]);
    }

    #[test]
    fn a_jump_that_nobody_asked_for_or_from_nowhere_is_caught() {
        let mut history = History::default();
        history.ledger.committed(&position(), at(4));
        let jumps = [jump("reset", 4, 9), jump("expired", 5, 6)];
        history.state.jumps = Some([(position(), jumps.into())].into());
        history.assert_broken(
            Jumps,
            &[
                "the position of g on b0/T/0 is said to have been reset to 9, by nobody",
                "the position of g on b0/T/0 is said to have jumped from 5 to 6, but never was there",
            ],
        );
    }
}
