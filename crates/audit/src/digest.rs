//! A 64-bit digest of a message's content: cheap enough for every message of a load test. It guards against
//! accidents (flipped bits, mixed-up or cut bodies), not against an attacker.

use std::fmt;

// The multiplier of 64-bit FNV-1a, and the constants of MurmurHash3's 64-bit finaliser.
const PRIME: u64 = 0x0000_0100_0000_01B3;
const BASIS: u64 = 0xCBF2_9CE4_8422_2325;

/// Digest of a message's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u64);

impl Digest {
    /// Wraps a digest that was computed elsewhere.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The digest of several parts (such as body and properties); where one ends and the next begins counts.
    pub fn of(parts: &[&[u8]]) -> Self {
        Self(finish(parts.iter().fold(BASIS, |hash, part| absorb(mix(hash, part.len() as u64), part))))
    }
}

/// Takes the bytes in words of eight. Every step is a bijection of `hash`, so that no single changed word
/// can go unnoticed.
fn absorb(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    if tail.is_empty() { hash } else { mix(hash, u64::from_le_bytes(last)) }
}

const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(PRIME);
    // A multiplication carries differences upwards only; this brings them down again.
    hash ^ (hash >> 32)
}

const fn finish(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_changes_it() {
        let body: Vec<u8> = (0..77).collect();
        let whole = Digest::of(&[&body]);
        for bit in 0..body.len() * 8 {
            let mut other = body.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Digest::of(&[&other]), whole, "bit {bit}");
        }
    }

    #[test]
    fn top_bits_of_neighbouring_words_do_not_cancel() {
        let mut body = [0u8; 16];
        let plain = Digest::of(&[&body]);
        body[7] = 0x80;
        body[15] = 0x80;
        assert_ne!(Digest::of(&[&body]), plain);
    }

    #[test]
    fn lengths_and_borders_count() {
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
        assert_ne!(Digest::of(&[b"a"]), Digest::of(&[b"a\0"]));
        assert_ne!(Digest::of(&[]), Digest::of(&[b""]));
    }
}
