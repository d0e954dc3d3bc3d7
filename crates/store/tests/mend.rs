//! Segments that are mended with what another replica has: afterwards they are what they were, whatever was damaged, and
//! nothing is taken from a replica whose own bytes are damaged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ops::Range;

use bytes::Bytes;
use common::MemDisk;
use steadfast_store::disk::{Disk, DiskFile, Mode};
use steadfast_store::log::{
    BatchBuilder, DIR, Damaged, Entry, Kind, Layout, LogWriter, Mark, Mend, MendError, Mended, Next,
    head_len, segment_path,
};
use steadfast_types::record::encode_control;
use steadfast_types::{LogIndex, LogOffset, Term, Timestamp};

const LAYOUT: Layout = Layout { segment_size: 1 << 20 };
const GROUP: u64 = 7;
/// Bytes given at a time, fewer than most entries have.
const PART: u64 = 10_000;

/// A log of three segments, its end, and where each frame begins.
fn log() -> (MemDisk, Mark, Vec<LogOffset>) {
    let disk = MemDisk::default();
    disk.create_dir(DIR).unwrap();
    let mut writer = LogWriter::open(disk.clone(), LAYOUT, GROUP, Mode::Durable, Mark::default()).unwrap();
    let mut places = Vec::new();
    for i in 0..100usize {
        let size = [100, 40_003, 9_000, 7, 66_000][i % 5];
        let index = writer.end().index.next();
        let at = LAYOUT.place(writer.end().end, head_len(1) + size + 8).at;
        let mut builder = BatchBuilder::new(at, LogIndex::new(i as u64), Timestamp::new(5), 1, size + 8);
        builder.push(0, |_, buf| encode_control(&vec![i as u8; size], buf));
        let entry = Entry { index, term: Term::new(2), kind: Kind::Batch, payload: builder.finish() };
        writer.append(&[(entry, at)]).unwrap();
        places.push(at);
    }
    // As the filler leaves full segments.
    for base in [0, 1 << 20] {
        let path = segment_path(LogOffset::new(base));
        let mut content = disk.get(&path);
        content.resize(LAYOUT.segment_size as usize, 0);
        disk.put(&path, &content);
    }
    assert!(writer.end().end.get() > 2 << 20);
    (disk, writer.end(), places)
}

fn damaged(base: u64, last: u64, end: Mark) -> Damaged {
    let (base, last) = (LogOffset::new(base), LogOffset::new(last));
    Damaged { base, last, group: GROUP, layout: LAYOUT, end }
}

fn read(disk: &MemDisk, stretch: &Range<LogOffset>) -> Bytes {
    let base = LAYOUT.base_of(stretch.start);
    let len = PART.min(stretch.end.get() - stretch.start.get());
    let mut bytes = vec![0; len as usize];
    let file = disk.open(&segment_path(base), Mode::Read).unwrap();
    let read = file.read_at(&mut bytes, stretch.start.get() - base.get()).unwrap();
    bytes.truncate(read);
    bytes.into()
}

/// Mends with what `other` has; None if that is refused.
fn mend(disk: &MemDisk, damaged: Damaged, other: &MemDisk) -> Result<Option<Mended>, MendError> {
    let mut mend = Mend::new(damaged);
    let mut part = None;
    loop {
        match mend.go_on(disk, part.take())? {
            Next::Needs(stretch) => part = Some(read(other, &stretch)),
            Next::Whole(mended) => return Ok(Some(mended)),
            Next::Refused(_) => return Ok(None),
            Next::TooNew => panic!("too new"),
        }
    }
}

#[test]
fn a_whole_segment_needs_nothing() {
    let (disk, end, _) = log();
    for base in [0, 1 << 20, 2 << 20] {
        let mut mend = Mend::new(damaged(base, base, end));
        assert_eq!(mend.go_on(&disk, None).unwrap(), Next::Whole(Mended::default()));
    }
}

#[test]
fn a_byte_anywhere_is_as_it_was() {
    let (whole, end, places) = log();
    let first: Vec<u64> = places.iter().map(|at| at.get()).filter(|at| *at < 1 << 20).collect();
    let of_frames =
        first.iter().flat_map(|at| [0, 5, 20, 33, 41, 57, 64, 70, 90, 100].map(|within| at + within));
    for byte in [0, 5, 13, 20, 30, 41].into_iter().chain(of_frames) {
        let disk = whole.copy();
        disk.flip(&segment_path(LogOffset::ZERO), byte as usize);
        let mended = mend(&disk, damaged(0, byte, end), &whole).unwrap().expect("the other is whole");
        assert!(mended.bytes > 0 && mended.bytes < 70_000, "byte {byte}: {mended:?}");
        assert!(disk.dump() == whole.dump(), "byte {byte}");
    }
}

#[test]
fn many_at_once_and_a_file_that_is_gone_or_short_are_as_they_were() {
    let (whole, end, places) = log();
    let path = segment_path(LogOffset::new(1 << 20));
    let content = whole.get(&path);
    let garbled = |range: Range<usize>| {
        let mut content = content.clone();
        content[range].fill(0xA5);
        content
    };
    let second: Vec<usize> = places
        .iter()
        .map(|at| at.get() as usize)
        .filter(|at| at >> 20 == 1)
        .map(|at| at - (1 << 20))
        .collect();
    let third = second[3] + 10..second[7] + 10;
    for bad in [
        garbled(third),
        garbled(0..1 << 20),
        garbled(1 << 19..1 << 20),
        content[..300_000].to_vec(),
        Vec::new(),
    ] {
        let disk = whole.copy();
        disk.put(&path, &bad);
        mend(&disk, damaged(1 << 20, 1 << 20, end), &whole).unwrap().expect("the other is whole");
        let got = disk.get(&path);
        // Behind the last frame there is nothing.
        let used = places.iter().rev().find(|at| at.get() >> 20 == 1).unwrap().get() as usize - (1 << 20);
        assert!(got.len() == content.len() && got[..used] == content[..used], "{} bytes", bad.len());
        assert_eq!(
            Mend::new(damaged(1 << 20, 1 << 20, end)).go_on(&disk, None).unwrap(),
            Next::Whole(Mended::default())
        );
    }
    let disk = whole.copy();
    disk.remove(&path).unwrap();
    assert!(mend(&disk, damaged(1 << 20, 1 << 20, end), &whole).unwrap().unwrap().bytes > 900_000);
}

#[test]
fn what_is_damaged_there_too_is_not_taken() {
    let (whole, end, places) = log();
    for within in [0, 30, 64, 100, 120] {
        let (disk, other) = (whole.copy(), whole.copy());
        let byte = places[6].get() as usize;
        disk.flip(&segment_path(LogOffset::ZERO), byte + 50);
        other.flip(&segment_path(LogOffset::ZERO), byte + within);
        let before = disk.dump();
        assert_eq!(mend(&disk, damaged(0, byte as u64, end), &other).unwrap(), None, "{within}");
        assert!(disk.dump() == before, "{within}");
        mend(&disk, damaged(0, byte as u64, end), &whole).unwrap().expect("a third one is whole");
        assert!(disk.dump() == whole.dump());
    }
}

#[test]
fn without_the_next_segment_what_was_met_is_mended_and_no_more() {
    let (whole, end, places) = log();
    let (disk, path) = (whole.copy(), segment_path(LogOffset::ZERO));
    disk.remove(&segment_path(LogOffset::new(1 << 20))).unwrap();
    let last = *places.iter().rfind(|at| at.get() < 1 << 20).unwrap();
    disk.flip(&path, last.get() as usize + 70);
    mend(&disk, damaged(0, last.get(), end), &whole).unwrap().expect("the other is whole");
    assert!(disk.get(&path) == whole.get(&path));
}

#[test]
fn where_the_log_is_still_written_nothing_is_mended() {
    let (whole, end, places) = log();
    let (base, last) = (2 << 20, places.last().unwrap().get());
    let disk = whole.copy();
    disk.flip(&segment_path(LogOffset::new(base)), (last - base) as usize + 70);
    let mut mend = Mend::new(damaged(base, last, end));
    let mut next = mend.go_on(&disk, None).unwrap();
    while let Next::Needs(stretch) = next {
        next = mend.go_on(&disk, Some(read(&whole, &stretch))).unwrap();
    }
    assert_eq!(next, Next::TooNew);
}

#[test]
fn a_disk_that_does_not_keep_it_is_found_out() {
    let (whole, end, places) = log();
    for place in &places[1..8] {
        let disk = whole.copy();
        disk.flip(&segment_path(LogOffset::ZERO), place.get() as usize + 3);
        // What it gets wrong may be of the frame before, which shares a block with this one.
        disk.lie(true);
        let found = mend(&disk, damaged(0, place.get(), end), &whole);
        assert!(matches!(found, Err(MendError::NotKept { .. })), "{found:?}");
    }
}
