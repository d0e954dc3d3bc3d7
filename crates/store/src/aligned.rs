//! Memory aligned to [`BLOCK`], which direct I/O demands.

use crate::disk::BLOCK;

/// A buffer that grows and is reused; its contents start at an aligned address.
#[derive(Default)]
pub struct AlignedBuf {
    memory: Vec<u8>,
}

impl AlignedBuf {
    /// Keep at most this many bytes between uses, so that one large message does not pin its size for ever.
    const KEEP: usize = 4 * 1024 * 1024;

    /// `len` aligned bytes with unspecified contents.
    pub fn of_len(&mut self, len: usize) -> &mut [u8] {
        let needed = len + BLOCK;
        if self.memory.len() < needed || (self.memory.len() > Self::KEEP && needed < Self::KEEP) {
            self.memory = vec![0; needed];
        }
        let skip = self.memory.as_ptr().align_offset(BLOCK);
        &mut self.memory[skip..skip + len]
    }
}
