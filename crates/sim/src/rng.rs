//! Seeded randomness: xoshiro256** 1.0 by David Blackman and Sebastiano Vigna (prng.di.unimi.it, public
//! domain), its state filled by SplitMix64 as its authors advise. Ours, so that a seed means the same run for
//! ever, whatever a library decides.
//!
//! Every part of a simulation draws from its own stream, named by a label: one more draw in one part does not
//! change what the others do.

use std::ops::Range;

/// A stream of random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        let mut split_mix = seed;
        Self { state: std::array::from_fn(|_| next_split_mix(&mut split_mix)) }
    }

    /// A stream of the same seed that is independent of all others with another label.
    pub fn stream(seed: u64, label: &str) -> Self {
        // 64-bit FNV-1a: only has to tell labels apart, SplitMix64 does the mixing.
        let label = label.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        let mut mixed = seed;
        Self::new(next_split_mix(&mut mixed) ^ label)
    }

    /// A new stream, seeded by one draw from this one.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, each as likely as any other; `bound` is not 0. (Lemire, "Fast random integer
    /// generation in an interval", 2019.)
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= unfair {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number of a range that is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// An index into something of length `len`, which is not 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number of a range, mostly near its start: each halving of the distance to the start is about equally
    /// likely. The shape of latencies.
    pub fn skewed(&mut self, range: Range<u64>) -> u64 {
        let span = range.end - range.start;
        let magnitude = self.below(u64::from(u64::BITS - span.leading_zeros()) + 1);
        range.start + self.below((span >> magnitude).max(1))
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// True with this probability in percent.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, which is not empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Puts items into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Fills bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

fn next_split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_algorithms() {
        // First outputs of the authors' programs: SplitMix64 for seed 0, xoshiro256** for the state 1, 2, 3, 4.
        assert_eq!(next_split_mix(&mut 0), 0xE220_A839_7B1D_CDAF);
        let mut rng = Rng { state: [1, 2, 3, 4] };
        assert_eq!([(); 4].map(|()| rng.next_u64()), [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |mut rng: Rng| -> Vec<u64> { (0..8).map(|_| rng.next_u64()).collect() };
        assert_eq!(draw(Rng::stream(7, "disk")), draw(Rng::stream(7, "disk")));
        assert_ne!(draw(Rng::stream(7, "disk")), draw(Rng::stream(7, "net")));
        assert_ne!(draw(Rng::stream(7, "disk")), draw(Rng::stream(8, "disk")));
        let mut parent = Rng::new(1);
        assert_ne!(draw(parent.split()), draw(parent.split()));
    }

    #[test]
    fn draws_stay_in_range_and_reach_it_all() {
        let mut rng = Rng::new(3);
        let mut seen = [0u32; 6];
        for _ in 0..6000 {
            seen[rng.index(6)] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        assert!((0..1000).all(|_| (5..9).contains(&rng.within(5..9))));
        let skewed: Vec<_> = (0..2000).map(|_| rng.skewed(100..1100)).collect();
        assert!(skewed.iter().all(|n| (100..1100).contains(n)));
        assert!(skewed.iter().filter(|n| **n < 300).count() > 1200, "most are small");
        assert!(skewed.iter().any(|n| *n > 800), "some are large");
    }

    #[test]
    fn shuffles_keep_all_items() {
        let mut items: Vec<u32> = (0..50).collect();
        Rng::new(9).shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
