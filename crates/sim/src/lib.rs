//! The deterministic simulator: seeded randomness, a scheduler with a virtual clock, a virtual disk that fails, and
//! the record of a run. The same seed is the same run, bit for bit.

pub mod clock;
pub mod disk;
pub mod rng;
pub mod scheduler;
pub mod trace;
