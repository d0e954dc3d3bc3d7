//! The scrub, and the operator who gives up what it finds damaged, as `steadfast repair --apply` does.

use steadfast_broker::io::{DamagedRecord, Input, Scrubbed};
use steadfast_types::LogOffset;

use super::Node;
use crate::clock::Micros;
use crate::disk::{Submitted, WindowId};
use crate::event::NodeEvent;
use crate::message;
use crate::stage::{Phase, Stage};

/// Where the scrub is.
pub(super) struct Scrubbing {
    every: Micros,
    /// The segment that was verified last.
    last: Option<LogOffset>,
}

impl Scrubbing {
    /// A scrub that pauses so long after each segment.
    pub(super) fn new(every: Micros) -> Self {
        Self { every, last: None }
    }
}

impl Node {
    pub(super) fn plan_scrub(&mut self, stage: &mut Stage) {
        if let Some(Scrubbing { every, .. }) = &self.scrub {
            let every = *every;
            self.plan(every, NodeEvent::Scrub, stage);
        }
    }

    /// The next segment is verified, or the first one again.
    pub(super) fn scrub(&mut self, stage: &mut Stage) {
        let Some(Scrubbing { last, .. }) = &mut self.scrub else { return };
        let bases = self.reader.segments();
        *last = bases.iter().copied().find(|base| last.is_none_or(|last| *base > last));
        let scrubbed = last.map(|base| self.reader.scrub(base, &|_| {}));
        self.tell_damage(stage);
        let Submitted { window, latency, .. } = self.disk.take_window();
        match scrubbed {
            Some(scrubbed) => {
                self.plan(latency, NodeEvent::HasScrubbed(window, Box::new(scrubbed)), stage);
            }
            None => {
                self.disk.settle(window);
                self.plan_scrub(stage);
            }
        }
    }

    pub(super) fn scrubbed(&mut self, window: WindowId, scrubbed: Scrubbed, stage: &mut Stage) {
        self.disk.settle(window);
        let mut damaged = scrubbed.result.clone().unwrap_or_default();
        self.input(Input::Scrubbed(scrubbed), stage);
        for (queue, offset, unit) in self.broker.fenced() {
            damaged.push(self.reader.damaged_record(&queue, offset, unit));
        }
        let window = self.disk.take_window().window;
        self.disk.settle(window);
        let holes = self.broker.holes();
        damaged.retain(|record| !holes.contains(&record.log_offset));
        // In a group of several it is repaired.
        let may_give_up = !self.broker.has_others() && stage.phase == Phase::Faults;
        if !damaged.is_empty() && may_give_up && self.rng.percent(70) {
            self.give_up(damaged, stage);
        }
        self.plan_scrub(stage);
    }

    fn give_up(&mut self, damaged: Vec<DamagedRecord>, stage: &mut Stage) {
        for DamagedRecord { queue, offset, log_offset, .. } in &damaged {
            let queue = message::queue(&*queue.topic, queue.queue_id);
            stage.ledger.giving_up(&queue, *offset);
            stage.watch.giving_up(&queue, offset.get(), *log_offset);
        }
        self.input(Input::GiveUp(damaged), stage);
    }

    /// Tells the watch what the broker has on record by now.
    pub(super) fn look_for_holes(&self, stage: &mut Stage) {
        if stage.watch.has_holes(|_| true) {
            let holes = self.broker.holes();
            stage.watch.are_holes(&holes);
        }
    }
}
