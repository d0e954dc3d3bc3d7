//! The loss oracle: a ledger of what clients were told and saw, and the invariants checked against it.
//!
//! The same code judges the simulator, the tests with real processes, the load generator and production. A run
//! is recorded in a [`Ledger`]; once everything is healed, all queues are read from end to end into a
//! [`FinalState`]; [`Ledger::check`] compares the two and returns a [`Verdict`]. [`compact::AckBook`] is the
//! small sibling for tens of millions of messages.
//!
//! The oracle knows nothing of how the server works: only what crossed the network counts.

pub mod compact;
pub mod digest;
pub mod final_state;
#[cfg(test)]
mod fixture;
pub mod identity;
mod invariants;
pub mod ledger;
pub mod verdict;

pub use digest::Digest;
pub use final_state::{FinalState, Found, Jump, Lookup, QueueContent};
pub use identity::{MessageId, Name, Place, Position, Queue};
pub use ledger::{Attempt, CommitTicket, Ledger, Moment};
pub use verdict::{Books, Invariant, Verdict, Violation};
