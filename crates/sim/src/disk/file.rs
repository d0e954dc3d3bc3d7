//! An open file of a virtual disk.

use std::io;

use steadfast_store::disk::{BLOCK, DiskFile, Mode};

use super::VirtualDisk;
use super::inode::InodeNo;
use super::state::State;

/// An open file. A crash of the disk makes it void.
#[derive(Debug)]
pub struct VirtualFile {
    disk: VirtualDisk,
    inode: InodeNo,
    path: String,
    mode: Mode,
    epoch: u64,
}

impl VirtualFile {
    pub(super) fn new(disk: VirtualDisk, inode: InodeNo, path: &str, mode: Mode, epoch: u64) -> Self {
        Self { disk, inode, path: path.to_owned(), mode, epoch }
    }

    fn with<T>(&self, call: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.epoch != self.epoch {
            return Err(io::Error::other(format!("{} was opened before a crash", self.path)));
        }
        call(&mut state)
    }

    fn check_aligned(&self, at: u64, len: usize) {
        let aligned = at.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK);
        assert!(
            self.mode != Mode::Durable || aligned,
            "{}: {len} bytes at {at} are not aligned to {BLOCK}",
            self.path
        );
    }
}

impl DiskFile for VirtualFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.check_aligned(at, buf.len());
        self.with(|state| state.read(self.inode, &self.path, buf, at))
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.check_aligned(at, buf.len());
        self.with(|state| state.write(self.inode, (&self.path, self.mode), buf, at))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state| state.sync(self.inode, &self.path))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.inode(self.inode).len()))
    }
}

impl Drop for VirtualFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch {
            state.close(self.inode);
        }
    }
}
