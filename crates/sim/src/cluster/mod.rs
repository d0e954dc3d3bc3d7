//! A group of replicas: each the production group, writer, meta file and recovery on a disk of its own, with a network
//! between them that loses, delays, doubles and reorders messages and can be cut. Clients propose numbered records and
//! read; faults strike; then everything is healed and must converge.
//!
//! ```text
//! plan      what a seed decides            replica   one process: recovery, group, writer, who waits for what
//! world     the run, phase by phase        network   when a message arrives, if at all
//! faults    what strikes                   checks    what may never be, and what must be in the end
//! brokers   another world: the same group with the whole broker on it, and its clients
//! ```

pub(crate) mod brokers;
mod checks;
mod faults;
mod network;
mod plan;
mod replica;
mod world;

pub use plan::ClusterAim;
pub(crate) use world::World;
