//! Writing a run: pages as they fill, then directory and footer, then the read-back.

use std::ops::Range;

use steadfast_types::{LogOffset, QueueOffset};

use super::format::{self, Block, Directory, Footer, Item, PAGE, PAGE_CONTENT};
use super::{Run, RunError, RunId, RunInfo};
use crate::disk::{Disk, DiskFile};
use crate::file::{self, Draft, FileError};
use crate::unit::{KeyEntry, QueueName, Unit};

/// Bytes that are gathered before they are written.
const WRITE_LEN: usize = 64 * PAGE;

/// What a run is made of. All log offsets lie in `covers`, which is not empty.
#[derive(Debug, Clone)]
pub struct RunContents {
    /// Stretch of the log.
    pub covers: Range<LogOffset>,
    /// Units with consecutive queue offsets, of which the first is given; in any order. A queue with holes comes
    /// once for each range without one.
    pub queues: Vec<(QueueName, QueueOffset, Vec<Unit>)>,
    /// Key index entries in any order.
    pub keys: Vec<KeyEntry>,
}

impl RunContents {
    /// Puts everything in the file's order and makes the directory of it.
    fn arrange(&mut self) -> Result<Directory, RunError> {
        self.queues.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        self.keys.sort_unstable();
        self.check()?;
        let mut blocks: Vec<Block> = Vec::new();
        let mut first_unit = 0;
        for (queue, first, units) in self.queues.iter().filter(|(_, _, units)| !units.is_empty()) {
            let count = units.len() as u32;
            match blocks.last_mut() {
                Some(last) if last.queue == *queue && last.end() > *first => {
                    let text = format!("two ranges of queue {queue} overlap at {first}");
                    return Err(RunError::Contents(text));
                }
                Some(last) if last.queue == *queue && last.end() == *first => last.count += count,
                _ => blocks.push(Block { queue: queue.clone(), first: *first, count, first_unit }),
            }
            first_unit += u64::from(count);
        }
        let fences = self.keys.chunks(KeyEntry::PER_PAGE as usize).map(|page| page[0].hash).collect();
        let keys = self.keys.len() as u64;
        Ok(Directory { covers: self.covers.clone(), units: first_unit, keys, blocks, fences })
    }

    fn check(&self) -> Result<(), RunError> {
        let units = self.queues.iter().flat_map(|(_, _, units)| units).map(|unit| unit.log_offset);
        let mut offsets = units.chain(self.keys.iter().map(|entry| entry.log_offset));
        if self.covers.is_empty() {
            return Err(RunError::Contents("the stretch of the log is empty".to_owned()));
        }
        if let Some(stray) = offsets.find(|offset| !self.covers.contains(offset)) {
            return Err(RunError::Contents(format!("log offset {stray} is outside {:?}", self.covers)));
        }
        for (queue, first, units) in &self.queues {
            if queue.topic.len() > usize::from(u16::MAX) {
                return Err(RunError::Contents("a topic's name is too long".to_owned()));
            }
            if first.get().checked_add(units.len() as u64).is_none() {
                return Err(RunError::Contents(format!("queue {queue} has no offsets left at {first}")));
            }
        }
        let items = self.keys.len() + self.queues.iter().map(|(_, _, units)| units.len()).sum::<usize>();
        if u32::try_from(items).is_err() {
            return Err(RunError::Contents(format!("{items} items are too many")));
        }
        Ok(())
    }
}

/// Writes the run of `contents.covers` in `dir`, replacing one with the same id, and reads it back. After Ok the
/// run is whole and durable; on an error there is no new run.
pub fn write_run<D: Disk>(disk: &D, dir: &str, mut contents: RunContents) -> Result<RunInfo, RunError> {
    let directory = contents.arrange()?;
    let id = RunId(contents.covers.start);
    file::publish(
        disk,
        dir,
        &id.file_name(),
        |draft| Ok(write_file(draft, id, &contents, &directory)?),
        |written| {
            let run = Run::open_path(disk, written, id)?;
            run.verify()?;
            Ok(run.info)
        },
    )
}

fn write_file<F: DiskFile>(
    draft: &mut Draft<F>,
    id: RunId,
    contents: &RunContents,
    directory: &Directory,
) -> Result<(), FileError> {
    let mut pages = Pages { draft, id, count: 0, crc: 0, pending: Vec::with_capacity(WRITE_LEN) };
    pages.fill(contents.queues.iter().flat_map(|(_, _, units)| units))?;
    pages.fill(contents.keys.iter())?;
    pages.flush()?;
    let directory = directory.encode();
    let footer = Footer {
        version: format::VERSION,
        id,
        pages: pages.count,
        pages_crc: pages.crc,
        directory_len: directory.len() as u32,
        directory_crc: crc32c::crc32c(&directory),
    };
    draft.append(&directory)?;
    draft.append(&footer.encode())
}

/// Fills pages and writes them out, many at a time.
struct Pages<'a, F> {
    draft: &'a mut Draft<F>,
    id: RunId,
    count: u32,
    crc: u32,
    pending: Vec<u8>,
}

impl<F: DiskFile> Pages<'_, F> {
    fn fill<'i, T: Item + 'i>(&mut self, items: impl Iterator<Item = &'i T>) -> Result<(), FileError> {
        let mut items = items.peekable();
        while items.peek().is_some() {
            let start = self.pending.len();
            items.by_ref().take(T::PER_PAGE as usize).for_each(|item| item.put(&mut self.pending));
            self.pending.resize(start + PAGE_CONTENT, 0);
            let crc = format::page_crc(self.id, self.count, &self.pending[start..]);
            self.pending.extend_from_slice(&crc.to_be_bytes());
            self.crc = format::fold_page_crc(self.crc, &self.pending[start..]);
            self.count += 1;
            if self.pending.len() >= WRITE_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.draft.append(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}
