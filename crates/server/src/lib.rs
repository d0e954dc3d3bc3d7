//! The server process: roles, configuration, real disk, clock and network.
//!
//! ```text
//! tokio's threads: connection ─ frames ─ decode ─▶ Core ─▶ Broker::step ─▶ effects ─▶ log writers, readers,
//!                             ◀─ one write per connection and step ─ replies ◀┘         checkpoints, name servers
//!
//! whoever is done with one of these ─▶ Core ─▶ …
//! ```

mod advertise;
mod banner;
mod broker;
mod clock;
pub mod config;
mod core;
mod directory;
pub mod disk;
mod dry;
mod edge;
mod explain;
mod failpoint;
mod group;
mod http;
mod inbox;
mod kv_file;
pub mod lock;
mod metrics;
mod namesrv;
mod options;
mod pages;
mod peers;
mod readers;
mod register;
pub mod repair;
mod scrub;
mod settings;
mod settings_port;
mod shell;
mod start;
mod writing;

pub use start::run;
