//! Index runs: consume queue units and key index entries of one stretch of the log, in one immutable file.
//!
//! Units and entries of the newest stretch are in memory; behind the commit point they are written out one
//! stretch at a time. A run counts only when a snapshot names it, and then it is whole; otherwise it is built
//! again from the stretch of the log that it covers. So no crash leaves a half-written queue or index.
//!
//! A run is the file `{start of the stretch:020}`, big-endian:
//!
//! ```text
//! unit pages   204 units a page, ordered by queue, then queue offset
//! key pages    170 entries a page, ordered by hash, then log offset
//! directory    which stretch, where each queue's units are, first hash of each key page
//! footer       36 bytes: magic, version, counts, checksums
//! ```
//!
//! A page has 4096 bytes and ends in a CRC-32C of run id, page number and content. The footer's own CRC covers,
//! through the CRCs it holds of the directory and of all page CRCs, every byte of the file.

mod format;
mod recent;
mod write;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use steadfast_types::{LogOffset, QueueOffset};

use self::format::{Directory, FOOTER_LEN, Footer, Item, PAGE};
use self::recent::RecentPages;
pub use self::write::{RunContents, write_run};
use crate::disk::{self, Disk, DiskFile, Mode};
use crate::file::{self, FileError, at, numbered_name};
use crate::unit::{KeyEntry, QueueName, Unit};

/// Most pages that one read asks of the disk.
const READ_PAGES: u32 = 64;

/// Names a run: the log offset where the stretch begins that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub LogOffset);

impl RunId {
    /// The run's file name in its directory.
    pub fn file_name(self) -> String {
        numbered_name(self.0.get())
    }
}

/// What a snapshot records of a run. Two runs with the same info have the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// Stretch of the log; its start is the run's id.
    pub covers: Range<LogOffset>,
    /// Number of units.
    pub units: u64,
    /// Number of key index entries.
    pub keys: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// The footer's CRC, which covers the whole file.
    pub crc: u32,
}

impl RunInfo {
    /// The run's id.
    pub fn id(&self) -> RunId {
        RunId(self.covers.start)
    }
}

/// Part of a run's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A page, counted from 0.
    Page(u32),
    /// The directory.
    Directory,
    /// The footer, or the file's length.
    Footer,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(number) => write!(f, "page {number}"),
            Self::Directory => f.write_str("the directory"),
            Self::Footer => f.write_str("the footer"),
        }
    }
}

/// Why a run was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The file does not verify; build the run again from the log.
    #[error("index run {file} is damaged: {part} does not verify")]
    Damaged {
        /// The file.
        file: String,
        /// The first part found damaged.
        part: Part,
    },
    /// A newer release wrote it.
    #[error("index run {file} has format version {found}, this release knows up to {known}")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format version.
        found: u32,
        /// The newest version that this release reads.
        known: u32,
    },
    /// The contents given cannot be a run; nothing was written.
    #[error("not a run: {0}")]
    Contents(String),
}

/// An open run. Its directory is in memory (about 8 bytes per 170 key entries and 60 per block of a queue),
/// pages are read and verified on demand, and a few of them kept. Threads share it by reference.
pub struct Run<D: Disk> {
    path: String,
    file: D::File,
    info: RunInfo,
    pages_crc: u32,
    directory: Directory,
    recent: RecentPages,
}

impl<D: Disk> Run<D> {
    /// Opens run `id` in `dir` and verifies its footer and directory.
    pub fn open(disk: &D, dir: &str, id: RunId) -> Result<Self, RunError> {
        Self::open_path(disk, &format!("{dir}/{}", id.file_name()), id)
    }

    fn open_path(disk: &D, path: &str, id: RunId) -> Result<Self, RunError> {
        let damaged = |part| RunError::Damaged { file: path.to_owned(), part };
        let file = disk.open(path, Mode::Read).map_err(at(path))?;
        let bytes = file.len().map_err(at(path))?;
        let footer_at = bytes.checked_sub(FOOTER_LEN as u64).ok_or_else(|| damaged(Part::Footer))?;
        let mut footer = [0; FOOTER_LEN];
        disk::read_exact(&file, &mut footer, footer_at).map_err(at(path))?;
        let footer = Footer::decode(&footer).ok_or_else(|| damaged(Part::Footer))?;
        if footer.version > format::VERSION {
            let (found, known) = (footer.version, format::VERSION);
            return Err(RunError::NewerFormat { file: path.to_owned(), found, known });
        }
        if footer.id != id || footer.file_len() != bytes {
            return Err(damaged(Part::Footer));
        }
        let mut encoded = vec![0; footer.directory_len as usize];
        disk::read_exact(&file, &mut encoded, footer.directory_at()).map_err(at(path))?;
        if crc32c::crc32c(&encoded) != footer.directory_crc {
            return Err(damaged(Part::Directory));
        }
        let directory = Directory::decode(&encoded)
            .filter(|directory| {
                directory.covers.start == id.0 && directory.pages() == u64::from(footer.pages)
            })
            .ok_or_else(|| damaged(Part::Directory))?;
        let (units, keys) = (directory.units, directory.keys);
        let info = RunInfo { covers: directory.covers.clone(), units, keys, bytes, crc: footer.crc() };
        Ok(Self {
            path: path.to_owned(),
            file,
            info,
            pages_crc: footer.pages_crc,
            directory,
            recent: RecentPages::default(),
        })
    }

    /// What a snapshot records of this run.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// The stretch of the log that the run covers.
    pub fn covers(&self) -> Range<LogOffset> {
        self.info.covers.clone()
    }

    /// The queues that have units here, ordered, each with a range of queue offsets without holes. A queue with
    /// holes comes once for each range.
    pub fn queues(&self) -> impl Iterator<Item = (&QueueName, Range<QueueOffset>)> {
        self.directory.blocks.iter().map(|block| (&block.queue, block.first..block.end()))
    }

    /// The first and the last offset, plus one, that a queue has here; there may be holes between.
    pub fn span(&self, queue: &QueueName) -> Option<Range<QueueOffset>> {
        let blocks = &self.directory.blocks;
        let first = blocks.partition_point(|block| block.queue < *queue);
        let after = blocks.partition_point(|block| block.queue <= *queue);
        let (first, last) = (blocks[first..after].first()?, blocks[first..after].last()?);
        Some(first.first..last.end())
    }

    /// Up to `max` units of a queue from queue offset `from`, ending at a hole. Empty if `from` is not here.
    pub fn units(&self, queue: &QueueName, from: QueueOffset, max: usize) -> Result<Vec<Unit>, RunError> {
        let Some(block) = self.directory.block(queue, from) else { return Ok(Vec::new()) };
        let skipped = from.get() - block.first.get();
        let count = (u64::from(block.count) - skipped).min(max as u64);
        let start = block.first_unit + skipped;
        self.items(0, start..start + count)
    }

    /// The entries filed under `hash`, in log order.
    pub fn candidates(&self, hash: u64) -> Result<Vec<KeyEntry>, RunError> {
        let mut found = Vec::new();
        for page in self.directory.key_pages(hash) {
            let start = u64::from(page) * KeyEntry::PER_PAGE;
            let end = (start + KeyEntry::PER_PAGE).min(self.directory.keys);
            let entries: Vec<KeyEntry> = self.items(self.directory.unit_pages(), start..end)?;
            let first = entries.partition_point(|entry| entry.hash < hash);
            found.extend(entries[first..].iter().take_while(|entry| entry.hash == hash));
        }
        Ok(found)
    }

    /// Reads and verifies every page.
    pub fn verify(&self) -> Result<(), RunError> {
        let pages = self.directory.pages() as u32;
        let mut pages_crc = 0;
        for first in (0..pages).step_by(READ_PAGES as usize) {
            for page in self.pages(first, (pages - first).min(READ_PAGES))?.chunks_exact(PAGE) {
                pages_crc = format::fold_page_crc(pages_crc, page);
            }
        }
        if pages_crc != self.pages_crc {
            return Err(self.damaged(Part::Footer));
        }
        Ok(())
    }

    /// Items number `range` of the kind whose pages begin at `base`.
    fn items<T: Item>(&self, base: u32, range: Range<u64>) -> Result<Vec<T>, RunError> {
        let mut items = Vec::with_capacity((range.end - range.start) as usize);
        let mut next = range.start;
        while next < range.end {
            let first = (next / T::PER_PAGE) as u32;
            let last = ((range.end - 1) / T::PER_PAGE) as u32;
            let count = (last - first + 1).min(READ_PAGES);
            // Perhaps fewer than asked for; the rest is next.
            let pages = self.recent_or_read(base + first, count)?;
            for (page, number) in pages.chunks_exact(PAGE).zip(u64::from(first)..) {
                let page_start = number * T::PER_PAGE;
                let page_end = (page_start + T::PER_PAGE).min(range.end);
                items.extend(
                    (next - page_start..page_end - page_start).map(|slot| T::nth(page, slot as usize)),
                );
                next = page_end;
            }
        }
        Ok(items)
    }

    /// The first of `count` verified pages if it was used lately, else all. The last one may be wanted again; who reads
    /// on behind a page is done with it.
    fn recent_or_read(&self, first: u32, count: u32) -> Result<Bytes, RunError> {
        let recent = if count == 1 { self.recent.get(first) } else { self.recent.take(first) };
        if let Some(page) = recent {
            return Ok(page);
        }
        let pages = Bytes::from(self.pages(first, count)?);
        let last = &pages[pages.len() - PAGE..];
        // Kept alone: it shall not keep the memory of the others.
        let page = if count == 1 { pages.clone() } else { Bytes::copy_from_slice(last) };
        self.recent.put(first + count - 1, page);
        Ok(pages)
    }

    /// `count` verified pages.
    fn pages(&self, first: u32, count: u32) -> Result<Vec<u8>, RunError> {
        let mut pages = vec![0; count as usize * PAGE];
        disk::read_exact(&self.file, &mut pages, u64::from(first) * PAGE as u64).map_err(at(&self.path))?;
        for (page, number) in pages.chunks_exact(PAGE).zip(first..) {
            if !format::page_verifies(self.info.id(), number, page) {
                return Err(self.damaged(Part::Page(number)));
            }
        }
        Ok(pages)
    }

    fn damaged(&self, part: Part) -> RunError {
        RunError::Damaged { file: self.path.clone(), part }
    }
}

impl<D: Disk> fmt::Debug for Run<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("path", &self.path).field("info", &self.info).finish_non_exhaustive()
    }
}

/// Ids of the runs in `dir`, ascending, whether they verify or not.
pub fn list<D: Disk>(disk: &D, dir: &str) -> Result<Vec<RunId>, RunError> {
    Ok(file::numbers(disk, dir)?.into_iter().map(|number| RunId(LogOffset::new(number))).collect())
}

/// Removes every run that is not in `keep`, and what a crash left half-written. `keep` must hold the runs that
/// any snapshot generation names, the older one's too.
pub fn retain<D: Disk>(disk: &D, dir: &str, keep: &[RunId]) -> Result<(), RunError> {
    file::remove_leftovers(disk, dir)?;
    for id in list(disk, dir)?.into_iter().filter(|id| !keep.contains(id)) {
        let path = format!("{dir}/{}", id.file_name());
        disk.remove(&path).map_err(at(&path))?;
    }
    Ok(())
}
