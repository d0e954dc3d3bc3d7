//! Keeps zero-filled space ahead of the log's tail. Overwriting allocated zeroes halves the latency of a synced
//! write compared with growing a file, and space that is allocated cannot run out in the middle of a batch: the
//! room ahead of the tail is also the reserve for control records when the disk is full. A segment that retention
//! has freed serves as it is, where there is one.

use std::io;

use steadfast_types::LogOffset;

use super::layout::Layout;
use super::segment::segment_path;
use super::spare;
use crate::aligned::AlignedBuf;
use crate::disk::{Disk, DiskFile, Mode, Space, write_all};

/// How much of the log's space is ready to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Everything before this log offset is allocated.
    pub filled_to: LogOffset,
    /// The disk had no space for more.
    pub disk_full: bool,
    /// How full the disk is.
    pub space: Space,
}

/// Fills space ahead of the tail, a step at a time.
pub struct Filler<D: Disk> {
    disk: D,
    layout: Layout,
    filled_to: LogOffset,
    free_min: u64,
    space: Space,
    segment: Option<(LogOffset, D::File)>,
    zeroes: AlignedBuf,
}

impl<D: Disk> Filler<D> {
    /// Bytes of one step.
    pub const STEP: u64 = 1024 * 1024;

    /// A filler for a log that ends at `end`. It leaves `free_min` bytes of the disk alone.
    pub fn open(disk: D, layout: Layout, end: LogOffset, free_min: u64) -> io::Result<Self> {
        let space = disk.space()?;
        let mut filled_to = layout.base_of(end);
        loop {
            let len = match disk.open(&segment_path(filled_to), Mode::Read) {
                Ok(file) => file.len()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error),
            };
            let whole = len / Self::STEP * Self::STEP;
            filled_to = filled_to + whole.min(layout.segment_size);
            if whole < layout.segment_size {
                break;
            }
        }
        // A file that ends within the last step, or before the tail, is filled again from the tail's step on;
        // what the log wrote there is never touched.
        let step_of_tail = LogOffset::new(end.get().div_ceil(Self::STEP) * Self::STEP);
        let mut filler = Self {
            disk,
            layout,
            filled_to: filled_to.max(step_of_tail),
            free_min,
            space,
            segment: None,
            zeroes: AlignedBuf::default(),
        };
        if filled_to < step_of_tail && end.get() > layout.base_of(end).get() {
            filler.extend_tail_step(end)?;
        }
        Ok(filler)
    }

    /// What is ready now.
    pub fn room(&self) -> Room {
        Room { filled_to: self.filled_to, disk_full: false, space: self.space }
    }

    /// Looks how full the disk is; others fill it too.
    pub fn measure(&mut self) -> io::Result<Room> {
        self.space = self.disk.space()?;
        Ok(self.room())
    }

    /// Fills one step more. Running out of space is not an error: the room says so, and the next call tries
    /// again.
    pub fn step(&mut self) -> io::Result<Room> {
        match self.try_step() {
            Ok(()) => Ok(self.room()),
            Err(error) if is_full(&error) => {
                self.segment = None;
                Ok(Room { disk_full: true, ..self.room() })
            }
            Err(error) => Err(error),
        }
    }

    fn try_step(&mut self) -> io::Result<()> {
        let base = self.layout.base_of(self.filled_to);
        // The log ends before it, so nothing that counts is in a file of that name.
        if base == self.filled_to && spare::take(&self.disk, self.layout, base)? {
            self.filled_to = base + self.layout.segment_size;
            return Ok(());
        }
        self.measure()?;
        if self.space.free < self.free_min + Self::STEP {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.open_segment(base)?;
        let Some((_, file)) = &self.segment else { return Ok(()) };
        let zeroes = self.zeroes.of_len(Self::STEP as usize);
        zeroes.fill(0);
        write_all(file, zeroes, self.filled_to.get() - base.get())?;
        self.filled_to = self.filled_to + Self::STEP;
        Ok(())
    }

    fn open_segment(&mut self, base: LogOffset) -> io::Result<()> {
        if self.segment.as_ref().is_some_and(|(open, _)| *open == base) {
            return Ok(());
        }
        let file = self.disk.open(&segment_path(base), Mode::Durable)?;
        self.disk.sync_dir(super::DIR)?;
        self.segment = Some((base, file));
        Ok(())
    }

    /// Makes the rest of the step that the tail lies in part of the file, from the block after the tail on.
    fn extend_tail_step(&mut self, end: LogOffset) -> io::Result<()> {
        let base = self.layout.base_of(end);
        let block = crate::disk::BLOCK as u64;
        let from = end.get().div_ceil(block) * block;
        let len = (self.filled_to.get() - from) as usize;
        if len == 0 {
            return Ok(());
        }
        self.open_segment(base)?;
        let Some((_, file)) = &self.segment else { return Ok(()) };
        let zeroes = self.zeroes.of_len(len);
        zeroes.fill(0);
        match write_all(file, zeroes, from - base.get()) {
            Err(error) if !is_full(&error) => Err(error),
            Err(_) => {
                self.filled_to = LogOffset::new(from);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero
    )
}
