//! The real binary in real processes: how it starts, refuses to start, serves, survives and stops.

mod client;
mod process;

mod changes;
mod descriptors;
mod disk;
mod durability;
mod metrics;
mod protocol;
mod refusals;
mod repair;
mod retention;
mod roles;
mod settings;
mod start;
