//! The vocabulary of Steadfast: newtypes for every position and id, the message model with its stored
//! encoding, and the limits of the protocol. Pure data, no I/O.

pub mod ids;
pub mod java_hash;
pub mod limits;
pub mod message_id;
pub mod properties;
pub mod record;
pub mod sys_flag;
pub mod topic;

pub use ids::{LogIndex, LogOffset, Position, QueueId, QueueOffset, Term, Timestamp};
