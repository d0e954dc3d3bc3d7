//! Where the messages of queues lie: which of them are in given stretches of the log.

use std::ops::Range;
use std::sync::Arc;

use steadfast_store::disk::Disk;
use steadfast_store::run::Run;
use steadfast_store::unit::QueueName;
use steadfast_types::{LogOffset, QueueOffset};

use super::{Failure, Late, Reader, Slot};
use crate::io::Extent;

/// A run and its place among the others.
type Held<D> = (Arc<Slot<D>>, Arc<Run<D>>);

impl<D: Disk> Reader<D> {
    /// The offsets of each queue in each of the stretches, which index runs cover.
    pub(super) fn extents(
        &self,
        stretches: &[Range<LogOffset>],
        queues: Vec<(QueueName, Range<QueueOffset>)>,
        late: Late<'_>,
    ) -> Result<Vec<Extent>, Failure> {
        let from = stretches.first().map_or(LogOffset::ZERO, |first| first.start);
        let mut runs: Vec<Held<D>> = Vec::new();
        for slot in self.slots().iter().filter(|slot| slot.covers.end > from) {
            runs.push((Arc::clone(slot), self.run_of(slot, late)?));
        }
        queues
            .into_iter()
            .map(|(queue, within)| {
                let offsets = stretches.iter().map(|stretch| {
                    let start = self.first_at(&runs, &queue, &within, stretch.start, late)?;
                    let end = self.first_at(&runs, &queue, &within, stretch.end, late)?;
                    Ok(start..end)
                });
                let offsets = offsets.collect::<Result<_, Failure>>()?;
                Ok(Extent { queue, offsets })
            })
            .collect()
    }

    /// The first offset of a queue, of those within a range, whose record lies at `at` or after it.
    fn first_at(
        &self,
        runs: &[Held<D>],
        queue: &QueueName,
        within: &Range<QueueOffset>,
        at: LogOffset,
        late: Late<'_>,
    ) -> Result<QueueOffset, Failure> {
        for (slot, run) in runs.iter().filter(|(slot, _)| slot.covers.end > at) {
            let Some(span) = run.span(queue) else { continue };
            let (start, end) = (span.start.max(within.start), span.end.min(within.end));
            let found = if slot.covers.start >= at {
                start
            } else {
                self.search_run((slot, run), queue, start..end, at, late)?
            };
            if found < end {
                return Ok(found);
            }
        }
        Ok(within.end)
    }

    /// The first offset of a range whose record lies at `at` or after it: a queue's units are in the order of the log.
    pub(super) fn search_run(
        &self,
        (slot, run): (&Slot<D>, &Run<D>),
        queue: &QueueName,
        offsets: Range<QueueOffset>,
        at: LogOffset,
        late: Late<'_>,
    ) -> Result<QueueOffset, Failure> {
        let (mut low, mut high) = (offsets.start.get(), offsets.end.get());
        while low < high {
            let middle = low + (high - low) / 2;
            let units = self.checked(slot, run, late, |run| run.units(queue, QueueOffset::new(middle), 1))?;
            // What retention has left no unit of lies before.
            if units.first().is_none_or(|unit| unit.log_offset < at) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(QueueOffset::new(low))
    }
}
