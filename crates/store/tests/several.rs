//! A replica's log that is damaged anywhere: what is whole before it is read, and what may have been behind it is told,
//! never too little.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::MemDisk;
use steadfast_store::disk::{Disk, Mode, SECTOR};
use steadfast_store::log::{
    BatchBuilder, DIR, Entry, Filler, Kind, Layout, LogWriter, Mark, Remains, Scan, head_len,
    scan_of_several, segment_path,
};
use steadfast_store::meta::{Fence, Meta, MetaFile, Past};
use steadfast_types::record::encode_control;
use steadfast_types::{LogIndex, LogOffset, Position, Term, Timestamp};

const LAYOUT: Layout = Layout { segment_size: 16 << 20 };
const GROUP: u64 = 7;
/// The replica's term; that of the last entry is the one before.
const TERM: Term = Term::new(3);

/// A log of some entries, each of which tells that the one before the last is committed. Returns the end of each.
fn log_of(sizes: &[usize]) -> (MemDisk, Vec<LogOffset>) {
    let disk = MemDisk::default();
    disk.create_dir(DIR).unwrap();
    let mut filler = Filler::open(disk.clone(), LAYOUT, LogOffset::ZERO, 0).unwrap();
    filler.step().unwrap();
    let mut writer = LogWriter::open(disk.clone(), LAYOUT, GROUP, Mode::Durable, Mark::default()).unwrap();
    let mut ends = Vec::new();
    for size in sizes {
        let index = writer.end().index.next();
        let commit = LogIndex::new(index.get().saturating_sub(2));
        let at = LAYOUT.place(writer.end().end, head_len(1) + size + 8).at;
        let mut builder = BatchBuilder::new(at, commit, Timestamp::new(5), 1, size + 8);
        builder.push(0, |_, buf| encode_control(&vec![7; *size], buf));
        let entry = Entry { index, term: Term::new(2), kind: Kind::Batch, payload: builder.finish() };
        ends.push(writer.append(&[(entry, at)]).unwrap().end);
    }
    (disk, ends)
}

fn remains(disk: &MemDisk) -> Remains {
    let (from, watermark) = (Mark::default(), LogIndex::ZERO);
    let scan = Scan { layout: LAYOUT, group: GROUP, from, watermark, lenient: false };
    scan_of_several(disk, scan, Term::ZERO, TERM, |_| ()).unwrap()
}

#[test]
fn a_whole_log_has_lost_nothing() {
    let (disk, ends) = log_of(&[100, 3000, 50]);
    let found = remains(&disk);
    assert_eq!((found.mark.index.get(), found.mark.end, found.lost), (3, ends[2], None));
    let empty = MemDisk::default();
    empty.create_dir(DIR).unwrap();
    assert_eq!(remains(&empty).lost, None);
}

#[test]
fn damage_of_any_byte_is_cut_and_not_forgotten() {
    let sizes = [60, 60, 500, 9000, 60, 3840];
    let (disk, ends) = log_of(&sizes);
    let path = segment_path(LogOffset::ZERO);
    let whole = disk.get(&path);
    let last = Position { term: Term::new(2), index: LogIndex::new(sizes.len() as u64) };
    for byte in 4096..ends[5].get() as usize {
        for (what, damaged) in
            [("a bit", byte..byte + 1), ("a sector", byte / SECTOR * SECTOR..byte / SECTOR * SECTOR + SECTOR)]
        {
            if what == "a sector" && byte % SECTOR != 0 {
                continue;
            }
            let mut content = whole.clone();
            content[damaged.clone()].iter_mut().for_each(|byte| *byte ^= 0x11);
            disk.put(&path, &content);
            let hit = ends.iter().position(|end| end.get() as usize > damaged.start).unwrap();
            let found = remains(&disk);
            let Some(Fence { floor, committed }) = found.lost else {
                // Zeroes that fill a frame up to its end are nobody's.
                assert!(found.mark.end == ends[5], "{what} at {byte}: something is forgotten");
                continue;
            };
            assert_eq!(found.mark.index.get(), hit as u64, "{what} at {byte}");
            assert!(floor >= last, "{what} at {byte}: {floor:?}");
            // The last entry is far enough away to tell of the fourth.
            assert!(committed.get() == 4 || hit > 2, "{what} at {byte}: {committed}");
        }
    }
}

#[test]
fn the_header_behind_a_torn_entry_tells_how_far_the_log_went() {
    let (disk, ends) = log_of(&[60, 9000, 60]);
    let path = segment_path(LogOffset::ZERO);
    let mut content = disk.get(&path);
    content[ends[0].get() as usize + 200..][..1000].fill(0);
    disk.put(&path, &content);
    let floor = Position { term: Term::new(2), index: LogIndex::new(3) };
    let found = remains(&disk);
    assert_eq!(found.mark.index.get(), 1);
    assert_eq!(found.lost, Some(Fence { floor, committed: LogIndex::new(1) }));
    // Of bytes that are no frame nobody knows what they were.
    content[ends[2].get() as usize + 8] = 1;
    disk.put(&path, &content);
    let floor = Position { term: TERM, index: LogIndex::new(u64::MAX) };
    assert_eq!(remains(&disk).lost.unwrap().floor, floor);
}

#[test]
fn the_meta_file_keeps_it() {
    let disk = MemDisk::default();
    let floor = Position { term: TERM, index: LogIndex::new(u64::MAX) };
    let fence = Some(Fence { floor, committed: LogIndex::new(9) });
    let mut past = Past::default();
    past.disk = 5;
    (1..=40).for_each(|number| past.remember(number));
    let meta = Meta {
        past,
        group: GROUP,
        replica: 3,
        segment_size: 1,
        term: TERM,
        vote: 2,
        commit: LogIndex::new(8),
        life: 4,
        fence,
    };
    let mut file = MetaFile::create(&disk, meta).unwrap();
    assert_eq!(MetaFile::open(&disk).unwrap().unwrap().get(), meta);
    file.write(Meta { fence: None, ..meta }).unwrap();
    assert_eq!(MetaFile::open(&disk).unwrap().unwrap().get(), Meta { fence: None, ..meta });
}
