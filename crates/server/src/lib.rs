//! The server process: roles, configuration, real disk, clock and network.
//!
//! ```text
//! tokio threads                 core thread                          other threads
//! connection ─ frames ─ decode ─▶ inbox ─▶ Broker::step ─▶ effects ─▶ log writer ─▶ inbox
//!            ◀──── one write per connection and step ◀── replies      readers, checkpoints, filler ─▶ inbox
//! ```

mod banner;
mod broker;
mod clock;
pub mod config;
mod core;
pub mod disk;
mod edge;
mod explain;
mod failpoint;
mod inbox;
pub mod lock;
mod lone;
mod namesrv;
mod readers;
mod register;
mod start;
mod writing;

pub use start::run;
