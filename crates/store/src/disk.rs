//! The disk as the store sees it. Production has a real one (crate `server`), the simulator a virtual one that
//! loses, tears and corrupts what the contract below allows it to.
//!
//! Contract, the weakest that real file systems give:
//! - What `write_at` wrote to a [`Mode::Buffered`] file survives a crash of the process; it survives a power
//!   cut only once `sync` has returned.
//! - What `write_at` wrote to a [`Mode::Durable`] file survives a power cut once it has returned.
//! - Until then each sector of [`SECTOR`] bytes is, after a power cut, old or new, in any combination.
//! - Names that were created, renamed or removed survive a power cut once `sync_dir` has returned.
//! - A failed or short write, or a failed sync, says nothing about what is on the medium, and trying again on
//!   the same file proves nothing: the kernel may have dropped the data (promise P3).

use std::io;

/// Bytes that a power cut leaves either old or new, never mixed.
pub const SECTOR: usize = 512;
/// Alignment in bytes of offset, length and memory of every transfer on a [`Mode::Durable`] file.
pub const BLOCK: usize = 4096;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing through the operating system's cache; made if missing.
    Buffered,
    /// Each write returns when it is on stable storage; transfers are aligned to [`BLOCK`]; made if missing.
    Durable,
}

/// A directory tree on some medium. Paths are relative, parts divided by `/`.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Opens a file.
    fn open(&self, path: &str, mode: Mode) -> io::Result<Self::File>;
    /// Makes a directory and its parents; nothing happens if it is there. Durable when it returns.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Names of the files in a directory, sorted.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// How full the medium is.
    fn space(&self) -> io::Result<Space>;
}

/// Size and free space of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process could use if nobody used any.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
}

impl Space {
    /// Bytes in use, by whomever.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// How much of the medium is in use, in percent, rounded up.
    pub fn used_percent(&self) -> u32 {
        let percent = (u128::from(self.used()) * 100).div_ceil(u128::from(self.total.max(1)));
        u32::try_from(percent).unwrap_or(100).min(100)
    }
}

/// An open file. All positions are in bytes from its start.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads until `buf` is full or the file ends; returns how many bytes were read.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes; returns how many bytes were taken, which may be fewer than given.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize>;
    /// Makes everything written to this file so far durable, its length too.
    fn sync(&self) -> io::Result<()>;
    /// The file's length.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

/// Writes all of `buf`; a short write is an error and is not continued (promise P3).
pub fn write_all<F: DiskFile>(file: &F, buf: &[u8], at: u64) -> io::Result<()> {
    let written = file.write_at(buf, at)?;
    if written != buf.len() {
        let text = format!("short write: {written} of {} bytes at {at}", buf.len());
        return Err(io::Error::new(io::ErrorKind::WriteZero, text));
    }
    Ok(())
}

/// Fills `buf`; the end of the file is an error.
pub fn read_exact<F: DiskFile>(file: &F, buf: &mut [u8], at: u64) -> io::Result<()> {
    let read = file.read_at(buf, at)?;
    if read != buf.len() {
        let text = format!("the file ends {} bytes early at {at}", buf.len() - read);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(())
}
