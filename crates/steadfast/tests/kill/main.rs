//! Processes that are killed: SIGKILL at random instants under load, again and again on the same data, and what a
//! ledger of everything that clients were told says about it afterwards.

#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "../load/mod.rs"]
mod load;
#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "../server/process.rs"]
mod process;

mod damage;
mod full_disk;
mod rounds;
