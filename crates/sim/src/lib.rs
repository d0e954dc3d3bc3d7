//! The deterministic simulator: the real broker on a virtual disk, network and clock, with clients that keep a ledger,
//! and with faults. The same seed is the same run, bit for bit.
//!
//! ```text
//! plan        what a seed decides: settings, workload, faults
//! world       the run: starts and crashes the node, lets faults strike, judges in the end
//! node        one process of the server: broker, log writer, filler, checkpoints, readers
//! client      producers, consumers, an operator, probers, the final auditor; all speak the wire protocol
//! stage       what they share: scheduler, network, ledger (crate `audit`), trace
//! cluster     other worlds: a group of replicas, without brokers and with them, and what strikes it
//! run, cli    many seeds, and what is told about them
//! campaign    seeds of all worlds for as long as somebody likes; it resumes and adds up
//! ```

mod brief;
mod call;
pub mod campaign;
pub mod cli;
mod client;
pub mod clock;
mod cluster;
mod delays;
pub mod disk;
mod event;
mod message;
mod node;
mod plan;
pub mod rng;
pub mod run;
mod scenario;
pub mod scheduler;
mod stage;
pub mod trace;
mod watch;
mod world;

pub use cluster::ClusterAim;
pub use plan::Aim;
pub use scenario::Scenario;
pub use watch::{Finding, Gist};
pub use world::Figures;
