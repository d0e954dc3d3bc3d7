//! Segments whose contents are no longer needed. A few keep their space, under another name, until the filler gives
//! them the name of a new segment: that costs no zeroes and works on a full disk.
//!
//! What such a file holds cannot be mistaken for anything: its header names another base, each frame the log offset
//! where it used to lie, and each message too.

use std::io;

use steadfast_types::LogOffset;

use super::DIR;
use super::layout::Layout;
use super::segment::segment_path;
use crate::disk::{Disk, DiskFile, Mode};
use crate::file::{FileError, at};

const SUFFIX: &str = ".free";

/// Takes segments out of the log for ever and leaves `keep` spare ones. A file that is gone already is no error.
pub fn retire<D: Disk>(disk: &D, layout: Layout, bases: &[LogOffset], keep: usize) -> Result<(), FileError> {
    let old = spares(disk).map_err(at(DIR))?;
    for name in old.iter().skip(keep) {
        let path = format!("{DIR}/{name}");
        disk.remove(&path).map_err(at(&path))?;
    }
    let mut spares = old.len().min(keep);
    for base in bases {
        let path = segment_path(*base);
        let whole = match disk.open(&path, Mode::Read).and_then(|file| file.len()) {
            Ok(len) => len == layout.segment_size,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at(&path)(error)),
        };
        if whole && spares < keep {
            disk.rename(&path, &format!("{path}{SUFFIX}")).map_err(at(&path))?;
            spares += 1;
        } else {
            disk.remove(&path).map_err(at(&path))?;
        }
    }
    disk.sync_dir(DIR).map_err(at(DIR))
}

/// Gives a spare segment the place of the one with this base; false if there is none. After true its name is durable.
pub(super) fn take<D: Disk>(disk: &D, layout: Layout, base: LogOffset) -> io::Result<bool> {
    let Some(name) = spares(disk)?.into_iter().next() else { return Ok(false) };
    let path = format!("{DIR}/{name}");
    if disk.open(&path, Mode::Read)?.len()? != layout.segment_size {
        disk.remove(&path)?;
        return Ok(false);
    }
    disk.rename(&path, &segment_path(base))?;
    disk.sync_dir(DIR)?;
    Ok(true)
}

fn spares<D: Disk>(disk: &D) -> io::Result<Vec<String>> {
    Ok(disk.list(DIR)?.into_iter().filter(|name| name.ends_with(SUFFIX)).collect())
}
