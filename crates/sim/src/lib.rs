//! The deterministic simulator: seeded scheduler, virtual disk and clock, faults and workloads.
