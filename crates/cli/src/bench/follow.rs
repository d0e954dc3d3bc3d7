//! The consumers that follow a load: they pull what is sent meanwhile, and measure how late they get it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use steadfast_audit::Queue;
use steadfast_types::record::StoredMessage;

use super::args::BenchArgs;
use super::pull::{self, How, Visit};
use super::report::{Delivery, Latency};
use super::stats::Latencies;
use super::target::{Range, Target};

/// Running consumers.
pub(super) struct Followers {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Delays>>,
}

impl Followers {
    /// Starts `--consumers` connections that read from the tails on; None if there are none.
    pub(super) fn start(args: &BenchArgs, target: &Target, tails: &[Range]) -> Option<Self> {
        if args.consumers == 0 {
            return None;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let how = How { stop: Arc::clone(&stop), ..How::to_the_end(args.consumers, args.pull_batch) };
        let (target, tails) = (target.clone(), tails.to_vec());
        let thread = thread::spawn(move || {
            super::runtime()?.block_on(pull::read(&target, &tails, &how, Delays::new()))
        });
        Some(Self { stop, thread })
    }

    /// Lets them read what is left, and returns what they saw.
    pub(super) fn finish(self) -> anyhow::Result<Delivery> {
        self.stop.store(true, Ordering::Relaxed);
        let delays = self.thread.join().ok().context("the consumers panicked")??;
        Ok(Delivery { messages: delays.0.count(), delay: Latency::new(&delays.0) })
    }
}

/// Time from when a message was made to when it was read: both clocks are this machine's.
struct Delays(Latencies);

impl Delays {
    fn new() -> Self {
        Self(Latencies::new())
    }
}

impl Visit for Delays {
    fn message(&mut self, _: usize, _: &Queue, message: &StoredMessage<'_>) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.0.record(now.saturating_sub(Duration::from_millis(message.born_time)), 1);
    }
}
