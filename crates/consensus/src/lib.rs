//! One Raft group whose log is the message log. The only crate that names the Raft engine (`raft`, of TiKV).
//!
//! ```text
//!                        ┌──────────────────── Group ───────────────────┐
//! place(len) ─▶ stamp ─▶ propose                          drain ─▶ Output
//! peers ───────────────▶ step        the engine and       ├─ write ────▶ GroupWriter ─▶ persisted(number)
//! clock ───────────────▶ tick        its view of the log  ├─ messages ─▶ peers (codec)
//! reader ──────────────▶ fetched                          ├─ fetches ──▶ reader of older entries
//! disk ────────────────▶ persisted                        └─ committed, reads, role ─▶ the state machine
//! ```
//!
//! It has no clock, no socket, no file and no random source. Whoever drives it calls inputs, then [`Group::drain`], and
//! carries out what that returns. What may only leave once a write is durable stays inside until
//! [`Group::persisted`]: no driver can send it too early.
//!
//! There is one write in flight at a time: what arrives meanwhile becomes the next one, so that a lone sender pays one
//! synced write and many senders share one. A leader's messages leave while it writes itself.

mod codec;
mod engine;
mod fence;
mod fetch;
mod group;
mod members;
mod message;
mod output;
mod recovery;
mod settings;
mod storage;
mod timeouts;
mod view;
mod writer;

pub use codec::{CodecError, Encoded, HEADER_LEN, MESSAGE_MAX, decode, encode, encoded_len, message_len};
pub use fetch::Fetch;
pub use group::{Group, ProposeError, ReadError};
pub use members::{Change, Members, Recorded, UnknownChange};
pub use message::{Append, Body, Card, Message, PART_MAX};
pub use output::{Committed, Halt, News, Output, PeerProgress, Read, Role, Vote, Write};
pub use recovery::{Recovered, RecoveryError, recover};
pub use settings::{Limits, Settings, Timing};
pub use steadfast_store::meta::{Fence, Past, Start};
pub use steadfast_types::Position;
pub use view::LogView;
pub use writer::{GroupWriter, WriteError};

/// Identity of a replica within its group; not 0.
pub type ReplicaId = u64;
