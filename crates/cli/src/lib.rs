//! Commands that talk to a server: admin, bench.

pub mod admin;
pub mod bench;
pub mod print;
