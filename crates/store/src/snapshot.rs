//! Snapshots: the broker's state as bytes, standing for the log up to an index. Two generations are kept.
//!
//! A snapshot is the file `{index:020}`, big-endian:
//!
//! ```text
//! u32 magic "SFSS" | u32 format version | u64 index | u64 payload length | payload | u32 CRC-32C of all before
//! ```
//!
//! Every format version begins with magic and version and ends with the CRC, so that a newer version is never
//! mistaken for damage.

use bytes::{Buf, BufMut, Bytes};
use steadfast_types::LogIndex;

use crate::disk::{self, Disk, DiskFile, Mode};
use crate::file::{self, FileError, at, numbered_name};
use crate::sabotage::{self, Sabotage};

const MAGIC: u32 = 0x5346_5353;
const VERSION: u32 = 1;
const HEADER_LEN: usize = 24;
const CRC_LEN: usize = 4;
/// How many valid generations stay.
const GENERATIONS: usize = 2;

/// Why a snapshot was not written or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] FileError),
    /// A newer release wrote it; loading an older generation instead would undo what came since.
    #[error(
        "{file} has format version {found}, this release knows up to {known}: start the release that wrote it"
    )]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format version.
        found: u32,
        /// The newest version that this release reads.
        known: u32,
    },
    /// One file does not verify.
    #[error("snapshot {0}")]
    Damaged(Damage),
    /// There are snapshots and not one verifies: the state must come from a peer or a backup.
    #[error("every snapshot is damaged: {}", join(.0))]
    AllDamaged(Vec<Damage>),
}

/// A snapshot file that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged: {reason}")]
pub struct Damage {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A snapshot that verified.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// Last log index that it covers.
    pub index: LogIndex,
    /// What the payload given to [`write()`] decodes to.
    pub content: T,
    /// Newer files that were passed over because they do not verify, or not decode.
    pub damaged: Vec<Damage>,
}

/// Why a payload that verifies cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// It is not what it should be, for whatever reason: another generation may be.
    Malformed,
    /// A newer release wrote it.
    Newer {
        /// Version of the payload.
        found: u32,
        /// The newest version that this release reads.
        known: u32,
    },
}

/// Writes a snapshot, reads it back and verifies it, then removes all but the two newest valid generations.
/// After Ok the log up to `index` is no longer needed.
pub fn write<D: Disk>(disk: &D, dir: &str, index: LogIndex, payload: &[u8]) -> Result<(), SnapshotError> {
    make_room(disk, dir)?;
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.put_u32(MAGIC);
    header.put_u32(VERSION);
    header.put_u64(index.get());
    header.put_u64(payload.len() as u64);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), payload);
    file::publish(
        disk,
        dir,
        &numbered_name(index.get()),
        |draft| {
            draft.append(&header)?;
            draft.append(payload)?;
            Ok(draft.append(&crc.to_be_bytes())?)
        },
        |written| {
            if read_file(disk, written, index)? == payload {
                return Ok(());
            }
            let reason = "it reads back with other content".to_owned();
            Err(SnapshotError::Damaged(Damage { file: written.to_owned(), reason }))
        },
    )?;
    prune(disk, dir, index)
}

/// Removes what attempts have left that failed after their file was written. While that is impossible nothing new is
/// written: each attempt has a name of its own, and they would fill the disk.
fn make_room<D: Disk>(disk: &D, dir: &str) -> Result<(), SnapshotError> {
    file::remove_leftovers(disk, dir)?;
    let there = list(disk, dir)?;
    match there.last() {
        Some(newest) if there.len() > GENERATIONS => prune(disk, dir, *newest),
        _ => Ok(()),
    }
}

/// The newest generation that verifies and decodes, None if there never was one. Removes what a crash left
/// half-written.
pub fn load<D: Disk, T>(
    disk: &D,
    dir: &str,
    decode: impl Fn(Bytes) -> Result<T, Undecodable>,
) -> Result<Option<Loaded<T>>, SnapshotError> {
    file::remove_leftovers(disk, dir)?;
    let mut damaged = Vec::new();
    for index in list(disk, dir)?.into_iter().rev() {
        let file = path(dir, index);
        match check(disk, dir, index)?.map(&decode) {
            Ok(Ok(content)) => return Ok(Some(Loaded { index, content, damaged })),
            Ok(Err(Undecodable::Newer { found, known })) => {
                return Err(SnapshotError::NewerFormat { file, found, known });
            }
            // It was wrong before its checksum was made.
            Ok(Err(Undecodable::Malformed)) => {
                let reason = "it is intact, but not a snapshot that this release understands".to_owned();
                damaged.push(Damage { file, reason });
            }
            Err(damage) => damaged.push(damage),
        }
    }
    if damaged.is_empty() { Ok(None) } else { Err(SnapshotError::AllDamaged(damaged)) }
}

/// Indexes of the snapshots in `dir`, ascending, whether they verify or not.
pub fn list<D: Disk>(disk: &D, dir: &str) -> Result<Vec<LogIndex>, SnapshotError> {
    Ok(file::numbers(disk, dir)?.into_iter().map(LogIndex::new).collect())
}

/// Index of the newest generation whose file verifies, whether its payload can be understood or not. The name of a file
/// that does not says nothing.
pub fn newest_intact<D: Disk>(disk: &D, dir: &str) -> Result<Option<LogIndex>, SnapshotError> {
    Ok(list(disk, dir)?.into_iter().rev().find(|index| read(disk, dir, *index).is_ok()))
}

/// Payload of one generation, verified.
pub fn read<D: Disk>(disk: &D, dir: &str, index: LogIndex) -> Result<Bytes, SnapshotError> {
    read_file(disk, &path(dir, index), index)
}

/// Keeps `written`, which has just been verified, and the newest other generation that verifies; removes what
/// is older and what is damaged. A file that cannot be read or has a newer format gets no verdict and stays.
fn prune<D: Disk>(disk: &D, dir: &str, written: LogIndex) -> Result<(), SnapshotError> {
    let mut others = 0;
    for index in list(disk, dir)?.into_iter().rev().filter(|index| *index != written) {
        if others + 1 < GENERATIONS {
            match read(disk, dir, index) {
                Ok(_) => {
                    others += 1;
                    continue;
                }
                Err(SnapshotError::Damaged(_)) => {}
                Err(_) => continue,
            }
        }
        let path = path(dir, index);
        disk.remove(&path).map_err(at(&path))?;
    }
    Ok(())
}

/// Tells damage from what must stop a start. A file that cannot be read counts as damaged: the older
/// generation is there for that.
fn check<D: Disk>(disk: &D, dir: &str, index: LogIndex) -> Result<Result<Bytes, Damage>, SnapshotError> {
    match read(disk, dir, index) {
        Ok(payload) => Ok(Ok(payload)),
        Err(SnapshotError::Damaged(damage)) => Ok(Err(damage)),
        Err(SnapshotError::Io(error)) => {
            Ok(Err(Damage { file: error.path, reason: format!("it cannot be read: {}", error.source) }))
        }
        Err(error) => Err(error),
    }
}

fn path(dir: &str, index: LogIndex) -> String {
    format!("{dir}/{}", numbered_name(index.get()))
}

fn read_file<D: Disk>(disk: &D, path: &str, index: LogIndex) -> Result<Bytes, SnapshotError> {
    let file = disk.open(path, Mode::Read).map_err(at(path))?;
    let mut bytes = vec![0; file.len().map_err(at(path))? as usize];
    disk::read_exact(&file, &mut bytes, 0).map_err(at(path))?;
    unwrap_envelope(bytes.into(), index).map_err(|fault| match fault {
        Fault::Damaged(reason) => SnapshotError::Damaged(Damage { file: path.to_owned(), reason }),
        Fault::Newer(found) => SnapshotError::NewerFormat { file: path.to_owned(), found, known: VERSION },
    })
}

enum Fault {
    Damaged(String),
    Newer(u32),
}

fn unwrap_envelope(file: Bytes, index: LogIndex) -> Result<Bytes, Fault> {
    let damaged = |reason: &str| Err(Fault::Damaged(reason.to_owned()));
    if file.len() < HEADER_LEN + CRC_LEN {
        return Err(Fault::Damaged(format!("it has only {} bytes", file.len())));
    }
    let (content, mut crc) = file.split_at(file.len() - CRC_LEN);
    if crc32c::crc32c(content) != crc.get_u32() && !sabotage::is(Sabotage::SnapshotNotVerified) {
        return damaged("its checksum does not match");
    }
    let mut header = content;
    if header.get_u32() != MAGIC {
        return damaged("it is not a snapshot");
    }
    let version = header.get_u32();
    if version > VERSION {
        return Err(Fault::Newer(version));
    }
    let (stated_index, stated_len) = (header.get_u64(), header.get_u64());
    if stated_index != index.get() {
        return Err(Fault::Damaged(format!("it is the snapshot of index {stated_index}")));
    }
    if stated_len != header.len() as u64 {
        return damaged("its length does not match");
    }
    Ok(file.slice(HEADER_LEN..file.len() - CRC_LEN))
}

fn join(damages: &[Damage]) -> String {
    damages.iter().map(Damage::to_string).collect::<Vec<_>>().join("; ")
}
