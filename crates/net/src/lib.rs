//! Connections that speak the remoting protocol, on tokio.

pub mod client;
pub mod server;

mod connection;
mod out_buffer;
mod read;
mod unfinished;

pub use connection::{ConnId, Connection};
pub use server::{Handler, Limits, Server};
