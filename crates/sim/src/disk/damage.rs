//! Damage at rest: bits that flip, sectors that turn to garbage, files that vanish or come back old, and disks
//! that are replaced.

use steadfast_store::disk::SECTOR;

use super::VirtualDisk;
use super::state::{DiskCopy, State};
use crate::rng::Rng;

/// A bit that was flipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    /// The file.
    pub path: String,
    /// Position of the byte.
    pub byte: u64,
    /// Number of the bit, 0 to 7.
    pub bit: u8,
}

impl VirtualDisk {
    /// Flips a bit on the medium. A newer version in the page cache hides it until it is gone. False if there is
    /// no such byte.
    pub fn flip(&self, path: &str, byte: u64, bit: u8) -> bool {
        self.damage(path, |state, inode| {
            let image = &mut state.inode_mut(inode).durable;
            let exists = byte < image.len;
            if exists {
                image.change(byte, |value| value ^ (1 << (bit % 8)));
            }
            exists
        })
    }

    /// A byte as it is on the medium, whatever the page cache holds.
    pub fn on_medium(&self, path: &str, byte: u64) -> Option<u8> {
        let state = self.state();
        let image = &state.inode(state.names.get(path)?).durable;
        let sector = image.get(byte / SECTOR as u64);
        (byte < image.len).then(|| sector.map_or(0, |bytes| bytes[(byte % SECTOR as u64) as usize]))
    }

    /// Flips a random bit of a file whose path contains `part`, in a sector that is not all zeros; None if
    /// there is none.
    pub fn flip_random(&self, part: &str, rng: &mut Rng) -> Option<Flip> {
        let (path, byte) = self.random_byte(part, rng)?;
        let flip = Flip { path, byte, bit: rng.below(8) as u8 };
        self.flip(&flip.path, flip.byte, flip.bit).then_some(flip)
    }

    /// A random byte of a file whose path contains `part`, in a sector that is not all zeros; None if there is
    /// none.
    pub fn random_byte(&self, part: &str, rng: &mut Rng) -> Option<(String, u64)> {
        let sectors = self.filled_sectors(part);
        if sectors.is_empty() {
            return None;
        }
        let (path, start, len) = rng.pick(&sectors);
        Some((path.clone(), start + rng.below(*len)))
    }

    /// Gives a byte on the medium another value; nothing happens if there is no such byte.
    pub fn alter(&self, path: &str, byte: u64, value: u8) {
        self.damage(path, |state, inode| {
            let image = &mut state.inode_mut(inode).durable;
            let exists = byte < image.len;
            if exists {
                image.change(byte, |_| value);
            }
            exists
        });
    }

    /// Path, first byte and length of every sector with content.
    fn filled_sectors(&self, part: &str) -> Vec<(String, u64, u64)> {
        let state = self.state();
        let mut all = Vec::new();
        for (path, inode) in state.names.iter().filter(|(path, _)| path.contains(part)) {
            let image = &state.inode(inode).durable;
            for start in
                image.filled().map(|sector| sector * SECTOR as u64).filter(|start| *start < image.len)
            {
                all.push((path.to_owned(), start, (image.len - start).min(SECTOR as u64)));
            }
        }
        all
    }

    /// Fills a sector of the medium with garbage. False if there is no such sector.
    pub fn garble(&self, path: &str, sector: u64, rng: &mut Rng) -> bool {
        self.damage(path, |state, inode| {
            let image = &mut state.inode_mut(inode).durable;
            let start = sector * SECTOR as u64;
            for at in start..image.len.min(start + SECTOR as u64) {
                image.change(at, |_| rng.next_u64() as u8);
            }
            start < image.len
        })
    }

    fn damage(&self, path: &str, damage: impl FnOnce(&mut State, u64) -> bool) -> bool {
        let mut state = self.state();
        match state.names.get(path) {
            Some(inode) => damage(&mut state, inode),
            None => false,
        }
    }

    /// A file vanishes, durably.
    pub fn lose(&self, path: &str) {
        let mut state = self.state();
        state.names.force(path, None);
        state.collect();
    }

    /// A file has this content, durably: an older copy that somebody restored, or a test's set-up. Its
    /// directory is made if needed.
    pub fn plant(&self, path: &str, content: &[u8]) {
        let mut state = self.state();
        state.create_dir(super::names::parent(path));
        let number = state.new_inode();
        let image = &mut state.inode_mut(number).durable;
        for (sector, bytes) in content.chunks(SECTOR).enumerate() {
            let mut whole = [0; SECTOR];
            whole[..bytes.len()].copy_from_slice(bytes);
            image.put(sector as u64, super::image::sector(&whole));
        }
        image.len = content.len() as u64;
        state.names.force(path, Some(number));
        state.collect();
    }

    /// The disk is replaced by an empty one; handles from before are void.
    pub fn wipe(&self) {
        self.state().wipe();
    }

    /// A copy of all files, made while no process runs.
    pub fn copy(&self) -> DiskCopy {
        self.state().copy()
    }

    /// The disk is replaced by one with the files of a copy; handles from before are void.
    pub fn restore(&self, copy: &DiskCopy) {
        self.state().restore(copy);
    }
}
