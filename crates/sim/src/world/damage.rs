//! Damage at rest: doing it, and its repair from a copy.

use std::collections::BTreeSet;

use steadfast_store::disk::{BLOCK, SECTOR};
use steadfast_store::log::{SEGMENT_HEADER_LEN, segment_path};
use steadfast_types::LogOffset;

use super::World;
use crate::disk::VirtualDisk;
use crate::plan::{Damage, Extent, Part};

/// The damage that was done and not repaired.
#[derive(Debug, Default)]
pub(super) struct Damages {
    spots: Vec<Spot>,
    /// Spots before this one, as far as they are in the log, are given up: a snapshot after them is whole.
    given_up: usize,
    /// Snapshots that were damaged or lost.
    snapshots: BTreeSet<String>,
}

/// A byte that is not what it was.
#[derive(Debug)]
struct Spot {
    path: String,
    byte: u64,
    was: u8,
    is: u8,
}

impl Damages {
    /// Whether the server may refuse to start: acknowledged entries are damaged, or who the replica is. Everything
    /// else can be made again.
    pub(super) fn excuse_refusal(&self) -> bool {
        let meta = self.spots.iter().filter(|spot| spot.path.contains(Part::Meta.path()));
        let slots: BTreeSet<u64> = meta.map(|spot| spot.byte / BLOCK as u64).collect();
        let mut rest = self.spots[self.given_up..].iter();
        slots.len() > 1 || rest.any(|spot| spot.path.contains(Part::Log.path()))
    }

    /// A repair has come to its end: what was damaged until now keeps nothing from starting any more.
    pub(super) fn are_given_up(&mut self) {
        self.given_up = self.spots.len();
    }

    /// Restores what is still damaged, for good: no process may run.
    pub(super) fn repair(&mut self, disk: &VirtualDisk) {
        self.restore(disk);
        self.spots.clear();
        self.given_up = 0;
    }

    /// Restores what is still damaged; tells whether there was any. A process that runs may undo that: it has the last
    /// block of the log in memory as it was when it started, and writes it again with what comes after.
    pub(super) fn restore(&self, disk: &VirtualDisk) -> bool {
        for spot in self.spots.iter().rev() {
            // The file may have been written again or removed since.
            if disk.on_medium(&spot.path, spot.byte) == Some(spot.is) {
                disk.alter(&spot.path, spot.byte, spot.was);
            }
        }
        !self.spots.is_empty()
    }
}

impl World {
    pub(super) fn damage(&mut self, damage: &Damage) {
        let place = match damage.part {
            Part::Log => self.decidable_byte(),
            part => self.any_byte(part, damage.newest),
        };
        let Some((path, byte)) = place else { return };
        if self.plan.workload.retaining && damage.part == Part::Snapshot && !self.may_lose(&path) {
            return;
        }
        let sector = byte / SECTOR as u64;
        let bytes = sector * SECTOR as u64..(sector + 1) * SECTOR as u64;
        if damage.part == Part::Snapshot {
            // A start may have to go back to before the repair.
            self.damages.given_up = 0;
        }
        if damage.part == Part::Log {
            let base: u64 = path.rsplit('/').next().and_then(|name| name.parse().ok()).unwrap_or(0);
            self.stage.watch.damaged(base + bytes.start..base + bytes.end);
        }
        let before: Vec<_> = bytes.clone().map(|at| self.disk.on_medium(&path, at)).collect();
        let kind = match damage.extent {
            Extent::Bit => {
                self.disk.flip(&path, byte, self.rng.below(8) as u8);
                "bit flip"
            }
            Extent::Sector => {
                self.disk.garble(&path, sector, &mut self.rng);
                "garbled sector"
            }
            Extent::File => {
                self.disk.lose(&path);
                "lost file"
            }
        };
        self.figures.count(kind);
        self.stage.note("fault", format_args!("{kind} at byte {byte} of {path}"));
        for (at, was) in bytes.zip(before) {
            let is = self.disk.on_medium(&path, at);
            if let (Some(was), Some(is)) = (was, is)
                && was != is
            {
                self.damages.spots.push(Spot { path: path.clone(), byte: at, was, is });
            }
        }
        if let Some(crash) = &damage.crash {
            self.crash(None, crash);
        }
    }

    /// What retention has removed is in the snapshots alone, and there are two of them: not both are damaged.
    fn may_lose(&mut self, snapshot: &str) -> bool {
        let all = self.disk.paths().into_iter();
        let all: Vec<String> =
            all.filter(|path| path.contains(Part::Snapshot.path()) && !path.ends_with(".tmp")).collect();
        let struck = &mut self.damages.snapshots;
        struck.retain(|path| all.contains(path));
        let may = all.len() > 1 && struck.is_empty();
        if may {
            struck.insert(snapshot.to_owned());
        }
        may
    }

    /// A byte of the log. In a group of one, damage of the last batch is a torn tail by all that can be known: only
    /// whole sectors before it are damaged.
    fn decidable_byte(&mut self) -> Option<(String, u64)> {
        let end = self.decidable.get() / SECTOR as u64 * SECTOR as u64;
        if end <= SEGMENT_HEADER_LEN as u64 {
            return None;
        }
        // Half of them where the next recovery reads.
        let at = if self.rng.percent(50) { end - 1 - self.rng.skewed(0..end) } else { self.rng.below(end) };
        let base = at - at % self.plan.options.segment_size;
        Some((segment_path(LogOffset::new(base)), at - base))
    }

    fn any_byte(&mut self, part: Part, newest: bool) -> Option<(String, u64)> {
        let path = part.path();
        let last = self.disk.paths().into_iter().rfind(|file| file.contains(path) && !file.ends_with(".tmp"));
        let path = if newest { last? } else { path.to_owned() };
        self.disk.random_byte(&path, &mut self.rng)
    }
}
