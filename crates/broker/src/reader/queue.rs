//! The units of a queue, from the index runs.

use std::ops::Range;

use steadfast_store::disk::Disk;
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::{LogOffset, QueueOffset};

use super::{Failure, Late, Reader, UNITS};
use crate::filter::TagFilter;

/// Units that one read looks at, at most, when its filter matches few.
const SCAN_UNITS: usize = 16 * 1024;

/// The messages of a queue that a pull is answered with, if they fit.
pub(super) struct Matching {
    /// Their queue offsets.
    pub(super) numbers: Vec<QueueOffset>,
    pub(super) units: Vec<Unit>,
    /// The first offset not looked at.
    pub(super) after: QueueOffset,
}

/// Which messages of a queue a pull is for.
pub(super) struct Choice {
    pub(super) filter: TagFilter,
    pub(super) fenced: Vec<QueueOffset>,
    pub(super) holes: Vec<QueueOffset>,
}

impl Choice {
    fn wants(&self, offset: QueueOffset, tag: i32) -> bool {
        self.filter.matches(tag) || self.fenced.binary_search(&offset).is_ok()
    }

    fn passes(&self, offset: QueueOffset) -> bool {
        self.holes.binary_search(&offset).is_ok()
    }
}

impl<D: Disk> Reader<D> {
    /// Units of a queue that match.
    pub(super) fn matching(
        &self,
        queue: &QueueName,
        offsets: Range<QueueOffset>,
        choice: &Choice,
        max: usize,
        late: Late<'_>,
    ) -> Result<Matching, Failure> {
        let room = max.min(offsets.end.get().saturating_sub(offsets.start.get()) as usize);
        let (mut numbers, mut found) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let mut at = offsets.start;
        let mut scanned = 0;
        while at < offsets.end && found.len() < max && scanned < SCAN_UNITS {
            let ask = match choice.filter {
                TagFilter::All => max - found.len(),
                TagFilter::Tags(_) => UNITS,
            };
            let units = self.units(queue, at, ask, late)?;
            scanned += units.len();
            for unit in units {
                if found.len() == max {
                    break;
                }
                if !choice.passes(at) && (choice.wants(at, unit.tag) || self.is_fenced(&unit)) {
                    numbers.push(at);
                    found.push(unit);
                }
                at = at.next();
            }
        }
        Ok(Matching { numbers, units: found, after: at })
    }

    /// At least one unit from `from` on.
    pub(super) fn units(
        &self,
        queue: &QueueName,
        from: QueueOffset,
        max: usize,
        late: Late<'_>,
    ) -> Result<Vec<Unit>, Failure> {
        let slots = self.slots();
        // Newer first: consumers are rarely far behind.
        for slot in slots.iter().rev() {
            if let Some(run) = slot.ready() {
                let units = self.checked(slot, &run, late, |run| run.units(queue, from, max))?;
                if !units.is_empty() {
                    return Ok(units);
                }
            }
        }
        for slot in slots.iter() {
            let run = self.run_of(slot, late)?;
            let units = run.units(queue, from, max)?;
            if !units.is_empty() {
                return Ok(units);
            }
        }
        let cause = format!("no run has offset {from} of queue {queue}");
        Err(Failure::Rebuild(LogOffset::ZERO, cause.into()))
    }

    pub(super) fn unit(
        &self,
        queue: &QueueName,
        offset: QueueOffset,
        late: Late<'_>,
    ) -> Result<Unit, Failure> {
        let units = self.units(queue, offset, 1, late)?;
        Ok(units[0])
    }
}
