//! Scrubbing: reads closed segments whole and verifies every frame and every record, so that damage is found while
//! somebody can still do something about it. Which message a damaged record was, its unit in the index run knows.

use std::ops::{ControlFlow, Range};
use std::sync::PoisonError;

use bytes::Bytes;
use steadfast_store::disk::Disk;
use steadfast_store::log::{self, Batch, Kind, Scanned, WalkError};
use steadfast_store::reader::ReadError;
use steadfast_store::unit::{QueueName, Unit};
use steadfast_types::properties::Lookup;
use steadfast_types::record::StoredMessage;
use steadfast_types::{LogOffset, QueueOffset};

use super::{Failure, Reader, UNITS};
use crate::io::{DamagedRecord, Scrubbed};

impl<D: Disk> Reader<D> {
    /// Bases of the segments that index runs cover, the last one perhaps in part, whether their files are there or not.
    pub fn segments(&self) -> Vec<LogOffset> {
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        let size = self.layout.segment_size;
        let parts = gone.left_of(LogOffset::ZERO..self.covered()).into_iter();
        parts
            .flat_map(|part| (part.start.get()..part.end.get()).step_by(size as usize).map(LogOffset::new))
            .collect()
    }

    fn covered(&self) -> LogOffset {
        *self.covered.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies a segment, as far as index runs cover it. `pace` is told how many bytes were read since the last time, and may wait.
    /// Of one without a file the messages are not listed: that they are lost is one thing to tell.
    pub fn scrub(&self, base: LogOffset, pace: &dyn Fn(u64)) -> Scrubbed {
        let result = match log::segment_bases(&self.disk) {
            Ok(bases) if bases.contains(&base) => self.damaged_messages(base, pace),
            Ok(_) => Err("it is missing".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        // Freed while it was being read: nothing of it matters.
        if self.is_gone(base) {
            return Scrubbed { base, result: Ok(Vec::new()) };
        }
        Scrubbed { base, result }
    }

    /// Every message of a segment that does not verify, as far as index runs cover it; all of them if its file is missing
    /// or another one. `pace` is as for [`Reader::scrub`].
    pub fn damaged_messages(
        &self,
        base: LogOffset,
        pace: &dyn Fn(u64),
    ) -> Result<Vec<DamagedRecord>, String> {
        self.try_scrub(base, pace).map_err(|failure| failure.to_string())
    }

    fn try_scrub(&self, base: LogOffset, pace: &dyn Fn(u64)) -> Result<Vec<DamagedRecord>, Failure> {
        let end = self.covered().min(base + self.layout.segment_size);
        let mut suspects: Vec<Range<LogOffset>> = Vec::new();
        let mut entries = 0;
        let walked = log::walk(&self.disk, self.layout, base..end, |found| {
            pace(log::frame_len(found.entry.payload.len()));
            entries += 1;
            suspects.extend(damaged_in(&found));
            ControlFlow::Continue(())
        });
        match walked {
            // No segment is empty: it is the file of another one.
            Ok(()) if entries == 0 => suspects.push(base..end),
            Ok(()) => {}
            // Where the entries after it begin is not known: each message is looked at by itself.
            Err(WalkError::Damaged(at)) => suspects.push(at..end),
            Err(WalkError::Scan(error)) => return Err(Failure::Scan(error)),
        }
        let mut damaged = Vec::new();
        for suspect in suspects {
            self.meet(suspect.start);
            self.each_unit(suspect, |queue, offset, unit| {
                pace(u64::from(unit.size));
                damaged.extend(self.verify(queue, offset, unit)?);
                Ok(())
            })?;
        }
        Ok(damaged)
    }

    /// Visits the messages whose records begin in a stretch of the log, by queue.
    fn each_unit(
        &self,
        stretch: Range<LogOffset>,
        mut visit: impl FnMut(&QueueName, QueueOffset, Unit) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let overlaps = |covers: &Range<LogOffset>| covers.start < stretch.end && stretch.start < covers.end;
        for slot in self.slots().iter().filter(|slot| overlaps(&slot.covers)) {
            let run = self.run_of(slot, &|| false)?;
            for (queue, offsets) in run.queues() {
                let mut at =
                    self.search_run((slot, &run), queue, offsets.clone(), stretch.start, &|| false)?;
                'queue: while at < offsets.end {
                    for unit in self.checked(slot, &run, &|| false, |run| run.units(queue, at, UNITS))? {
                        if unit.log_offset >= stretch.end {
                            break 'queue;
                        }
                        visit(queue, at, unit)?;
                        at = at.next();
                    }
                }
            }
        }
        Ok(())
    }

    fn verify(
        &self,
        queue: &QueueName,
        offset: QueueOffset,
        unit: Unit,
    ) -> Result<Option<DamagedRecord>, Failure> {
        match self.log.records(&[unit], usize::MAX, LogOffset::new(u64::MAX)) {
            Ok(_) => Ok(None),
            Err(ReadError::NotFound { .. } | ReadError::Damaged { .. }) => {
                self.meet(unit.log_offset);
                Ok(Some(self.damaged_record(queue, offset, unit)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What can be said of a damaged message.
    pub fn damaged_record(&self, queue: &QueueName, offset: QueueOffset, unit: Unit) -> DamagedRecord {
        let (log_offset, size) = (unit.log_offset, unit.size);
        let keys = self.log.raw(&unit).map_or_else(|_| Vec::new(), |bytes| keys_of(&bytes));
        DamagedRecord { queue: queue.clone(), offset, log_offset, size, keys }
    }
}

/// Where the damaged records of an entry lie.
fn damaged_in(found: &Scanned) -> Vec<Range<LogOffset>> {
    let batch = match found.entry.kind {
        Kind::Batch if !found.damaged.is_empty() => Batch::parse(found.entry.payload.clone()),
        _ => return Vec::new(),
    };
    let Ok(batch) = batch else { return Vec::new() };
    let at = |within: usize| found.payload_at + within as u64;
    let records = batch.records().enumerate().filter(|(i, _)| found.damaged.contains(i));
    records.map(|(_, record)| at(record.range.start)..at(record.range.start + 1)).collect()
}

/// What a damaged record still says of its keys; none of it is verified.
fn keys_of(bytes: &Bytes) -> Vec<String> {
    let Ok(message) = StoredMessage::decode_verified(bytes) else { return Vec::new() };
    Lookup::parse(message.properties).lookup_keys().map(str::to_owned).collect()
}
