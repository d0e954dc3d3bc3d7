//! P: a position that the server acknowledged stays until a client moves it; and the server shows no position
//! that no client set. Commits and reads are intervals: a read may see any commit that was not certainly
//! replaced by another one before the read began.

use steadfast_types::QueueOffset;

use super::{Findings, Run};
use crate::Position;
use crate::ledger::{Commit, Moment, PositionBook};
use crate::verdict::Invariant::Positions;

pub(super) fn check(run: &Run<'_>, findings: &mut Findings) {
    for (position, book) in &run.ledger.positions {
        let replaced = replaced(&book.commits);
        let first = run.ledger.expired.get(&position.queue).copied().unwrap_or_default();
        let book = Booked { book, replaced: &replaced, first };
        for read in &book.book.reads {
            check_read(position, &book, (Some(read.begun), Some(read.ended)), read.offset, findings);
        }
        if let Some(positions) = &run.state.positions {
            let offset = positions.get(position).copied();
            check_read(position, &book, (None, None), offset, findings);
        }
    }
}

/// When each commit was certainly replaced: at the first acknowledgement of one that was sent after it was
/// acknowledged itself. A commit without an answer may take effect at any time.
fn replaced(commits: &[Commit]) -> Vec<Option<Moment>> {
    // Commits are in the order of sending. earliest[i]: the first acknowledgement among commits[i..].
    let mut earliest = vec![None; commits.len() + 1];
    for (i, commit) in commits.iter().enumerate().rev() {
        earliest[i] = match (commit.acked, earliest[i + 1]) {
            (Some(a), Some(b)) => Some(Moment::min(a, b)),
            (a, b) => a.or(b),
        };
    }
    commits
        .iter()
        .map(|commit| {
            let acked = commit.acked?;
            earliest[commits.partition_point(|other| other.sent <= acked)]
        })
        .collect()
}

/// Begin and end of a read; None is after everything.
type Interval = (Option<Moment>, Option<Moment>);

/// What is known of a position.
struct Booked<'a> {
    book: &'a PositionBook,
    replaced: &'a [Option<Moment>],
    /// The first message that retention left of its queue: positions before it were moved on, at most to there.
    first: QueueOffset,
}

fn check_read(
    position: &Position,
    &Booked { book, replaced, first }: &Booked<'_>,
    (begun, ended): Interval,
    offset: Option<QueueOffset>,
    findings: &mut Findings,
) {
    let before = |moment: Moment, end: Option<Moment>| end.is_none_or(|end| moment < end);
    let commits = || book.commits.iter().zip(replaced);
    let in_force: Vec<_> = commits()
        .filter(|(commit, replaced)| {
            before(commit.sent, ended) && !replaced.is_some_and(|at| before(at, begun))
        })
        .map(|(commit, _)| commit)
        .collect();
    let expected = in_force.iter().rfind(|commit| commit.acked.is_some_and(|at| before(at, begun)));
    // Where nobody has set a position yet, the server is free to say where to begin.
    let Some(expected) = expected.and_then(|commit| commit.offset) else { return };
    let is = |commit: &Commit, offset| commit.offset.is_none_or(|to| to == offset);
    let text = match offset {
        None => format!("the position of {position} is gone, though {expected} was acknowledged"),
        Some(offset) if in_force.iter().any(|commit| is(commit, offset)) => return,
        Some(offset)
            if offset <= first
                && in_force.iter().any(|commit| commit.offset.is_none_or(|to| to < offset)) =>
        {
            return;
        }
        Some(offset) if book.commits.iter().any(|commit| is(commit, offset)) => {
            format!(
                "the position of {position} went back to {offset}, though {expected} was acknowledged later"
            )
        }
        Some(offset) => {
            format!(
                "the position of {position} is {offset}, which no client set; {expected} was acknowledged"
            )
        }
    };
    findings.add(Positions, &[], None, text);
}

#[cfg(test)]
mod tests {
    use crate::fixture::{History, at, position, queue};
    use crate::verdict::Invariant::Positions;

    fn read(history: &mut History, offset: Option<u64>) {
        let begun = history.ledger.now();
        history.ledger.position_read(begun, &position(), offset.map(at));
    }

    #[test]
    fn the_last_acknowledged_position_counts() {
        let mut history = History::default();
        // Before anybody set one, the server may name a place to begin.
        read(&mut history, None);
        read(&mut history, Some(0));
        history.ledger.committed(&position(), at(10));
        read(&mut history, Some(10));
        // A client moves it back.
        history.ledger.committed(&position(), at(4));
        read(&mut history, Some(4));
        // A commit without an answer may take effect whenever it likes.
        history.ledger.committing(&position(), at(7));
        read(&mut history, Some(4));
        read(&mut history, Some(7));
        history.state.positions.get_or_insert_default().insert(position(), at(7));
        history.assert_clean();
    }

    #[test]
    fn concurrent_commits_and_reads_may_come_in_any_order() {
        let mut history = History::default();
        history.ledger.committed(&position(), at(1));
        let begun = history.ledger.now();
        let a = history.ledger.committing(&position(), at(2));
        let b = history.ledger.committing(&position(), at(3));
        history.ledger.acknowledge(&b);
        history.ledger.acknowledge(&a);
        for offset in [1, 2, 3] {
            history.ledger.position_read(begun, &position(), Some(at(offset)));
        }
        read(&mut history, Some(2));
        read(&mut history, Some(3));
        history.assert_clean();
        read(&mut history, Some(1));
        assert_eq!(history.ledger.check(&history.state).of(Positions).count(), 1);
    }

    #[test]
    fn a_position_that_went_back_is_caught() {
        let mut history = History::default();
        history.ledger.committed(&position(), at(10));
        history.ledger.committed(&position(), at(20));
        read(&mut history, Some(10));
        history.assert_broken(
            Positions,
            &["the position of g on b0/T/0 went back to 10, though 20 was acknowledged later"],
        );
    }

    #[test]
    fn a_position_that_is_gone_or_made_up_is_caught() {
        let mut history = History::default();
        history.ledger.committed(&position(), at(10));
        read(&mut history, None);
        read(&mut history, Some(99));
        history.state.positions = Some([(position(), at(0))].into());
        history.assert_broken(
            Positions,
            &[
                "the position of g on b0/T/0 is gone, though 10 was acknowledged",
                "the position of g on b0/T/0 is 99, which no client set; 10 was acknowledged",
                "the position of g on b0/T/0 is 0, which no client set; 10 was acknowledged",
            ],
        );
        history.state.positions = Some([].into());
        assert_eq!(history.ledger.check(&history.state).of(Positions).count(), 3, "missing at the end");
    }

    #[test]
    fn retention_moves_a_position_to_what_is_left_and_no_further() {
        let mut history = History::default();
        history.ledger.committed(&position(), at(4));
        read(&mut history, Some(6));
        history.assert_broken(
            Positions,
            &["the position of g on b0/T/0 is 6, which no client set; 4 was acknowledged"],
        );
        history.ledger.expired(&queue(), at(6));
        history.assert_clean();
        read(&mut history, Some(7));
        history.assert_broken(
            Positions,
            &["the position of g on b0/T/0 is 7, which no client set; 4 was acknowledged"],
        );
    }
}
