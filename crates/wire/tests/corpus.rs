//! The bodies of the fuzz targets run over the committed corpus, without a fuzzer.

use std::path::Path;

#[path = "../../../fuzz/bodies/frame.rs"]
mod frame;
#[path = "../../../fuzz/bodies/header.rs"]
mod header;
#[path = "../../../fuzz/bodies/properties.rs"]
mod properties;

fn run_corpus(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the target has a corpus") {
        let path = entry.expect("a readable corpus").path();
        let data = std::fs::read(&path).expect("a readable input");
        if let Err(panic) = std::panic::catch_unwind(|| run(&data)) {
            eprintln!("failing input: {}", path.display());
            std::panic::resume_unwind(panic);
        }
        inputs += 1;
    }
    assert!(inputs >= 10, "the corpus of {target} has only {inputs} inputs");
}

#[test]
fn frame_corpus() {
    run_corpus("frame", frame::run);
}

#[test]
fn header_corpus() {
    run_corpus("header", header::run);
}

#[test]
fn properties_corpus() {
    run_corpus("properties", properties::run);
}
