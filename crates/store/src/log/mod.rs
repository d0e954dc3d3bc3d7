//! The message log of a group, which is its Raft log: framed entries in segment files.
//!
//! ```text
//! log/00000000000000000000          segment: one header block, then frames; its name is the log offset of byte 0
//! ┌──────────┬───────┬───────┬──────────────┬─ zeroes, written ahead of the tail ─┐
//! │ header   │ frame │ frame │ frame        │                                      │
//! └──────────┴───────┴───────┴──────────────┴──────────────────────────────────────┘
//!                     frame = header (64 bytes) + payload + zeroes up to 8 bytes
//!                     payload of a batch = commit, time, count, [size, crc, identity]…, record…
//! ```
//!
//! The bytes of a frame follow from the log before it alone, so all replicas hold the same files. A frame never
//! crosses the end of a segment: the one that would starts the next segment instead ([`Layout`]).

mod batch;
mod filler;
mod frame;
mod kept;
mod layout;
mod mend;
mod scan;
mod segment;
mod spare;
mod walk;
mod writer;

pub use batch::{Batch, BatchBuilder, BatchError, TableEntry, head_len, identity};
pub use filler::{Filler, Room};
pub use frame::{Entry, FRAME_HEADER_LEN, FrameError, Kind, frame_len};
pub use kept::Gone;
pub use layout::{Layout, Mark, Place};
pub use mend::{Damaged, Mend, MendError, Mended, Next};
pub use scan::{
    Cut, Damage, Head, Remains, Scan, ScanError, Scanned, Tail, Truncated, scan, scan_of_several,
};
pub use segment::{SEGMENT_HEADER_LEN, segment_bases, segment_path, segment_starts};
pub use spare::retire;
pub use walk::{WalkError, walk};
pub use writer::{AppendError, Keep, LogWriter};

/// Folder of the segment files.
pub const DIR: &str = "log";
/// Largest payload of one entry in bytes. A batch stays far below; one message of the largest size must fit.
pub const PAYLOAD_MAX: usize = 8 * 1024 * 1024;
/// Part of an entry's payload that one send leaves to control records, so that it never has to wait for an entry
/// without any.
pub const CONTROL_ROOM: usize = 1024 * 1024;
/// Smallest segment in bytes.
pub const SEGMENT_SIZE_MIN: u64 = 16 * 1024 * 1024;
const _: () = assert!(SEGMENT_SIZE_MIN > (PAYLOAD_MAX + 2 * crate::disk::BLOCK) as u64);
