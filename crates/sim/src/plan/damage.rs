//! Damage at rest.

use std::fmt;

use super::faults::{Crash, Fault};
use crate::rng::Rng;

/// A part of the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Segments of the log, as far as damage of them can be told from a torn tail.
    Log,
    /// Snapshots.
    Snapshot,
    /// Index runs.
    Index,
    /// The meta file.
    Meta,
}

impl Part {
    /// What the paths of its files contain.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Log => "log/",
            Self::Snapshot => "snapshot/",
            Self::Index => "index/",
            Self::Meta => "meta",
        }
    }
}

/// How much is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A bit flips.
    Bit,
    /// A sector turns to garbage.
    Sector,
    /// A file is gone: only where it can be made again from the log.
    File,
}

/// Damage at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) part: Part,
    pub(crate) extent: Extent,
    /// Of the newest file.
    pub(crate) newest: bool,
    /// A restart that meets the damage at once.
    pub(crate) crash: Option<Crash>,
}

impl Damage {
    /// Damage of the log that nobody meets at once.
    pub(super) fn of_log(rng: &mut Rng) -> Self {
        let extent = *rng.pick(&[Extent::Bit, Extent::Sector]);
        Self { part: Part::Log, extent, newest: false, crash: None }
    }

    /// A bit of the newest file, just before a start that needs it.
    pub(super) fn met_by_a_start(part: Part, rng: &mut Rng) -> Self {
        let crash = Some(Crash { writing: false, ..Crash::draw(true, rng) });
        Self { part, extent: Extent::Bit, newest: true, crash }
    }

    pub(super) fn draw(rng: &mut Rng) -> Self {
        let part =
            *rng.pick(&[Part::Log, Part::Log, Part::Snapshot, Part::Snapshot, Part::Index, Part::Meta]);
        let extent = match part {
            Part::Snapshot | Part::Index => *rng.pick(&[Extent::Bit, Extent::Sector, Extent::File]),
            Part::Log | Part::Meta => *rng.pick(&[Extent::Bit, Extent::Bit, Extent::Sector]),
        };
        let crash = rng.percent(70).then(|| Crash { writing: false, ..Crash::draw(true, rng) });
        Self { part, extent, newest: rng.percent(70), crash }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.extent {
            Extent::Bit => "a bit flips",
            Extent::Sector => "a sector turns to garbage",
            Extent::File => "a file is lost",
        };
        let which = if self.newest { "newest " } else { "" };
        write!(f, "{what} in the {which}{:?}", self.part)?;
        self.crash.iter().try_for_each(|crash| write!(f, ", then {}", Fault::Crash(crash.clone())))
    }
}
