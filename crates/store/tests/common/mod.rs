//! A disk in memory for the store's tests. It keeps everything; on demand it stops working at a given operation,
//! as seen by a process that is killed there, or writes something else than it was given.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use steadfast_store::disk::{Disk, DiskFile, Mode, Space};

type Content = Arc<Mutex<Vec<u8>>>;

#[derive(Clone, Default)]
pub(crate) struct MemDisk(Arc<Inner>);

struct Inner {
    files: Mutex<BTreeMap<String, Content>>,
    dirs: Mutex<Vec<String>>,
    /// Operations that still work; negative for any number.
    working: AtomicI64,
    lying: AtomicBool,
    space: Mutex<Space>,
}

impl Default for Inner {
    fn default() -> Self {
        let (files, dirs) = (Mutex::default(), Mutex::default());
        let space = Mutex::new(Space { total: u64::MAX, free: u64::MAX });
        Self { files, dirs, working: AtomicI64::new(-1), lying: AtomicBool::new(false), space }
    }
}

impl MemDisk {
    /// Names of all files with their content.
    pub(crate) fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.0.files.lock().expect("not poisoned");
        files
            .iter()
            .map(|(path, content)| (path.clone(), content.lock().expect("not poisoned").clone()))
            .collect()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.dump().into_keys().collect()
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        self.dump().remove(path).expect("the file is there")
    }

    /// Makes or replaces a file; one that is open keeps its old content.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let content = Arc::new(Mutex::new(content.to_vec()));
        self.0.files.lock().expect("not poisoned").insert(path.to_owned(), content);
        if let Some((dir, _)) = path.rsplit_once('/') {
            self.0.dirs.lock().expect("not poisoned").push(dir.to_owned());
        }
    }

    /// Flips a bit of a file, as seen by whoever has it open.
    pub(crate) fn flip(&self, path: &str, at: usize) {
        let files = self.0.files.lock().expect("not poisoned");
        files[path].lock().expect("not poisoned")[at] ^= 0x10;
    }

    /// Another disk with the same content.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        self.dump().iter().for_each(|(path, content)| copy.put(path, content));
        copy
    }

    /// Lets `operations` more operations work and fails all after them.
    pub(crate) fn stop_after(&self, operations: i64) {
        self.0.working.store(operations, Ordering::Relaxed);
    }

    /// Sets what the disk says of its space; nothing enforces it.
    pub(crate) fn set_space(&self, space: Space) {
        *self.0.space.lock().expect("not poisoned") = space;
    }

    /// From now on writes keep a bit of every buffer flipped.
    pub(crate) fn lie(&self, lying: bool) {
        self.0.lying.store(lying, Ordering::Relaxed);
    }

    fn operation(&self) -> Result<()> {
        let working = &self.0.working;
        match working.load(Ordering::Relaxed) {
            0 => Err(Error::other("the disk has stopped")),
            n if n > 0 => {
                working.store(n - 1, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn missing(path: &str) -> Error {
    Error::new(ErrorKind::NotFound, path.to_owned())
}

impl Disk for MemDisk {
    type File = MemFile;

    fn open(&self, path: &str, mode: Mode) -> Result<MemFile> {
        self.operation()?;
        let mut files = self.0.files.lock().expect("not poisoned");
        let content = match (files.get(path), mode) {
            (Some(content), _) => content.clone(),
            (None, Mode::Read) => return Err(missing(path)),
            (None, _) => files.entry(path.to_owned()).or_default().clone(),
        };
        Ok(MemFile { disk: self.clone(), content })
    }

    fn create_dir(&self, path: &str) -> Result<()> {
        self.operation()?;
        self.0.dirs.lock().expect("not poisoned").push(path.to_owned());
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.operation()?;
        if !self.0.dirs.lock().expect("not poisoned").iter().any(|known| known == dir) {
            return Err(missing(dir));
        }
        let files = self.0.files.lock().expect("not poisoned");
        let in_dir = files.keys().filter_map(|path| path.strip_prefix(dir)?.strip_prefix('/'));
        Ok(in_dir.map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.operation()?;
        let mut files = self.0.files.lock().expect("not poisoned");
        let content = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.operation()?;
        self.0.files.lock().expect("not poisoned").remove(path).map(drop).ok_or_else(|| missing(path))
    }

    fn sync_dir(&self, _dir: &str) -> Result<()> {
        self.operation()
    }

    fn space(&self) -> Result<Space> {
        Ok(*self.0.space.lock().expect("not poisoned"))
    }
}

pub(crate) struct MemFile {
    disk: MemDisk,
    content: Content,
}

impl DiskFile for MemFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> Result<usize> {
        self.disk.operation()?;
        let content = self.content.lock().expect("not poisoned");
        let rest = content.get(at as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> Result<usize> {
        self.disk.operation()?;
        let mut content = self.content.lock().expect("not poisoned");
        let end = at as usize + buf.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at as usize..end].copy_from_slice(buf);
        if self.disk.0.lying.load(Ordering::Relaxed) && end > at as usize {
            content[at as usize] ^= 1;
        }
        Ok(buf.len())
    }

    fn sync(&self) -> Result<()> {
        self.disk.operation()
    }

    fn len(&self) -> Result<u64> {
        self.disk.operation()?;
        Ok(self.content.lock().expect("not poisoned").len() as u64)
    }
}
