//! Retention at the broker's surface: what goes, when, who is told, and that a crash at any point in between leaves
//! either everything or what was decided.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{MemDisk, Node, options};
use steadfast_broker::{Options, Retention};
use steadfast_store::disk::Space;
use steadfast_store::log::{DIR, segment_bases};
use steadfast_wire::body::{Body, ConsumeStats, RetentionReport};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

const SEGMENT: u64 = 1 << 20;
const MINUTE: u64 = 60_000;
const KEYS: &str = "KEYS\u{1}order-";

/// Messages are old after a minute, at any hour.
fn small() -> Options {
    Options {
        segment_size: SEGMENT,
        control_reserve: 64 << 10,
        checkpoint_messages: 3,
        retention: Retention { reserved: MINUTE, hours: (0..24).collect(), ..Retention::default() },
        ..options()
    }
}

fn open(options: Options) -> Node {
    Node::open(MemDisk::default(), options)
}

/// Sends messages of 100 kB, ten of which fill a segment, alternating between two queues.
fn send(node: &mut Node, messages: std::ops::Range<usize>) {
    for i in messages {
        node.fill();
        let body = format!("{}{i:0>6}", "0".repeat(99_994));
        let sent = node.send("T", (i % 2) as i32, &body, &format!("{KEYS}{i}\u{2}"));
        assert_eq!(sent.code, response::SUCCESS, "{}", sent.remark);
    }
}

fn bases(node: &Node) -> Vec<u64> {
    let end = node.broker.committed().get();
    let bases = segment_bases(&node.disk).unwrap();
    bases.into_iter().map(|base| base.get() / SEGMENT).filter(|segment| segment * SEGMENT < end).collect()
}

fn spares(node: &Node) -> usize {
    node.disk.paths().iter().filter(|path| path.starts_with(DIR) && path.ends_with(".free")).count()
}

/// Lets time pass.
fn wait(node: &mut Node, milliseconds: u64) {
    let until = node.ticks + milliseconds;
    while node.ticks < until {
        node.ticks = until.min(node.ticks + 10_000);
        node.fill();
    }
}

fn min(node: &mut Node, queue: i32) -> i64 {
    let mut header = Header::request(request::GET_MIN_OFFSET, 0);
    headers::GetMinOffset { topic: "T".into(), queue_id: queue }.encode(&mut header.ext);
    node.ask(header.into_owned(), Bytes::new()).number("offset")
}

/// Bodies begin with their numbers.
fn read_all(node: &mut Node, queue: i32) -> Vec<usize> {
    let (mut at, mut found) = (min(node, queue), Vec::new());
    loop {
        let pulled = node.pull("T", queue, at);
        match pulled.code {
            response::SUCCESS => {
                found.extend(pulled.bodies().iter().map(|body| body.parse::<usize>().unwrap()))
            }
            response::PULL_NOT_FOUND => return found,
            code => panic!("{code} {}", pulled.remark),
        }
        at = pulled.number("nextBeginOffset");
    }
}

/// Jumps of a group that are on record with the cause `expired`: from, to.
fn expired(node: &mut Node, group: &str) -> Vec<(Option<i64>, i64)> {
    let mut header = Header::request(request::GET_CONSUME_STATS, 0);
    let stats = headers::GetConsumeStats {
        consumer_group: group.into(),
        topic: Some("T".into()),
        ..headers::GetConsumeStats::default()
    };
    stats.encode(&mut header.ext);
    let answer = node.ask(header.into_owned(), Bytes::new());
    let jumps = ConsumeStats::decode(&answer.body).unwrap().position_jumps.into_iter();
    jumps.filter(|jump| jump.cause == "expired").map(|jump| (jump.from, jump.to)).collect()
}

#[test]
fn old_messages_go_and_everything_says_so() {
    let mut node = open(small());
    send(&mut node, 0..25);
    node.commit("slow", "T", 0, 3);
    wait(&mut node, 2 * MINUTE);
    assert_eq!(bases(&node), [2], "the tail stays");
    assert_eq!(spares(&node), 2, "two files wait for new segments");
    assert_eq!(node.measure().kept, node.broker.committed().get() - 2 * SEGMENT);
    for queue in 0..2 {
        let begins = min(&mut node, queue);
        assert!((9..=10).contains(&begins), "{begins}");
        let gone = node.pull("T", queue, 0);
        assert_eq!((gone.code, gone.number("nextBeginOffset")), (response::PULL_OFFSET_MOVED, begins));
    }
    let found = node.query("T", "order-1");
    assert_eq!(found.code, response::QUERY_NOT_FOUND);
    assert!(found.remark.contains(&format!("where the log begins, {}", 2 * SEGMENT)), "{}", found.remark);
    assert_eq!(node.query("T", "order-24").bodies().len(), 1);
    assert!(node.view(5000).remark.contains("removed by retention"));
    // Who had not processed them is named, and goes on at what is left.
    let told = node.warnings.iter().find(|text| text.contains("group slow")).expect("the jump is told");
    assert!(told.contains("expired") && told.contains("3 "), "{told}");
    let asked = node.ask_position("slow", "T", 0);
    let begins = min(&mut node, 0);
    assert_eq!(node.answer_to(asked).unwrap().number("offset"), begins);
    assert_eq!(expired(&mut node, "slow"), [(Some(3), begins)]);
    let measured = node.measure().jumps;
    let [jumps] = &measured[..] else { panic!("{measured:?}") };
    assert_eq!((&*jumps.group, jumps.cause, jumps.jumps), ("slow", "expired", 1));
    assert_eq!(jumps.skipped, begins as u64 - 3);
    // Another process finds the same.
    let all = [read_all(&mut node, 0), read_all(&mut node, 1)];
    let mut node = node.restart();
    assert_eq!([read_all(&mut node, 0), read_all(&mut node, 1)], all);
    assert_eq!(min(&mut node, 0), begins);
    assert_eq!(expired(&mut node, "slow"), [(Some(3), begins)]);
}

/// P5: the files go only after a verified snapshot covers the decision; a crash before leaves them, and the next
/// process frees them.
#[test]
fn nothing_is_freed_before_a_snapshot_covers_it() {
    let mut node = open(small());
    send(&mut node, 0..25);
    node.hold_checkpoints = true;
    wait(&mut node, 2 * MINUTE);
    assert!(min(&mut node, 0) > 0, "decided");
    assert_eq!(bases(&node), [0, 1, 2], "not freed");
    assert!(node.checkpoint.is_some(), "a checkpoint is wanted at once");
    let mut node = node.restart();
    assert!(min(&mut node, 0) > 0, "the decision stands");
    wait(&mut node, 1);
    assert_eq!(bases(&node), [2]);
    assert_eq!(read_all(&mut node, 0).len(), 3);
}

#[test]
fn a_crash_while_files_are_freed_is_made_good() {
    for operations in 0..12 {
        let mut node = open(small());
        send(&mut node, 0..35);
        node.hold_freeing = true;
        wait(&mut node, 2 * MINUTE);
        let freeing = node.freeing.take().expect("files are to be freed");
        assert_eq!(freeing.bases.len(), 3);
        node.disk.stop_after(operations);
        let done = node.free(freeing);
        node.disk.stop_after(-1);
        let mut node = node.restart();
        drop(done);
        wait(&mut node, 1);
        assert_eq!(bases(&node), [3], "after {operations} operations");
        assert_eq!(read_all(&mut node, 1), [31, 33]);
        send(&mut node, 35..80);
        assert_eq!(read_all(&mut node, 1).len(), 25);
    }
}

/// A file that was something else is the log's next segment: what it held is never mistaken for the log.
#[test]
fn freed_files_become_new_segments() {
    let mut node = open(small());
    send(&mut node, 0..45);
    wait(&mut node, 2 * MINUTE);
    assert_eq!(spares(&node), 2);
    send(&mut node, 45..80);
    assert_eq!(spares(&node), 0, "both are in use");
    let read = read_all(&mut node, 0);
    assert_eq!(*read.last().unwrap(), 78);
    // Killed in the middle of a reused file, several times.
    for round in 0..3 {
        node = node.restart();
        assert_eq!(read_all(&mut node, 0).len(), read.len() + round);
        send(&mut node, 80 + 2 * round..82 + 2 * round);
    }
}

#[test]
fn a_limit_in_bytes_removes_the_oldest() {
    let retention = Retention { bytes: 3 * SEGMENT, ..Retention::default() };
    let mut node = open(Options { retention, ..small() });
    send(&mut node, 0..75);
    wait(&mut node, MINUTE);
    assert_eq!(bases(&node), [5, 6, 7]);
}

#[test]
fn a_full_disk_first_forgets_the_old_then_the_oldest_then_refuses() {
    let retention = Retention { reserved: MINUTE, hours: vec![], ..Retention::default() };
    let mut node = open(Options { retention, ..small() });
    send(&mut node, 0..15);
    wait(&mut node, 2 * MINUTE);
    send(&mut node, 15..45);
    let percent = |used: u64| Space { total: 100 * SEGMENT, free: (100 - used) * SEGMENT };
    node.disk.set_space(percent(75));
    wait(&mut node, 10_000);
    assert_eq!(bases(&node), [0, 1, 2, 3, 4], "it is not the hour");
    node.disk.set_space(percent(76));
    wait(&mut node, 10_000);
    assert_eq!(bases(&node), [1, 2, 3, 4], "what is old goes");
    assert_eq!(spares(&node), 0, "no space is kept for later");
    node.disk.set_space(percent(87));
    wait(&mut node, 10_000);
    node.disk.set_space(percent(80));
    wait(&mut node, 10_000);
    assert_eq!(bases(&node), [3, 4], "as much as brings the disk to 85 %");
    node.disk.set_space(percent(91));
    node.fill();
    let refused = node.send("T", 0, "one too many", "");
    assert_eq!(refused.code, response::SERVICE_NOT_AVAILABLE);
    assert!(
        refused.remark.contains("stored=no") && refused.remark.contains("91 % full"),
        "{}",
        refused.remark
    );
    let commit = node.commit("g", "T", 0, 20);
    assert_eq!(node.answer_to(commit).unwrap().code, response::SUCCESS, "positions are taken");
    node.disk.set_space(percent(50));
    node.fill();
    assert_eq!(node.send("T", 0, "fits", "").code, response::SUCCESS, "service resumes");
}

/// It may be somebody else who filled the disk: what a group still has to process gives way to age and to a limit that an
/// operator set, not to that.
#[test]
fn a_full_disk_takes_nothing_that_a_group_has_to_process() {
    let mut node = open(Options { retention: Retention { hours: vec![], ..small().retention }, ..small() });
    send(&mut node, 0..45);
    for (queue, processed) in [(0, 12), (1, 22)] {
        node.commit("slow", "T", queue, processed);
    }
    node.disk.set_space(Space { total: 100 * SEGMENT, free: 8 * SEGMENT });
    wait(&mut node, MINUTE / 2);
    assert_eq!(bases(&node), [2, 3, 4], "the group has processed 24 messages");
    let header = Header::request(request::GET_RETENTION, 0);
    let report = RetentionReport::decode(&node.ask(header.into_owned(), Bytes::new()).body).unwrap();
    assert!(report.segments[0].why.contains("group slow has not processed queue T/0"), "{report:?}");
    assert!(report.pins[0].release.contains("deleteSubGroup -g slow -r true"), "{report:?}");
    let told = node.warnings.iter().find(|text| text.contains("log files should go")).expect("it is told");
    assert!(told.contains("still has to process"), "{told}");
    wait(&mut node, 3 * MINUTE);
    assert_eq!(bases(&node), [4], "they are older than messages are kept");
}

/// A client that dies of a message has no position among its retries yet.
#[test]
fn a_full_disk_takes_no_retries_from_a_known_group() {
    let mut node = open(Options { retention: Retention { hours: vec![], ..small().retention }, ..small() });
    node.send("%RETRY%other", 0, "nobody's", "");
    send(&mut node, 0..15);
    node.send("%RETRY%slow", 0, "once more", "");
    send(&mut node, 15..45);
    for queue in 0..2 {
        node.commit("slow", "T", queue, 22);
    }
    node.disk.set_space(Space { total: 100 * SEGMENT, free: 8 * SEGMENT });
    wait(&mut node, MINUTE / 2);
    assert_eq!(bases(&node), [1, 4]);
    assert_eq!(node.pull("%RETRY%slow", 0, 0).bodies(), ["once more"]);
    assert_eq!(node.pull("%RETRY%other", 0, 0).code, response::PULL_OFFSET_MOVED);
}

/// On a full disk no message comes that would make a checkpoint due, and without one nothing may go.
#[test]
fn a_full_disk_is_emptied_though_no_snapshot_was_due() {
    let options = small();
    let mut node = open(Options { checkpoint_messages: 1 << 20, ..options });
    send(&mut node, 0..45);
    assert_eq!(bases(&node), [0, 1, 2, 3, 4]);
    node.disk.set_space(Space { total: 100 * SEGMENT, free: 8 * SEGMENT });
    wait(&mut node, 50_000);
    assert_eq!(bases(&node), [4], "none of them is old yet");
}

/// A wall clock that is wrong removes nothing.
#[test]
fn a_clock_that_jumps_removes_nothing() {
    let mut node = open(small());
    send(&mut node, 0..25);
    wait(&mut node, 1);
    node.wall_error = 365 * 24 * 60 * MINUTE;
    wait(&mut node, 30_000);
    assert_eq!(bases(&node), [0, 1, 2]);
    wait(&mut node, 60_000);
    assert_eq!(bases(&node), [2], "a minute has passed all the same");
}

/// An index run is made again from what is left of its stretch.
#[test]
fn an_index_run_is_made_again_over_a_hole() {
    // One run over several segments, of which only some are gone.
    let mut node = open(Options { checkpoint_messages: 45, ..small() });
    send(&mut node, 0..25);
    wait(&mut node, 2 * MINUTE);
    assert_eq!(bases(&node), [0, 1, 2], "no checkpoint covers it");
    send(&mut node, 25..55);
    wait(&mut node, 10_000);
    assert_eq!(bases(&node), [2, 3, 4, 5]);
    let all = [read_all(&mut node, 0), read_all(&mut node, 1)];
    let runs: Vec<String> = node.disk.paths().into_iter().filter(|path| path.starts_with("index/")).collect();
    assert!(!runs.is_empty());
    runs.iter().for_each(|run| node.disk.flip(run, 100));
    let mut node = node.restart();
    assert_eq!([read_all(&mut node, 0), read_all(&mut node, 1)], all);
    assert_eq!(node.query("T", "order-1").code, response::QUERY_NOT_FOUND);
    assert_eq!(node.query("T", "order-30").bodies().len(), 1);
}

fn make_topic(node: &mut Node, topic: &str, attributes: &str) -> node::Answer {
    make_topic_of(node, topic, 2, attributes)
}

fn make_topic_of(node: &mut Node, topic: &str, queues: i32, attributes: &str) -> node::Answer {
    let attributes = Some(attributes.into());
    node.create_topic(headers::CreateTopic { attributes, ..node::topic(topic, queues) })
}

/// P6: what a group has not processed of a protected topic stays, and so does what comes after it in that queue; the
/// segments around go.
#[test]
fn unprocessed_messages_of_a_protected_topic_stay() {
    let mut node = open(small());
    assert_eq!(make_topic(&mut node, "P", "+steadfast.protected=true").code, response::SUCCESS);
    node.commit("g", "P", 0, 0);
    node.commit("g", "P", 1, 0);
    send(&mut node, 0..10);
    for i in 0..3 {
        node.send("P", 0, &format!("kept {i}"), "");
        send(&mut node, 10 + 10 * i..20 + 10 * i);
    }
    send(&mut node, 40..65);
    node.commit("g", "P", 0, 1);
    wait(&mut node, 2 * MINUTE);
    let kept = bases(&node);
    assert_eq!(kept, [1, 2, 6], "holes are legal");
    assert_eq!(node.pull("P", 0, 1).bodies(), ["kept 1", "kept 2"]);
    assert_eq!(read_all(&mut node, 0).first(), Some(&60), "a queue has no holes");
    // A restart over the hole.
    let mut node = node.restart();
    assert_eq!(node.pull("P", 0, 1).bodies(), ["kept 1", "kept 2"]);
    wait(&mut node, 10_000);
    assert_eq!(bases(&node), kept);
    // Once they are processed they go.
    node.commit("g", "P", 0, 3);
    wait(&mut node, 70_000);
    assert_eq!(bases(&node).len(), 1);
    assert_eq!(node.pull("P", 0, 1).number("minOffset"), 3);
}

#[test]
fn a_protected_topic_without_a_group_keeps_everything() {
    let mut node = open(small());
    make_topic(&mut node, "P", "+steadfast.protected=true");
    node.send("P", 0, "nobody has read this", "");
    send(&mut node, 0..25);
    wait(&mut node, 2 * MINUTE);
    assert_eq!(bases(&node), [0, 2]);
    make_topic(&mut node, "P", "-steadfast.protected");
    wait(&mut node, 70_000);
    assert_eq!(bases(&node), [2], "the operator has released it");
}

/// What a group could not process of a protected topic waits in its retry topic.
#[test]
fn the_retry_topic_of_a_protected_topic_is_protected() {
    let mut node = open(small());
    make_topic(&mut node, "P", "+steadfast.protected=true");
    node.commit("g", "P", 0, 0);
    node.send("%RETRY%g", 0, "once more", "");
    send(&mut node, 0..15);
    node.send("%RETRY%other", 0, "unprotected", "");
    send(&mut node, 15..25);
    wait(&mut node, 2 * MINUTE);
    assert_eq!(node.pull("%RETRY%g", 0, 0).bodies(), ["once more"]);
    assert_eq!(node.pull("%RETRY%other", 0, 0).code, response::PULL_OFFSET_MOVED);
}

/// A message that waits for its time stays, however old it is by then, and goes once it was delivered.
#[test]
fn a_delayed_message_stays_until_it_is_delivered() {
    let mut node = open(small());
    // Level 17 is an hour.
    node.send("D", 0, "later", "DELAY\u{1}17\u{2}");
    send(&mut node, 0..25);
    wait(&mut node, 2 * MINUTE);
    assert_eq!(bases(&node), [0, 2]);
    let answer = node.ask(Header::request(request::GET_RETENTION, 0), Bytes::new());
    let report = RetentionReport::decode(&answer.body).unwrap();
    assert_eq!(
        report.segments[0].why,
        "delayed messages in queue SCHEDULE_TOPIC_XXXX/16 are not delivered yet"
    );
    let [pin] = &report.pins[..] else { panic!("{:?}", report.pins) };
    assert_eq!((pin.group.as_deref(), pin.messages, &pin.segments[..]), (None, 1, &[0][..]));
    assert!(pin.release.contains("when they are due"), "{}", pin.release);
    node.fill();
    node.pass(60 * MINUTE);
    assert_eq!(node.pull("D", 0, 0).bodies(), ["later"]);
    wait(&mut node, 2 * MINUTE);
    assert!(!bases(&node).contains(&0), "{:?}", bases(&node));
}

/// However full the disk is: messages are refused before one is removed that somebody needs.
#[test]
fn a_full_disk_does_not_touch_what_is_needed() {
    let mut node = open(small());
    make_topic(&mut node, "P", "+steadfast.protected=true");
    for _ in 0..25 {
        node.fill();
        node.send("P", 0, &"x".repeat(100_000), "");
    }
    node.disk.set_space(Space { total: 100, free: 1 });
    for _ in 0..5 {
        wait(&mut node, 2 * MINUTE);
    }
    assert_eq!(bases(&node), [0, 1, 2]);
    assert_eq!(node.send("P", 0, "one too many", "").code, response::SERVICE_NOT_AVAILABLE);
    assert_eq!(node.pull("P", 0, 0).number("minOffset"), 0);
}

/// A protected topic over its quota refuses its own messages and nobody else's.
#[test]
fn a_quota_holds_its_own_topic_only() {
    let mut node = open(small());
    make_topic(&mut node, "P", "+steadfast.protected=true,+steadfast.quota=250000");
    node.commit("g", "P", 0, 0);
    let body = "x".repeat(100_000);
    for _ in 0..3 {
        node.fill();
        assert_eq!(node.send("P", 0, &body, "").code, response::SUCCESS);
    }
    let refused = node.send("P", 0, &body, "");
    assert_eq!(refused.code, response::SERVICE_NOT_AVAILABLE);
    assert!(
        refused.remark.contains("stored=no") && refused.remark.contains("steadfast.quota"),
        "{}",
        refused.remark
    );
    assert_eq!(node.send("T", 0, "another topic", "").code, response::SUCCESS);
    node.commit("g", "P", 0, 2);
    assert_eq!(node.send("P", 0, &body, "").code, response::SUCCESS, "its consumer has caught up");
}

/// A position that moves back while the decision is being written: the decision does not hold.
#[test]
fn a_decision_that_came_too_late_is_refused() {
    let mut node = open(small());
    make_topic(&mut node, "P", "+steadfast.protected=true");
    node.send("P", 0, "again", "");
    node.commit("g", "P", 0, 1);
    send(&mut node, 0..25);
    node.hold_writes = true;
    node.commit("g", "P", 0, 0);
    wait(&mut node, 2 * MINUTE);
    node.hold_writes = false;
    node.release_writes();
    assert_eq!(bases(&node), [0, 1, 2]);
    assert_eq!(node.pull("P", 0, 0).bodies(), ["again"]);
}

#[test]
fn attributes_are_kept_shown_and_checked() {
    let mut node = open(small());
    let refused = make_topic(&mut node, "P", "+steadfast.protect=true");
    assert_eq!(refused.code, response::INVALID_PARAMETER);
    assert!(refused.remark.contains("there is no attribute steadfast.protect"), "{}", refused.remark);
    make_topic(&mut node, "P", "+steadfast.protected=true,+steadfast.quota=1000000");
    make_topic(&mut node, "P", "-steadfast.quota");
    let mut node = node.restart();
    let mut header = Header::request(request::GET_TOPIC_CONFIG, 0);
    headers::TopicOnly { topic: "P".into() }.encode(&mut header.ext);
    let shown = node.ask(header.into_owned(), Bytes::new());
    let text = String::from_utf8(shown.body.to_vec()).unwrap();
    assert!(text.contains("\"attributes\":{\"steadfast.protected\":\"true\"}"), "{text}");
}

#[test]
fn the_report_says_what_keeps_the_log_and_how_to_release_it() {
    let mut node = open(small());
    make_topic(&mut node, "P", "+steadfast.protected=true");
    node.commit("slow", "P", 1, 0);
    node.send("P", 1, "kept", "");
    send(&mut node, 0..25);
    wait(&mut node, 2 * MINUTE);
    let answer = node.ask(Header::request(request::GET_RETENTION, 0), Bytes::new());
    let report = RetentionReport::decode(&answer.body).unwrap();
    assert_eq!(report.retention_head, 0);
    assert!(report.replication_head > 2 * SEGMENT, "the heads are apart");
    assert_eq!(report.segments.iter().map(|segment| segment.base / SEGMENT).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(report.segments[0].why, "group slow has not processed queue P/1");
    let [pin] = &report.pins[..] else { panic!("{:?}", report.pins) };
    assert_eq!((&*pin.topic, pin.queue_id, pin.group.as_deref()), ("P", 1, Some("slow")));
    assert_eq!((pin.from, pin.messages, &pin.segments[..]), (0, 1, &[0][..]));
    assert!(pin.bytes > 0 && pin.age >= 2 * MINUTE, "{pin:?}");
    let unprotect = "updateTopic -t P -a -steadfast.protected -r 2 -w 2 -p 6 -o false";
    assert!(pin.release.contains(unprotect), "{}", pin.release);
}

/// A change that hides messages is made, as it may be wanted, and told.
#[test]
fn messages_in_queues_that_are_not_read_any_more_are_told() {
    let mut node = open(small());
    make_topic_of(&mut node, "T", 4, "");
    [1, 2, 2, 3, 3].into_iter().for_each(|queue| _ = node.send("T", queue, "x", ""));
    node.commit("g", "T", 1, 1);
    node.commit("g", "T", 3, 1);
    make_topic_of(&mut node, "T", 1, "+steadfast.protected=true");
    let told: Vec<String> = node.warnings.drain(..).filter(|text| text.contains("topic T")).collect();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(
        told.contains("from 4 queues to read from to 1: 3 messages in its queues 2, 3 are not processed"),
        "{told}"
    );
    assert!(told.contains("updateTopic -t T -r 4"), "{told}");
    // Nothing is hidden by more queues, nor where all is processed.
    make_topic_of(&mut node, "T", 4, "");
    node.commit("g", "T", 2, 2);
    node.commit("g", "T", 3, 2);
    make_topic_of(&mut node, "T", 1, "");
    assert!(!node.warnings.iter().any(|text| text.contains("topic T")), "{:?}", node.warnings);
}

/// A decision about more queues than one record can hold takes several; the files go after the last one.
#[test]
fn any_number_of_queues_can_move() {
    const TOPICS: usize = 40;
    const QUEUES: i32 = 1024;
    let topic = |i: usize| format!("{i:0>100}");
    let fill = |node: &mut Node| {
        for (topic, queue) in
            (0..TOPICS).map(topic).flat_map(|topic| (0..QUEUES).map(move |q| (topic.clone(), q)))
        {
            if queue % 256 == 0 {
                node.fill();
            }
            let sent = node.send(&topic, queue, "x", "");
            assert_eq!(sent.code, response::SUCCESS, "{}", sent.remark);
        }
    };
    let mut node = open(Options { checkpoint_messages: 4_000, ..small() });
    for i in 0..TOPICS {
        make_topic_of(&mut node, &topic(i), QUEUES, "+steadfast.protected=true");
    }
    fill(&mut node);
    for (i, queue) in (0..TOPICS).flat_map(|i| (0..QUEUES).map(move |queue| (i, queue))) {
        node.fill();
        node.commit("g", &topic(i), queue, 1);
    }
    send(&mut node, 0..25);
    let before = bases(&node);
    wait(&mut node, 2 * MINUTE);
    let after = bases(&node);
    // What is left holds the decision itself.
    assert!(before.len() > 10 && after.first() >= before.last(), "{before:?} {after:?}");
    assert_eq!(node.warnings, Vec::<String>::new());
    for queue in [0, QUEUES - 1] {
        let gone = node.pull(&topic(TOPICS - 1), queue, 0);
        assert_eq!((gone.code, gone.number("minOffset")), (response::PULL_OFFSET_MOVED, 1));
    }
}

/// One queue of many is needed again while the decision is written: no part of it removes anything.
#[test]
fn a_decision_in_several_records_holds_as_a_whole() {
    let mut node = open(small());
    let topics = ["P0", "P1", "P2"];
    for topic in topics {
        make_topic_of(&mut node, topic, 1024, "+steadfast.protected=true");
        for queue in 0..1024 {
            node.fill();
            node.send(topic, queue, "kept", "");
            node.commit("g", topic, queue, 1);
        }
    }
    send(&mut node, 0..25);
    let before = bases(&node);
    node.hold_writes = true;
    // In the first of the records.
    node.commit("g", "P0", 5, 0);
    wait(&mut node, 2 * MINUTE);
    for _ in 0..10 {
        node.release_writes();
    }
    node.hold_writes = false;
    node.release_writes();
    assert_eq!(bases(&node), before);
    assert_eq!(node.pull("P0", 5, 0).bodies(), ["kept"]);
    assert!(
        node.warnings.iter().any(|text| text.contains("needs some of them again")),
        "{:?}",
        node.warnings
    );
}

/// Space is short and nothing can go: that is told, once.
#[test]
fn a_disk_that_cannot_be_emptied_is_told_of() {
    let mut node = open(small());
    make_topic(&mut node, "P", "+steadfast.protected=true");
    for _ in 0..25 {
        node.fill();
        node.send("P", 0, &"x".repeat(100_000), "");
    }
    node.disk.set_space(Space { total: 100 * SEGMENT, free: 12 * SEGMENT });
    for _ in 0..3 {
        wait(&mut node, 2 * MINUTE);
    }
    let told: Vec<_> = node.warnings.iter().filter(|text| text.contains("log files should go")).collect();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(
        told.contains("3 log files") && told.contains("88 %") && told.contains("admin retention"),
        "{told}"
    );
}
