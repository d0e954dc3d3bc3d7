//! Everything of a broker group that is on disk: the message log, what is derived from it (consume queue units
//! and key index), snapshots and the little that is not in the log; and recovery. Over the [`disk::Disk`] trait, so that the
//! simulator runs the same code on a disk that fails.

pub mod aligned;
pub mod checkpoint;
pub mod disk;
pub mod file;
pub mod log;
pub mod meta;
pub mod reader;
pub mod retention;
pub mod run;
pub mod sabotage;
pub mod snapshot;
pub mod unit;
