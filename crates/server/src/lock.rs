//! The lock on a data directory: two processes that write one log would destroy it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the lock file; it stays when the process ends, and means nothing then.
const NAME: &str = "lock";

/// Why the directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process serves it.
    #[error("{} is in use by {holder}; stop that process, or give this one another directory", dir.display())]
    Held {
        /// The directory.
        dir: PathBuf,
        /// What the lock file says of the holder.
        holder: String,
    },
    /// The lock file cannot be made.
    #[error("the lock file {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Held as long as it lives, and never longer than the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory that exists.
    pub fn take(dir: &Path) -> Result<Lock, LockError> {
        let path = dir.join(NAME);
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { dir: dir.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        writeln!(file, "{} {}", std::process::id(), unix_seconds()).map_err(io)?;
        Ok(Lock { _file: file })
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let mut words = match file.read_to_string(&mut text) {
        Ok(_) => text.split_whitespace(),
        Err(_) => "".split_whitespace(),
    };
    match (words.next(), words.next().and_then(|seconds| seconds.parse().ok())) {
        (Some(pid), Some(started)) => {
            format!("process {pid}, started {} s ago", unix_seconds().saturating_sub(started))
        }
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let refused = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}, started", std::process::id())), "{refused}");
        drop(lock);
        Lock::take(dir.path()).unwrap();
    }
}
