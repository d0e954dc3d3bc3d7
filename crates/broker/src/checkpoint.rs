//! When a checkpoint is written and what it holds. It is cut while the broker goes on; until it is verified,
//! everything it covers stays in memory.

use std::collections::BTreeMap;

use steadfast_store::checkpoint::{Checkpoint, Snapshot};
use steadfast_store::run::{RunContents, RunInfo};
use steadfast_store::unit::QueueName;
use steadfast_types::LogOffset;

use crate::broker::{Broker, Out, Phase};
use crate::io::{Effect, Now};

/// The part of the log that no checkpoint covers yet.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    /// Where it begins.
    pub(crate) from: LogOffset,
    /// Messages in it.
    pub(crate) messages: usize,
    /// Index runs that count.
    pub(crate) runs: Vec<RunInfo>,
    under_way: Option<Frozen>,
    /// Ticks before which a failed checkpoint is not tried again.
    retry_at: u64,
    /// The one that ends a clean stop was made or failed.
    final_done: bool,
}

impl Stretch {
    /// The stretch after a snapshot that names `runs`.
    pub(crate) fn new(from: LogOffset, runs: Vec<RunInfo>) -> Self {
        Self { from, runs, ..Self::default() }
    }

    /// Whether no checkpoint is being written.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }
}

/// What the checkpoint under way covers.
#[derive(Debug)]
struct Frozen {
    end: LogOffset,
    messages: usize,
    units: BTreeMap<QueueName, usize>,
    key_chunks: usize,
}

/// Milliseconds until a failed checkpoint is tried again.
const RETRY_AFTER: u64 = 5_000;

impl Broker {
    /// Starts a checkpoint if the stretch since the last one is long enough, or the broker is stopping.
    pub(crate) fn maybe_checkpoint(&mut self, now: Now, out: &mut Out<'_>) {
        let bytes = self.applied.end.get() - self.stretch.from.get();
        let long = bytes >= self.options.checkpoint_bytes
            || self.stretch.messages >= self.options.checkpoint_messages;
        let stopping = self.phase == Phase::Stopping
            && self.in_flight.is_empty()
            && self.pending.is_empty()
            && !self.stretch.final_done;
        let serving = matches!(self.phase, Phase::Following | Phase::Leading | Phase::Stopping);
        if !serving || !self.stretch.is_idle() || bytes == 0 || now.ticks < self.stretch.retry_at {
            return;
        }
        let wanted = self.retaining.wants_checkpoint(self.stretch.from);
        if long || wanted || stopping {
            self.stretch.final_done = stopping;
            let checkpoint = self.freeze();
            out(Effect::Checkpoint(Box::new(checkpoint)));
        }
    }

    fn freeze(&mut self) -> Checkpoint {
        let covers = self.stretch.from..self.applied.end;
        let gone = self.gone();
        self.stretch.runs.retain(|run| !gone.left_of(run.covers.clone()).is_empty());
        let mut units = BTreeMap::new();
        let mut queues = Vec::new();
        for queue in self.state.topics.queues_mut().filter(|q| q.recent_len() > 0) {
            let first = queue.recent_from();
            units.insert(queue.name.clone(), queue.recent_len());
            queues.push((queue.name.clone(), first, queue.units_from(first).copied().collect()));
        }
        let (keys, key_chunks) = self.keys.freeze();
        let has_run = !queues.is_empty();
        self.stretch.under_way =
            Some(Frozen { end: covers.end, messages: self.stretch.messages, units, key_chunks });
        Checkpoint {
            run: has_run.then_some(RunContents { covers, queues, keys }),
            snapshot: Snapshot {
                mark: self.applied,
                term: self.applied_term,
                store_time: self.store_time,
                runs: self.stretch.runs.clone(),
                state: self.state.encode(),
            },
        }
    }

    /// The checkpoint is verified, or the last one still counts.
    pub(crate) fn checkpoint_done(
        &mut self,
        now: Now,
        result: Result<Vec<RunInfo>, String>,
        out: &mut Out<'_>,
    ) {
        let Some(frozen) = self.stretch.under_way.take() else { return };
        match result {
            Ok(runs) => self.stretch.runs = runs,
            Err(cause) => {
                self.stretch.retry_at = now.ticks + RETRY_AFTER;
                out(Effect::Warn(format!("a checkpoint failed and will be tried again: {cause}")));
                return;
            }
        }
        self.stretch.from = frozen.end;
        self.stretch.messages -= frozen.messages;
        for queue in self.state.topics.queues_mut() {
            if let Some(count) = frozen.units.get(&queue.name) {
                queue.forget_oldest(*count);
            }
        }
        self.keys.forget_frozen(frozen.key_chunks);
    }
}
