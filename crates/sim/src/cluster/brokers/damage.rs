//! Damage of old parts of replicas' logs, which the others have: it must be repaired while they run.

use std::ops::ControlFlow::Continue;

use steadfast_consensus::ReplicaId;
use steadfast_store::checkpoint;
use steadfast_store::disk::{BLOCK, SECTOR};
use steadfast_store::log::{FRAME_HEADER_LEN, segment_path, walk};
use steadfast_types::LogOffset;

use super::World;
use crate::disk::Submitted;

/// A frame, by its log offset and the bytes that its checksums cover.
type Frame = (LogOffset, u64);

/// A segment that was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Struck {
    replica: ReplicaId,
    base: LogOffset,
}

impl World {
    /// A part of the log of a replica rots, or is lost, and perhaps the same part of another one's. One replica keeps all of
    /// its log: what nobody has, nobody can give.
    pub(super) fn rot(&mut self, victim: ReplicaId) {
        if victim == self.keeper {
            return;
        }
        let kept = self.old_frames(self.keeper);
        let mut frames = self.old_frames(victim);
        frames.retain(|frame| kept.contains(frame));
        if frames.is_empty() {
            return;
        }
        let frame = *self.rng.pick(&frames);
        let base = self.layout.base_of(frame.0);
        // All of the file is kept elsewhere if something behind it is.
        let is_closed = frames.iter().any(|(at, _)| self.layout.base_of(*at) > base);
        if is_closed && self.rng.one_in(3) {
            return self.lose(victim, base);
        }
        self.spoil(victim, frame);
        let others: Vec<ReplicaId> =
            (1..=self.plan.group.replicas).filter(|id| ![victim, self.keeper].contains(id)).collect();
        for other in others {
            if self.rng.percent(50) && self.old_frames(other).contains(&frame) {
                self.spoil(other, frame);
            }
        }
    }

    /// A file of the log is gone when its replica starts again.
    fn lose(&mut self, victim: ReplicaId, base: LogOffset) {
        self.crash(victim, None);
        let machine = self.machine(victim);
        if !machine.is_up() {
            machine.disk.lose(&segment_path(base));
            self.strikes(victim, base, "lost file");
        }
    }

    /// A bit flips, or a sector turns to garbage.
    fn spoil(&mut self, victim: ReplicaId, (at, len): Frame) {
        let base = self.layout.base_of(at);
        let (path, within) = (segment_path(base), at.get() - base.get());
        let (byte, bit) = (within + self.rng.below(len), self.rng.below(8) as u8);
        let first = within.div_ceil(SECTOR as u64);
        let sectors = (within + len) / SECTOR as u64;
        let mut luck = self.rng.split();
        let disk = &self.machine(victim).disk;
        if first < sectors && luck.percent(50) {
            disk.garble(&path, luck.within(first..sectors), &mut luck);
        } else {
            disk.flip(&path, byte, bit);
        }
        self.strikes(victim, base, "damage");
    }

    fn strikes(&mut self, replica: ReplicaId, base: LogOffset, what: &'static str) {
        self.count(what);
        self.stage.note("world", format_args!("{what}: {} of replica {replica}", segment_path(base)));
        self.struck.insert(Struck { replica, base });
    }

    /// The whole frames of a replica's log that no start of it reads, and that lie in blocks that are written no more.
    fn old_frames(&mut self, id: ReplicaId) -> Vec<Frame> {
        let layout = self.layout;
        let disk = self.machine(id).disk.clone();
        let covered = checkpoint::needed_from(&disk).unwrap_or_default();
        let end = LogOffset::new(covered.get() / BLOCK as u64 * BLOCK as u64);
        let mut frames = Vec::new();
        let walked = walk(&disk, layout, LogOffset::ZERO..end, |found| {
            let len = (FRAME_HEADER_LEN + found.entry.payload.len()) as u64;
            if found.at() + len <= end {
                frames.push((found.at(), len));
            }
            Continue(())
        });
        let Submitted { window, .. } = disk.take_window();
        disk.settle(window);
        // Behind damage nothing more is damaged until that is repaired.
        drop(walked);
        frames
    }

    /// Whether all that was damaged is as it was.
    pub(super) fn is_repaired(&mut self) -> bool {
        let struck: Vec<Struck> = self.struck.iter().copied().collect();
        for Struck { replica, base } in struck {
            let machine = &self.machines[replica as usize - 1];
            let Some(node) = &machine.node else { return false };
            let whole = node.is_segment_whole(base);
            let Submitted { window, .. } = machine.disk.take_window();
            machine.disk.settle(window);
            if !whole {
                return false;
            }
            self.struck.remove(&Struck { replica, base });
        }
        true
    }
}
