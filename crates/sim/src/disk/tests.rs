//! Tests of the virtual disk.
