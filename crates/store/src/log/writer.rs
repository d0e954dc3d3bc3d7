//! Appends entries durably. The first failure is final (promise P3): the writer is poisoned, and only a new
//! process that re-reads the log may continue it.

use std::io;

use bytes::BytesMut;
use steadfast_types::{LogIndex, LogOffset};

use super::frame::{self, Entry};
use super::layout::{Layout, Mark};
use super::segment::{SegmentHeader, segment_path};
use crate::aligned::AlignedBuf;
use crate::disk::{BLOCK, Disk, DiskFile, Mode, write_all};

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk refused. The group takes no more writes until it has been restarted and has re-read its log.
    #[error("writing the log at {at} failed: {source}")]
    Disk {
        /// Log offset of the write.
        at: LogOffset,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier append failed.
    #[error("the log takes no writes since an earlier one failed")]
    Poisoned,
    /// The entry's stamped place is not the log's end: a bug, and writing it would destroy the log.
    #[error("entry {index} was stamped for {stamped}, the log continues at {actual}")]
    Misplaced {
        /// The entry.
        index: LogIndex,
        /// Where its leader put it.
        stamped: LogOffset,
        /// Where this log continues.
        actual: LogOffset,
    },
}

/// The one writer of a log.
pub struct LogWriter<D: Disk> {
    disk: D,
    layout: Layout,
    group: u64,
    mode: Mode,
    end: Mark,
    segment: Option<(LogOffset, D::File)>,
    /// Bytes of the last, partly filled block: they are written again with what follows.
    tail_block: Vec<u8>,
    buf: AlignedBuf,
    frames: BytesMut,
    poisoned: bool,
}

/// Adjacent bytes for one write.
struct Stretch {
    base: LogOffset,
    at: LogOffset,
    bytes: std::ops::Range<usize>,
}

impl<D: Disk> LogWriter<D> {
    /// A writer that continues the log at `end`. `mode` is [`Mode::Durable`] for SYNC_FLUSH; with
    /// [`Mode::Buffered`] an append is only handed to the operating system (ASYNC_FLUSH).
    pub fn open(disk: D, layout: Layout, group: u64, mode: Mode, end: Mark) -> io::Result<Self> {
        let mut writer = Self {
            disk,
            layout,
            group,
            mode,
            end,
            segment: None,
            tail_block: Vec::new(),
            buf: AlignedBuf::default(),
            frames: BytesMut::new(),
            poisoned: false,
        };
        writer.load_tail_block()?;
        Ok(writer)
    }

    /// Where the log ends.
    pub fn end(&self) -> Mark {
        self.end
    }

    /// Appends entries; when it returns Ok they are durable (or, with [`Mode::Buffered`], with the operating
    /// system). `places` are the log offsets that the leader stamped.
    pub fn append(&mut self, entries: &[(Entry, LogOffset)]) -> Result<Mark, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        let result = self.try_append(entries);
        if result.is_err() {
            self.poisoned = true;
        }
        result
    }

    fn try_append(&mut self, entries: &[(Entry, LogOffset)]) -> Result<Mark, AppendError> {
        self.frames.clear();
        let mut mark = self.end;
        let mut stretches: Vec<Stretch> = Vec::new();
        for (entry, stamped) in entries {
            let place = self.layout.place(mark.end, entry.payload.len());
            if place.at != *stamped || entry.index != mark.index.next() {
                let (index, stamped) = (entry.index, *stamped);
                return Err(AppendError::Misplaced { index, stamped, actual: place.at });
            }
            let from = self.frames.len();
            let base = self.layout.base_of(place.at);
            if place.opens_segment {
                let header = SegmentHeader {
                    chain: mark.chain,
                    base,
                    size: self.layout.segment_size,
                    first_index: entry.index,
                    group: self.group,
                };
                self.frames.extend_from_slice(&header.encode());
                stretches.push(Stretch { base, at: base, bytes: from..from });
            } else if stretches.is_empty() {
                stretches.push(Stretch { base, at: place.at, bytes: from..from });
            }
            let chain = frame::encode(entry, place.at, mark.chain, &mut self.frames);
            mark = Mark { index: entry.index, end: place.end, chain };
            if let Some(stretch) = stretches.last_mut() {
                stretch.bytes.end = self.frames.len();
            }
        }
        for stretch in stretches {
            self.write(&stretch).map_err(|source| AppendError::Disk { at: stretch.at, source })?;
        }
        self.end = mark;
        Ok(mark)
    }

    fn write(&mut self, stretch: &Stretch) -> io::Result<()> {
        self.switch_segment(stretch.base)?;
        let Some((_, file)) = &self.segment else { return Err(io::Error::other("no segment is open")) };
        let within = stretch.at.get() - stretch.base.get();
        let lead = (within % BLOCK as u64) as usize;
        debug_assert_eq!(lead, self.tail_block.len(), "the tail block holds what precedes the write");
        let bytes = &self.frames[stretch.bytes.clone()];
        let padded = (lead + bytes.len()).next_multiple_of(BLOCK);
        let buf = self.buf.of_len(padded);
        buf[..lead].copy_from_slice(&self.tail_block);
        buf[lead..lead + bytes.len()].copy_from_slice(bytes);
        buf[lead + bytes.len()..].fill(0);
        write_all(file, buf, within - lead as u64)?;
        let full = (lead + bytes.len()) / BLOCK * BLOCK;
        let tail = buf[full..lead + bytes.len()].to_vec();
        self.tail_block = tail;
        Ok(())
    }

    fn switch_segment(&mut self, base: LogOffset) -> io::Result<()> {
        if self.segment.as_ref().is_some_and(|(open, _)| *open == base) {
            return Ok(());
        }
        // A segment left behind must be on the medium before the next one is: ASYNC_FLUSH syncs only the
        // segment that is open.
        if let (Some((_, file)), Mode::Buffered) = (&self.segment, self.mode) {
            file.sync()?;
        }
        let path = segment_path(base);
        let file = self.disk.open(&path, self.mode)?;
        // The filler normally made the file long ago; syncing the folder again is cheap and happens once.
        self.disk.sync_dir(super::DIR)?;
        self.segment = Some((base, file));
        self.tail_block.clear();
        Ok(())
    }

    /// Syncs what appends handed to the operating system (ASYNC_FLUSH). A failure poisons the writer.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if let Some((_, file)) = &self.segment {
            file.sync().map_err(|source| {
                self.poisoned = true;
                AppendError::Disk { at: self.end.end, source }
            })?;
        }
        Ok(())
    }

    fn load_tail_block(&mut self) -> io::Result<()> {
        let end = self.end.end;
        let base = self.layout.base_of(end);
        let within = end.get() - base.get();
        if within == 0 {
            return Ok(());
        }
        self.switch_segment(base)?;
        let lead = (within % BLOCK as u64) as usize;
        let Some((_, file)) = &self.segment else { return Ok(()) };
        let mut block = AlignedBuf::default();
        let block = block.of_len(BLOCK);
        crate::disk::read_exact(file, block, within - lead as u64)?;
        self.tail_block = block[..lead].to_vec();
        Ok(())
    }
}
