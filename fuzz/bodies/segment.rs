//! A whole segment file: the scan ends, never panics, and a writer can go on where it says.

use steadfast_store::disk::Mode;
use steadfast_store::log::{Layout, LogWriter, Mark, Scan, Tail, scan, segment_path};
use steadfast_types::{LogIndex, LogOffset};

#[path = "../../crates/store/tests/common/mod.rs"]
mod common;

pub(crate) fn run(data: &[u8]) {
    let disk = common::MemDisk::default();
    disk.put(&segment_path(LogOffset::ZERO), data);
    let layout = Layout { segment_size: 16 << 20 };
    let options = Scan { layout, group: 7, from: Mark::default(), watermark: LogIndex::ZERO, lenient: false };
    // What a repair makes of it, it survives.
    let _ = scan(&disk, Scan { lenient: true, ..options }, |_| ());
    let mut entries = 0;
    let Ok(Tail { mark: end, .. }) = scan(&disk, options, |_| entries += 1) else { return };
    assert_eq!(end.index.get(), entries);
    assert!(end.end.get() as usize <= data.len().next_multiple_of(8));
    // A frame's padding may be missing at the very end of the file; the writer needs whole blocks.
    if end.end.get().next_multiple_of(4096) as usize <= data.len() {
        LogWriter::open(disk, layout, 7, Mode::Durable, end).expect("the log goes on");
    }
}
