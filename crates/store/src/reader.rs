//! Reads records of the log that are no longer in memory: the reading half of the log, shared by a small pool
//! of reader threads.
//!
//! Segments are files `{base:020}`; log position `p` is in the file with the greatest base <= `p`, at `p - base`.
//! Each begins with a header of [`SEGMENT_HEADER_LEN`] bytes, and no record straddles two of them.
//!
//! Records that lie side by side are read together. Where they are scattered, since the queues that are read together
//! are interleaved in the log, a backlog is read in aligned chunks that a small cache keeps. Nothing is read past the
//! committed end that the caller gives: what is before it never changes, so nothing in the cache can be stale.

mod batch;
mod chunk_cache;
mod records;
mod segments;
mod spares;

use std::ops::Range;

use bytes::{Buf, Bytes};
use steadfast_types::LogOffset;
use steadfast_types::record::{MAGIC_V1, MAGIC_V2, PREFIX_LEN, StoredMessage};

use self::batch::Batch;
use self::chunk_cache::{CHUNK, ChunkCache, ChunkKey, Found};
pub use self::records::Records;
use self::segments::{Segment, Segments};
use self::spares::Spares;
use crate::disk::{Disk, DiskFile};
use crate::file::FileError;
use crate::log::{PAYLOAD_MAX, SEGMENT_HEADER_LEN};
use crate::unit::Unit;

/// A cache size that serves several groups reading backlog.
pub const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Records side by side that are together at least this long are read on their own: a chunk would save them nothing, and
/// they would leave the processor's caches before they are verified and sent.
const READ_ALONE_MIN: usize = 16 * 1024;
/// The most that is read on its own, if it is not one record.
const STRETCH_MAX: usize = 256 * 1024;
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
    /// Memory of what was read on its own.
    spares: Spares,
}

impl<D: Disk> LogReader<D> {
    /// Reads the segments in `dir`, keeping up to `cache_bytes` of them in memory, but at least four chunks of
    /// 512 KiB.
    pub fn new(disk: D, dir: &str, cache_bytes: usize) -> Self {
        let cache = ChunkCache::new(cache_bytes);
        Self { segments: Segments::new(disk, dir), cache, spares: Spares::default() }
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
    ) -> Result<Records, ReadError> {
        let mut batch = Batch::for_records(units.len());
        for (n, unit) in units.iter().enumerate() {
            let found = batch.records();
            let (is_first, room) = (found.is_empty(), max_bytes.saturating_sub(found.bytes()));
            if !is_first && unit.size as usize > room {
                break;
            }
            match self.record(&units[n..], room, committed, &mut batch) {
                Ok(()) => {}
                Err(error) if is_first => return Err(error),
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

    /// Appends the record of the first unit. Those after it, up to `room` bytes, are expected to be wanted next.
    fn record(
        &self,
        units: &[Unit],
        room: usize,
        committed: LogOffset,
        batch: &mut Batch,
    ) -> Result<(), ReadError> {
        let unit = &units[0];
        let Unit { log_offset, size, .. } = *unit;
        if !(PREFIX_LEN as u32..=RECORD_LEN_MAX).contains(&size) {
            return Err(ReadError::Damaged { log_offset, size });
        }
        if log_offset.get().checked_add(u64::from(size)).is_none_or(|end| end > committed.get()) {
            return Err(ReadError::NotFound { log_offset });
        }
        let taken = batch.take(unit).or_else(|| {
            let (bytes, at) = self.first_look(units, room, committed).ok()??;
            batch.take_in_hand(bytes, at);
            batch.take(unit)
        });
        if taken == Some(true) {
            return Ok(());
        }
        // Before anything is called damaged or missing it gets a second look, at the directory and at the disk: a
        // segment may have been added or replaced, or the cache's memory may be what is damaged.
        let Some(segment) = self.segments.fresh(log_offset.get())? else {
            return Err(ReadError::NotFound { log_offset });
        };
        let record = read_in(&segment, log_offset, u64::from(size))?;
        if !unit.vouches_for(&record) {
            return Err(ReadError::Damaged { log_offset, size });
        }
        self.forget(LogOffset::new(segment.base));
        batch.push(record);
        Ok(())
    }

    /// Bytes from a log offset on in which the first unit's record lies, by way of the cache and open files; not
    /// verified. None if no such file is known.
    fn first_look(
        &self,
        units: &[Unit],
        room: usize,
        committed: LogOffset,
    ) -> Result<Option<(Bytes, LogOffset)>, FileError> {
        let log_offset = units[0].log_offset;
        let Some(segment) = self.segments.known(log_offset.get())? else { return Ok(None) };
        let start = log_offset.get() - segment.base;
        let place = start..start + u64::from(units[0].size);
        let readable = committed.get() - segment.base;
        let stretch = stretch(units, room.min(STRETCH_MAX));
        if stretch >= READ_ALONE_MIN {
            let end = readable.min(start + stretch as u64);
            return Ok(Some((self.read_alone(&segment, start..end)?, log_offset)));
        }
        let number = start / CHUNK;
        let chunked = if place.end <= (number + 1) * CHUNK {
            let chunk = self.chunk(&segment, number, place.end, readable)?;
            chunk.map(|chunk| (chunk, LogOffset::new(segment.base + number * CHUNK)))
        } else {
            self.across(&segment, place.clone(), readable)?.map(|record| (record, log_offset))
        };
        Ok(Some(match chunked {
            Some(found) => found,
            None => (segment.read(place)?, log_offset),
        }))
    }

    /// Bytes at `place` in a segment, in the memory of earlier ones that no answer holds any more.
    fn read_alone(&self, segment: &Segment<D::File>, place: Range<u64>) -> Result<Bytes, FileError> {
        let memory = self.spares.take((place.end - place.start) as usize);
        let bytes = segment.read_into(place, memory)?;
        if bytes.len() <= STRETCH_MAX {
            self.spares.keep(bytes.clone());
        }
        Ok(bytes)
    }

    /// Bytes at `place` in a segment, which two chunks hold, if these are worth reading.
    fn across(
        &self,
        segment: &Segment<D::File>,
        place: Range<u64>,
        readable: u64,
    ) -> Result<Option<Bytes>, FileError> {
        let number = place.end / CHUNK;
        let border = number * CHUNK;
        let Some(left) = self.chunk(segment, number - 1, border, readable)? else { return Ok(None) };
        let Some(right) = self.chunk(segment, number, place.end, readable)? else { return Ok(None) };
        let (left, right) = (
            left.slice((place.start + CHUNK - border) as usize..),
            right.slice(..(place.end - border) as usize),
        );
        Ok(Some([left, right].concat().into()))
    }

    /// A chunk that reaches to `end` in the segment, as far as it is `readable`. None if it does not, or if this is the
    /// first time in a while that anything is wanted of it: one record alone is cheaper to read by itself.
    fn chunk(
        &self,
        segment: &Segment<D::File>,
        number: u64,
        end: u64,
        readable: u64,
    ) -> Result<Option<Bytes>, FileError> {
        let key = ChunkKey { segment: segment.id, number };
        let start = number * CHUNK;
        let need = (end - start) as usize;
        let chunk = match self.cache.find(key, need) {
            Found::Chunk(chunk) => chunk,
            Found::WantedBefore => {
                let chunk = segment.read_into(start..readable.min(start + CHUNK), self.cache.spare())?;
                self.cache.insert(key, chunk.clone());
                chunk
            }
            Found::Unknown => return Ok(None),
        };
        Ok(Some(chunk).filter(|chunk| chunk.len() >= need))
    }
}

/// Bytes in the first record and in those that follow it side by side, up to `most` unless the first one has more.
fn stretch(units: &[Unit], most: usize) -> usize {
    let mut len = units[0].size as usize;
    for pair in units.windows(2) {
        let is_next =
            pair[0].log_offset.get().wrapping_add(u64::from(pair[0].size)) == pair[1].log_offset.get();
        if !is_next || len + pair[1].size as usize > most {
            break;
        }
        len += pair[1].size as usize;
    }
    len
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
