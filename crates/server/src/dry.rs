//! A disk for a dry run: writes are dropped, so that whatever runs over it finds everything and changes nothing. What was
//! dropped cannot be read back. Index runs are the exception: they hold nothing that is not in the log, and one that is
//! damaged has to be made again before the messages in it can be told.

use std::io;

use steadfast_store::checkpoint::INDEX_DIR;
use steadfast_store::disk::{Disk, DiskFile, Mode, Space};

/// Another disk, of which nothing but index runs changes.
#[derive(Debug, Clone)]
pub(crate) struct DryDisk<D>(pub(crate) D);

/// A file of a [`DryDisk`].
pub(crate) struct DryFile<F> {
    file: F,
    writable: bool,
}

fn is_writable(path: &str) -> bool {
    path.strip_prefix(INDEX_DIR).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl<D: Disk> Disk for DryDisk<D> {
    type File = DryFile<D::File>;

    /// A file that is missing is not made, whatever the mode.
    fn open(&self, path: &str, mode: Mode) -> io::Result<Self::File> {
        let writable = is_writable(path);
        let file = self.0.open(path, if writable { mode } else { Mode::Read })?;
        Ok(DryFile { file, writable })
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        if is_writable(path) { self.0.create_dir(path) } else { Ok(()) }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if is_writable(from) { self.0.rename(from, to) } else { Ok(()) }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        if is_writable(path) { self.0.remove(path) } else { Ok(()) }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        if is_writable(dir) { self.0.sync_dir(dir) } else { Ok(()) }
    }

    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
}

impl<F: DiskFile> DiskFile for DryFile<F> {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        if self.writable { self.file.write_at(buf, at) } else { Ok(buf.len()) }
    }

    fn sync(&self) -> io::Result<()> {
        if self.writable { self.file.sync() } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
