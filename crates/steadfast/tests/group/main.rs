//! Groups of three servers in real processes: who leads, what clients see when a leader dies, stops or is alone, and what
//! a ledger of everything that they were told says about it afterwards.

#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "../server/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "../load/mod.rs"]
mod load;
#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "../server/process.rs"]
mod process;

mod cluster;
mod damage;
mod layout;
mod quorum;
mod refill;
mod refusals;
mod roles;
mod rounds;
