//! The background scrub: a thread that verifies the log's files, one after the other, at a bounded rate.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use steadfast_broker::io::Input;
use steadfast_broker::reader::Reader;
use steadfast_store::disk::Disk;

use crate::core::{Core, Event};
use crate::readers;

/// The first round begins so long after the start, or after a period if that is shorter.
const FIRST: Duration = Duration::from_secs(600);

/// How fast and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// Time between the beginnings of two rounds, at least.
    pub(crate) period: Duration,
}

/// The scrub's thread.
pub(crate) fn run<D: Disk>(reader: &Reader<D>, core: &Arc<Core>, pace: Pace) {
    thread::sleep(FIRST.min(pace.period));
    loop {
        let started = Instant::now();
        for base in reader.segments() {
            let scrubbed = reader.scrub(base, &|bytes| rest(bytes, pace.rate));
            core.push(Event::Input(Input::Scrubbed(scrubbed)));
            readers::tell_damage(reader, core);
        }
        thread::sleep(pace.period.saturating_sub(started.elapsed()).max(Duration::from_secs(1)));
    }
}

/// Sleeps as long as reading so many bytes may take.
fn rest(bytes: u64, rate: u64) {
    thread::sleep(Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1)));
}
