//! libFuzzer target around the body of the same name.

#![no_main]

#[path = "../bodies/segment.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
