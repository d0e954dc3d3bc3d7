//! The real disk: a directory of the file system.
//!
//! A durable file is written with `O_DIRECT|O_DSYNC`, which halves the latency of a synced write, where the file
//! system takes it; elsewhere through the cache with `fdatasync` after each write. Which of the two it is, is found
//! out at start with a small file ([`RealDisk::open`]).

use std::cell::Cell;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use steadfast_store::aligned::AlignedBuf;
use steadfast_store::checkpoint::{INDEX_DIR, SNAPSHOT_DIR};
use steadfast_store::disk::{BLOCK, Disk, DiskFile, Mode, Space, read_exact, write_all};
use steadfast_store::log;

/// Name of the file that is written and removed to find out what the file system can do.
const PROBE: &str = ".probe";

/// How durable files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// `O_DIRECT|O_DSYNC`.
    Direct,
    /// Through the cache, with `fdatasync` after each write.
    Synced,
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durable::Direct => "direct I/O (O_DIRECT|O_DSYNC)",
            Durable::Synced => "buffered writes with fdatasync: the file system takes no direct I/O",
        })
    }
}

thread_local! {
    static REACH: Cell<Reach> = const { Cell::new(Reach::Disk) };
}

/// How far this thread's calls go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// They wait for the disk where they must.
    Disk,
    /// Open files are read as far as the page cache holds them; all else is refused.
    Memory,
    /// The same, and something was refused.
    Refused,
}

/// Does what needs no disk: `work` may read from open files what the page cache holds. None if it wanted more, then
/// what it returned is dropped, and what it did must not matter. Never waits.
pub(crate) fn from_memory<T>(work: impl FnOnce() -> T) -> Option<T> {
    REACH.set(Reach::Memory);
    let result = work();
    (REACH.replace(Reach::Disk) == Reach::Memory).then_some(result)
}

/// Refuses what might wait for the disk if this thread must not.
fn may_wait() -> io::Result<()> {
    if REACH.get() == Reach::Disk { Ok(()) } else { Err(refused()) }
}

fn refused() -> io::Error {
    REACH.set(Reach::Refused);
    ErrorKind::WouldBlock.into()
}

/// A directory.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: Arc<PathBuf>,
    durable: Durable,
}

/// An open file.
#[derive(Debug)]
pub struct RealFile {
    file: File,
    path: PathBuf,
    /// Sync after each write.
    synced: bool,
}

impl RealDisk {
    /// Takes the directory `root`, which exists, after writing, reading back and removing a small file in it.
    ///
    /// # Errors
    /// What the file system refused, or a link in the place of a file.
    pub fn open(root: &Path) -> io::Result<Self> {
        refuse_links(root)?;
        let disk = RealDisk { root: Arc::new(root.to_owned()), durable: Durable::Direct };
        match disk.probe() {
            Ok(()) => Ok(disk),
            // What a file system says that knows no direct I/O, or wants another alignment.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                let disk = RealDisk { durable: Durable::Synced, ..disk };
                disk.probe()?;
                Ok(disk)
            }
            Err(error) => Err(error),
        }
    }

    /// How durable files are written.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    fn probe(&self) -> io::Result<()> {
        let tried = self.try_probe();
        let tried = match self.remove(PROBE) {
            Err(error) if tried.is_ok() => Err(error),
            _ => tried,
        };
        match tried {
            // A full disk took the way of writing, only not the bytes. What it holds is served, and positions have
            // space of their own; a new directory is refused for its lack of space later.
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(()),
            tried => tried,
        }
    }

    fn try_probe(&self) -> io::Result<()> {
        let pattern = |i: usize| (i % 251) as u8;
        let mut buf = AlignedBuf::default();
        let block = buf.of_len(2 * BLOCK);
        block.iter_mut().enumerate().for_each(|(i, byte)| *byte = pattern(i));
        let file = self.open(PROBE, Mode::Durable)?;
        write_all(&file, block, 0)?;
        block.fill(0);
        read_exact(&file, block, 0)?;
        if block.iter().enumerate().any(|(i, byte)| *byte != pattern(i)) {
            return Err(file.explain(io::Error::other("read back other bytes than were written")));
        }
        Ok(())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// Adds the path, which the operating system leaves out.
fn explain(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Disk for RealDisk {
    type File = RealFile;

    fn open(&self, path: &str, mode: Mode) -> io::Result<RealFile> {
        may_wait()?;
        let path = self.path(path);
        let mut options = OpenOptions::new();
        options.read(true).write(mode != Mode::Read).create(mode != Mode::Read);
        let direct = mode == Mode::Durable && self.durable == Durable::Direct;
        if direct {
            options.custom_flags((OFlags::DIRECT | OFlags::DSYNC).bits() as i32);
        }
        let file = options.open(&path).map_err(|error| explain(&path, error))?;
        Ok(RealFile { file, path, synced: mode == Mode::Durable && !direct })
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        create_dir(&self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = self.path(dir);
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|error| explain(&dir, error))? {
            let entry = entry.map_err(|error| explain(&dir, error))?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let from = self.path(from);
        fs::rename(&from, self.path(to)).map_err(|error| explain(&from, error))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        fs::remove_file(&path).map_err(|error| explain(&path, error))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_dir(&self.path(dir))
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(self.root.as_path())
            .map_err(|errno| explain(&self.root, io::Error::from(errno)))?;
        // What is reserved for root counts as neither used nor free, as in `df`.
        let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(Space { total: used + free, free })
    }
}

/// Refuses links in the place of files. Opening one follows it, and all else would go wrong: retention removes the link
/// alone, or makes the other disk's file the tail of the log; that disk is not measured and may not take direct I/O; and
/// while it is not mounted, the log seems to end before the file, and would be continued there.
fn refuse_links(root: &Path) -> io::Result<()> {
    for dir in [log::DIR, INDEX_DIR, SNAPSHOT_DIR].map(|dir| root.join(dir)) {
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| explain(&dir, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| explain(&dir, error))?;
            if entry.file_type().map_err(|error| explain(&entry.path(), error))?.is_symlink() {
                return Err(io::Error::other(format!(
                    "{} is a symbolic link, and files of a data directory must lie in it; put the file itself in the \
                     link's place. For the space of another disk, move the whole directory there: --data DIR, or a link \
                     in place of the directory",
                    entry.path().display()
                )));
            }
        }
    }
    Ok(())
}

/// Makes a directory and its parents, and their names durable.
pub fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists || !path.is_dir() => Err(explain(path, error)),
        _ => sync_dir(parent),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| explain(dir, error))
}

impl RealFile {
    fn read_some(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if REACH.get() == Reach::Disk {
            return self.file.read_at(buf, at);
        }
        match preadv2(&self.file, &mut [IoSliceMut::new(buf)], at, ReadWriteFlags::NOWAIT) {
            // Not in the cache, or a file system that cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP) => Err(refused()),
            read => Ok(read?),
        }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        explain(&self.path, error)
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buf.len() {
            match self.read_some(&mut buf[read..], at + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.explain(error)),
            }
        }
        Ok(read)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        let written = loop {
            match self.file.write_at(buf, at) {
                // Interrupted before anything was written: no failure of the disk.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written.map_err(|error| self.explain(error))?,
            }
        };
        if self.synced {
            self.sync()?;
        }
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|error| self.explain(error))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len()).map_err(|error| self.explain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks() -> Vec<(tempfile::TempDir, RealDisk)> {
        [Durable::Direct, Durable::Synced]
            .into_iter()
            .map(|durable| {
                let dir = tempfile::tempdir().expect("a directory");
                let opened = RealDisk::open(dir.path()).expect("a disk");
                // What the file system under the tests cannot do is covered by the other path.
                let durable = if opened.durable == Durable::Synced { Durable::Synced } else { durable };
                (dir, RealDisk { durable, ..opened })
            })
            .collect()
    }

    #[test]
    fn blocks_are_written_and_read_back() {
        for (_dir, disk) in disks() {
            let file = disk.open("a", Mode::Durable).unwrap();
            let mut buf = AlignedBuf::default();
            let block = buf.of_len(BLOCK);
            block.fill(7);
            write_all(&file, block, BLOCK as u64).unwrap();
            assert_eq!(file.len().unwrap(), 2 * BLOCK as u64);
            let reading = disk.open("a", Mode::Read).unwrap();
            let mut read = [1; 10];
            read_exact(&reading, &mut read, BLOCK as u64 - 5).unwrap();
            assert_eq!(read, [0, 0, 0, 0, 0, 7, 7, 7, 7, 7]);
            assert_eq!(reading.read_at(&mut read, 2 * BLOCK as u64 - 3).unwrap(), 3, "the file ends there");
        }
    }

    #[test]
    fn what_is_not_in_memory_is_refused_to_those_who_must_not_wait() {
        for (_dir, disk) in disks() {
            let mut buf = AlignedBuf::default();
            let block = buf.of_len(BLOCK);
            block.fill(7);
            write_all(&disk.open("a", Mode::Durable).unwrap(), block, 0).unwrap();
            let file = disk.open("a", Mode::Read).unwrap();
            let read = || {
                let mut read = [0; BLOCK];
                read_exact(&file, &mut read, 0).map(|()| read[BLOCK - 1])
            };
            assert!(from_memory(|| disk.open("a", Mode::Read).is_err()).is_none(), "opening may wait");
            rustix::fs::fadvise(&file.file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            // Only a file system without a disk holds it in memory all the same.
            assert!(matches!(from_memory(read), None | Some(Ok(7))));
            assert_eq!(read().unwrap(), 7);
            assert_eq!(from_memory(read).unwrap().unwrap(), 7, "it was read just now");
        }
    }

    #[test]
    fn names() {
        for (dir, disk) in disks() {
            assert_eq!(disk.list("").unwrap(), [""; 0], "the probe is gone");
            assert_eq!(disk.list("x/y").unwrap_err().kind(), ErrorKind::NotFound);
            disk.create_dir("x/y").unwrap();
            disk.create_dir("x/y").unwrap();
            for name in ["b", "a", "c"] {
                write_all(&disk.open(&format!("x/y/{name}"), Mode::Buffered).unwrap(), b"data", 0).unwrap();
            }
            disk.rename("x/y/c", "x/y/a").unwrap();
            disk.sync_dir("x/y").unwrap();
            assert_eq!(disk.list("x/y").unwrap(), ["a", "b"]);
            disk.remove("x/y/a").unwrap();
            assert_eq!(disk.list("x").unwrap(), [""; 0], "directories are not files");
            let error = disk.open("x/y/a", Mode::Read).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains(&*dir.path().join("x/y/a").to_string_lossy()), "{error}");
            let space = disk.space().unwrap();
            assert!(0 < space.free && space.free <= space.total);
        }
    }
}
