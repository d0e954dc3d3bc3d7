//! Index runs: what goes in comes out, and damage of any byte is noticed.

mod common;

use std::ops::Range;

use common::MemDisk;
use proptest::collection::vec;
use proptest::prelude::*;
use steadfast_store::run::{self, Part, Run, RunContents, RunError, RunId, write_run};
use steadfast_store::unit::{KeyEntry, QueueName, Unit};
use steadfast_types::{LogOffset, QueueId, QueueOffset};

const DIR: &str = "group/index";
const START: u64 = 1000;
const PATH: &str = "group/index/00000000000000001000";
const ID: RunId = RunId(LogOffset::new(START));

fn covers() -> Range<LogOffset> {
    LogOffset::new(START)..LogOffset::new(1 << 40)
}

fn queue(topic: &str, id: u32) -> QueueName {
    QueueName::new(topic, QueueId::new(id))
}

fn unit(n: u64) -> Unit {
    Unit { log_offset: LogOffset::new(START + n), size: n as u32 + 91, tag: -(n as i32), crc: !n as u32 }
}

fn units(range: Range<u64>) -> Vec<Unit> {
    range.map(unit).collect()
}

fn key(hash: u64, n: u64) -> KeyEntry {
    KeyEntry { hash, log_offset: LogOffset::new(START + n), size: 91, crc: n as u32 }
}

fn block(name: QueueName, first: u64, count: u64) -> (QueueName, QueueOffset, Vec<Unit>) {
    (name, QueueOffset::new(first), units(first..first + count))
}

fn written(contents: &RunContents) -> (MemDisk, Run<MemDisk>) {
    let disk = MemDisk::default();
    let info = write_run(&disk, DIR, contents.clone()).expect("writes");
    assert_eq!(disk.paths(), [PATH]);
    let run = Run::open(&disk, DIR, ID).expect("opens");
    assert_eq!(run.info(), &info);
    (disk, run)
}

/// Two unit pages, two key pages.
fn small() -> RunContents {
    RunContents {
        covers: covers(),
        queues: vec![block(queue("TopicB", 0), 7, 200), block(queue("TopicA", 3), 0, 10)],
        keys: (0..171).map(|n| key(n % 5, n)).collect(),
    }
}

#[test]
fn holes_divide_a_queue_and_neighbours_join() {
    let q = queue("T", 1);
    let queues = vec![
        block(q.clone(), 20, 5),
        block(q.clone(), 0, 10),
        block(queue("S", 9), 4, 1),
        block(q.clone(), 10, 3),
        block(q.clone(), 90, 0),
    ];
    let (_, run) = written(&RunContents { covers: covers(), queues, keys: Vec::new() });
    let ranges: Vec<_> =
        run.queues().map(|(name, range)| (name.to_string(), range.start.get()..range.end.get())).collect();
    assert_eq!(ranges, [("S/9".to_owned(), 4..5), ("T/1".to_owned(), 0..13), ("T/1".to_owned(), 20..25)]);
    assert_eq!(run.units(&q, QueueOffset::new(8), 100).unwrap(), units(8..13));
    assert_eq!(run.units(&q, QueueOffset::new(13), 100).unwrap(), []);
    assert_eq!(run.units(&q, QueueOffset::new(20), 2).unwrap(), units(20..22));
    assert_eq!(run.units(&q, QueueOffset::new(25), 2).unwrap(), []);
    assert_eq!(run.units(&queue("T", 0), QueueOffset::ZERO, 2).unwrap(), []);
    assert_eq!(run.info().units, 19);
}

#[test]
fn equal_hashes_span_pages() {
    let mut keys: Vec<_> = (0..500).rev().map(|n| key(50, n)).collect();
    keys.extend([key(49, 1), key(51, 1), key(u64::MAX, 2), key(0, 3)]);
    let (_, run) = written(&RunContents { covers: covers(), queues: Vec::new(), keys });
    assert_eq!(run.candidates(50).unwrap(), (0..500).map(|n| key(50, n)).collect::<Vec<_>>());
    assert_eq!(run.candidates(0).unwrap(), [key(0, 3)]);
    assert_eq!(run.candidates(u64::MAX).unwrap(), [key(u64::MAX, 2)]);
    assert_eq!(run.candidates(52).unwrap(), []);
}

#[test]
fn a_run_may_be_empty() {
    let (_, run) = written(&RunContents { covers: covers(), queues: Vec::new(), keys: Vec::new() });
    assert_eq!(run.queues().count(), 0);
    assert_eq!(run.candidates(1).unwrap(), []);
    assert_eq!(run.covers(), covers());
}

#[test]
fn long_reads_cross_many_pages() {
    let q = queue("T", 0);
    let (_, run) = written(&RunContents {
        covers: covers(),
        queues: vec![block(queue("A", 0), 0, 77), block(q.clone(), 0, 40_000)],
        keys: Vec::new(),
    });
    assert_eq!(run.units(&q, QueueOffset::new(3), usize::MAX).unwrap(), units(3..40_000));
}

/// As many queues as pages are kept, read in turn by less than a page at a time: no page is read twice.
#[test]
fn who_reads_queues_in_turn_reads_each_page_once() {
    const PAGES: u64 = 5;
    let last = PAGES * 204;
    let names: Vec<_> = (0..8).map(|id| queue("T", id)).collect();
    let queues: Vec<_> = names.iter().map(|name| block(name.clone(), 0, last)).collect();
    let (disk, run) = written(&RunContents { covers: covers(), queues, keys: Vec::new() });
    disk.stop_after((names.len() as u64 * PAGES) as i64);
    for at in (0..last).step_by(32) {
        // They come to the end of a page at different times.
        let places = (at..last).step_by(25);
        for (name, from) in names.iter().zip(places) {
            assert_eq!(
                run.units(name, QueueOffset::new(from), 32).unwrap(),
                units(from..last.min(from + 32))
            );
        }
    }
}

/// Opens the run and reads everything in it.
fn read_all(disk: &MemDisk) -> Result<(), RunError> {
    let run = Run::open(disk, DIR, ID)?;
    for (name, range) in run.queues() {
        run.units(name, range.start, usize::MAX)?;
    }
    (0..5).try_for_each(|hash| run.candidates(hash).map(drop))
}

#[test]
fn every_flipped_byte_is_found_by_verify_and_by_whoever_reads_it() {
    let (disk, _) = written(&small());
    let len = disk.get(PATH).len();
    for at in 0..len {
        disk.flip(PATH, at);
        let verified = Run::open(&disk, DIR, ID).and_then(|run| run.verify());
        let Err(RunError::Damaged { file, part }) = verified else { panic!("byte {at}: {verified:?}") };
        assert_eq!(file, PATH);
        match part {
            Part::Page(number) => assert_eq!(number as usize, at / 4096),
            Part::Directory => assert!((4 * 4096..len - 36).contains(&at)),
            Part::Footer => assert!(at >= len - 36),
        }
        let read = read_all(&disk);
        assert!(matches!(read, Err(RunError::Damaged { .. })), "byte {at}: {read:?}");
        disk.flip(PATH, at);
    }
    read_all(&disk).unwrap();
}

#[test]
fn every_truncation_is_found() {
    let (disk, _) = written(&small());
    let whole = disk.get(PATH);
    for len in 0..whole.len() {
        disk.put(PATH, &whole[..len]);
        assert!(matches!(read_all(&disk), Err(RunError::Damaged { .. })), "length {len}");
    }
}

#[test]
fn damage_of_one_page_leaves_the_others() {
    let (disk, run) = written(&small());
    disk.flip(PATH, 4096);
    assert_eq!(run.units(&queue("TopicA", 3), QueueOffset::ZERO, 10).unwrap(), units(0..10));
    let damaged = run.units(&queue("TopicB", 0), QueueOffset::new(7), 200);
    assert!(matches!(damaged, Err(RunError::Damaged { part: Part::Page(1), .. })));
}

#[test]
fn a_valid_page_in_the_wrong_place_is_damage() {
    let (disk, run) = written(&small());
    let mut bytes = disk.get(PATH);
    let (first, second) = bytes.split_at_mut(4096);
    first.swap_with_slice(&mut second[..4096]);
    disk.put(PATH, &bytes);
    drop(run);
    assert!(matches!(read_all(&disk), Err(RunError::Damaged { part: Part::Page(0), .. })));
}

#[test]
fn a_run_under_another_name_is_damage() {
    let (disk, _) = written(&small());
    disk.put("group/index/00000000000000001001", &disk.get(PATH));
    let other = Run::open(&disk, DIR, RunId(LogOffset::new(1001)));
    assert!(matches!(other, Err(RunError::Damaged { part: Part::Footer, .. })));
}

#[test]
fn a_newer_format_is_not_damage() {
    let (disk, _) = written(&small());
    let mut bytes = disk.get(PATH);
    let footer = bytes.len() - 36;
    bytes[footer + 7] += 1;
    let crc = crc32c::crc32c(&bytes[footer..footer + 32]);
    bytes[footer + 32..].copy_from_slice(&crc.to_be_bytes());
    disk.put(PATH, &bytes);
    assert!(matches!(Run::open(&disk, DIR, ID), Err(RunError::NewerFormat { found: 2, known: 1, .. })));
}

#[test]
fn what_cannot_be_a_run_is_refused_before_anything_is_written() {
    let empty = RunContents { covers: covers(), queues: Vec::new(), keys: Vec::new() };
    let q = || queue("T", 0);
    let refused = [
        RunContents { covers: covers().start..covers().start, ..empty.clone() },
        RunContents { queues: vec![block(q(), 0, 3), block(q(), 2, 3)], ..empty.clone() },
        RunContents { queues: vec![(q(), QueueOffset::new(u64::MAX), units(0..1))], ..empty.clone() },
        RunContents { queues: vec![block(queue(&"t".repeat(70_000), 0), 0, 3)], ..empty.clone() },
        RunContents { keys: vec![key(1, 1 << 40)], ..empty },
    ];
    for contents in refused {
        let disk = MemDisk::default();
        assert!(matches!(write_run(&disk, DIR, contents), Err(RunError::Contents(_))));
        assert!(disk.paths().is_empty());
    }
}

#[test]
fn leftovers_neither_show_through_nor_stay() {
    let (clean, _) = written(&small());
    let disk = MemDisk::default();
    disk.put(&format!("{PATH}.tmp"), &[1; 100_000]);
    write_run(&disk, DIR, small()).unwrap();
    assert_eq!(disk.dump(), clean.dump());

    disk.put("group/index/00000000000000009999.tmp", b"half");
    disk.put("group/index/00000000000000009999", b"never named");
    assert_eq!(run::list(&disk, DIR).unwrap(), [ID, RunId(LogOffset::new(9999))]);
    run::retain(&disk, DIR, &[ID]).unwrap();
    assert_eq!(disk.paths(), [PATH]);
}

#[test]
fn what_reads_back_otherwise_does_not_replace_the_old_run() {
    let (disk, _) = written(&small());
    let before = disk.dump();
    disk.lie(true);
    assert!(matches!(write_run(&disk, DIR, small()), Err(RunError::Damaged { .. })));
    assert_eq!(disk.dump(), before);
}

#[test]
fn a_stop_at_any_operation_leaves_the_old_run_or_the_new_one() {
    let (before, old) = written(&small());
    let new = RunContents { queues: vec![block(queue("New", 0), 0, 500)], ..small() };
    for operations in 0.. {
        let disk = before.copy();
        disk.stop_after(operations);
        let result = write_run(&disk, DIR, new.clone());
        disk.stop_after(-1);
        let run = Run::open(&disk, DIR, ID).unwrap();
        run.verify().unwrap();
        match result {
            Ok(info) => {
                assert_eq!(run.info(), &info);
                return;
            }
            Err(_) => assert!(run.info() == old.info() || run.info().units == 500),
        }
    }
}

#[test]
fn the_same_contents_give_the_same_file_and_others_another_crc() {
    let (disk, run) = written(&small());
    let mut shuffled = small();
    shuffled.queues.reverse();
    shuffled.keys.reverse();
    assert_eq!(written(&shuffled).0.dump(), disk.dump());
    let mut other = small();
    other.queues[0].2[100].crc ^= 1;
    assert_ne!(written(&other).1.info().crc, run.info().crc);
}

/// Blocks of one queue: lengths of holes and of blocks in turn.
fn blocks() -> impl Strategy<Value = Vec<(u64, u64)>> {
    vec((0..4u64, 0..450u64), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn round_trip(
        shape in vec(("[ab]{1,2}", 0..3u32, blocks()), 0..6),
        keys in vec((0..6u64, 0..10_000u64), 0..800),
        at in vec((0..6usize, 0..1500u64, 0..600usize), 20),
    ) {
        let mut model: std::collections::BTreeMap<QueueName, std::collections::BTreeMap<u64, Unit>> =
            std::collections::BTreeMap::new();
        let mut queues = Vec::new();
        for (topic, id, parts) in shape {
            let name = queue(&topic, id);
            if model.contains_key(&name) {
                continue;
            }
            let offsets = model.entry(name.clone()).or_default();
            let mut next = 0;
            for (hole, len) in parts {
                next += hole;
                queues.push(block(name.clone(), next, len));
                offsets.extend((next..next + len).map(|n| (n, unit(n))));
                next += len;
            }
        }
        let keys: Vec<KeyEntry> = keys.into_iter().map(|(hash, n)| key(hash, n)).collect();
        let (_, run) = written(&RunContents { covers: covers(), queues, keys: keys.clone() });

        let listed: Vec<_> =
            run.queues().flat_map(|(q, r)| (r.start.get()..r.end.get()).map(|n| (q.clone(), n))).collect();
        let expected: Vec<_> =
            model.iter().flat_map(|(q, offsets)| offsets.keys().map(|n| (q.clone(), *n))).collect();
        prop_assert_eq!(listed, expected);

        let names: Vec<_> = model.keys().collect();
        for (pick, from, max) in at {
            let Some(name) = names.get(pick % names.len().max(1)) else { continue };
            let expected: Vec<_> =
                (from..).take(max).map_while(|n| model[name].get(&n).copied()).collect();
            prop_assert_eq!(run.units(name, QueueOffset::new(from), max).unwrap(), expected);
        }
        for hash in 0..7 {
            let mut expected: Vec<_> = keys.iter().copied().filter(|entry| entry.hash == hash).collect();
            expected.sort();
            prop_assert_eq!(run.candidates(hash).unwrap(), expected);
        }
    }
}
