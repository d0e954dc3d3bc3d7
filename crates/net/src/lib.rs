//! Connections that speak the remoting protocol, on tokio.

pub mod client;
pub mod server;

mod connection;
mod out_buffer;
mod rare_warning;
mod read;
mod room;
mod unfinished;

pub use connection::{ConnId, Connection};
pub use out_buffer::{OutBuffer, SLICES};
pub use rare_warning::RareWarning;
pub use room::Room;
pub use server::{Handler, Limits, Server};
