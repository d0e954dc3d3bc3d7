//! Lookups and backlog reads: complete after every checkpoint and restart, made again from the log when the
//! index on disk is damaged, and never wrong.

mod node;

use std::cell::Cell;
use std::sync::mpsc::channel;

use node::{MemDisk, Node};
use steadfast_broker::Options;
use steadfast_broker::io::{Input, ReadResult};
use steadfast_store::checkpoint;
use steadfast_wire::code::response;

fn fill(node: &mut Node, messages: usize) {
    for i in 0..messages {
        let properties = format!("KEYS\u{1}key{i} shared\u{2}TAGS\u{1}tag{}\u{2}", i % 2);
        node.send("T", (i % 3) as i32, &format!("body {i}"), &properties);
    }
}

fn runs(node: &Node) -> Vec<String> {
    node.disk.paths().into_iter().filter(|path| path.starts_with("index/")).collect()
}

fn expect_all(node: &mut Node, messages: usize) {
    for i in 0..messages {
        assert_eq!(node.query("T", &format!("key{i}")).bodies(), [format!("body {i}")], "key{i}");
    }
    for queue in 0..3 {
        let mut offset = 0;
        let mut bodies = Vec::new();
        loop {
            let answer = node.pull("T", queue, offset);
            if answer.code != response::SUCCESS {
                break;
            }
            bodies.extend(answer.bodies());
            offset = answer.number("nextBeginOffset");
        }
        let expected: Vec<_> =
            (0..messages).filter(|i| i % 3 == queue as usize).map(|i| format!("body {i}")).collect();
        assert_eq!(bodies, expected, "queue {queue}");
    }
}

#[test]
fn everything_is_found_in_memory_in_runs_and_after_restarts() {
    let mut node = Node::new();
    fill(&mut node, 130);
    assert!(runs(&node).len() >= 4, "several index runs: {:?}", runs(&node));
    expect_all(&mut node, 130);
    let mut node = node.restart();
    expect_all(&mut node, 130);
    assert_eq!(node.query("T", "shared").bodies().len(), 64, "the newest 64, as RocketMQ's limit says");
    assert_eq!(node.query("T", "shared").bodies()[0], "body 129", "newest first");
}

/// rmq#8007: a lost or damaged index is made again from the log.
#[test]
fn damaged_and_missing_runs_are_made_again() {
    let mut node = Node::new();
    fill(&mut node, 130);
    let before = runs(&node);
    let disk = node.disk.copy();
    for (i, path) in before.iter().enumerate() {
        if i % 2 == 0 {
            steadfast_store::disk::Disk::remove(&disk, path).unwrap();
        } else {
            let end = disk.get(path).len();
            disk.flip(path, end - 1);
        }
    }
    let mut node = Node::open(disk, node::options());
    assert!(node.warnings.iter().any(|w| w.contains("made again")), "{:?}", node.warnings);
    expect_all(&mut node, 130);
    assert_eq!(node.reader.missing_runs(), 0);
    assert_eq!(runs(&node), before);
}

/// A page that turns out to be damaged while the server runs.
#[test]
fn a_run_damaged_under_the_servers_feet_is_made_again() {
    let mut node = Node::new();
    fill(&mut node, 130);
    for path in runs(&node) {
        node.disk.flip(&path, 100);
        node.disk.flip(&path, 4096 + 100);
    }
    expect_all(&mut node, 130);
}

#[test]
fn a_lookup_that_cannot_be_completed_in_time_says_so() {
    let mut node = Node::new();
    fill(&mut node, 130);
    let mut node = node.restart();
    node.late = true;
    let answer = node.query("T", "key0");
    assert_eq!(answer.code, response::SYSTEM_BUSY);
    assert!(answer.remark.contains("complete"), "the bound: {}", answer.remark);
    node.late = false;
    assert_eq!(node.query("T", "key0").bodies(), ["body 0"]);
}

/// However late a lookup gets, in the middle of a run that is made again or between two: it says how far it came, or is
/// right. What it gave up in the middle leaves nothing behind.
#[test]
fn a_lookup_that_gets_late_on_the_way_is_never_wrong() {
    let mut node = Node::new();
    fill(&mut node, 130);
    let before = runs(&node);
    let mut node = node.restart();
    let mut gave_up = 0;
    for patience in 0.. {
        for path in runs(&node) {
            steadfast_store::disk::Disk::remove(&node.disk, &path).unwrap();
        }
        node = node.restart();
        node.patience = Some(patience);
        let answer = node.query("T", "key0");
        node.patience = None;
        assert!(runs(&node).iter().all(|path| before.contains(path)), "{:?}", runs(&node));
        if answer.code == response::SUCCESS {
            assert_eq!(answer.bodies(), ["body 0"]);
            break;
        }
        gave_up += 1;
        assert_eq!(answer.code, response::SYSTEM_BUSY, "{}", answer.remark);
        let bound = format!("of {} index runs were searched", before.len());
        assert!(answer.remark.contains(&bound) && answer.remark.contains("ask again"), "{}", answer.remark);
        if patience % 20 == 0 {
            assert_eq!(node.query("T", "key0").bodies(), ["body 0"], "who has time is answered");
        }
    }
    assert!(gave_up >= 100, "one question for each entry of the log: {gave_up}");
    assert_eq!(runs(&node), before);
}

/// Not only lookups by key: a message that is there is not denied for want of time.
#[test]
fn nothing_is_denied_for_want_of_time() {
    let mut node = Node::new();
    fill(&mut node, 130);
    let at = node.pull("T", 0, 0).messages()[0].log_offset;
    for path in runs(&node) {
        steadfast_store::disk::Disk::remove(&node.disk, &path).unwrap();
    }
    let mut node = node.restart();
    for (late, found) in [(true, false), (false, true)] {
        node.late = late;
        let (pulled, viewed) = (node.pull("T", 0, 0), node.view(at));
        assert_eq!(pulled.code == response::SUCCESS, found, "{}", pulled.remark);
        assert_eq!(viewed.code == response::SUCCESS, found, "{}", viewed.remark);
        for answer in [pulled, viewed] {
            assert!(found || answer.remark.contains("made again"), "{}", answer.remark);
        }
    }
}

/// While one thread makes a run again, others get the other runs at once, and wait for that one as long as they want.
#[test]
fn a_run_that_is_being_made_holds_up_nobody_who_does_not_need_it() {
    let mut node = Node::new();
    fill(&mut node, 130);
    let newest = runs(&node).pop().unwrap();
    steadfast_store::disk::Disk::remove(&node.disk, &newest).unwrap();
    let mut node = node.restart();
    node.hold_reads = true;
    for key in ["key0", "key1"] {
        node.request(1, node::query_header("T", key, 0, i64::MAX), "");
    }
    node.request(1, node::pull_header("T", 0, 0, 0), "");
    let [lookup, other_lookup, pull] = std::mem::take(&mut node.held_reads).try_into().unwrap();
    let reader = &node.reader;
    let ((making, is_making), (go_on, gate)) = (channel(), channel::<()>());
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            let asked = Cell::new(0);
            reader.perform(lookup.1, &|| {
                asked.set(asked.get() + 1);
                // In the middle of the run.
                if asked.get() == 10 {
                    making.send(()).unwrap();
                    gate.recv().unwrap();
                }
                false
            })
        });
        is_making.recv().unwrap();
        let pulled = reader.perform(pull.1, &|| false);
        assert!(
            matches!(pulled, ReadResult::Messages { ref records, .. } if !records.is_empty()),
            "{pulled:?}"
        );
        let asked = Cell::new(0);
        let gave_up = reader.perform(other_lookup.1.clone(), &|| {
            asked.set(asked.get() + 1);
            asked.get() > 3
        });
        assert!(
            matches!(gave_up, ReadResult::Incomplete(ref bound) if bound.contains("1 have")),
            "{gave_up:?}"
        );
        let waiting = scope.spawn(|| reader.perform(other_lookup.1, &|| false));
        go_on.send(()).unwrap();
        for found in [first.join().unwrap(), waiting.join().unwrap()] {
            assert!(
                matches!(found, ReadResult::Messages { ref records, .. } if records.len() == 1),
                "{found:?}"
            );
        }
    });
    assert_eq!(reader.missing_runs(), 0);
}

/// Searches that wait for their turn are told when it does not come.
#[test]
fn a_search_that_never_gets_its_turn_is_answered() {
    let mut node = Node::new();
    fill(&mut node, 30);
    node.hold_reads = true;
    let ask = |node: &mut Node| node.request(1, node::query_header("T", "key0", 0, i64::MAX), "");
    let begun: Vec<_> = (0..4).map(|_| ask(&mut node)).collect();
    let old = ask(&mut node);
    node.pass(10_000);
    let young = ask(&mut node);
    node.pass(6_000);
    assert_eq!(node.held_reads.len(), 4);
    node.release_read();
    let told = node.answer_to(old).expect("the old one is told");
    assert_eq!(told.code, response::SYSTEM_BUSY);
    assert!(told.remark.contains("waited 16000 ms"), "{}", told.remark);
    while !node.held_reads.is_empty() {
        node.release_read();
    }
    for opaque in begun.into_iter().chain([young]) {
        assert_eq!(node.answer_to(opaque).unwrap().bodies(), ["body 0"]);
    }
}

/// rmq#2582: who reads an old backlog from the disk and who sends do not hold up each other. Checkpoints meanwhile move
/// what is read from memory to index runs.
#[test]
fn an_old_backlog_is_read_while_messages_are_sent() {
    const MESSAGES: usize = 1_000;
    let options = Options { read_cache_bytes: 0, ..node::options() };
    let mut node = Node::open(MemDisk::default(), options);
    let send = |node: &mut Node, sent: &mut usize| {
        if sent.is_multiple_of(100) {
            node.make_space();
        }
        let answer = node.send("T", 0, &format!("body {sent}"), "");
        assert_eq!(answer.number("queueOffset"), *sent as i64, "answered while a read is under way");
        *sent += 1;
    };
    let mut sent = 0;
    (0..MESSAGES / 2).for_each(|_| send(&mut node, &mut sent));
    let (runs_before, mut read, mut cold) = (runs(&node).len(), Vec::new(), 0);
    node.hold_reads = true;
    while read.len() < MESSAGES {
        let pull = node.request(2, node::pull_header("T", 0, read.len() as i64, 0), "");
        let is_cold = node.answer_to(pull).is_none();
        let more = 20.min(MESSAGES - sent);
        (0..more).for_each(|_| send(&mut node, &mut sent));
        if is_cold {
            cold += usize::from(more > 0);
            node.release_read();
        }
        let answer = node.answer_to(pull).expect("the pull is answered");
        assert_eq!(answer.code, response::SUCCESS, "{}", answer.remark);
        read.extend(answer.bodies());
    }
    assert!(cold >= 10 && runs(&node).len() >= runs_before + 10, "{cold} cold reads while messages came");
    let expected: Vec<_> = (0..MESSAGES).map(|i| format!("body {i}")).collect();
    assert_eq!(read, expected, "each once, in order");
}

/// rmq#7539: checkpoints that fail again and again, at whatever operation of the disk, do not fill it.
#[test]
fn a_checkpoint_that_keeps_failing_leaves_nothing_that_grows() {
    const TIMES: usize = 5;
    let mut node = Node::new();
    fill(&mut node, 50);
    node.hold_checkpoints = true;
    fill(&mut node, 20);
    let derived = |node: &Node| -> Vec<String> {
        node.disk.paths().into_iter().filter(|path| !path.starts_with("log/") && path != "meta").collect()
    };
    let before = derived(&node);
    let mut failures = 0;
    for operations in 0.. {
        let mut done = false;
        for _ in 0..TIMES {
            let checkpoint = node.checkpoint.take().expect("it is tried again");
            node.disk.stop_after(operations);
            let written = checkpoint::write(&node.disk, *checkpoint);
            node.disk.stop_after(-1);
            done = written.is_ok();
            let left = derived(&node);
            // A run, a snapshot and what one attempt could not remove.
            assert!(
                left.len() <= before.len() + 3,
                "after {operations} operations: {before:?} became {left:?}"
            );
            if let Ok(snapshot) = written {
                node.reader.install(&snapshot);
                node.input(Input::CheckpointDone(Ok(snapshot.runs)));
                break;
            }
            failures += 1;
            node.input(Input::CheckpointDone(Err("the disk stopped".to_owned())));
            node.ticks += 5_000;
            fill(&mut node, 1);
        }
        if done {
            break;
        }
    }
    assert!(failures > 10 * TIMES, "{failures} failures");
    let mut node = node.restart();
    let left = derived(&node);
    assert!(left.len() <= before.len() + 2 && !left.iter().any(|path| path.ends_with(".tmp")), "{left:?}");
    assert_eq!(node.query("T", "key49").bodies(), ["body 49"]);
}

/// A key of many messages: a lookup within a time reads those of that time, wherever in the log it is.
#[test]
fn a_lookup_within_a_time_reads_hardly_more_than_it_returns() {
    const MESSAGES: u64 = 1_500;
    let options = Options { checkpoint_messages: 400, read_cache_bytes: 0, ..node::options() };
    let mut node = Node::open(MemDisk::default(), options);
    let padding = "x".repeat(16 << 10);
    for i in 0..MESSAGES {
        if i % 20 == 0 {
            node.make_space();
        }
        node.ticks += 10;
        node.send("T", 0, &format!("{i} {padding}"), "KEYS\u{1}shared\u{2}");
    }
    assert_eq!(runs(&node).len(), 3);
    let stored = |i: u64| (node.wall + 10 * (i + 1)) as i64;
    let windows = [0, 399, 400, 700, 1_199, 1_200, 1_499].map(|i| (i, stored(i)));
    for (i, time) in windows {
        // All of them are 24 MB in chunks of 512 KiB; a lookup through all would read each.
        node.disk.stop_after(50);
        let found = node.query_within("T", "shared", time, time).bodies();
        node.disk.stop_after(-1);
        let numbers: Vec<_> = found.iter().map(|body| body.split(' ').next().unwrap()).collect();
        assert_eq!(numbers, [i.to_string()]);
    }
    for (from, to) in [(0, 1), (i64::MAX - 1, i64::MAX), (windows[6].1 + 1, i64::MAX), (i64::MIN, -1)] {
        assert_eq!(
            node.query_within("T", "shared", from, to).code,
            response::QUERY_NOT_FOUND,
            "{from}..{to}"
        );
    }
    let newest = node.query_within("T", "shared", i64::MIN, i64::MAX).bodies();
    assert_eq!(newest.len(), 64);
    assert!(newest[0].starts_with("1499 ") && newest[63].starts_with("1436 "));
}

/// Damage within the time that is asked for is named; outside it does not matter.
#[test]
fn a_damaged_message_fails_the_lookups_of_its_time() {
    let mut node = Node::new();
    for i in 0..100 {
        node.ticks += 10;
        node.send("T", 0, &format!("body {i}."), "KEYS\u{1}shared\u{2}");
    }
    let path = "log/00000000000000000000";
    let at = node.disk.get(path).windows(8).position(|w| w == b"body 50.").unwrap();
    let mut node = node.restart();
    node.disk.flip(path, at);
    let stored = |i: i64| 1_000_000 + 10 * (i + 1);
    assert_eq!(node.query_within("T", "shared", stored(50), stored(50)).code, response::SYSTEM_ERROR);
    assert_eq!(node.query_within("T", "shared", stored(60), stored(61)).bodies(), ["body 61.", "body 60."]);
    assert_eq!(node.query_within("T", "shared", stored(10), stored(11)).bodies(), ["body 11.", "body 10."]);
}

#[test]
fn a_key_that_was_never_used_is_not_found_and_the_bound_is_told() {
    let mut node = Node::new();
    fill(&mut node, 30);
    let answer = node.query("T", "nobody");
    assert_eq!(answer.code, response::QUERY_NOT_FOUND);
    assert!(answer.remark.contains("complete up to log offset"), "{}", answer.remark);
    assert_eq!(answer.number("indexLastUpdatePhyoffset"), node.broker.committed().get() as i64);
}

/// Damage in the log itself: named, never skipped, and the rest is served.
#[test]
fn a_damaged_message_stops_its_queue_and_nothing_else() {
    let mut node = Node::new();
    fill(&mut node, 130);
    let path = "log/00000000000000000000";
    let log = node.disk.get(path);
    let at = log.windows(7).position(|w| w == b"body 30").unwrap();
    let node = node.restart();
    node.disk.flip(path, at);
    let mut node = node.restart();
    // Message 30 is the eleventh of queue 0.
    let before = node.pull("T", 0, 0);
    assert_eq!((before.bodies().len(), before.number("nextBeginOffset")), (10, 10));
    for _ in 0..2 {
        let damaged = node.pull("T", 0, 10);
        assert_eq!(damaged.code, response::SYSTEM_ERROR);
        assert!(damaged.remark.contains("damaged") && damaged.remark.contains("T/0"), "{}", damaged.remark);
    }
    assert_eq!(node.pull("T", 0, 11).bodies()[0], "body 33");
    assert_eq!(node.pull("T", 1, 0).bodies().len(), 32);
    assert_eq!(node.query("T", "key31").bodies(), ["body 31"]);
    assert_eq!(node.query("T", "key30").code, response::SYSTEM_ERROR, "not 'not found'");
}

/// The same in the stretch of the log that recovery replays.
#[test]
fn a_damaged_message_after_the_snapshot_is_fenced_at_start() {
    let mut node = Node::new();
    fill(&mut node, 6);
    let path = "log/00000000000000000000";
    let at = node.disk.get(path).windows(6).position(|w| w == b"body 1").unwrap();
    node.disk.flip(path, at);
    let mut node = node.restart();
    assert!(node.warnings.iter().any(|w| w.contains("T/1") && w.contains("damaged")), "{:?}", node.warnings);
    assert_eq!(node.pull("T", 1, 0).code, response::SYSTEM_ERROR);
    assert_eq!(node.pull("T", 1, 1).bodies(), ["body 4"]);
    assert_eq!(node.send("T", 1, "next", "").number("queueOffset"), 2);
    assert_eq!(node.pull("T", 0, 0).bodies(), ["body 0", "body 3"]);
}

#[test]
fn a_missing_file_of_the_log_is_named_and_its_messages_are_not_denied() {
    let mut node = Node::new();
    let body = "x".repeat(1 << 20);
    for i in 0..40 {
        node.make_space();
        node.send("T", 0, &body, &format!("KEYS\u{1}k{i}\u{2}"));
    }
    let node = node.restart();
    assert!(node.warnings.is_empty(), "{:?}", node.warnings);
    let second = format!("log/{:020}", 16 << 20);
    steadfast_store::disk::Disk::remove(&node.disk, &second).unwrap();
    let mut node = node.restart();
    assert!(node.warnings.iter().any(|warning| warning.contains(&second)), "{:?}", node.warnings);
    let found: Vec<i32> = (0..40).map(|i| node.query("T", &format!("k{i}")).code).collect();
    assert!(!found.contains(&response::QUERY_NOT_FOUND), "{found:?}");
    let here = found.iter().filter(|code| **code == response::SUCCESS).count();
    assert!((20..30).contains(&here), "what the other files hold is found: {found:?}");
}
