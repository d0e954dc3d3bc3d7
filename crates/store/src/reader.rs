//! Reads records of the log that are no longer in memory: the reading half of the log, shared by a small pool
//! of reader threads.
//!
//! Segments are files `{base:020}`; log position `p` is in the file with the greatest base <= `p`, at `p - base`.
//! Each begins with a header of [`SEGMENT_HEADER_LEN`] bytes, and no record straddles two of them.
//!
//! A backlog is read in aligned chunks that a small cache keeps, since the queues that are read together are
//! interleaved in the log. Nothing is read past the committed end that the caller gives: what is before it never
//! changes, so nothing in the cache can be stale.

mod batch;
mod chunk_cache;
mod segments;

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use steadfast_types::LogOffset;
use steadfast_types::record::{MAGIC_V1, MAGIC_V2, PREFIX_LEN, StoredMessage};

use self::batch::Batch;
use self::chunk_cache::{CHUNK, ChunkCache, ChunkKey, Found};
use self::segments::{Segment, Segments};
use crate::disk::{Disk, DiskFile};
use crate::file::FileError;
use crate::log::{PAYLOAD_MAX, SEGMENT_HEADER_LEN};
use crate::unit::Unit;

/// A cache size that serves several groups reading backlog.
pub const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Records at least this long are read on their own: a chunk would save them nothing.
const READ_ALONE_MIN: u64 = CHUNK / 4;
/// Largest record, in bytes: it lies within one entry.
const RECORD_LEN_MAX: u32 = PAYLOAD_MAX as u32;
/// What [`LogReader::record_at`] reads before it knows the record's size.
const FIRST_READ: u64 = 4096;

/// Why no record was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] FileError),
    /// No record begins there: removed by retention, past the committed end, or not a record's beginning.
    #[error("no record at log offset {log_offset}")]
    NotFound {
        /// The log offset asked for.
        log_offset: LogOffset,
    },
    /// The record does not verify.
    #[error("the record of {size} bytes at log offset {log_offset} is damaged")]
    Damaged {
        /// Position of its first byte.
        log_offset: LogOffset,
        /// Bytes in the record.
        size: u32,
    },
}

/// Reads the log's segments. Threads share it by reference.
pub struct LogReader<D: Disk> {
    segments: Segments<D>,
    cache: ChunkCache,
}

impl<D: Disk> LogReader<D> {
    /// Reads the segments in `dir`, keeping up to `cache_bytes` of them in memory, but at least four chunks of
    /// 512 KiB.
    pub fn new(disk: D, dir: &str, cache_bytes: usize) -> Self {
        Self { segments: Segments::new(disk, dir), cache: ChunkCache::new(cache_bytes) }
    }

    /// The records of `units`, each verified against its unit, until `max_bytes` would be passed; one record is
    /// returned however large. `committed` is the committed end of the log: what lies beyond is not found.
    ///
    /// If the first record cannot be read, that is the error. If a later one cannot, the answer ends before it.
    pub fn records(
        &self,
        units: &[Unit],
        max_bytes: usize,
        committed: LogOffset,
    ) -> Result<Vec<Bytes>, ReadError> {
        let mut batch = Batch::with_capacity(units.len());
        for unit in units {
            if !batch.records.is_empty() && batch.bytes + unit.size as usize > max_bytes {
                break;
            }
            match self.record(unit, committed, &mut batch) {
                Ok(record) => batch.push(record),
                Err(error) if batch.records.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(batch.finish())
    }

    /// The message that begins at `log_offset`, which may be anything a client sent: a message counts only if it
    /// decodes, names this offset itself and ends before `committed`. Verified by its body's CRC alone.
    pub fn record_at(&self, log_offset: LogOffset, committed: LogOffset) -> Result<Bytes, ReadError> {
        if let Ok(Some(segment)) = self.segments.known(log_offset.get())
            && let Ok(record) = message_in(&segment, log_offset, committed)
        {
            return Ok(record);
        }
        match self.segments.fresh(log_offset.get())? {
            Some(segment) => message_in(&segment, log_offset, committed),
            None => Err(ReadError::NotFound { log_offset }),
        }
    }

    /// The bytes of a unit's record as they are, damaged or not.
    pub fn raw(&self, unit: &Unit) -> Result<Bytes, ReadError> {
        let Unit { log_offset, size, .. } = *unit;
        let segment = self.segments.fresh(log_offset.get())?;
        read_in(
            &segment.ok_or(ReadError::NotFound { log_offset })?,
            log_offset,
            u64::from(size.min(RECORD_LEN_MAX)),
        )
    }

    /// Closes the segment that begins at `base` and drops what is cached of it: for after it was removed, replaced
    /// or given another name.
    pub fn forget(&self, base: LogOffset) {
        if let Some(segment) = self.segments.close(base.get()) {
            self.cache.forget(segment.id);
        }
    }

    fn record(&self, unit: &Unit, committed: LogOffset, batch: &mut Batch) -> Result<Bytes, ReadError> {
        let Unit { log_offset, size, crc, .. } = *unit;
        if !(PREFIX_LEN as u32..=RECORD_LEN_MAX).contains(&size) {
            return Err(ReadError::Damaged { log_offset, size });
        }
        if log_offset.get().checked_add(u64::from(size)).is_none_or(|end| end > committed.get()) {
            return Err(ReadError::NotFound { log_offset });
        }
        let verifies = |record: &Bytes| record.len() == size as usize && crc32c::crc32c(record) == crc;
        if let Ok(Some(record)) = self.first_look(unit, committed, batch)
            && verifies(&record)
        {
            return Ok(record);
        }
        // Before anything is called damaged or missing it gets a second look, at the directory and at the disk: a
        // segment may have been added or replaced, or the cache's memory may be what is damaged.
        let Some(segment) = self.segments.fresh(log_offset.get())? else {
            return Err(ReadError::NotFound { log_offset });
        };
        let record = read_in(&segment, log_offset, u64::from(size))?;
        if !verifies(&record) {
            return Err(ReadError::Damaged { log_offset, size });
        }
        self.forget(LogOffset::new(segment.base));
        Ok(record)
    }

    /// The unit's bytes by way of the cache and open files, not verified; None if no such file is known.
    fn first_look(
        &self,
        unit: &Unit,
        committed: LogOffset,
        batch: &mut Batch,
    ) -> Result<Option<Bytes>, FileError> {
        let Some(segment) = self.segments.known(unit.log_offset.get())? else { return Ok(None) };
        let start = unit.log_offset.get() - segment.base;
        let place = start..start + u64::from(unit.size);
        let readable = committed.get() - segment.base;
        if u64::from(unit.size) < READ_ALONE_MIN
            && let Some(record) = self.by_chunks(&segment, place.clone(), readable, batch)?
        {
            return Ok(Some(record));
        }
        Ok(Some(segment.read(place)?))
    }

    /// Bytes at `place` in a segment, at most one chunk long, if the chunks that hold them are worth reading.
    fn by_chunks(
        &self,
        segment: &Segment<D::File>,
        place: Range<u64>,
        readable: u64,
        batch: &mut Batch,
    ) -> Result<Option<Bytes>, FileError> {
        let (first, last) = (place.start / CHUNK, (place.end - 1) / CHUNK);
        let within = |number: u64, position: u64| {
            position.clamp(number * CHUNK, (number + 1) * CHUNK) - number * CHUNK
        };
        let mut joined = BytesMut::new();
        for number in first..=last {
            let part = within(number, place.start) as usize..within(number, place.end) as usize;
            let Some(chunk) = self.chunk(segment, number, part.end, readable, batch)? else {
                return Ok(None);
            };
            if chunk.len() < part.end {
                return Ok(None);
            }
            if first == last {
                return Ok(Some(chunk.slice(part)));
            }
            joined.extend_from_slice(&chunk[part]);
        }
        Ok(Some(joined.freeze()))
    }

    /// A chunk with at least `need` bytes, or what there is of it up to `readable`. None if this is the first time in
    /// a while that anything is wanted of it: one record alone is cheaper to read by itself.
    fn chunk(
        &self,
        segment: &Segment<D::File>,
        number: u64,
        need: usize,
        readable: u64,
        batch: &mut Batch,
    ) -> Result<Option<Bytes>, FileError> {
        let key = ChunkKey { segment: segment.id, number };
        if let Some(chunk) = batch.in_hand(key, need) {
            return Ok(Some(chunk));
        }
        let chunk = match self.cache.find(key, need) {
            Found::Chunk(chunk) => chunk,
            Found::WantedBefore => {
                let start = number * CHUNK;
                let place = start..readable.min(start + CHUNK);
                let chunk = segment.read_into(place, self.cache.spare())?;
                self.cache.insert(key, chunk.clone());
                chunk
            }
            Found::Unknown => return Ok(None),
        };
        batch.take_in_hand(key, chunk.clone());
        Ok(Some(chunk))
    }
}

/// Bytes of the log from `log_offset`, read past the cache; not empty, but short where the segment ends.
fn read_in<F: DiskFile>(segment: &Segment<F>, log_offset: LogOffset, len: u64) -> Result<Bytes, ReadError> {
    let not_found = ReadError::NotFound { log_offset };
    let start = log_offset.get() - segment.base;
    if start < SEGMENT_HEADER_LEN as u64 || len == 0 {
        return Err(not_found);
    }
    let bytes = segment.read(start..start + len)?;
    if bytes.is_empty() { Err(not_found) } else { Ok(bytes) }
}

fn message_in<F: DiskFile>(
    segment: &Segment<F>,
    log_offset: LogOffset,
    committed: LogOffset,
) -> Result<Bytes, ReadError> {
    let not_found = || ReadError::NotFound { log_offset };
    let available = committed.get().saturating_sub(log_offset.get());
    let start = read_in(segment, log_offset, available.min(FIRST_READ))?;
    if start.len() < PREFIX_LEN {
        return Err(not_found());
    }
    let mut prefix = &start[..PREFIX_LEN];
    let (size, magic) = (prefix.get_u32(), prefix.get_u32());
    let plausible = (PREFIX_LEN as u32..=RECORD_LEN_MAX).contains(&size) && u64::from(size) <= available;
    if !plausible || (magic != MAGIC_V1 && magic != MAGIC_V2) {
        return Err(not_found());
    }
    let record = if size as usize <= start.len() {
        start.slice(..size as usize)
    } else {
        read_in(segment, log_offset, u64::from(size))?
    };
    match StoredMessage::decode_verified(&record) {
        Ok(message) if message.stamp.log_offset == log_offset => {}
        _ => return Err(not_found()),
    }
    match StoredMessage::decode(&record) {
        Ok(_) => Ok(record),
        Err(_) => Err(ReadError::Damaged { log_offset, size }),
    }
}
