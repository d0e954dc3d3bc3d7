//! Looking up messages by key: what the core knows of the newest stretch, then the index runs, newest first.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::PoisonError;

use bytes::Bytes;
use steadfast_store::disk::Disk;
use steadfast_store::reader::ReadError;
use steadfast_store::unit::{KeyEntry, Unit, key_hash};
use steadfast_types::properties::Lookup;
use steadfast_types::record::StoredMessage;
use steadfast_types::{LogOffset, QueueId, QueueOffset, Timestamp};

use super::{Failure, Late, Reader};
use crate::io::ReadResult;

/// Most bytes that one lookup by key returns; one message is always returned. Many large messages under one key
/// would not fit a frame (16 MiB).
pub const QUERY_BYTES: usize = 8 * 1024 * 1024;
/// Messages with another key but the same hash that one lookup reads. Chance makes hardly any; who makes them on
/// purpose must not keep the readers busy with them.
pub(super) const OTHER_KEYS: usize = 4096;

impl<D: Disk> Reader<D> {
    pub(super) fn query(
        &self,
        wanted: &Wanted,
        recent: Vec<KeyEntry>,
        late: Late<'_>,
    ) -> Result<ReadResult, Failure> {
        let mut found = Found::default();
        let mut full = self.collect(wanted, &recent, &mut found)?;
        let hash = key_hash(&wanted.topic, &wanted.key);
        let slots = self.slots();
        for (searched, slot) in slots.iter().rev().enumerate() {
            if full {
                break;
            }
            if late() {
                return Err(Failure::SearchedSome {
                    searched,
                    missing: self.missing_runs(),
                    all: slots.len(),
                });
            }
            let candidates = self
                .run_of(slot, late)
                .and_then(|run| self.checked(slot, &run, late, |run| run.candidates(hash)));
            let mut candidates = candidates.map_err(|failure| match failure {
                Failure::Late { missing, all } => Failure::SearchedSome { searched, missing, all },
                other => other,
            })?;
            candidates.extend(self.fenced_candidates(hash, wanted, &slot.covers));
            candidates.sort_unstable_by_key(|entry| Reverse(entry.log_offset));
            full = self.collect(wanted, &candidates, &mut found)?;
        }
        Ok(ReadResult::Messages { records: found.records.into_iter().collect(), next: QueueOffset::ZERO })
    }

    /// Messages of a topic in a stretch of the log that may have any key.
    fn fenced_candidates(&self, hash: u64, wanted: &Wanted, covers: &Range<LogOffset>) -> Vec<KeyEntry> {
        let fenced = self.fenced.read().unwrap_or_else(PoisonError::into_inner);
        let here =
            fenced.iter().filter(|f| *f.queue.topic == *wanted.topic && covers.contains(&f.unit.log_offset));
        let here = here.filter(|f| !wanted.is_former(f.queue.queue_id, f.offset));
        here.map(|f| KeyEntry { hash, log_offset: f.unit.log_offset, size: f.unit.size, crc: f.unit.crc })
            .collect()
    }

    /// How many of the candidates, newest first, were stored after the wanted time. Store times have the order of the
    /// log, so the records of a few tell. What cannot be read does not count as newer: it is named then.
    fn too_new(&self, wanted: &Wanted, candidates: &[KeyEntry]) -> usize {
        let is_newer = |entry: &KeyEntry| {
            let unit = Unit { log_offset: entry.log_offset, size: entry.size, tag: 0, crc: entry.crc };
            self.store_time(&unit, wanted.committed).is_ok_and(|time| time >= wanted.stored.end)
        };
        // Most lookups end now: the first one is not newer then.
        let (mut low, mut high, mut probe) = (0, candidates.len(), 0);
        while low < high {
            if is_newer(&candidates[probe]) {
                low = probe + 1;
            } else {
                high = probe;
            }
            probe = low + (high - low) / 2;
        }
        low
    }

    /// Keeps the candidates, newest first, that really have the key: a hash is only a hint, and none of the hits that
    /// count may be another key's. Tells whether nothing older counts.
    fn collect(&self, wanted: &Wanted, candidates: &[KeyEntry], found: &mut Found) -> Result<bool, Failure> {
        for entry in &candidates[self.too_new(wanted, candidates)..] {
            if found.records.len() >= wanted.max_messages {
                break;
            }
            let KeyEntry { log_offset, size, crc, .. } = *entry;
            if wanted.holes.contains(&log_offset) {
                continue;
            }
            let unit = Unit { log_offset, size, tag: 0, crc };
            let records = match self.log.records(&[unit], usize::MAX, wanted.committed) {
                Err(ReadError::NotFound { .. }) if self.is_gone(log_offset) => continue,
                // Its file is missing or ends early, though the message was committed.
                Err(ReadError::NotFound { .. }) => return Err(ReadError::Damaged { log_offset, size }.into()),
                records => records?,
            };
            for record in records.iter() {
                match wanted.judge(&record) {
                    Judged::TooOld => return Ok(true),
                    Judged::Other if found.others == OTHER_KEYS => return Err(Failure::Collisions),
                    Judged::Other => found.others += 1,
                    Judged::Hit if !found.takes(&record) => return Ok(true),
                    Judged::Hit => found.push(record),
                }
            }
        }
        Ok(found.records.len() >= wanted.max_messages)
    }
}

/// What a lookup looks for.
pub(super) struct Wanted {
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) holes: Vec<LogOffset>,
    /// By queue, the offset of the first message since the topic was made.
    pub(super) born: Vec<QueueOffset>,
    pub(super) stored: Range<Timestamp>,
    pub(super) max_messages: usize,
    pub(super) committed: LogOffset,
}

/// What a candidate of a lookup turned out to be.
enum Judged {
    Hit,
    /// Another key's, or stored after the wanted time.
    Other,
    /// Stored before the wanted time, or before the topic was made, and so is all that is older.
    TooOld,
}

impl Wanted {
    fn judge(&self, record: &[u8]) -> Judged {
        let Ok(message) = StoredMessage::decode_verified(record) else { return Judged::Other };
        if message.stamp.store_time < self.stored.start {
            return Judged::TooOld;
        }
        let is_hit = message.topic == self.topic
            && self.stored.contains(&message.stamp.store_time)
            && Lookup::parse(message.properties).lookup_keys().any(|key| key == self.key);
        match is_hit {
            true if self.is_former(message.stamp.queue_id, message.stamp.queue_offset) => Judged::TooOld,
            true => Judged::Hit,
            false => Judged::Other,
        }
    }

    /// Whether a message went with a topic of the same name that was deleted.
    fn is_former(&self, queue_id: QueueId, offset: QueueOffset) -> bool {
        self.born.get(queue_id.get() as usize).is_some_and(|born| offset < *born)
    }
}

/// What a lookup has found so far.
#[derive(Default)]
struct Found {
    records: Vec<Bytes>,
    bytes: usize,
    /// Candidates that were none.
    others: usize,
}

impl Found {
    fn takes(&self, record: &Bytes) -> bool {
        self.records.is_empty() || self.bytes + record.len() <= QUERY_BYTES
    }

    fn push(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push(record);
    }
}
