//! The log reader: what it returns are the log's bytes, verified, and never what lies past the committed end.

mod common;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use common::MemDisk;
use proptest::collection::vec;
use proptest::prelude::*;
use steadfast_store::disk::{Disk, Mode, write_all};
use steadfast_store::reader::{LogReader, ReadError};
use steadfast_store::unit::Unit;
use steadfast_types::record::{Draft, Stamp, StoredMessage, stamp};
use steadfast_types::{LogOffset, QueueId, QueueOffset, Timestamp};

const DIR: &str = "group/log";
const SEGMENT: u64 = 2 * 1024 * 1024;
const HEADER: u64 = 4096;

/// A log being written: segments of equal size, filled with zeroes behind the tail.
struct Log {
    disk: MemDisk,
    end: u64,
    content: BTreeMap<u64, Vec<u8>>,
    units: Vec<Unit>,
    records: Vec<Vec<u8>>,
}

impl Log {
    fn new() -> Self {
        let (disk, content) = (MemDisk::default(), BTreeMap::new());
        Self { disk, end: 0, content, units: Vec::new(), records: Vec::new() }
    }

    fn of(bodies: &[usize]) -> Self {
        let mut log = Self::new();
        bodies.iter().for_each(|len| log.append(*len));
        log.flush();
        log
    }

    fn append(&mut self, body_len: usize) {
        let body: Vec<u8> = (0..body_len).map(|n| (n * 31 + self.units.len()) as u8).collect();
        let mut record = encode(&body);
        if self.end.is_multiple_of(SEGMENT) || self.end % SEGMENT + record.len() as u64 > SEGMENT {
            let base = self.end.next_multiple_of(SEGMENT);
            self.content.insert(base, vec![0; SEGMENT as usize]);
            self.end = base + HEADER;
        }
        let log_offset = LogOffset::new(self.end);
        let queue_offset = QueueOffset::new(self.units.len() as u64);
        stamp(
            &mut record,
            Stamp { queue_id: QueueId::ZERO, queue_offset, log_offset, store_time: Timestamp::new(5) },
        );
        let base = self.end - self.end % SEGMENT;
        let at = (self.end - base) as usize;
        let segment = self.content.get_mut(&base).expect("the segment was begun");
        segment[at..at + record.len()].copy_from_slice(&record);
        let (size, crc) = (record.len() as u32, crc32c::crc32c(&record));
        self.units.push(Unit { log_offset, size, tag: 0, crc });
        self.end += u64::from(size);
        self.records.push(record.to_vec());
    }

    /// Hands everything to the disk. Files that a reader has open keep what they had: it must look again.
    fn flush(&self) {
        self.content.iter().for_each(|(base, bytes)| self.disk.put(&path(*base), bytes));
    }

    fn reader(&self) -> LogReader<MemDisk> {
        LogReader::new(self.disk.clone(), DIR, 0)
    }

    fn committed(&self) -> LogOffset {
        LogOffset::new(self.end)
    }

    fn flip(&self, at: u64) {
        self.disk.flip(&path(at - at % SEGMENT), (at % SEGMENT) as usize);
    }
}

fn path(base: u64) -> String {
    format!("{DIR}/{base:020}")
}

/// [`LogReader::records`], each record by itself.
fn read(
    reader: &LogReader<MemDisk>,
    units: &[Unit],
    max_bytes: usize,
    committed: LogOffset,
) -> Result<Vec<Bytes>, ReadError> {
    let records = reader.records(units, max_bytes, committed)?;
    let each: Vec<Bytes> = records.iter().collect();
    assert_eq!(records.len(), each.len());
    assert_eq!(records.bytes(), each.iter().map(Bytes::len).sum());
    assert_eq!(records.into_pieces().concat(), each.concat());
    Ok(each)
}

fn encode(body: &[u8]) -> BytesMut {
    let host = "127.0.0.1:10911".parse().expect("an address");
    let draft = Draft {
        topic: "TopicTest",
        flag: 0,
        sys_flag: 0,
        born_time: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: "KEYS\u{1}k\u{2}",
    };
    let mut record = BytesMut::new();
    draft.encode(&mut record);
    record
}

#[test]
fn a_backlog_comes_back_byte_for_byte() {
    let log = Log::of(&[1000; 6000]);
    let reader = log.reader();
    for _ in 0..2 {
        for (units, expected) in log.units.chunks(32).zip(log.records.chunks(32)) {
            assert_eq!(read(&reader, units, usize::MAX, log.committed()).unwrap(), expected);
        }
    }
}

#[test]
fn records_side_by_side_are_one_piece() {
    let log = Log::of(&[1000; 2000]);
    let reader = log.reader();
    let pieces = |picks: &[usize]| {
        let units: Vec<Unit> = picks.iter().map(|n| log.units[*n]).collect();
        let records = reader.records(&units, usize::MAX, log.committed()).unwrap();
        assert!(records.iter().eq(picks.iter().map(|n| &log.records[*n])));
        records.into_pieces().len()
    };
    // From the second time on by chunks, if they are few.
    for _ in 0..3 {
        assert_eq!(pieces(&(0..100).collect::<Vec<_>>()), 1);
        assert_eq!(pieces(&[7]), 1);
    }
    assert_eq!(pieces(&[1, 2, 3, 5, 6, 4, 5, 9]), 4);
    // Where a chunk ends one record is in both, and has a piece of its own.
    let border = log.units.iter().position(|unit| unit.log_offset.get() > 512 * 1024).unwrap();
    assert_eq!(pieces(&[border]), 1);
    assert_eq!(pieces(&(border - 3..border + 3).collect::<Vec<_>>()), 3);
    assert_eq!(pieces(&(border - 30..border + 30).collect::<Vec<_>>()), 1, "so many are read on their own");
}

#[test]
fn the_byte_limit_ends_an_answer_but_one_record_always_comes() {
    let log = Log::of(&[1000, 1000, 300_000, 10]);
    let (reader, committed) = (log.reader(), log.committed());
    let two = (log.units[0].size + log.units[1].size) as usize;
    assert_eq!(read(&reader, &log.units, two, committed).unwrap(), log.records[..2]);
    assert_eq!(read(&reader, &log.units, two - 1, committed).unwrap(), log.records[..1]);
    assert_eq!(read(&reader, &log.units[2..], 1, committed).unwrap(), log.records[2..3]);
    assert_eq!(read(&reader, &[], 1, committed).unwrap(), Vec::<Bytes>::new());
}

#[test]
fn nothing_past_the_committed_end_is_found() {
    let log = Log::of(&[100; 3]);
    let reader = log.reader();
    let committed = LogOffset::new(log.end - 1);
    assert_eq!(read(&reader, &log.units, usize::MAX, committed).unwrap(), log.records[..2]);
    let past = read(&reader, &log.units[2..], usize::MAX, committed);
    assert!(matches!(past, Err(ReadError::NotFound { .. })));
    assert!(matches!(reader.record_at(log.units[2].log_offset, committed), Err(ReadError::NotFound { .. })));
    let absurd = Unit { log_offset: LogOffset::new(u64::MAX), ..log.units[0] };
    let past = read(&reader, &[absurd], usize::MAX, LogOffset::new(u64::MAX));
    assert!(matches!(past, Err(ReadError::NotFound { .. })));
}

#[test]
fn the_tail_is_never_read_from_stale_zeroes() {
    let mut log = Log::of(&[400; 3]);
    let reader = log.reader();
    for round in 0..50 {
        // Twice, so that the chunk with the tail is read as a whole.
        for _ in 0..3 {
            assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records);
        }
        let at = log.end;
        log.append(400 + round);
        // In place, as the writer does: the file stays open in the reader.
        let record = &log.records[log.records.len() - 1];
        let file = Disk::open(&log.disk, &path(at - at % SEGMENT), Mode::Buffered);
        write_all(&file.unwrap(), record, at % SEGMENT).unwrap();
    }
}

#[test]
fn new_segments_are_noticed() {
    let mut log = Log::of(&[1000; 10]);
    let reader = log.reader();
    assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records);
    (0..5000).for_each(|_| log.append(1000));
    log.flush();
    assert!(log.content.len() > 2);
    assert_eq!(reader.record_at(log.units[4000].log_offset, log.committed()).unwrap(), log.records[4000]);
    for (units, expected) in log.units[10..].chunks(100).zip(log.records[10..].chunks(100)) {
        assert_eq!(read(&reader, units, usize::MAX, log.committed()).unwrap(), expected);
    }
}

#[test]
fn a_removed_segment_is_not_found_and_a_new_one_of_its_name_is_read_anew() {
    let log = Log::of(&[1000; 5000]);
    let reader = log.reader();
    assert!(read(&reader, &log.units, usize::MAX, log.committed()).is_ok());
    Disk::remove(&log.disk, &path(SEGMENT)).unwrap();
    reader.forget(LogOffset::new(SEGMENT));
    let gone = log.units.iter().position(|unit| unit.log_offset.get() > SEGMENT).unwrap();
    let result = read(&reader, &log.units[gone..], usize::MAX, log.committed());
    assert!(matches!(result, Err(ReadError::NotFound { .. })), "{result:?}");
    let result = reader.record_at(log.units[gone].log_offset, log.committed());
    assert!(matches!(result, Err(ReadError::NotFound { .. })), "{result:?}");
    assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records[..gone]);

    let new = Log::of(&[900; 5000]);
    log.disk.put(&path(SEGMENT), &new.content[&SEGMENT]);
    let gone = new.units.iter().position(|unit| unit.log_offset.get() > SEGMENT).unwrap();
    let (units, expected) = (&new.units[gone..gone + 100], &new.records[gone..gone + 100]);
    assert_eq!(read(&reader, units, usize::MAX, new.committed()).unwrap(), expected);
}

#[test]
fn every_flipped_byte_of_a_record_is_found() {
    let log = Log::of(&[20; 3]);
    let Unit { log_offset, size, .. } = log.units[1];
    for at in log_offset.get()..log_offset.get() + u64::from(size) {
        let reader = log.reader();
        log.flip(at);
        assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records[..1]);
        let first = read(&reader, &log.units[1..], usize::MAX, log.committed());
        let Err(ReadError::Damaged { log_offset: named, size: bytes }) = first else { panic!("{first:?}") };
        assert_eq!((named, bytes), (log_offset, size));
        assert_eq!(
            read(&reader, &log.units[2..], usize::MAX, log.committed()).unwrap(),
            log.records[2..],
            "its neighbour is served"
        );
        log.flip(at);
        assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records);
    }
}

#[test]
fn a_repaired_record_is_read_without_a_restart() {
    let log = Log::of(&[1000; 100]);
    let reader = log.reader();
    log.flip(log.units[50].log_offset.get() + 500);
    for _ in 0..3 {
        assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records[..50]);
    }
    log.flip(log.units[50].log_offset.get() + 500);
    assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records);
}

#[test]
fn by_offset_only_beginnings_of_messages_are_found() {
    let log = Log::of(&[5, 7000, 9]);
    let reader = log.reader();
    let begins: BTreeMap<u64, &Vec<u8>> =
        log.units.iter().map(|unit| unit.log_offset.get()).zip(&log.records).collect();
    for at in 0..log.end + 100 {
        let found = reader.record_at(LogOffset::new(at), log.committed());
        match begins.get(&at) {
            Some(record) => {
                let found = found.unwrap();
                assert_eq!(found, *record);
                assert_eq!(StoredMessage::decode(&found).unwrap().stamp.log_offset.get(), at);
            }
            None => assert!(matches!(found, Err(ReadError::NotFound { .. })), "at {at}: {found:?}"),
        }
    }
    let last = reader.record_at(LogOffset::new(u64::MAX), LogOffset::new(u64::MAX));
    assert!(matches!(last, Err(ReadError::NotFound { .. })));
}

#[test]
fn by_offset_a_message_inside_a_message_is_not_one() {
    let mut log = Log::of(&[5]);
    let inner = log.records[0].clone();
    let host_record = encode(&inner);
    let inner_at = host_record.windows(inner.len()).position(|window| window == inner).unwrap() as u64;
    let begin = log.end;
    let base = log.content.get_mut(&0).unwrap();
    base[begin as usize..begin as usize + host_record.len()].copy_from_slice(&host_record);
    log.end += host_record.len() as u64;
    log.flush();
    let found = log.reader().record_at(LogOffset::new(begin + inner_at), log.committed());
    assert!(matches!(found, Err(ReadError::NotFound { .. })));
}

#[test]
fn by_offset_a_garbage_size_is_not_found_and_a_damaged_body_is_damage() {
    let log = Log::of(&[50]);
    let at = log.units[0].log_offset;
    let mut segment = log.disk.get(&path(0));
    let start = at.get() as usize;
    for size in [0u32, 7, 8, 90, 1 << 24, u32::MAX] {
        let original = segment[start..start + 4].to_vec();
        segment[start..start + 4].copy_from_slice(&size.to_be_bytes());
        log.disk.put(&path(0), &segment);
        let found = log.reader().record_at(at, LogOffset::new(u64::MAX));
        assert!(matches!(found, Err(ReadError::NotFound { .. })), "size {size}");
        segment[start..start + 4].copy_from_slice(&original);
    }
    segment[start + 100] ^= 1;
    log.disk.put(&path(0), &segment);
    let found = log.reader().record_at(at, log.committed());
    assert!(matches!(found, Err(ReadError::Damaged { .. })), "{found:?}");
}

#[test]
fn a_failing_disk_is_an_error_for_the_first_record_only() {
    let log = Log::of(&[100, 600_000]);
    let reader = log.reader();
    assert_eq!(read(&reader, &log.units[..1], usize::MAX, log.committed()).unwrap().len(), 1);
    assert_eq!(read(&reader, &log.units[..1], usize::MAX, log.committed()).unwrap().len(), 1);
    log.disk.stop_after(0);
    // The first is in the cache.
    assert_eq!(read(&reader, &log.units, usize::MAX, log.committed()).unwrap(), log.records[..1]);
    let failed = read(&reader, &log.units[1..], usize::MAX, log.committed());
    assert!(matches!(failed, Err(ReadError::Io(_))));
}

#[test]
fn threads_share_a_reader() {
    let log = Log::of(&[3000; 2000]);
    let reader = log.reader();
    std::thread::scope(|scope| {
        for queue in 0..4 {
            let (log, reader) = (&log, &reader);
            scope.spawn(move || {
                let pick = |n: &usize| n % 4 == queue;
                let numbers: Vec<usize> = (0..2000).filter(pick).collect();
                for numbers in numbers.chunks(32) {
                    let units: Vec<Unit> = numbers.iter().map(|n| log.units[*n]).collect();
                    let found = read(reader, &units, usize::MAX, log.committed()).unwrap();
                    assert!(found.iter().zip(numbers).all(|(record, n)| *record == log.records[*n]));
                }
            });
        }
    });
}

fn body_len() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..2000usize, 3 => 0..100_000usize, 1 => 0..600_000usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_selection_in_any_order(
        bodies in vec(body_len(), 1..150),
        calls in vec((vec(0..150usize, 0..40), 0..500_000usize, 0..150usize), 20),
    ) {
        let log = Log::of(&bodies);
        let reader = log.reader();
        for (picks, max_bytes, committed) in calls {
            let committed = log.units.get(committed).map_or(log.committed(), |unit| unit.log_offset);
            let picks: Vec<usize> = picks.into_iter().filter(|n| *n < bodies.len()).collect();
            let units: Vec<Unit> = picks.iter().map(|n| log.units[*n]).collect();
            let mut total = 0;
            let mut expected = Vec::new();
            for n in picks {
                total += log.records[n].len();
                let fits = expected.is_empty() || total <= max_bytes;
                if !fits || log.units[n].log_offset >= committed {
                    break;
                }
                expected.push(log.records[n].clone());
            }
            match read(&reader, &units, max_bytes, committed) {
                Ok(found) => prop_assert_eq!(found, expected),
                Err(error) => {
                    let not_found = matches!(error, ReadError::NotFound { .. });
 prop_assert!(not_found);
                    prop_assert!(expected.is_empty() && !units.is_empty());
                }
            }
        }
    }
}
