//! Where the next frame goes: the one rule that leader, followers, writer and recovery share.

use steadfast_types::{LogIndex, LogOffset};

use super::frame::{self, Entry, frame_len};
use super::segment::SEGMENT_HEADER_LEN;

/// How a group's log is cut into segments. Fixed when the group is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a segment file; a multiple of [`crate::disk::BLOCK`], at least [`super::SEGMENT_SIZE_MIN`].
    pub segment_size: u64,
}

/// The end of a stretch of the log: what has to be known to continue it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Index of the last entry, 0 for an empty log.
    pub index: LogIndex,
    /// Log offset after its frame.
    pub end: LogOffset,
    /// Its chain value.
    pub chain: u32,
}

impl Mark {
    /// The end of the log once `entry`, the next one, follows with its frame at `at`.
    pub fn after(self, entry: &Entry, at: LogOffset) -> Self {
        let (_, chain) = frame::header(entry, at, self.chain);
        Self { index: entry.index, end: at + frame_len(entry.payload.len()), chain }
    }
}

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Log offset of its first byte.
    pub at: LogOffset,
    /// Log offset after its last byte.
    pub end: LogOffset,
    /// Whether it is the first of its segment.
    pub opens_segment: bool,
}

impl Layout {
    /// The place of a frame with `payload_len` bytes of payload in a log that ends at `end`.
    pub fn place(&self, end: LogOffset, payload_len: usize) -> Place {
        let len = frame_len(payload_len);
        let base = self.base_of(end);
        let within = end.get() - base.get();
        let at = if within == 0 {
            base + SEGMENT_HEADER_LEN as u64
        } else if within + len > self.segment_size {
            base + self.segment_size + SEGMENT_HEADER_LEN as u64
        } else {
            end
        };
        Place { at, end: at + len, opens_segment: at != end }
    }

    /// Base of the segment that holds the byte before `end`, or that `end` opens.
    pub fn base_of(&self, end: LogOffset) -> LogOffset {
        LogOffset::new(end.get() - end.get() % self.segment_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { segment_size: 1 << 24 };

    #[test]
    fn first_frame_follows_the_segment_header() {
        let place = LAYOUT.place(LogOffset::ZERO, 0);
        assert_eq!((place.at.get(), place.end.get(), place.opens_segment), (4096, 4160, true));
    }

    #[test]
    fn frames_do_not_cross_segments() {
        let end = LogOffset::new((1 << 24) - 64);
        assert_eq!(LAYOUT.place(end, 0), Place { at: end, end: end + 64, opens_segment: false });
        let place = LAYOUT.place(end, 1);
        assert_eq!((place.at.get(), place.opens_segment), ((1 << 24) + 4096, true));
        let full = LAYOUT.place(LogOffset::new(1 << 24), 1);
        assert_eq!((full.at.get(), full.opens_segment), ((1 << 24) + 4096, true));
    }
}
