//! Appends entries durably. The first failure is final (promise P3): the writer is poisoned, and only a new
//! process that re-reads the log may continue it.
//!
//! A follower whose entries another leader replaces goes back: nothing is erased, the new entries are written over the
//! old ones in place. What is left of the old ones behind them, frames and segment headers, is rejected by the chain.

use std::io;
use std::ops::Range;

use steadfast_types::{LogIndex, LogOffset};

use super::frame::{self, Entry, FRAME_HEADER_LEN, FrameHeader, frame_len};
use super::layout::{Layout, Mark};
use super::segment::{SEGMENT_HEADER_LEN, SegmentHeader, segment_path};
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
    /// The log cannot go back there: a bug, or the frame is damaged.
    #[error("the log cannot go back to entry {index}: its frame is not at {at}")]
    NotThere {
        /// The entry that was to be the last.
        index: LogIndex,
        /// Where its frame should be.
        at: LogOffset,
    },
}

/// What is kept of a log that goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Everything before a mark.
    Mark(Mark),
    /// Everything through this entry.
    Through {
        /// Index of the entry.
        index: LogIndex,
        /// Log offset of its frame.
        at: LogOffset,
    },
}

impl Keep {
    /// Index of the last entry that is kept.
    pub fn index(&self) -> LogIndex {
        match self {
            Self::Mark(mark) => mark.index,
            Self::Through { index, .. } => *index,
        }
    }
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
    poisoned: bool,
}

/// Adjacent frames for one write.
struct Stretch {
    base: LogOffset,
    /// Log offset of the first byte: the segment's header or a frame.
    at: LogOffset,
    end: LogOffset,
    /// The entries, by their position in the append.
    entries: Range<usize>,
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
        for stretch in self.plan(entries)? {
            self.write(&stretch, &entries[stretch.entries.clone()])
                .map_err(|source| AppendError::Disk { at: stretch.at, source })?;
        }
        Ok(self.end)
    }

    /// Goes back, so that the next append replaces what came after. Nothing is written: until that append is durable, a
    /// crash may bring back all that was cut off, so nobody may be told of it before.
    pub fn truncate(&mut self, keep: Keep) -> Result<Mark, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        let result = self.try_truncate(keep);
        if result.is_err() {
            self.poisoned = true;
        }
        result
    }

    fn try_truncate(&mut self, keep: Keep) -> Result<Mark, AppendError> {
        let mark = match keep {
            Keep::Mark(mark) => mark,
            Keep::Through { index, at } => self
                .mark_of(index, at)
                .map_err(|source| AppendError::Disk { at, source })?
                .ok_or(AppendError::NotThere { index, at })?,
        };
        if mark.index > self.end.index || mark.end > self.end.end {
            return Err(AppendError::NotThere { index: mark.index, at: mark.end });
        }
        self.end = mark;
        self.tail_block.clear();
        self.load_tail_block().map_err(|source| AppendError::Disk { at: mark.end, source })?;
        Ok(mark)
    }

    /// The mark after the entry whose frame is at `at`; None if that is not there.
    fn mark_of(&self, index: LogIndex, at: LogOffset) -> io::Result<Option<Mark>> {
        let base = self.layout.base_of(at);
        let file = self.disk.open(&segment_path(base), Mode::Read)?;
        let mut header = [0; FRAME_HEADER_LEN];
        let read = file.read_at(&mut header, at.get() - base.get())?;
        let found = FrameHeader::decode(&header).ok().filter(|_| read == FRAME_HEADER_LEN);
        let found = found.filter(|header| header.at == at && header.index == index);
        Ok(found.map(|header| Mark { index, end: at + frame_len(header.payload_len), chain: header.chain }))
    }

    /// Checks every place before anything is written, and cuts the entries at segment ends.
    fn plan(&self, entries: &[(Entry, LogOffset)]) -> Result<Vec<Stretch>, AppendError> {
        let (mut end, mut index) = (self.end.end, self.end.index);
        let mut stretches: Vec<Stretch> = Vec::new();
        for (i, (entry, stamped)) in entries.iter().enumerate() {
            let place = self.layout.place(end, entry.payload.len());
            if place.at != *stamped || entry.index != index.next() {
                let (index, stamped) = (entry.index, *stamped);
                return Err(AppendError::Misplaced { index, stamped, actual: place.at });
            }
            let base = self.layout.base_of(place.at);
            match stretches.last_mut() {
                Some(stretch) if !place.opens_segment => {
                    stretch.end = place.end;
                    stretch.entries.end = i + 1;
                }
                _ => {
                    let at = if place.opens_segment { base } else { place.at };
                    stretches.push(Stretch { base, at, end: place.end, entries: i..i + 1 });
                }
            }
            (end, index) = (place.end, entry.index);
        }
        Ok(stretches)
    }

    fn write(&mut self, stretch: &Stretch, entries: &[(Entry, LogOffset)]) -> io::Result<()> {
        self.switch_segment(stretch.base)?;
        let Some((_, file)) = &self.segment else { return Err(io::Error::other("no segment is open")) };
        let within = stretch.at.get() - stretch.base.get();
        let lead = (within % BLOCK as u64) as usize;
        debug_assert_eq!(lead, self.tail_block.len(), "the tail block holds what precedes the write");
        let used = lead + (stretch.end.get() - stretch.at.get()) as usize;
        let buf = self.buf.of_len(used.next_multiple_of(BLOCK));
        buf[..lead].copy_from_slice(&self.tail_block);
        let mut mark = self.end;
        let mut at = lead;
        if within == 0 {
            let (size, first_index) = (self.layout.segment_size, mark.index.next());
            let (chain, base, group) = (mark.chain, stretch.base, self.group);
            let header = SegmentHeader { chain, base, size, first_index, group };
            buf[..SEGMENT_HEADER_LEN].copy_from_slice(&header.encode());
            at = SEGMENT_HEADER_LEN;
        }
        for (entry, place) in entries {
            let len = frame::frame_len(entry.payload.len()) as usize;
            let chain = frame::encode(entry, *place, mark.chain, &mut buf[at..at + len]);
            mark = Mark { index: entry.index, end: *place + len as u64, chain };
            at += len;
        }
        buf[used..].fill(0);
        write_all(file, buf, within - lead as u64)?;
        self.tail_block.clear();
        self.tail_block.extend_from_slice(&buf[used / BLOCK * BLOCK..used]);
        self.end = mark;
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
        let file = self.disk.open(&segment_path(base), Mode::Read)?;
        let mut block = AlignedBuf::default();
        let block = block.of_len(BLOCK);
        // Behind the log's end a file may end anywhere.
        if file.read_at(block, within - lead as u64)? < lead {
            let text = format!("{} ends before the log does, at byte {within}", segment_path(base));
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.tail_block = block[..lead].to_vec();
        Ok(())
    }
}
