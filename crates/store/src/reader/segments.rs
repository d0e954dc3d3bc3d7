//! The log's segment files as the reader knows them: listed once, opened when first read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

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
        let mut bytes = vec![0; (place.end - place.start) as usize];
        let read = self.file.read_at(&mut bytes, place.start).map_err(at(&self.path))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

/// Every segment in a directory.
pub(super) struct Segments<D: Disk> {
    disk: D,
    dir: String,
    known: Mutex<Known<D::File>>,
}

struct Known<F> {
    /// By base; None until first read.
    segments: BTreeMap<u64, Option<Arc<Segment<F>>>>,
    opened: u64,
}

impl<D: Disk> Segments<D> {
    pub(super) fn new(disk: D, dir: &str) -> Self {
        let known = Known { segments: BTreeMap::new(), opened: 0 };
        Self { disk, dir: dir.to_owned(), known: Mutex::new(known) }
    }

    /// The segment of log position `position` among those known; a newer one may have come since the last listing.
    pub(super) fn known(&self, position: u64) -> Result<Option<Arc<Segment<D::File>>>, FileError> {
        let mut known = self.lock();
        if known.segments.is_empty() {
            self.list(&mut known)?;
        }
        self.open(&mut known, position)
    }

    /// The segment of log position `position` after a new look at the directory.
    pub(super) fn listed(&self, position: u64) -> Result<Option<Arc<Segment<D::File>>>, FileError> {
        let mut known = self.lock();
        self.list(&mut known)?;
        self.open(&mut known, position)
    }

    /// Closes the segment with this base; returns it if it was open.
    pub(super) fn close(&self, base: u64) -> Option<Arc<Segment<D::File>>> {
        self.lock().segments.remove(&base).flatten()
    }

    fn list(&self, known: &mut Known<D::File>) -> Result<(), FileError> {
        let bases = file::numbers(&self.disk, &self.dir)?;
        known.segments =
            bases.into_iter().map(|base| (base, known.segments.remove(&base).flatten())).collect();
        Ok(())
    }

    fn open(
        &self,
        known: &mut Known<D::File>,
        position: u64,
    ) -> Result<Option<Arc<Segment<D::File>>>, FileError> {
        let Known { segments, opened } = known;
        let Some((&base, slot)) = segments.range_mut(..=position).next_back() else { return Ok(None) };
        if let Some(segment) = slot {
            return Ok(Some(segment.clone()));
        }
        let path = format!("{}/{}", self.dir, numbered_name(base));
        let file = self.disk.open(&path, Mode::Read).map_err(at(&path))?;
        *opened += 1;
        let segment = Arc::new(Segment { id: *opened, base, path, file });
        *slot = Some(segment.clone());
        Ok(Some(segment))
    }

    fn lock(&self) -> MutexGuard<'_, Known<D::File>> {
        // What a panic could leave behind is an incomplete list, which the next miss completes.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
