//! Deliberate defects, for the tests of the tests: each is one guard left out, and the simulator must notice.
//! Without the feature `sabotage`, which no released binary has, [`is`] is always false and costs nothing.

/// A guard to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The sender is answered when the write is issued, not when it is durable (P1).
    AckBeforeSync,
    /// Consumers see a message when the write is issued (P2).
    ReadableBeforeCommit,
    /// A frame of an abandoned history is accepted if its index fits (P4).
    ChainNotChecked,
    /// The log is cut at the first bad frame, acknowledged or not (P4).
    TailCutBelowCommit,
    /// A snapshot is used without checking its checksum (P5).
    SnapshotNotVerified,
    /// Next queue offsets come from the log after the snapshot alone (P2).
    QueueOffsetFromTail,
    /// A delayed message and its level's progress are two entries (ADR 6).
    DeliveredWithoutPosition,
    /// A position jumps and nothing says so (P6).
    JumpNotRecorded,
    /// A queue that is new to a group starts at its end (P6).
    NewQueueStartsAtEnd,
    /// Segments are dropped and freed although no snapshot covers them (P5).
    FreedBeforeSnapshot,
    /// Messages of protected topics are removed like any other (P6).
    PinIgnored,
    /// A snapshot leaves out which messages were given up (P5).
    HolesForgotten,
    /// A consumer passes a message that was given up, and nothing says so (P6).
    HolePassedInSilence,
    /// The lock of a queue is granted and not recorded (P5).
    LockNotRecorded,
    /// A replica forgets in a crash whom it has voted for.
    VoteNotPersisted,
    /// A follower tells that it has entries which replace others while it still writes them.
    TruncationNotPersisted,
    /// A leader takes for committed what it alone has (P1).
    AckBeforeQuorum,
    /// A replica that may have lost entries votes as if it had not.
    AmbiguousVotes,
    /// A replica whose disk is new votes as if it had never had another.
    NewDiskVotes,
    /// A replica on an older copy of its disk votes as if it had lost nothing.
    OldCopyVotes,
    /// A leader answers reads without asking whether it still leads.
    StaleLeaderRead,
    /// A new leader takes messages before it has applied what its predecessors left.
    LeadsBeforeItHasApplied,
    /// A leader that was deposed answers senders as if the group had their messages (P1).
    DeposedLeaderAnswersOk,
    /// A leader that was deposed answers senders as if nobody could ever have their messages (P8).
    DeposedLeaderAnswersFailed,
    /// Nobody is told that a write waits for more space than is kept ready (ADR 10).
    HeldWriteNotFilled,
    /// What another replica gives for a damaged entry is taken without a look (P4).
    RepairNotChecked,
}

#[cfg(feature = "sabotage")]
mod switch {
    use std::cell::Cell;

    use super::Sabotage;

    thread_local! {
        static ACTIVE: Cell<Option<Sabotage>> = const { Cell::new(None) };
    }

    /// Chooses the guard that code on this thread leaves out.
    pub fn set(sabotage: Option<Sabotage>) {
        ACTIVE.set(sabotage);
    }

    /// Whether a guard is left out on this thread.
    pub fn is(sabotage: Sabotage) -> bool {
        ACTIVE.get() == Some(sabotage)
    }
}

#[cfg(feature = "sabotage")]
pub use switch::{is, set};

/// Whether a guard is left out: never.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub const fn is(_: Sabotage) -> bool {
    false
}
