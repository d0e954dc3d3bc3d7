//! The bodies of the store's fuzz targets run over the committed corpus, without a fuzzer.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "../../../fuzz/bodies/entry.rs"]
mod entry;
#[path = "../../../fuzz/bodies/segment.rs"]
mod segment;
#[path = "../../../fuzz/bodies/stored_message.rs"]
mod stored_message;

/// Runs a target over its corpus, and over every input cut short and with one byte changed here and there.
fn run_corpus(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the target has a corpus") {
        let path = entry.expect("a readable corpus").path();
        let data = std::fs::read(&path).expect("a readable input");
        if let Err(panic) = std::panic::catch_unwind(|| run_around(&data, run)) {
            eprintln!("failing input (or one near it): {}", path.display());
            std::panic::resume_unwind(panic);
        }
        inputs += 1;
    }
    assert!(inputs >= 3, "the corpus of {target} has only {inputs} inputs");
}

fn run_around(data: &[u8], run: fn(&[u8])) {
    run(data);
    let step = (data.len() / 300).max(1);
    for at in (0..data.len()).step_by(step) {
        run(&data[..at]);
        let mut changed = data.to_vec();
        changed[at] ^= 1 << (at % 8);
        run(&changed);
        changed[at] = 0xFF;
        run(&changed);
    }
}

#[test]
fn stored_message_corpus() {
    run_corpus("stored_message", stored_message::run);
}

#[test]
fn entry_corpus() {
    run_corpus("entry", entry::run);
}

#[test]
fn segment_corpus() {
    run_corpus("segment", segment::run);
}
