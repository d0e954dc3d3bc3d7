//! The real binary in real processes: how it starts, refuses to start, serves, survives and stops.

#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
mod client;
#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
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
mod streams;
