//! `steadfast bench`: load over the remoting protocol against any server that speaks it.
//!
//! A run prints a figure only after reading everything back: every acknowledged message must be there, once and
//! whole. Otherwise it prints the verdict of the audit and fails.
//!
//! The load shares the machine with the server more often than not, so it is made cheap: requests are patched
//! copies of a template, one task per connection moves many of them with one system call, and nothing is
//! allocated, formatted or digested per message while the clock runs.

mod args;
mod compare;
mod consume;
mod content;
mod failover;
mod floor;
mod follow;
mod lane;
mod later;
mod load;
mod pace;
mod price;
mod probe;
mod process;
mod pull;
mod report;
mod send;
mod single;
mod slots;
mod stats;
mod target;
mod template;
mod verify;

pub use args::{BenchArgs, Encoding, Mode};

/// Runs the command and prints its result on stdout, its progress on stderr.
///
/// An error means that there is no figure: the server could not be reached, or what was read back is not what
/// was acknowledged.
pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    if !args.compare.is_empty() {
        return compare::run(&args.compare, &args.want);
    }
    args.check()?;
    match args.mode {
        Mode::Send => send::run(&args),
        Mode::Consume => consume::run(&args),
        Mode::Probe => probe::run(&args),
        Mode::Delay | Mode::Retry => later::run(&args),
        Mode::Floor => floor::run(&args),
        Mode::Failover => failover::run(&args),
        Mode::Price => price::run(&args),
    }
}

/// A runtime for one thread.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
