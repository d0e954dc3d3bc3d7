//! What a process reads for the other replicas, and damage that it meets and has repaired by them.

use std::ops::ControlFlow::{Break, Continue};

use steadfast_broker::io::{Input, MendDone, MendJob, PartJob};
use steadfast_consensus::Fetch;
use steadfast_store::log::{Next, segment_path, walk};
use steadfast_types::LogOffset;

use super::Node;
use crate::disk::Submitted;
use crate::event::NodeEvent;
use crate::stage::Stage;
use crate::watch::Gist;

impl Node {
    /// The core is told of damage that a read has met.
    pub(super) fn tell_damage(&mut self, stage: &mut Stage) {
        for at in self.reader.take_met() {
            self.input(Input::MetDamage(at), stage);
        }
    }

    /// Entries are read for another replica.
    pub(super) fn fetch(&mut self, fetch: &Fetch, stage: &mut Stage) {
        let entries = self.reader.fetch(fetch).ok();
        self.tell_damage(stage);
        let Submitted { window, latency, .. } = self.disk.take_window();
        self.plan(latency, NodeEvent::Fetched(window, fetch.number, entries), stage);
    }

    /// Bytes of the log are read for another replica.
    pub(super) fn read_part(&mut self, job: PartJob, stage: &mut Stage) {
        let bytes = self.reader.part(&job);
        let Submitted { window, latency, .. } = self.disk.take_window();
        self.plan(latency, NodeEvent::HasPart(window, Box::new((job, bytes))), stage);
    }

    /// A damaged segment is read, or written to.
    pub(super) fn mend(&mut self, job: MendJob, stage: &mut Stage) {
        let done = self.reader.mend(job);
        self.look_at_mended(&done, stage);
        let Submitted { window, latency, .. } = self.disk.take_window();
        self.plan(latency, NodeEvent::HasMended(window, Box::new(done)), stage);
    }

    /// What is said to be repaired must be.
    fn look_at_mended(&mut self, done: &MendDone, stage: &mut Stage) {
        let (base, strikes) = (done.mend.base(), self.disk.strikes());
        match &done.result {
            // Unless the disk gave something else for it.
            Ok(Next::Whole(mended))
                if mended.bytes > 0 && !self.is_segment_whole(base) && self.disk.strikes() == strikes =>
            {
                let text = format!("{} is said to be repaired, and is not", segment_path(base));
                stage.watch.find(Gist::Repair, text);
            }
            _ => {}
        }
    }

    /// Whether a segment verifies, as far as it is committed.
    pub(crate) fn is_segment_whole(&self, base: LogOffset) -> bool {
        let stretch = base..self.broker.committed().min(base + self.layout.segment_size);
        let mut whole = true;
        let walked = walk(&self.disk, self.layout, stretch, |found| {
            whole &= found.damaged.is_empty();
            if whole { Continue(()) } else { Break(()) }
        });
        walked.is_ok() && whole
    }
}
