//! Damage in a group of several: whoever meets it, the replica gets what it lacks from another one that has it whole, and
//! serves it again. Until then it serves no damaged message.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;
mod replicas;

use replicas::Replicas;
use steadfast_broker::io::Input;
use steadfast_consensus::{Body, Card, Message, ReplicaId};
use steadfast_store::log::segment_path;
use steadfast_types::{LogOffset, Term};
use steadfast_wire::code::response;

const MESSAGES: i64 = 120;

fn body(i: i64) -> String {
    format!("message {i:03}")
}

/// A group with messages of which the first ones are in no replica's memory any more.
fn group() -> (Replicas, ReplicaId) {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    for i in 0..MESSAGES {
        assert_eq!(group.send(leader, "T", 0, &body(i)).code, response::SUCCESS);
    }
    group.pass(100);
    assert!(group.agree());
    (group, leader)
}

/// Damages a message on the disk of a replica, `before` so many bytes before its body.
fn damage(group: &mut Replicas, id: ReplicaId, message: i64, before: usize) {
    let (disk, path) = (&group.node(id).disk, segment_path(LogOffset::ZERO));
    let content = disk.get(&path);
    let wanted = body(message);
    let at = content.windows(wanted.len()).position(|window| window == wanted.as_bytes()).unwrap();
    disk.flip(&path, at - before);
}

/// Whether the logs of two replicas are the same, as far as they are whole blocks.
fn same_log(group: &mut Replicas, one: ReplicaId, other: ReplicaId) -> bool {
    let len = group.node(one).log_end() as usize / 4096 * 4096;
    let mut log = |id| group.node(id).disk.get(&segment_path(LogOffset::ZERO))[..len].to_vec();
    log(one) == log(other)
}

fn repaired(group: &mut Replicas, id: ReplicaId) -> u64 {
    group.node(id).measure().repaired.entries
}

fn scrub(group: &mut Replicas, id: ReplicaId) {
    let node = group.node(id);
    let scrubbed = node.reader.scrub(LogOffset::ZERO, &|_| {});
    node.input(Input::Scrubbed(scrubbed));
    group.run();
}

#[test]
fn a_read_that_meets_damage_has_it_repaired() {
    let (mut group, leader) = group();
    let other = group.others(leader)[0];
    damage(&mut group, leader, 3, 0);
    assert!(!same_log(&mut group, leader, other));
    let refused = group.pull(leader, "T", 0, 3);
    assert_eq!(refused.code, response::SYSTEM_ERROR, "it is not served");
    assert_eq!(group.pull(leader, "T", 0, 3).bodies()[0], body(3), "and it is fetched at once");
    assert!(same_log(&mut group, leader, other));
    assert_eq!((repaired(&mut group, leader), group.node(leader).measure().repairing), (1, 0));
    let told = group.node(leader).warnings.join("\n");
    assert!(
        told.contains("it is fetched from another replica") && !told.contains("steadfast repair"),
        "{told}"
    );
    assert!(told.contains("1 damaged entries (") && told.contains("were fetched from n"), "{told}");
    assert_eq!(group.read(leader, "T", 0).len() as i64, MESSAGES);
}

/// Neither a message nor its index is affected; whoever reads the entry for another replica would stop there.
#[test]
fn the_scrub_has_what_no_client_reads_repaired_too() {
    let (mut group, leader) = group();
    let other = group.others(leader)[1];
    let header = group.node(other).disk.get(&segment_path(LogOffset::ZERO));
    let frames: Vec<usize> =
        header.windows(4).enumerate().filter(|(_, w)| *w == b"SFEN").map(|(at, _)| at).collect();
    for (i, at) in frames[4..8].iter().enumerate() {
        group.node(other).disk.flip(&segment_path(LogOffset::ZERO), at + 9 * i);
    }
    group.node(other).disk.flip(&segment_path(LogOffset::ZERO), 20);
    scrub(&mut group, other);
    group.pass(100);
    assert!(same_log(&mut group, leader, other));
    assert_eq!(repaired(&mut group, other), 4);
    assert_eq!(group.node(other).measure().damaged, 0);
    scrub(&mut group, other);
    assert_eq!(repaired(&mut group, other), 4, "there is nothing more");
}

#[test]
fn a_leader_that_cannot_refill_a_replica_is_repaired_by_the_third() {
    let (mut group, _) = group();
    // Nothing but the newest entries is in memory then.
    (1..=3).for_each(|id| group.restart(id));
    let leader = group.leader();
    let lost = group.others(leader)[0];
    damage(&mut group, leader, 30, 0);
    group.replace_disk(lost);
    group.pass(3_000);
    assert_eq!(group.leader(), leader);
    assert_eq!(repaired(&mut group, leader), 1);
    assert!(group.agree(), "the new disk has everything");
    assert!(same_log(&mut group, leader, lost));
}

#[test]
fn what_another_one_has_damaged_too_is_taken_from_a_third() {
    for before in [0, 40, 200] {
        let (mut group, leader) = group();
        let others = group.others(leader);
        for id in [leader, others[0]] {
            damage(&mut group, id, 7, before);
        }
        scrub(&mut group, leader);
        scrub(&mut group, others[0]);
        group.pass(100);
        for id in [leader, others[0]] {
            assert!(same_log(&mut group, id, others[1]), "replica {id}, {before} bytes before");
            assert_eq!(repaired(&mut group, id), 1);
        }
    }
}

#[test]
fn what_nobody_can_give_now_is_not_served_until_somebody_can() {
    let (mut group, leader) = group();
    let others = group.others(leader);
    damage(&mut group, leader, 3, 0);
    damage(&mut group, others[0], 3, 1);
    group.cut.insert(others[1]);
    for _ in 0..20 {
        assert_eq!(group.pull(leader, "T", 0, 3).code, response::SYSTEM_ERROR);
        group.pass(1_000);
    }
    let told =
        group.node(leader).warnings.iter().filter(|text| text.contains("no other replica has")).count();
    assert_eq!((told, group.node(leader).measure().repairing), (1, 1), "once an hour");
    group.cut.clear();
    group.pass(10_000);
    let leader = group.leader();
    assert_eq!(group.pull(leader, "T", 0, 3).bodies()[0], body(3));
    assert!(same_log(&mut group, leader, others[1]));
}

/// The end of a log is its writer's. What the others do not have yet, or not any more, they do not give.
#[test]
fn only_what_is_committed_is_given_and_one_answer_at_a_time() {
    let (mut group, leader) = group();
    let (from, end) = (group.others(leader)[0], LogOffset::new(group.node(leader).log_end()));
    let mut ask = |start: LogOffset, end: LogOffset| {
        let body = Body::LogRequest { number: 5, stretch: start..end };
        let node = group.node(leader);
        node.input(Input::Message(Message {
            from,
            to: leader,
            term: Term::new(1),
            card: Card::default(),
            body,
        }));
        let answers: Vec<_> = node.outbox.drain(..).collect();
        match &answers[..] {
            [Message { body: Body::LogPart { number: 5, at, bytes }, .. }] if *at == start => bytes.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(LogOffset::ZERO, end), end.get() as usize);
    assert_eq!(ask(LogOffset::ZERO, end + 99), end.get() as usize, "one that is behind gives what it has");
    assert_eq!(ask(end, end + 1), 0);
    assert_eq!(ask(LogOffset::new(16 << 20), LogOffset::new((16 << 20) + 1)), 0);
    let node = group.node(leader);
    let stretch = LogOffset::ZERO..LogOffset::new(10);
    let strange = Message {
        from: 9,
        to: leader,
        term: Term::new(1),
        card: Card::default(),
        body: Body::LogRequest { number: 5, stretch },
    };
    node.input(Input::Message(strange));
    assert!(node.outbox.is_empty(), "a stranger is told nothing");
}
