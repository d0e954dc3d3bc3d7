//! Freeing segments: never one that a start could need, and what a freed file held never counts again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ops::ControlFlow;

use bytes::Bytes;
use common::MemDisk;
use steadfast_store::checkpoint::{self, Checkpoint, Snapshot};
use steadfast_store::disk::{Disk, Mode};
use steadfast_store::log::{
    BatchBuilder, DIR, Entry, Filler, Kind, Layout, LogWriter, Mark, Scan, head_len, retire, scan,
    segment_bases, segment_path, walk,
};
use steadfast_store::retention::{self, FreeError};
use steadfast_types::record::encode_control;
use steadfast_types::{LogIndex, LogOffset, Term, Timestamp};

const MIB: u64 = 1 << 20;
const LAYOUT: Layout = Layout { segment_size: 2 * MIB };
const GROUP: u64 = 7;

fn base(segment: u64) -> LogOffset {
    LogOffset::new(segment * LAYOUT.segment_size)
}

fn writer(disk: &MemDisk, end: Mark) -> LogWriter<MemDisk> {
    LogWriter::open(disk.clone(), LAYOUT, GROUP, Mode::Durable, end).unwrap()
}

/// Appends an entry with one control record of `len` bytes.
fn append(writer: &mut LogWriter<MemDisk>, len: usize) {
    let mark = writer.end();
    let place = LAYOUT.place(mark.end, head_len(1) + len + 8);
    let mut builder = BatchBuilder::new(place.at, mark.index, Timestamp::new(5), 1, len + 8);
    builder.push(0, |_, buf| encode_control(&vec![mark.index.get() as u8; len], buf));
    let entry =
        Entry { index: mark.index.next(), term: Term::new(1), kind: Kind::Batch, payload: builder.finish() };
    writer.append(&[(entry, place.at)]).unwrap();
}

/// A log of so many whole segments and a bit, of entries of 100 kB.
fn log(segments: u64) -> (MemDisk, LogWriter<MemDisk>) {
    let disk = MemDisk::default();
    disk.create_dir(DIR).unwrap();
    let mut filler = Filler::open(disk.clone(), LAYOUT, LogOffset::ZERO, 0).unwrap();
    let mut writer = writer(&disk, Mark::default());
    while writer.end().end < base(segments) + MIB {
        while filler.room().filled_to < writer.end().end + 4 * MIB {
            filler.step().unwrap();
        }
        append(&mut writer, 100_000);
    }
    (disk, writer)
}

fn snapshot(disk: &MemDisk, mark: Mark) {
    let snapshot = Snapshot {
        mark,
        term: Term::new(1),
        store_time: Timestamp::new(5),
        runs: Vec::new(),
        state: Bytes::from_static(b"state"),
    };
    checkpoint::write(disk, Checkpoint { run: None, snapshot }).unwrap();
}

fn spares(disk: &MemDisk) -> usize {
    disk.paths().iter().filter(|path| path.ends_with(".free")).count()
}

#[test]
fn no_snapshot_on_disk_may_need_what_is_freed() {
    let (disk, writer) = log(3);
    let refused = |bases: &[LogOffset]| {
        let result = retention::free(&disk, LAYOUT, bases, 0);
        assert!(matches!(result, Err(FreeError::NotCovered { .. })), "{result:?}");
    };
    refused(&[base(0)]);
    let early = Mark { index: LogIndex::new(3), end: base(1) + 5000, chain: 1 };
    snapshot(&disk, early);
    snapshot(&disk, writer.end());
    // The newer one covers all, a start from the older one needs the second segment.
    refused(&[base(0), base(1)]);
    assert!(disk.paths().contains(&segment_path(base(0))), "all or nothing");
    retention::free(&disk, LAYOUT, &[base(0)], 0).unwrap();
    assert!(!disk.paths().contains(&segment_path(base(0))));
    // One that no start can use does not count.
    disk.flip(&format!("snapshot/{:020}", early.index.get()), 40);
    retention::free(&disk, LAYOUT, &[base(0), base(1)], 0).unwrap();
    assert!(!disk.paths().contains(&segment_path(base(1))));
}

#[test]
fn a_few_freed_files_are_kept_and_come_back_as_new_segments() {
    let (disk, mut writer) = log(6);
    retire(&disk, LAYOUT, &[base(0), base(1), base(2), base(3)], 2).unwrap();
    assert_eq!(spares(&disk), 2);
    assert_eq!(segment_bases(&disk).unwrap()[0], base(4));
    let end = writer.end().end;
    let mut filler = Filler::open(disk.clone(), LAYOUT, end, 0).unwrap();
    while filler.room().filled_to != LAYOUT.base_of(filler.room().filled_to) {
        filler.step().unwrap();
    }
    // Even on a full disk.
    disk.set_space(steadfast_store::disk::Space { total: 1, free: 0 });
    while spares(&disk) > 0 {
        filler.step().unwrap();
    }
    assert!(filler.step().unwrap().disk_full);
    while writer.end().end < base(8) {
        append(&mut writer, 100_000);
    }
    // The new entries are there, and of the old contents behind them nothing is.
    let tail = base(LAYOUT.base_of(end).get() / LAYOUT.segment_size);
    let mut walked = 0;
    walk(&disk, LAYOUT, tail..writer.end().end, |_| count_one(&mut walked)).unwrap();
    assert!(walked > 40);
    retire(&disk, LAYOUT, &[], 0).unwrap();
    assert_eq!(spares(&disk), 0);
}

/// The tail of the log lies in a reused file, torn at any place: recovery ends at what was written.
#[test]
fn what_a_reused_file_held_is_never_part_of_the_log() {
    let (disk, writer) = log(4);
    let from = writer.end();
    retire(&disk, LAYOUT, &[base(0), base(1)], 2).unwrap();
    let mut filler = Filler::open(disk.clone(), LAYOUT, from.end, 0).unwrap();
    while spares(&disk) > 0 {
        filler.step().unwrap();
    }
    let mut writer = self::writer(&disk, from);
    while writer.end().end < base(5) + MIB {
        append(&mut writer, 100_000);
        // Different from what lies below it, so that frames do not meet frames.
        append(&mut writer, 777);
        let scanned = Scan { layout: LAYOUT, group: GROUP, from, watermark: from.index, lenient: false };
        let tail = scan(&disk, scanned, |_| {}).unwrap();
        assert_eq!((tail.mark, tail.cut), (writer.end(), None), "what lies behind it was never part of it");
    }
}

/// A stretch is walked over holes part by part; within a part nothing may be missing.
#[test]
fn a_walk_tells_the_end_of_a_segment_from_damage_in_it() {
    let (disk, writer) = log(3);
    let count = |from: LogOffset, to: LogOffset| {
        let mut walked = 0;
        walk(&disk, LAYOUT, from..to, |_| count_one(&mut walked)).map(|()| walked)
    };
    let all = count(base(0), writer.end().end).unwrap();
    retire(&disk, LAYOUT, &[base(1)], 0).unwrap();
    let kept = count(base(0), base(1)).unwrap() + count(base(2), writer.end().end).unwrap();
    assert!(kept < all && kept > all / 2, "{kept} of {all}");
    assert!(count(base(0), base(3)).is_err(), "a segment is missing");
    // The header of the fourth frame of a segment in the middle, and of one before a hole.
    for segment in [2, 0] {
        disk.flip(&segment_path(base(segment)), 4096 + 3 * 100_112 + 50);
        assert!(count(base(segment), base(segment + 1)).is_err(), "segment {segment}");
    }
}

fn count_one(count: &mut usize) -> ControlFlow<()> {
    *count += 1;
    ControlFlow::Continue(())
}
