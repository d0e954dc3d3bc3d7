//! The log: what was appended is read back; a torn tail is cut; a damaged middle never is.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ops::ControlFlow;

use bytes::Bytes;
use common::MemDisk;
use steadfast_store::disk::{Disk, Mode};
use steadfast_store::log::{
    AppendError, BatchBuilder, DIR, Entry, FRAME_HEADER_LEN, Filler, Head, Kind, Layout, LogWriter, Mark,
    Scan, ScanError, Scanned, Tail, head_len, scan, segment_path, walk,
};
use steadfast_types::record::{Record, encode_control, records};
use steadfast_types::{LogIndex, LogOffset, Term, Timestamp};

const LAYOUT: Layout = Layout { segment_size: 16 << 20 };
const GROUP: u64 = 7;

/// A log under construction.
struct Log {
    disk: MemDisk,
    writer: LogWriter<MemDisk>,
    term: Term,
}

impl Log {
    fn new() -> Self {
        let disk = MemDisk::default();
        disk.create_dir(DIR).unwrap();
        Self::open(disk, Mark::default(), 1)
    }

    fn open(disk: MemDisk, end: Mark, term: u64) -> Self {
        let writer = LogWriter::open(disk.clone(), LAYOUT, GROUP, Mode::Durable, end).unwrap();
        Self { disk, writer, term: Term::new(term) }
    }

    /// The next entries as the leader would stamp them: `commit` is the index it knows to be committed.
    fn batch(&self, commit: u64, payloads: &[&[&[u8]]]) -> Vec<(Entry, LogOffset)> {
        let mut mark = self.writer.end();
        let mut entries = Vec::new();
        for contents in payloads {
            let len: usize = contents.iter().map(|c| c.len() + 8).sum();
            let place = LAYOUT.place(mark.end, head_len(contents.len()) + len);
            let commit = LogIndex::new(commit);
            let mut builder = BatchBuilder::new(place.at, commit, Timestamp::new(5), contents.len(), len);
            for content in *contents {
                builder.push(0, |_, buf| encode_control(content, buf));
            }
            let index = mark.index.next();
            let entry = Entry { index, term: self.term, kind: Kind::Batch, payload: builder.finish() };
            entries.push((entry, place.at));
            mark = Mark { index, end: place.end, chain: 0 };
        }
        entries
    }

    fn append(&mut self, commit: u64, payloads: &[&[&[u8]]]) -> Mark {
        let entries = self.batch(commit, payloads);
        self.writer.append(&entries).unwrap()
    }
}

fn scan_from(disk: &MemDisk, from: Mark, watermark: u64) -> Result<(Mark, Vec<Scanned>), ScanError> {
    let mut found = Vec::new();
    let watermark = LogIndex::new(watermark);
    let scan_options = Scan { layout: LAYOUT, group: GROUP, from, watermark, lenient: false };
    let tail = scan(disk, scan_options, |entry| found.push(entry))?;
    Ok((tail.mark, found))
}

/// How a log ends of which no snapshot covers anything.
fn tail_of(disk: &MemDisk, lenient: bool) -> Result<Tail, ScanError> {
    let (from, watermark) = (Mark::default(), LogIndex::ZERO);
    scan(disk, Scan { layout: LAYOUT, group: GROUP, from, watermark, lenient }, |_| ())
}

fn contents(found: &Scanned) -> Vec<Vec<u8>> {
    let head = head_len(u32::from_be_bytes(found.entry.payload[16..20].try_into().unwrap()) as usize);
    records(&found.entry.payload[head..])
        .map(|record| match record.unwrap().1 {
            Record::Control(control) => control.to_vec(),
            Record::Message(message) => message.to_vec(),
        })
        .collect()
}

#[test]
fn reads_back_what_was_appended_across_segments() {
    let mut log = Log::new();
    let large = vec![7; 5 << 20];
    let mut expected = Vec::new();
    for i in 0..8u8 {
        let small = vec![i; 100 + usize::from(i)];
        log.append(u64::from(i) * 2, &[&[&small], &[&large, b"x"]]);
        expected.push(vec![small]);
        expected.push(vec![large.clone(), b"x".to_vec()]);
    }
    let (end, found) = scan_from(&log.disk, Mark::default(), 0).unwrap();
    assert_eq!(end, log.writer.end());
    assert_eq!(found.iter().map(contents).collect::<Vec<_>>(), expected);
    assert!(log.disk.paths().len() >= 3, "several segments");
    // From any mark on, and by walking without one.
    let middle = found.len() / 2;
    let payload_at = found[middle].payload_at;
    let mut walked = 0;
    let start = LogOffset::new(payload_at.get() - FRAME_HEADER_LEN as u64);
    walk(&log.disk, LAYOUT, start..end.end, |_| count_one(&mut walked)).unwrap();
    assert_eq!(walked, found.len() - middle);
    let mut visited = 0;
    let end_early = |_| {
        visited += 1;
        ControlFlow::Break(())
    };
    walk(&log.disk, LAYOUT, start..end.end, end_early).unwrap();
    assert_eq!(visited, 1, "the visitor ends it");
}

#[test]
fn a_writer_continues_where_the_scan_ended() {
    let mut log = Log::new();
    log.append(0, &[&[b"one"]]);
    let (end, _) = scan_from(&log.disk, Mark::default(), 0).unwrap();
    let mut log = Log::open(log.disk, end, 2);
    log.append(1, &[&[b"two"]]);
    let (_, found) = scan_from(&log.disk, Mark::default(), 0).unwrap();
    assert_eq!(found.iter().map(contents).collect::<Vec<_>>(), [[b"one".to_vec()], [b"two".to_vec()]]);
}

/// rmq#7437: the last record may end anywhere, in its properties too.
#[test]
fn a_tail_torn_at_any_byte_is_cut_and_nothing_before_it() {
    let mut log = Log::new();
    let kept = log.append(0, &[&[b"acked"]]);
    let whole = log.append(1, &[&[b"in flight", b"when the power went"]]);
    let path = segment_path(LogOffset::ZERO);
    for torn_at in kept.end.get()..whole.end.get() {
        let disk = log.disk.copy();
        let mut content = disk.get(&path);
        if content[torn_at as usize..whole.end.get() as usize].iter().all(|b| *b == 0) {
            continue; // only padding is missing
        }
        content[torn_at as usize..].fill(0);
        disk.put(&path, &content);
        let (end, found) = scan_from(&disk, Mark::default(), 0).unwrap();
        assert_eq!((end, found.len()), (kept, 1), "torn at {torn_at}");
        let cut = tail_of(&disk, false).unwrap().cut;
        assert_eq!(
            cut.map(|cut| cut.at),
            (torn_at > kept.end.get()).then_some(kept.end),
            "torn at {torn_at}"
        );
        // The log goes on over what was cut.
        let mut log = Log::open(disk, end, 2);
        log.append(1, &[&[b"next"]]);
        let (_, found) = scan_from(&log.disk, Mark::default(), 0).unwrap();
        assert_eq!(contents(&found[1]), [b"next".to_vec()]);
        assert_eq!(tail_of(&log.disk, false).unwrap().cut, None, "it is told once");
    }
}

/// The last entry of all is vouched for by nothing: damage looks like a torn write. It is not cut without a word.
#[test]
fn damage_of_the_last_entry_is_told() {
    let mut log = Log::new();
    let kept = log.append(0, &[&[b"first"]]);
    let large = vec![7; 3 * 4096];
    let end = log.append(1, &[&[&large, b"last"]]);
    let path = segment_path(LogOffset::ZERO);
    assert_eq!(tail_of(&log.disk, false).unwrap().cut, None);
    for at in kept.end.get()..end.end.get() {
        let disk = log.disk.copy();
        disk.flip(&path, at as usize);
        let tail = tail_of(&disk, false).unwrap();
        if tail.mark == kept {
            let cut = tail.cut.expect("it is told");
            assert_eq!((&cut.file, cut.at), (&path, kept.end), "byte {at}");
            let bytes = end.end.get() - kept.end.get();
            assert!((bytes - 8..=bytes).contains(&cut.bytes), "{cut}");
        } else {
            assert_eq!((tail.mark, tail.cut), (end, None), "padding, byte {at}");
        }
    }
}

/// The entry that opens a segment, and the segment's own header.
#[test]
fn damage_of_the_last_entry_is_told_at_the_beginning_of_a_segment() {
    let mut log = Log::new();
    let large = vec![7; 5 << 20];
    let kept = (0..3).map(|i| log.append(i, &[&[&large]])).last().unwrap();
    log.append(3, &[&[&large]]);
    let base = LogOffset::new(LAYOUT.segment_size);
    for (at, told) in [(0, 0), (20, 0), (4096 + 10, 4096), (4096 + 70, 4096)] {
        let disk = log.disk.copy();
        disk.put(&segment_path(LogOffset::ZERO), &{
            let mut whole = disk.get(&segment_path(LogOffset::ZERO));
            whole.resize(LAYOUT.segment_size as usize, 0);
            whole
        });
        disk.flip(&segment_path(base), at);
        let tail = tail_of(&disk, false).unwrap();
        assert_eq!(tail.mark, kept, "byte {at}");
        assert_eq!(tail.cut.map(|cut| cut.at), Some(base + told), "byte {at}");
    }
}

/// Space is filled ahead of the log, a file after the other: one that has another behind it was whole once.
#[test]
fn a_file_that_has_lost_its_end_is_not_a_short_log() {
    let mut log = Log::new();
    let mut filler = Filler::open(log.disk.clone(), LAYOUT, LogOffset::ZERO, 0).unwrap();
    while filler.room().filled_to.get() < 2 * LAYOUT.segment_size + (1 << 20) {
        filler.step().unwrap();
    }
    let first = log.append(0, &[&[b"acked"]]);
    let last = log.append(1, &[&[b"acked too"]]);
    assert_eq!(tail_of(&log.disk, false).unwrap(), Tail { mark: last, cut: None, truncated: None });
    let (path, next) = (segment_path(LogOffset::ZERO), segment_path(LogOffset::new(LAYOUT.segment_size)));
    let whole = log.disk.get(&path);
    for len in [first.end.get(), last.end.get() - 8, last.end.get(), (8 << 20) + 1, LAYOUT.segment_size - 1] {
        let disk = log.disk.copy();
        disk.put(&path, &whole[..len as usize]);
        let Err(ScanError::Truncated(truncated)) = tail_of(&disk, false) else { panic!("{len} bytes") };
        assert_eq!((&truncated.file, truncated.len), (&path, len));
        assert!(truncated.to_string().contains(&next), "{truncated}");
        // A repair is told, and makes it whole.
        let tail = tail_of(&disk, true).unwrap();
        assert_eq!(tail.truncated.as_ref(), Some(&truncated), "{len} bytes");
        let mut filler = Filler::open(disk.clone(), LAYOUT, tail.mark.end, 0).unwrap();
        while filler.room().filled_to < truncated.end {
            filler.step().unwrap();
        }
        assert_eq!(tail_of(&disk, false).unwrap().mark, tail.mark, "{len} bytes");
    }
    // The files that hold nothing yet count too: the last entry may have opened one.
    let disk = log.disk.copy();
    disk.remove(&next).unwrap();
    assert!(matches!(tail_of(&disk, false), Err(ScanError::Truncated(truncated)) if truncated.len == 0));
    // Without a file behind it an entry knows that it was longer, or a snapshot.
    let disk = MemDisk::default();
    for len in first.end.get() + FRAME_HEADER_LEN as u64..last.end.get() - 7 {
        disk.put(&path, &whole[..len as usize]);
        let Err(ScanError::Truncated(truncated)) = tail_of(&disk, false) else { panic!("{len} bytes") };
        assert_eq!((truncated.len, truncated.needed), (len, last.end.get()));
    }
    disk.put(&path, &whole[..first.end.get() as usize]);
    assert_eq!(tail_of(&disk, false).unwrap().mark, first);
    let known = scan_from(&disk, last, 2);
    assert!(matches!(known, Err(ScanError::Truncated(truncated)) if truncated.needed == last.end.get()));
}

/// NATS #7549, rmq#10017: damage is never taken for a short log.
#[test]
fn damage_at_any_byte_of_an_acknowledged_entry_is_never_cut() {
    let mut log = Log::new();
    log.append(0, &[&[b"first"]]);
    let first = log.writer.end();
    let second = log.append(1, &[&[b"second", b"with two records"]]);
    log.append(2, &[&[b"third"]]);
    let path = segment_path(LogOffset::ZERO);
    let mut fenced = 0;
    for at in first.end.get()..second.end.get() {
        let disk = log.disk.copy();
        disk.flip(&path, at as usize);
        match scan_from(&disk, Mark::default(), 0) {
            Err(ScanError::Damaged(damage)) => {
                assert_eq!((damage.index, damage.committed), (LogIndex::new(2), LogIndex::new(2)));
            }
            Err(ScanError::NewerFormat { .. }) => panic!("a flip is not a version"),
            Err(other) => panic!("{other}"),
            Ok((_, found)) => {
                assert_eq!(found.len(), 3, "nothing is cut, byte {at}");
                let damaged = &found[1].damaged;
                if damaged.is_empty() {
                    assert_eq!(contents(&found[1]), [b"second".to_vec(), b"with two records".to_vec()]);
                } else {
                    assert_eq!(damaged.len(), 1, "exactly one record is fenced");
                    fenced += 1;
                }
            }
        }
    }
    assert!(fenced > 20, "damage within records is told from damage of the frame: {fenced}");
}

#[test]
fn the_watermark_also_tells_damage_from_a_torn_tail() {
    let mut log = Log::new();
    log.append(0, &[&[b"acked, and the snapshot says so"]]);
    let disk = log.disk.copy();
    disk.flip(&segment_path(LogOffset::ZERO), 4096 + 70);
    assert!(matches!(scan_from(&disk, Mark::default(), 1), Err(ScanError::Damaged(_)) | Ok((_, _))));
    let error =
        scan_from(&disk, Mark::default(), 1).map(|(end, found)| (end.index, found[0].damaged.clone()));
    match error {
        Err(ScanError::Damaged(damage)) => assert_eq!(damage.index, LogIndex::new(1)),
        Ok((index, damaged)) => assert_eq!((index, damaged.len()), (LogIndex::new(1), 1)),
        Err(other) => panic!("{other}"),
    }
    // Without it nothing says that the entry was acknowledged.
    assert_eq!(scan_from(&disk, Mark::default(), 0).unwrap().0, Mark::default());
}

/// Why there is a chain: index, term and checksums of the stale frame are all fine.
#[test]
fn a_stale_frame_that_continues_the_index_is_rejected() {
    let mut log = Log::new();
    let base = log.append(0, &[&[b"base"]]);
    log.append(1, &[&[b"old-a"], &[b"old-b"]]);
    // Another history replaces the first of the two; the second stays behind it on disk.
    let mut log = Log::open(log.disk, base, 2);
    let replaced = log.append(1, &[&[b"new-a"]]);
    let (end, found) = scan_from(&log.disk, Mark::default(), 0).unwrap();
    assert_eq!(end, replaced);
    assert_eq!(found.iter().map(contents).collect::<Vec<_>>(), [[b"base".to_vec()], [b"new-a".to_vec()]]);
}

/// rmq#10017: a recycled file still holds records whose checksums are right.
#[test]
fn records_of_a_recycled_file_do_not_come_back() {
    let mut log = Log::new();
    for i in 0..4u64 {
        log.append(i, &[&[&vec![9; 5 << 20]]]);
    }
    let first = segment_path(LogOffset::ZERO);
    let second = segment_path(LogOffset::new(LAYOUT.segment_size));
    let third = segment_path(LogOffset::new(2 * LAYOUT.segment_size));
    let (end, _) = scan_from(&log.disk, Mark::default(), 0).unwrap();
    assert!(end.end.get() > LAYOUT.segment_size && end.end.get() < 2 * LAYOUT.segment_size);
    // The first file is used again as the third, and again as the tail of the second.
    log.disk.put(&third, &log.disk.get(&first));
    let mut tail = log.disk.get(&second);
    let at = (end.end.get() - LAYOUT.segment_size) as usize;
    let old = log.disk.get(&first);
    tail.truncate(at);
    tail.extend_from_slice(&old[at..]);
    tail.resize(LAYOUT.segment_size as usize, 0);
    log.disk.put(&second, &tail);
    assert_eq!(scan_from(&log.disk, Mark::default(), 0).unwrap().0, end);
}

#[test]
fn an_older_copy_of_a_segment_is_noticed() {
    let mut log = Log::new();
    let early = log.append(0, &[&[b"one"]]);
    let copy = log.disk.get(&segment_path(LogOffset::ZERO));
    let mark = log.append(1, &[&[b"two"]]);
    log.append(2, &[&[b"three"]]);
    log.disk.put(&segment_path(LogOffset::ZERO), &copy);
    // The snapshot knows of entry 2: its log is not allowed to end before that.
    let found = scan_from(&log.disk, early, mark.index.get());
    assert!(matches!(found, Err(ScanError::Damaged(damage)) if damage.index == LogIndex::new(2)));
}

#[test]
fn a_missing_segment_or_one_of_another_group_is_an_error() {
    let mut log = Log::new();
    let mark = log.append(0, &[&[b"one"]]);
    let other = Scan { layout: LAYOUT, group: 8, from: mark, watermark: LogIndex::ZERO, lenient: false };
    assert!(matches!(scan(&log.disk, other, |_| {}), Err(ScanError::WrongGroup { .. })));
    log.disk.remove(&segment_path(LogOffset::ZERO)).unwrap();
    assert!(matches!(scan_from(&log.disk, mark, 0), Err(ScanError::Missing { .. })));
}

/// Promise P3: after one failure nothing is written, however well the disk works again.
#[test]
fn a_failed_write_is_final() {
    let mut log = Log::new();
    log.append(0, &[&[b"one"]]);
    log.disk.stop_after(0);
    let entries = log.batch(1, &[&[b"two"]]);
    assert!(matches!(log.writer.append(&entries), Err(AppendError::Disk { .. })));
    log.disk.stop_after(-1);
    assert!(matches!(log.writer.append(&entries), Err(AppendError::Poisoned)));
    assert!(matches!(log.writer.sync(), Err(AppendError::Poisoned)));
}

#[test]
fn an_entry_stamped_for_another_place_is_refused() {
    let mut log = Log::new();
    let mut entries = log.batch(0, &[&[b"one"]]);
    entries[0].1 = entries[0].1 + 8;
    assert!(matches!(log.writer.append(&entries), Err(AppendError::Misplaced { .. })));
}

#[test]
fn the_filler_makes_room_and_never_touches_the_log() {
    let mut log = Log::new();
    let mut filler = Filler::open(log.disk.clone(), LAYOUT, LogOffset::ZERO, 0).unwrap();
    for _ in 0..3 {
        filler.step().unwrap();
    }
    assert_eq!(filler.room().filled_to, LogOffset::new(3 << 20));
    let mark = log.append(0, &[&[&vec![3; 2 << 20]]]);
    let mut filler = Filler::open(log.disk.clone(), LAYOUT, mark.end, 0).unwrap();
    while filler.room().filled_to.get() < 3 * LAYOUT.segment_size {
        filler.step().unwrap();
    }
    assert_eq!(scan_from(&log.disk, Mark::default(), 0).unwrap().0, mark);
    assert_eq!(log.disk.get(&segment_path(LogOffset::ZERO)).len() as u64, LAYOUT.segment_size);
}

#[test]
fn leader_entries_have_no_payload_and_no_commit() {
    let mut log = Log::new();
    let place = LAYOUT.place(LogOffset::ZERO, 0);
    let entry =
        Entry { index: LogIndex::new(1), term: Term::new(1), kind: Kind::Leader, payload: Bytes::new() };
    log.writer.append(&[(entry, place.at)]).unwrap();
    log.append(1, &[&[b"after"]]);
    let (_, found) = scan_from(&log.disk, Mark::default(), 0).unwrap();
    assert_eq!(found.iter().map(|f| f.entry.kind).collect::<Vec<_>>(), [Kind::Leader, Kind::Batch]);
}

/// A repair makes a damaged header again, if the next frame proves it: the first of a segment, one before the next
/// segment, the first of a leader, and what precedes that.
#[test]
fn a_damaged_header_is_proven_by_the_next_frame() {
    let mut log = Log::new();
    let large = vec![7; 5 << 20];
    for i in 0..4 {
        log.append(2 * i, &[&[b"small"], &[&large, b"x"]]);
    }
    log.term = Term::new(2);
    let at = LAYOUT.place(log.writer.end().end, 0).at;
    let index = log.writer.end().index.next();
    let opening = Entry { index, term: log.term, kind: Kind::Leader, payload: Bytes::new() };
    log.writer.append(&[(opening, at)]).unwrap();
    log.append(index.get(), &[&[b"last"]]);
    let (end, whole) = scan_from(&log.disk, Mark::default(), 0).unwrap();
    assert!(log.disk.paths().len() >= 2, "several segments");
    for (i, victim) in whole.iter().enumerate().take(whole.len() - 1) {
        let disk = log.disk.copy();
        let frame = victim.payload_at.get() - FRAME_HEADER_LEN as u64;
        let base = LAYOUT.base_of(LogOffset::new(frame));
        let path = segment_path(base);
        for byte in 0..FRAME_HEADER_LEN as u64 {
            disk.flip(&path, (frame - base.get() + byte) as usize);
        }
        let Err(ScanError::Damaged(damage)) = scan_from(&disk, Mark::default(), index.get()) else {
            panic!("entry {i} is missed by nobody")
        };
        assert_eq!(damage.index, victim.entry.index);
        let watermark = LogIndex::new(index.get());
        let lenient = Scan { layout: LAYOUT, group: GROUP, from: Mark::default(), watermark, lenient: true };
        let mut found = Vec::new();
        assert_eq!(scan(&disk, lenient, |entry| found.push(entry)).unwrap().mark, end, "entry {i}");
        assert!(found.iter().map(|f| &f.entry).eq(whole.iter().map(|f| &f.entry)), "entry {i}");
        let proven = found.iter().map(|f| f.head == Head::Proven);
        assert!(proven.eq((0..whole.len()).map(|at| at == i)), "entry {i}");
        // With a byte of the table damaged too nothing proves it.
        if victim.entry.kind == Kind::Batch {
            disk.flip(&path, (frame - base.get()) as usize + FRAME_HEADER_LEN + 9);
            assert!(matches!(scan(&disk, lenient, |_| ()), Err(ScanError::Damaged(_))), "entry {i}");
        }
    }
}

fn count_one(count: &mut usize) -> ControlFlow<()> {
    *count += 1;
    ControlFlow::Continue(())
}
