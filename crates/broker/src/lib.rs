//! The broker's services as one state machine: inputs and a time go in, effects come out. It has no socket, no
//! file, no clock and no thread; the server process and the simulator drive the same code.
//!
//! The way of a durable send: [`request::decode`] builds the record at the edge → `services/send.rs` checks it →
//! `pending.rs` waits for the write before it → `propose.rs` stamps and proposes the batch → [`io::Effect::Write`] →
//! [`io::Input::Persisted`] → `apply.rs` makes it visible and answers.

mod apply;
mod broker;
mod bytes_ext;
mod checkpoint;
mod clock;
mod control;
mod damage;
mod delay_levels;
pub mod filter;
pub mod io;
mod jump;
pub mod measures;
mod members;
mod membership;
mod mending;
mod options;
mod pending;
mod preferred;
mod propose;
pub mod reader;
mod recent;
pub mod recovery;
pub mod repair;
mod replica;
pub mod reply;
pub mod request;
mod retention;
mod services;
mod state;

pub use broker::Broker;
pub use delay_levels::{DelayLevels, InvalidLevels};
pub use membership::Membership;
pub use options::{Flush, Options};
pub use retention::{Retention, utc_hour};
pub use state::TopicConfig;
