//! The server process: roles, configuration, real disk, clock and network.

pub mod config;
pub mod disk;
pub mod lock;
