//! Damage on the disk of a running broker: the scrub finds and names it; reads fail until an operator gives the message
//! up; then everybody passes it and is told.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{MemDisk, Node};
use steadfast_broker::io::{DamagedRecord, Input};
use steadfast_broker::recovery::{self, OpenError};
use steadfast_broker::repair::Repair;
use steadfast_store::checkpoint::SNAPSHOT_DIR;
use steadfast_store::disk::Disk;
use steadfast_store::log::segment_path;
use steadfast_store::snapshot;
use steadfast_types::LogOffset;
use steadfast_wire::body::{Body, RetentionReport};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;

const KEYS: &str = "KEYS\u{1}order-";

/// Ten messages, all in index runs, of which the fourth is damaged: its topic and keys stay readable.
fn damaged() -> Node {
    let mut node = Node::new();
    for i in 0..25 {
        node.ticks += 10;
        node.send("T", 0, &format!("message {i:02}"), &format!("{KEYS}{i}\u{2}"));
    }
    let path = segment_path(LogOffset::ZERO);
    let content = node.disk.get(&path);
    let at = content.windows(10).position(|window| window == b"message 03").unwrap();
    node.disk.flip(&path, at);
    // Read from the disk from now on.
    node.restart()
}

fn scrub(node: &mut Node) -> Vec<DamagedRecord> {
    let mut found = Vec::new();
    for base in node.reader.segments() {
        let scrubbed = node.reader.scrub(base, &|_| {});
        found.extend(scrubbed.result.clone().unwrap());
        node.input(Input::Scrubbed(scrubbed));
    }
    found
}

fn runtime(node: &mut Node) -> String {
    let answer = node.ask(Header::request(request::GET_BROKER_RUNTIME_INFO, 0), Bytes::new());
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn the_scrub_names_a_damaged_message_once() {
    let mut node = damaged();
    let found = scrub(&mut node);
    let [record] = &found[..] else { panic!("{found:?}") };
    assert_eq!((record.queue.to_string(), record.offset.get()), ("T/0".to_owned(), 3));
    assert!(record.keys.contains(&"order-3".to_owned()), "{record:?}");
    let told =
        |node: &Node| node.warnings.iter().filter(|text| text.contains("offset 3 of queue T/0")).count();
    assert_eq!(told(&node), 1);
    scrub(&mut node);
    assert_eq!(told(&node), 1, "not every day again");
    assert!(runtime(&mut node).contains("\"damagedMessages\":\"1\""));
    let answer = node.ask(Header::request(request::GET_RETENTION, 0), Bytes::new());
    let report = RetentionReport::decode(&answer.body).unwrap();
    assert_eq!(report.damaged[0].offset, 3);
    // Restored from a copy: the next round sees it.
    node.disk.flip(&segment_path(LogOffset::ZERO), {
        let content = node.disk.get(&segment_path(LogOffset::ZERO));
        content.windows(9).enumerate().find(|(_, window)| *window == b"essage 03").unwrap().0 - 1
    });
    assert_eq!(scrub(&mut node), []);
    assert!(runtime(&mut node).contains("\"damagedMessages\":\"0\""));
}

#[test]
fn reads_that_meet_damage_are_counted_and_told_once_an_hour() {
    let mut node = damaged();
    let at = scrub(&mut node)[0].log_offset.get();
    let told =
        |node: &Node| node.warnings.iter().filter(|text| text.contains(" met damage: ")).cloned().collect();
    assert_eq!((node.measure().damaged_reads, told(&node)), (0, Vec::<String>::new()));
    for _ in 0..3 {
        assert_eq!(node.pull("T", 0, 3).code, response::SYSTEM_ERROR);
    }
    let warning = &told(&node)[..];
    let [warning] = warning else { panic!("{warning:?}") };
    assert!(
        warning.starts_with("a pull of group consumers from queue T/0 at offset 3 met damage"),
        "{warning}"
    );
    assert!(
        warning.contains(&format!("log offset {at} ")) && warning.contains("steadfast repair"),
        "{warning}"
    );
    assert_eq!(node.query("T", "order-3").code, response::SYSTEM_ERROR);
    assert_eq!(node.view(at).code, response::SYSTEM_ERROR);
    assert_eq!((node.measure().damaged_reads, told(&node).len()), (5, 1));
    assert!(runtime(&mut node).contains("\"damagedReads\":\"5\""));
    node.ticks += 3_600_000;
    node.query("T", "order-3");
    let last = told(&node).pop().unwrap();
    assert!(last.starts_with("a lookup of key \"order-3\" in topic T met damage"), "{last}");
    assert_eq!(told(&node).len(), 2);
}

/// A damaged frame header: where the next frame begins is not known, the messages are told apart all the same.
#[test]
fn the_scrub_looks_behind_a_damaged_frame() {
    let mut node = damaged();
    let path = segment_path(LogOffset::ZERO);
    let content = node.disk.get(&path);
    let at = content.windows(10).position(|window| window == b"message 01").unwrap();
    let frame = content[..at].windows(4).rposition(|window| window == b"SFEN").unwrap();
    node.disk.flip(&path, frame + 30);
    let found = scrub(&mut node);
    assert_eq!(found.iter().map(|record| record.offset.get()).collect::<Vec<_>>(), [3]);
}

/// A file of the log that is missing, or is another one: all of its messages can be listed and given up.
#[test]
fn the_messages_of_a_lost_file_can_be_given_up() {
    let mut node = Node::new();
    let body = "x".repeat(1 << 20);
    for _ in 0..40 {
        node.make_space();
        node.send("T", 0, &body, "");
    }
    let mut node = node.restart();
    let (second, path) = (LogOffset::new(16 << 20), segment_path(LogOffset::new(16 << 20)));
    assert_eq!(scrub(&mut node), []);
    let other = node.disk.get(&segment_path(LogOffset::ZERO));
    for lost in ["swapped", "missing"] {
        match lost {
            "swapped" => node.disk.put(&path, &other),
            _ => node.disk.remove(&path).unwrap(),
        }
        node = node.restart();
        let found = node.reader.damaged_messages(second, &|_| {}).unwrap();
        assert!((13..=16).contains(&found.len()), "{lost}: {}", found.len());
        for base in node.reader.segments().into_iter().filter(|base| *base != second) {
            assert_eq!(node.reader.damaged_messages(base, &|_| {}).unwrap(), [], "{lost}");
        }
    }
    let scrubbed = node.reader.scrub(second, &|_| {});
    assert!(
        scrubbed.result.as_ref().is_err_and(|cause| cause.contains("is missing")),
        "{:?}",
        scrubbed.result
    );
    node.input(Input::Scrubbed(scrubbed));
    assert!(
        node.warnings.iter().any(|text| text.contains("16777216 cannot be verified")),
        "{:?}",
        node.warnings
    );
    let found = node.reader.damaged_messages(second, &|_| {}).unwrap();
    let lost = found.len();
    node.input(Input::GiveUp(found));
    assert_eq!(node.measure().given_up, lost);
}

/// Forty messages of 1 MiB, in three files of the log, of which snapshots cover the first two. The path of the second.
fn three_files() -> (Node, String) {
    let mut node = Node::new();
    let body = "x".repeat(1 << 20);
    for _ in 0..40 {
        node.make_space();
        node.send("T", 0, &body, "");
    }
    (node.restart(), segment_path(LogOffset::new(16 << 20)))
}

fn remove_snapshots(disk: &MemDisk) {
    for generation in snapshot::list(disk, SNAPSHOT_DIR).unwrap() {
        disk.remove(&format!("{SNAPSHOT_DIR}/{:020}", generation.get())).unwrap();
    }
}

/// What a start and a repair without a snapshot say.
fn refusals(disk: MemDisk) -> [OpenError; 2] {
    remove_snapshots(&disk);
    let opened = recovery::open(disk.clone(), &node::options(), 7).map(drop);
    [opened.unwrap_err(), Repair::open(disk).map(drop).unwrap_err()]
}

#[test]
fn a_file_that_has_lost_its_end_is_told_at_start_although_a_snapshot_covers_it() {
    let (node, second) = three_files();
    let warned = |node: &Node| node.warnings.iter().any(|warning| warning.contains(&second));
    assert!(!warned(&node), "{:?}", node.warnings);
    let whole = node.disk.get(&second);
    node.disk.put(&second, &whole[..5 << 20]);
    let node = node.restart();
    assert!(warned(&node), "{:?}", node.warnings);
    let told = format!("{second} ({} of {} bytes)", 5 << 20, 16 << 20);
    assert!(node.warnings.iter().any(|warning| warning.contains(&told)), "{:?}", node.warnings);
    let found = node.reader.damaged_messages(LogOffset::new(16 << 20), &|_| {}).unwrap();
    assert!((9..=12).contains(&found.len()), "those behind its end: {}", found.len());
}

#[test]
fn the_file_that_is_lost_is_named_and_not_the_one_before_it() {
    let (node, second) = three_files();
    let other = node.disk.get(&segment_path(LogOffset::ZERO));
    for lost in ["missing", "swapped", "without its header"] {
        let disk = node.disk.copy();
        match lost {
            "missing" => disk.remove(&second).unwrap(),
            "swapped" => disk.put(&second, &other),
            _ => disk.flip(&second, 20),
        }
        for error in refusals(disk) {
            assert!(
                error.to_string().starts_with(&format!("{second}, which holds entry ")),
                "{lost}: {error}"
            );
            assert!(!error.is_repairable(), "{lost}: {error}");
        }
    }
}

/// Where a repair cannot go on either, nobody is sent to it.
#[test]
fn what_a_repair_cannot_pass_is_known_at_start() {
    let (node, second) = three_files();
    let whole = node.disk.get(&second);
    let mut zeroed = whole.clone();
    zeroed[4 << 20..5 << 20].fill(0);
    for bytes in [&whole[..5 << 20], &zeroed] {
        let disk = node.disk.copy();
        disk.put(&second, bytes);
        for error in refusals(disk) {
            assert!(error.to_string().contains(&second) && !error.is_repairable(), "{error}");
        }
    }
    // An entry's header alone follows from the rest: a repair goes on.
    let disk = node.disk.copy();
    let frame = whole.windows(4).enumerate().skip(4 << 20).find(|(_, window)| *window == b"SFEN").unwrap().0;
    disk.flip(&second, frame + 10);
    remove_snapshots(&disk);
    let refused = recovery::open(disk.clone(), &node::options(), 7).map(drop).unwrap_err();
    assert!(refused.is_repairable(), "{refused}");
    assert_eq!(Repair::open(disk).unwrap().report().proven, 1);
}

/// The whole log is read again: what was given up in it is told to nobody as new.
#[test]
fn a_message_that_was_given_up_is_not_warned_of_when_all_snapshots_are_lost() {
    let mut node = damaged();
    let warned = |node: &Node| node.warnings.iter().any(|text| text.contains("its consumers stop there"));
    remove_snapshots(&node.disk);
    node = node.restart();
    assert!(warned(&node), "{:?}", node.warnings);
    node.input(Input::GiveUp(scrub(&mut damaged())));
    remove_snapshots(&node.disk);
    node = node.restart();
    assert!(!warned(&node), "{:?}", node.warnings);
    assert_eq!((node.measure().damaged, node.measure().given_up), (0, 1));
}

#[test]
fn a_message_that_was_given_up_is_passed_and_never_denied() {
    let mut node = damaged();
    assert_eq!(node.pull("T", 0, 0).number("nextBeginOffset"), 3);
    let stopped = node.pull("T", 0, 3);
    assert_eq!(stopped.code, response::SYSTEM_ERROR, "{}", stopped.remark);
    let found = scrub(&mut node);
    let at = found[0].log_offset;
    assert_eq!((node.measure().damaged, node.measure().given_up), (1, 0));
    node.input(Input::GiveUp(found));
    for _ in 0..2 {
        let all = node.pull("T", 0, 0);
        assert_eq!(all.bodies().len() + all_after(&mut node, &all), 24);
        assert_eq!(node.pull("T", 0, 3).bodies()[0], "message 04");
        let lookup = node.query("T", "order-3");
        assert_eq!(lookup.code, response::QUERY_NOT_FOUND);
        assert!(lookup.remark.contains("1 damaged messages of the topic were given up"), "{}", lookup.remark);
        assert_eq!(node.query("T", "order-4").bodies(), ["message 04"]);
        let viewed = node.view(at.get());
        assert!(
            viewed.remark.contains("offset 3 of queue T/0, was damaged and given up"),
            "{}",
            viewed.remark
        );
        node = node.restart();
        assert!(!scrub(&mut node).is_empty(), "the bytes are as damaged as they were");
        assert_eq!((node.measure().damaged, node.measure().given_up), (0, 1), "and nobody need do anything");
        assert!(!node.warnings.iter().any(|text| text.contains("is damaged on disk")), "{:?}", node.warnings);
    }
    assert_eq!(node.send("T", 0, "next", "").number("queueOffset"), 25, "its offset stays its own");
}

/// A snapshot that was wrong before its checksum was made is no better than one that does not verify.
#[test]
fn a_snapshot_that_cannot_be_understood_is_passed_over() {
    let mut node = Node::new();
    for i in 0..70 {
        node.send("T", 0, &format!("message {i:02}"), "");
    }
    let generations = snapshot::list(&node.disk, SNAPSHOT_DIR).unwrap();
    let newest = generations[1];
    let whole = snapshot::read(&node.disk, SNAPSHOT_DIR, newest).unwrap();
    for wrong in [b"anything".as_slice(), &whole[..whole.len() - 1]] {
        let disk = node.disk.copy();
        snapshot::write(&disk, SNAPSHOT_DIR, newest, wrong).unwrap();
        let mut node = Node::open(disk, node::options());
        let name = format!("{SNAPSHOT_DIR}/{:020}", newest.get());
        assert!(node.warnings.iter().any(|text| text.contains(&name)), "{:?}", node.warnings);
        assert_eq!(node.send("T", 0, "probe", "").code, response::SUCCESS);
        let mut at = 0;
        let mut bodies = Vec::new();
        while bodies.len() < 70 {
            let pulled = node.pull("T", 0, at);
            bodies.extend(pulled.bodies());
            at = pulled.number("nextBeginOffset");
        }
        assert_eq!(bodies[69], "message 69");
    }
}

fn all_after(node: &mut Node, pulled: &node::Answer) -> usize {
    match pulled.number("nextBeginOffset") {
        25 => 0,
        next => node.pull("T", 0, next).bodies().len(),
    }
}
