//! What a run is about. A world with a bit of everything meets some dangers once in hundreds of seeds; one that aims at
//! a danger meets it in most.

use std::fmt;
use std::str::FromStr;

use steadfast_broker::{Flush, Options};

use super::damage::{Damage, Part};
use super::faults::{Crash, Fault};
use super::workload::{Sizes, Workload};
use crate::rng::Rng;
use crate::scenario::aim_named;

/// The danger that the worlds of a run are built around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aim {
    /// None in particular: each seed takes a part of everything.
    #[default]
    Anything,
    /// Again and again the log is damaged, and the next start meets it.
    Damage,
    /// Bytes that look like entries of the log lie where recovery looks for some.
    Forgery,
    /// Old messages go faster than snapshots are made, and the process dies often.
    Retention,
    /// Again and again the newest snapshot is damaged, and the next start meets it.
    Snapshots,
}

impl Aim {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Anything, Self::Damage, Self::Forgery, Self::Retention, Self::Snapshots];

    const fn name(self) -> &'static str {
        match self {
            Self::Anything => "anything",
            Self::Damage => "damage",
            Self::Forgery => "forgery",
            Self::Retention => "retention",
            Self::Snapshots => "snapshots",
        }
    }

    /// Enough messages to fill some segments.
    pub(super) fn fill(self, workload: &mut Workload, rng: &mut Rng) {
        if self == Self::Retention {
            workload.sizes = Sizes::Large;
            workload.batch = *rng.pick(&[1, 4]);
        }
    }

    pub(super) fn tune(self, options: &mut Options, rng: &mut Rng) {
        match self {
            Self::Anything | Self::Forgery => {}
            Self::Retention => {
                options.flush = Flush::Sync;
                options.checkpoint_messages = 1 << 20;
                options.checkpoint_bytes = options.segment_size * rng.within(2..6);
            }
            Self::Damage => options.flush = Flush::Sync,
            Self::Snapshots => {
                options.flush = Flush::Sync;
                options.checkpoint_messages = rng.within(15..200) as usize;
            }
        }
    }

    /// Faults beside those of the swarm.
    pub(super) fn faults(self, rng: &mut Rng) -> Vec<Fault> {
        let fault = |rng: &mut Rng| match self {
            Self::Anything | Self::Forgery => None,
            Self::Damage => Some(Fault::Damage(Damage::met_by_a_start(Part::Log, rng))),
            Self::Retention => Some(Fault::Crash(Crash::draw(true, rng))),
            Self::Snapshots => Some(Fault::Damage(Damage::met_by_a_start(Part::Snapshot, rng))),
        };
        (0..rng.within(4..12)).filter_map(|_| fault(rng)).collect()
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Aim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        aim_named(&Self::ALL, Self::name, text)
            .map_err(|names| format!("there is no such aim; there are {names}"))
    }
}
