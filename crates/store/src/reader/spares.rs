//! Memory of reads that are over, for the next ones: neither allocated nor zeroed anew, and still in the processor's
//! caches. Several answers are under way at a time, and each holds what was read for it until it is sent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// Reads whose memory is kept; as many answers can be under way before the next read needs memory of its own.
const KEPT: usize = 16;
/// Memory is allocated in multiples of this, so that it does for a somewhat longer read too.
const ROUND: usize = 16 * 1024;

/// What was read last, the latest at the end.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Bytes>>);

impl Spares {
    /// Memory for `len` bytes: that of the latest read that nobody holds any more, if it is large enough.
    pub(super) fn take(&self, len: usize) -> BytesMut {
        let free = {
            let mut kept = self.kept();
            let at = kept.iter().rposition(Bytes::is_unique);
            at.map(|at| kept.remove(at))
        };
        let memory = free.and_then(|bytes| bytes.try_into_mut().ok()).unwrap_or_default();
        if memory.capacity() >= len { memory } else { BytesMut::with_capacity(len.next_multiple_of(ROUND)) }
    }

    /// Keeps the memory of a read for when its answer is sent.
    pub(super) fn keep(&self, read: Bytes) {
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(read);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spares: &Spares, len: usize) -> Bytes {
        let mut memory = spares.take(len);
        memory.resize(len, 7);
        let read = memory.freeze();
        spares.keep(read.clone());
        read
    }

    #[test]
    fn memory_is_used_again_once_nobody_holds_it() {
        let spares = Spares::default();
        let (first, second) = (read(&spares, 40_000), read(&spares, 40_000));
        assert_ne!(first.as_ptr(), second.as_ptr(), "it is held");
        let (first_at, second_at) = (first.as_ptr(), second.as_ptr());
        drop((first, second));
        let third = read(&spares, 42_000);
        assert_eq!(third.as_ptr(), second_at, "the latest is in the processor's caches");
        assert_eq!(read(&spares, 30_000).as_ptr(), first_at);
        assert_eq!(third, vec![7; 42_000]);
    }

    #[test]
    fn little_is_kept() {
        let spares = Spares::default();
        let held: Vec<Bytes> = (0..3 * KEPT).map(|_| read(&spares, 1_000)).collect();
        assert_eq!(held.iter().filter(|read| !read.is_unique()).count(), KEPT);
        assert!(held[held.len() - KEPT..].iter().all(|read| !read.is_unique()), "the latest");
    }
}
