//! Commands that talk to a server: bench.

pub mod bench;
