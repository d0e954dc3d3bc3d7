//! Why a log cannot be read to its end.

use std::io;

use steadfast_types::{LogIndex, LogOffset};

use super::Truncated;
use crate::log::frame::FrameError;

/// An acknowledged entry that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The entry.
    pub index: LogIndex,
    /// Where its frame should be.
    pub at: LogOffset,
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub cause: FrameError,
    /// Highest index that is known to have been committed.
    pub committed: LogIndex,
    /// Whether a lenient scan passes it.
    pub repairable: bool,
}

/// Why a scan ended early.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The disk refused.
    #[error("reading {file} failed: {source}")]
    Disk {
        /// The file.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Acknowledged data is damaged in a way that loses track of what it was.
    #[error(
        "entry {} at log offset {} in {} is damaged ({}), but entries up to {} were acknowledged",
        .0.index, .0.at, .0.file, .0.cause, .0.committed
    )]
    Damaged(Damage),
    /// A file has lost its end, and perhaps acknowledged entries with it.
    #[error("{0}")]
    Truncated(Truncated),
    /// A segment that a snapshot or a later segment counts on is gone, or its header is.
    #[error("{file}, which holds entry {index}, is missing, or its header is damaged or another file's")]
    Missing {
        /// The file.
        file: String,
        /// An entry that it holds.
        index: LogIndex,
    },
    /// The file belongs to another group.
    #[error("{file} belongs to group {found:#018x}, this data directory to {expected:#018x}")]
    WrongGroup {
        /// The file.
        file: String,
        /// Group in the file.
        found: u64,
        /// Group of the directory.
        expected: u64,
    },
    /// Written by a later version.
    #[error("{file} has format version {found}, this server knows {known}; use a newer server")]
    NewerFormat {
        /// The file.
        file: String,
        /// Version in the file.
        found: u32,
        /// Newest known version.
        known: u32,
    },
}

impl ScanError {
    /// Whether a lenient scan passes what is wrong.
    pub fn is_repairable(&self) -> bool {
        match self {
            ScanError::Damaged(damage) => damage.repairable,
            ScanError::Truncated(truncated) => truncated.repairable,
            _ => false,
        }
    }
}
