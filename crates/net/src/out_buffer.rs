//! What waits to be written to a connection: small things in one growing buffer, large bodies as they are.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Slices of one vectored write.
pub const SLICES: usize = 64;

/// Bodies up to this size are copied: a slice of their own would cost more.
const COPY_MAX: usize = 2048;
/// Pieces that wait are copied if they are smaller: they may be a small part of the memory that they keep.
const OWNED_MAX: usize = 64 * 1024;
/// Room for the beginning of a frame, made at once: most have some hundred bytes before their body.
const HEAD_ROOM: usize = 512;
/// Capacity kept while there is nothing to write.
const KEEP_CAPACITY: usize = 64 * 1024;

/// Bytes in the order in which they are to be sent: `pieces`, then `tail`.
#[derive(Debug, Default)]
pub struct OutBuffer {
    pieces: VecDeque<Bytes>,
    pieces_len: usize,
    /// The first pieces, which keep no more memory than they are.
    settled: usize,
    tail: BytesMut,
}

impl OutBuffer {
    /// Appends one frame: what `encode` appends to the buffer, then the pieces it returns.
    pub fn append(&mut self, encode: impl FnOnce(&mut BytesMut) -> Vec<Bytes>) {
        self.tail.reserve(HEAD_ROOM);
        let pieces = encode(&mut self.tail);
        // At once: a buffer that grew with each piece would be copied again and again.
        self.tail.reserve(pieces.iter().map(Bytes::len).filter(|len| *len <= COPY_MAX).sum());
        for piece in pieces {
            if piece.len() <= COPY_MAX {
                self.tail.extend_from_slice(&piece);
                continue;
            }
            if !self.tail.is_empty() {
                let before = self.tail.split().freeze();
                self.push(before);
            }
            self.push(piece);
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.pieces_len += piece.len();
        self.pieces.push_back(piece);
    }

    /// Bytes to send.
    pub fn len(&self) -> usize {
        self.pieces_len + self.tail.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is here has to wait for the client: it shall not keep much more memory than it is.
    pub fn settle(&mut self) {
        let new = self.pieces.iter_mut().skip(self.settled);
        new.filter(|piece| piece.len() < OWNED_MAX).for_each(|piece| *piece = Bytes::copy_from_slice(piece));
        self.settled = self.pieces.len();
    }

    /// The first bytes to send, as many slices as fit.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>; SLICES]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let mut count = 0;
        for (slot, bytes) in out.iter_mut().zip(self.pieces.iter().map(|piece| &piece[..]).chain(tail)) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// Drops `sent` bytes from the front.
    pub fn advance(&mut self, mut sent: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if sent < piece.len() {
                piece.advance(sent);
                self.pieces_len -= sent;
                return;
            }
            sent -= piece.len();
            self.pieces_len -= piece.len();
            self.pieces.pop_front();
            self.settled = self.settled.saturating_sub(1);
        }
        if sent < self.tail.len() {
            self.tail.advance(sent);
        } else if self.tail.capacity() > KEEP_CAPACITY {
            self.tail = BytesMut::new();
        } else {
            self.tail.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(out: &mut OutBuffer, step: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = out.slices(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            let take = step.min(all.len());
            sent.extend_from_slice(&all[..take]);
            out.advance(take);
        }
        sent
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_kernel_takes() {
        for step in [777, 3000, usize::MAX] {
            let mut out = OutBuffer::default();
            let mut expected = Vec::new();
            for i in 0..100_u8 {
                let body = Bytes::from(vec![i; usize::from(i) * 50]);
                expected.push(b'h');
                expected.extend_from_slice(&body);
                out.append(|head| {
                    head.extend_from_slice(b"h");
                    vec![body]
                });
            }
            assert_eq!(out.len(), expected.len());
            assert_eq!(drain(&mut out, step), expected, "step {step}");
        }
    }

    #[test]
    fn what_waits_keeps_no_more_memory_than_it_is() {
        let mut out = OutBuffer::default();
        let mut expected = Vec::new();
        for i in 0..10_u8 {
            let chunk = Bytes::from(vec![i; 512 * 1024]);
            let (small, large) = (chunk.slice(..10_000), chunk.slice(10_000..90_000));
            expected.extend_from_slice(&chunk[..90_000]);
            out.append(|_| vec![small.clone(), large]);
            out.settle();
            drop(small);
            assert!(!chunk.is_unique(), "a large piece is not copied");
            // What was sent in part since, too.
            let sent = usize::from(i) * 3_000;
            out.advance(sent);
            expected.drain(..sent);
        }
        assert_eq!(drain(&mut out, 50_000), expected);
        let chunk = Bytes::from(vec![7; 512 * 1024]);
        out.append(|_| vec![chunk.slice(..10_000)]);
        assert!(!chunk.is_unique());
        out.settle();
        assert!(chunk.is_unique());
        assert_eq!(drain(&mut out, 1), chunk[..10_000]);
    }

    #[test]
    fn an_idle_buffer_keeps_little_memory() {
        let mut out = OutBuffer::default();
        out.append(|head| {
            head.resize(1 << 20, 0);
            Vec::new()
        });
        drain(&mut out, usize::MAX);
        assert!(out.tail.capacity() <= KEEP_CAPACITY);
    }
}
