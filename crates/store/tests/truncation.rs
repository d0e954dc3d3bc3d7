//! A follower's log goes back and other entries take the place of what was cut off: what is found afterwards is one
//! history or the other, never a mixture, whenever the power goes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::MemDisk;
use steadfast_store::disk::{BLOCK, Disk, Mode, SECTOR};
use steadfast_store::log::{
    AppendError, BatchBuilder, DIR, Entry, FRAME_HEADER_LEN, Filler, Keep, Kind, Layout, LogWriter, Mark,
    Scan, head_len, scan, segment_path,
};
use steadfast_types::record::encode_control;
use steadfast_types::{LogIndex, LogOffset, Term, Timestamp};

const LAYOUT: Layout = Layout { segment_size: 16 << 20 };
const GROUP: u64 = 7;

/// A log of which some entries will be replaced.
struct Log {
    disk: MemDisk,
    writer: LogWriter<MemDisk>,
    /// All entries, with their places.
    entries: Vec<(Entry, LogOffset)>,
}

impl Log {
    /// With so much space filled ahead, as a log has that goes on in another segment.
    fn with_space(filled: u64) -> Self {
        let disk = MemDisk::default();
        disk.create_dir(DIR).unwrap();
        let mut filler = Filler::open(disk.clone(), LAYOUT, LogOffset::ZERO, 0).unwrap();
        while filler.room().filled_to.get() < filled {
            filler.step().unwrap();
        }
        let writer = LogWriter::open(disk.clone(), LAYOUT, GROUP, Mode::Durable, Mark::default()).unwrap();
        Self { disk, writer, entries: Vec::new() }
    }

    /// The next entries of a leader of this term that knows nothing to be committed; one for each size.
    fn next(&self, term: u64, sizes: &[usize]) -> Vec<(Entry, LogOffset)> {
        let (mut index, mut end) = (self.writer.end().index, self.writer.end().end);
        let entry = |size: &usize| {
            index = index.next();
            let content = vec![term as u8; *size];
            let place = LAYOUT.place(end, head_len(1) + size + 8);
            let (at, now) = (place.at, Timestamp::new(5));
            let mut builder = BatchBuilder::new(at, LogIndex::ZERO, now, 1, size + 8);
            builder.push(0, |_, buf| encode_control(&content, buf));
            end = place.end;
            let payload = builder.finish();
            (Entry { index, term: Term::new(term), kind: Kind::Batch, payload }, at)
        };
        sizes.iter().map(entry).collect()
    }

    fn append(&mut self, term: u64, sizes: &[usize]) -> Mark {
        let entries = self.next(term, sizes);
        self.entries.extend_from_slice(&entries);
        self.writer.append(&entries).unwrap()
    }

    /// Keeps the first `kept` entries.
    fn go_back(&mut self, kept: usize) -> Mark {
        let keep = match kept.checked_sub(1).map(|last| &self.entries[last]) {
            Some((entry, at)) => Keep::Through { index: entry.index, at: *at },
            None => Keep::Mark(Mark::default()),
        };
        self.entries.truncate(kept);
        self.writer.truncate(keep).unwrap()
    }
}

fn found_on(disk: &MemDisk) -> (Mark, Vec<(Entry, LogOffset)>) {
    let (from, watermark) = (Mark::default(), LogIndex::ZERO);
    let mut found = Vec::new();
    let options = Scan { layout: LAYOUT, group: GROUP, from, watermark, lenient: false };
    let tail = scan(disk, options, |scanned| {
        let at = LogOffset::new(scanned.payload_at.get() - FRAME_HEADER_LEN as u64);
        found.push((scanned.entry, at));
    });
    (tail.unwrap().mark, found)
}

#[test]
fn what_is_cut_off_is_replaced_in_place() {
    let mut log = Log::with_space(1 << 20);
    log.append(1, &[100]);
    let kept = log.append(1, &[3000]);
    log.append(1, &[200, 9000, 50]);
    assert_eq!(log.go_back(2), kept, "the mark is read back from the log");
    // As long as nothing replaces it, it is still there.
    assert_eq!(found_on(&log.disk).1.len(), 5);
    let end = log.append(2, &[200]);
    assert_eq!(
        found_on(&log.disk),
        (end, log.entries.clone()),
        "the old entry behind it has the right index"
    );
    // The writer of the next process goes on there.
    log.writer = LogWriter::open(log.disk.clone(), LAYOUT, GROUP, Mode::Durable, end).unwrap();
    let end = log.append(2, &[9000, 50, 70]);
    assert_eq!(found_on(&log.disk), (end, log.entries.clone()));
    // Back to nothing at all.
    assert_eq!(log.go_back(0), Mark::default());
    let end = log.append(3, &[10, 20]);
    assert_eq!(found_on(&log.disk), (end, log.entries.clone()));
}

/// Whatever has reached the medium of the write that replaces entries, one of the two histories is found, as far as it
/// goes, and what both have in common always.
#[test]
fn a_replacement_torn_anywhere_leaves_one_history() {
    // Longer, shorter and equal entries; a kept end within a block and at one.
    for (kept, old, new) in [
        (vec![100, 3000], vec![200, 9000, 50], vec![700, 6000, 90]),
        (vec![100], vec![3000, 3000, 3000], vec![3000, 3000, 3000]),
        (vec![64], vec![20_000], vec![30, 40, 50]),
        (vec![8192 - 2 * FRAME_HEADER_LEN - 44], vec![5000, 60], vec![60, 5000]),
        (vec![], vec![5000, 60], vec![60, 5000]),
    ] {
        let mut log = Log::with_space(1 << 20);
        log.append(1, &kept);
        log.append(2, &old);
        let before = log.disk.copy();
        let old = log.entries.clone();
        log.go_back(kept.len());
        log.append(3, &new);
        let new = log.entries.clone();
        let torn = Torn { before: before.get(&first_path()), after: log.disk.get(&first_path()) };
        torn.everywhere(|content, what| {
            let disk = log.disk.copy();
            disk.put(&first_path(), content);
            let (_, found) = found_on(&disk);
            assert!(found.len() >= kept.len(), "{what}: what was kept is there");
            assert!(
                old.starts_with(&found) || new.starts_with(&found),
                "{what}: a mixture of {} entries",
                found.len()
            );
        });
    }
}

/// The path of the first segment.
fn first_path() -> String {
    segment_path(LogOffset::ZERO)
}

/// A write that was cut off: a file before and after it.
struct Torn {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Torn {
    /// Tries it cut off after and before every block, and with every sector alone old or new.
    fn everywhere(&self, mut check: impl FnMut(&[u8], &str)) {
        let differs = |at: &usize| self.before[*at..*at + SECTOR] != self.after[*at..*at + SECTOR];
        let changed: Vec<usize> = (0..self.before.len()).step_by(SECTOR).filter(differs).collect();
        let (first, last) = (changed[0], changed[changed.len() - 1]);
        for at in (first / BLOCK * BLOCK..=last + BLOCK).step_by(BLOCK) {
            let cut = [&self.after[..at], &self.before[at..]].concat();
            check(&cut, &format!("new before byte {at}"));
            let cut = [&self.before[..at], &self.after[at..]].concat();
            check(&cut, &format!("new from byte {at} on"));
        }
        for at in changed {
            for (one, rest, what) in [(&self.after, &self.before, "new"), (&self.before, &self.after, "old")]
            {
                let mut content = rest.clone();
                content[at..at + SECTOR].copy_from_slice(&one[at..at + SECTOR]);
                check(&content, &format!("only the sector at {at} is {what}"));
            }
        }
    }
}

/// The old history goes on in a second segment, whose header stays when the log goes back to the first.
#[test]
fn a_cut_may_cross_the_end_of_a_segment() {
    const LARGE: usize = 6 << 20;
    let mut log = Log::with_space(3 * LAYOUT.segment_size);
    log.append(1, &[LARGE, 100]);
    log.append(2, &[LARGE, LARGE, LARGE, 300]);
    assert!(log.writer.end().end.get() > LAYOUT.segment_size, "two segments");
    let old = log.entries.clone();
    log.go_back(2);
    // The new history ends within the first segment. The second one opens with an entry of the right index.
    let end = log.append(3, &[70]);
    assert_eq!(found_on(&log.disk), (end, log.entries.clone()));
    let reopened = LogWriter::open(log.disk.clone(), LAYOUT, GROUP, Mode::Durable, end).unwrap();
    log.writer = reopened;
    // It goes on into the second segment, over the header that was there. Cut off between the two files or within the
    // second one, it ends in the first.
    let before = log.disk.copy();
    let second = segment_path(LogOffset::new(LAYOUT.segment_size));
    let end = log.append(3, &[LARGE, LARGE, 80]);
    assert_eq!(found_on(&log.disk), (end, log.entries.clone()));
    let (old_bytes, new_bytes) = (before.get(&second), log.disk.get(&second));
    for at in [0, SECTOR, BLOCK, BLOCK + SECTOR, LARGE / 2] {
        for halves in [[&new_bytes[..at], &old_bytes[at..]], [&old_bytes[..at], &new_bytes[at..]]] {
            let disk = log.disk.copy();
            disk.put(&second, &halves.concat());
            let (_, found) = found_on(&disk);
            assert!(log.entries.starts_with(&found) && found.len() >= 4, "torn at {at}");
        }
    }
    // Back once more, into the first segment, and on with exactly what the first leader had written.
    log.go_back(2);
    let again = old[2..].to_vec();
    log.writer.append(&again).unwrap();
    assert_eq!(found_on(&log.disk).1, old);
}

#[test]
fn it_goes_back_to_what_is_there_and_nowhere_else() {
    let mut log = Log::with_space(1 << 20);
    let first = log.append(1, &[100]);
    let second = log.append(1, &[100]);
    let at = log.entries[0].1;
    let not_there = |keep: Keep| {
        let mut writer = LogWriter::open(log.disk.clone(), LAYOUT, GROUP, Mode::Durable, first).unwrap();
        assert!(matches!(writer.truncate(keep), Err(AppendError::NotThere { .. })), "{keep:?}");
        // Promise P3.
        assert!(matches!(writer.truncate(Keep::Mark(first)), Err(AppendError::Poisoned)));
        assert!(matches!(writer.append(&[]), Err(AppendError::Poisoned)));
    };
    not_there(Keep::Through { index: LogIndex::new(2), at });
    not_there(Keep::Through { index: LogIndex::new(1), at: at + 8 });
    not_there(Keep::Through { index: LogIndex::new(2), at: log.entries[1].1 });
    not_there(Keep::Mark(second));
    log.disk.stop_after(0);
    assert!(matches!(
        log.writer.truncate(Keep::Through { index: first.index, at }),
        Err(AppendError::Disk { .. })
    ));
    log.disk.stop_after(-1);
    let empty =
        Entry { index: first.index.next(), term: Term::new(1), kind: Kind::Leader, payload: Bytes::new() };
    assert!(matches!(log.writer.append(&[(empty, first.end)]), Err(AppendError::Poisoned)));
}
