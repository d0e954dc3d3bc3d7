//! The log's segment files as the reader knows them: listed once, opened when first read.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::disk::{Disk, DiskFile, Mode};
use crate::file::{self, FileError, at, numbered_name};

/// An open segment.
pub(super) struct Segment<F> {
    /// Differs for every opening, even of the same name: what was cached of an earlier one is never taken for it.
    pub(super) id: u64,
    /// Log offset of the file's byte 0.
    pub(super) base: u64,
    path: String,
    file: F,
}

impl<F: DiskFile> Segment<F> {
    /// Bytes at `place` in the file; fewer where the file ends.
    pub(super) fn read(&self, place: Range<u64>) -> Result<Bytes, FileError> {
        self.read_into(place, BytesMut::new())
    }

    /// Like [`Segment::read`], into memory that is no longer used for anything else.
    pub(super) fn read_into(&self, place: Range<u64>, mut bytes: BytesMut) -> Result<Bytes, FileError> {
        bytes.resize((place.end - place.start) as usize, 0);
        let read = self.file.read_at(&mut bytes, place.start).map_err(at(&self.path))?;
        bytes.truncate(read);
        Ok(bytes.freeze())
    }
}

/// Every segment in a directory.
pub(super) struct Segments<D: Disk> {
    disk: D,
    dir: String,
    known: Mutex<Known<D::File>>,
    /// How many were opened so far.
    opened: AtomicU64,
}

/// By base; None until it is read.
type Known<F> = BTreeMap<u64, Option<Arc<Segment<F>>>>;

impl<D: Disk> Segments<D> {
    pub(super) fn new(disk: D, dir: &str) -> Self {
        Self { disk, dir: dir.to_owned(), known: Mutex::default(), opened: AtomicU64::new(0) }
    }

    /// The segment of log position `position` among those known; a newer one may have come since the last listing.
    pub(super) fn known(&self, position: u64) -> Result<Option<Arc<Segment<D::File>>>, FileError> {
        let mut known = self.lock();
        if known.is_empty() {
            self.list(&mut known)?;
        }
        let Some((base, slot)) = known.range_mut(..=position).next_back() else { return Ok(None) };
        if slot.is_none() {
            *slot = self.open(*base)?.map(Arc::new);
        }
        Ok(slot.clone())
    }

    /// The segment of log position `position` after a new look at the directory, newly opened for this one use.
    pub(super) fn fresh(&self, position: u64) -> Result<Option<Segment<D::File>>, FileError> {
        let mut known = self.lock();
        self.list(&mut known)?;
        let base = known.range(..=position).next_back().map(|(base, _)| *base);
        drop(known);
        base.map_or(Ok(None), |base| self.open(base))
    }

    /// Closes the segment with this base, to be opened anew when it is next read; returns it if it was open.
    pub(super) fn close(&self, base: u64) -> Option<Arc<Segment<D::File>>> {
        self.lock().get_mut(&base)?.take()
    }

    fn list(&self, known: &mut Known<D::File>) -> Result<(), FileError> {
        let bases = file::numbers(&self.disk, &self.dir)?;
        *known = bases.into_iter().map(|base| (base, known.remove(&base).flatten())).collect();
        Ok(())
    }

    /// None if the file is gone.
    fn open(&self, base: u64) -> Result<Option<Segment<D::File>>, FileError> {
        let path = format!("{}/{}", self.dir, numbered_name(base));
        match self.disk.open(&path, Mode::Read) {
            Ok(file) => {
                let id = self.opened.fetch_add(1, Ordering::Relaxed);
                Ok(Some(Segment { id, base, path, file }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known<D::File>> {
        // What a panic could leave behind is an incomplete list, which the next miss completes.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
