//! Files that are either whole or not there: written under a temporary name, made durable, read back and
//! verified, and only then given their name.

use std::io;

use crate::disk::{self, Disk, DiskFile, Mode};

/// A failed operation on a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct FileError {
    /// What it was done to.
    pub path: String,
    /// What went wrong.
    pub source: io::Error,
}

/// For `map_err`: names the file that an error is about.
pub(crate) fn at(path: &str) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError { path: path.to_owned(), source }
}

const TEMP_SUFFIX: &str = ".tmp";

/// The file's name in its directory: 20 digits, so that the order of names is the order of numbers.
pub(crate) fn numbered_name(number: u64) -> String {
    format!("{number:020}")
}

/// The number of a name made by [`numbered_name`], None for every other name.
pub(crate) fn parse_numbered_name(name: &str) -> Option<u64> {
    let numbered = name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit());
    if numbered { name.parse().ok() } else { None }
}

/// Numbers of the numbered files in `dir`, ascending; none if there is no such directory.
pub(crate) fn numbers<D: Disk>(disk: &D, dir: &str) -> Result<Vec<u64>, FileError> {
    let names = names(disk, dir)?;
    Ok(names.iter().filter_map(|name| parse_numbered_name(name)).collect())
}

/// Removes what crashes left behind under temporary names.
pub(crate) fn remove_leftovers<D: Disk>(disk: &D, dir: &str) -> Result<(), FileError> {
    for name in names(disk, dir)?.iter().filter(|name| name.ends_with(TEMP_SUFFIX)) {
        let path = format!("{dir}/{name}");
        disk.remove(&path).map_err(at(&path))?;
    }
    Ok(())
}

fn names<D: Disk>(disk: &D, dir: &str) -> Result<Vec<String>, FileError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(at(dir)),
    }
}

/// A file being written from its start.
pub(crate) struct Draft<F> {
    path: String,
    file: F,
    len: u64,
}

impl<F: DiskFile> Draft<F> {
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        disk::write_all(&self.file, bytes, self.len).map_err(at(&self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// Makes the file `dir/name`, replacing one of that name. `write` appends its content; `verify` is given the
/// path under which the durable content can be read back, and its refusal means that the name never appears.
pub(crate) fn publish<D: Disk, T, E: From<FileError>>(
    disk: &D,
    dir: &str,
    name: &str,
    write: impl FnOnce(&mut Draft<D::File>) -> Result<(), E>,
    verify: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, E> {
    disk.create_dir(dir).map_err(at(dir))?;
    let temp = format!("{dir}/{name}{TEMP_SUFFIX}");
    let drafted = draft(disk, &temp, write).and_then(|()| verify(&temp));
    if drafted.is_err() {
        // Gives the space back; if it fails, the next start removes the leftover.
        let _ = disk.remove(&temp);
    }
    let verified = drafted?;
    disk.rename(&temp, &format!("{dir}/{name}")).map_err(at(&temp))?;
    if let Err(error) = disk.sync_dir(dir) {
        // What was refused is not kept: attempts that fail one after the other would fill the disk.
        let _ = disk.remove(&format!("{dir}/{name}"));
        return Err(at(dir)(error).into());
    }
    Ok(verified)
}

fn draft<D: Disk, E: From<FileError>>(
    disk: &D,
    temp: &str,
    write: impl FnOnce(&mut Draft<D::File>) -> Result<(), E>,
) -> Result<(), E> {
    // Opening does not truncate: a leftover would show through behind a shorter file.
    match disk.remove(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(temp)(error).into()),
        _ => {}
    }
    let file = disk.open(temp, Mode::Buffered).map_err(at(temp))?;
    let mut draft = Draft { path: temp.to_owned(), file, len: 0 };
    write(&mut draft)?;
    draft.file.sync().map_err(at(temp))?;
    Ok(())
}
