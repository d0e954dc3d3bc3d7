//! The bytes of a file, by sectors; sectors of zeros take no memory.

use std::collections::BTreeMap;

use steadfast_store::disk::SECTOR;

/// A sector's bytes; None is all zeros.
pub(super) type Sector = Option<Box<[u8; SECTOR]>>;

/// The sector of these bytes.
pub(super) fn sector(bytes: &[u8; SECTOR]) -> Sector {
    bytes.iter().any(|byte| *byte != 0).then(|| Box::new(*bytes))
}

/// The sectors that a range of bytes touches.
pub(super) fn sectors(at: u64, len: usize) -> std::ops::Range<u64> {
    at / SECTOR as u64..(at + len as u64).div_ceil(SECTOR as u64)
}

/// The content of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    sectors: BTreeMap<u64, Box<[u8; SECTOR]>>,
    pub(super) len: u64,
}

impl Image {
    pub(super) fn get(&self, number: u64) -> Option<&[u8; SECTOR]> {
        self.sectors.get(&number).map(AsRef::as_ref)
    }

    /// Sectors of a range that are not all zeros.
    pub(super) fn range(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = (u64, &[u8; SECTOR])> {
        self.sectors.range(range).map(|(number, bytes)| (*number, bytes.as_ref()))
    }

    pub(super) fn put(&mut self, number: u64, sector: Sector) {
        match sector {
            Some(bytes) => self.sectors.insert(number, bytes),
            None => self.sectors.remove(&number),
        };
    }

    /// Sets the length and forgets what is behind it, so that growing again shows zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
        self.sectors.split_off(&len.div_ceil(SECTOR as u64));
        let kept = (len % SECTOR as u64) as usize;
        if let Some(last) = self.sectors.get_mut(&(len / SECTOR as u64)).filter(|_| kept > 0) {
            last[kept..].fill(0);
        }
    }

    /// Numbers of the sectors that are not all zeros.
    pub(super) fn filled(&self) -> impl Iterator<Item = u64> {
        self.sectors.keys().copied()
    }

    /// Changes a byte.
    pub(super) fn change(&mut self, at: u64, change: impl FnOnce(u8) -> u8) {
        let bytes = self.sectors.entry(at / SECTOR as u64).or_insert_with(|| Box::new([0; SECTOR]));
        let byte = &mut bytes[(at % SECTOR as u64) as usize];
        *byte = change(*byte);
    }
}
