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
        for read in &book.reads {
            check_read(
                position,
                book,
                &replaced,
                (Some(read.begun), Some(read.ended)),
                read.offset,
                findings,
            );
        }
        if let Some(positions) = &run.state.positions {
            let offset = positions.get(position).copied();
            check_read(position, book, &replaced, (None, None), offset, findings);
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

fn check_read(
    position: &Position,
    book: &PositionBook,
    replaced: &[Option<Moment>],
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
    let Some(expected) = expected.map(|commit| commit.offset) else { return };
    let text = match offset {
        None => format!("the position of {position} is gone, though {expected} was acknowledged"),
        Some(offset) if in_force.iter().any(|commit| commit.offset == offset) => return,
        Some(offset) if book.commits.iter().any(|commit| commit.offset == offset) => {
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
