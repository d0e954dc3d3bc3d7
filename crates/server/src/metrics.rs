//! Prometheus' metrics: what the shell counts itself, and the page that shows it together with the brokers' figures.

pub(crate) mod exposition;
mod render;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use steadfast_wire::code::{request, response};

use self::exposition::Histogram;
pub(crate) use self::render::{Node, add};

/// Bounds of `rocketmq_rpc_latency`, in microseconds: RocketMQ's 1 ms to 3 s.
const RPC_BOUNDS: &[u64] = &[1_000, 3_000, 5_000, 7_000, 10_000, 100_000, 1_000_000, 2_000_000, 3_000_000];
/// Bounds of what the disk takes, in microseconds.
const DISK_BOUNDS: &[u64] =
    &[50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// What a request and its answer were, for the latency of requests. Codes come from clients: those without a name
/// are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    request: Option<i32>,
    response: Option<i32>,
    long_polling: bool,
}

/// The name of a code without one.
const UNKNOWN: &str = "UNKNOWN";

/// What the shell counts.
#[derive(Debug)]
pub(crate) struct Telemetry {
    calls: Mutex<BTreeMap<Call, Arc<Histogram>>>,
    /// Writes of the log, with the sync if there is one.
    pub(crate) writes: Histogram,
    /// From a proposal to its commit.
    pub(crate) commits: Histogram,
    /// End of the log that is with the operating system, and the one that is on stable storage.
    written: AtomicU64,
    synced: AtomicU64,
    /// Connections of clients.
    pub(crate) connections: AtomicUsize,
    /// There is no space ahead of the log.
    pub(crate) disk_full: AtomicBool,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        Telemetry {
            calls: Mutex::default(),
            writes: Histogram::new(DISK_BOUNDS),
            commits: Histogram::new(DISK_BOUNDS),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            disk_full: AtomicBool::new(false),
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, request: i32, response: i32, long_polling: bool, took: Duration) {
        let request = Some(request).filter(|code| request::name(*code) != UNKNOWN);
        let response = Some(response).filter(|code| response::name(*code) != UNKNOWN);
        let call = Call { request, response, long_polling };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.entry(call).or_insert_with(|| Arc::new(Histogram::new(RPC_BOUNDS))).record(took);
    }

    /// The log ends there; with a sync, stably.
    pub(crate) fn written(&self, end: u64, synced: bool) {
        self.written.fetch_max(end, Relaxed);
        if synced {
            self.synced.fetch_max(end, Relaxed);
        }
    }

    /// Everything written is on stable storage.
    pub(crate) fn synced(&self) {
        self.synced.fetch_max(self.written.load(Relaxed), Relaxed);
    }

    /// Bytes that a power cut would take.
    fn unsynced(&self) -> u64 {
        self.written.load(Relaxed).saturating_sub(self.synced.load(Relaxed))
    }

    fn calls(&self) -> Vec<(Call, Arc<Histogram>)> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().map(|(call, histogram)| (*call, Arc::clone(histogram))).collect()
    }
}
