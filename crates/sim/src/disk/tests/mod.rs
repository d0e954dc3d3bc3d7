//! Tests of the virtual disk: what the contract promises always holds, and what it allows does happen.

mod contract;
mod crashes;
mod damage;
mod faults;
mod windows;

use std::collections::BTreeSet;

use steadfast_store::disk::{Disk, DiskFile, Mode, SECTOR};

use super::VirtualDisk;
use crate::rng::Rng;

fn disk() -> VirtualDisk {
    VirtualDisk::new(Rng::new(1))
}

/// Sectors full of one byte each.
fn sectors(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [*byte; SECTOR]).collect()
}

/// The bytes that a file's sectors are full of; None where a sector is mixed.
fn summary(content: &[u8]) -> Vec<Option<u8>> {
    let uniform = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]).then(|| sector[0]);
    content.chunks(SECTOR).map(uniform).collect()
}

/// Writes a file that is durable with its name.
fn durable_file(disk: &VirtualDisk, path: &str, content: &[u8]) {
    let file = disk.open(path, Mode::Buffered).unwrap();
    assert_eq!(file.write_at(content, 0).unwrap(), content.len());
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    disk.settle_all();
}

/// What a file may hold after a crash, over many crashes of the same state. A missing file is None.
fn outcomes(
    disk: &VirtualDisk,
    path: &str,
    crash: impl Fn(&VirtualDisk, &mut Rng),
) -> BTreeSet<Option<Vec<u8>>> {
    let run = |seed| {
        let fork = disk.fork();
        crash(&fork, &mut Rng::new(seed));
        fork.peek(path)
    };
    (0..400).map(run).collect()
}
