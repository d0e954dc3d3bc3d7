//! A replica that comes with another disk than before: one that is new, an older copy, or one that another process uses too.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;
mod replicas;

use node::{MemDisk, Node};
use replicas::Replicas;
use steadfast_consensus::ReplicaId;
use steadfast_store::meta::{Meta, MetaFile, Past};
use steadfast_wire::code::response;

/// A group whose replicas are all complete, who leads, and another one.
fn group() -> (Replicas, ReplicaId, ReplicaId) {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    group.pass(1_000);
    let other = group.others(leader)[0];
    assert!(group.all.iter_mut().all(|node| !node.measure().incomplete));
    (group, leader, other)
}

fn meta(disk: &MemDisk) -> Meta {
    MetaFile::open(disk).unwrap().unwrap().get()
}

fn send(group: &mut Replicas, to: ReplicaId, count: usize) {
    for i in 0..count {
        assert_eq!(group.send(to, "T", 0, &format!("m{i}")).code, response::SUCCESS);
    }
}

fn says(node: &Node, what: &str) -> bool {
    node.warnings.iter().any(|warning| warning.contains(what))
}

#[test]
fn a_restart_is_no_other_disk() {
    let (mut group, leader, other) = group();
    let before = meta(&group.node(other).disk);
    assert_ne!(before.past, Past::default());
    for _ in 0..3 {
        group.restart(other);
        send(&mut group, leader, 5);
        group.pass(500);
        assert!(!group.node(other).measure().incomplete);
    }
    assert_eq!(meta(&group.node(other).disk).past.disk, before.past.disk);
    assert!(group.all.iter().all(|node| !says(node, "disk")), "there is nothing to say");
    assert!(group.agree());
}

/// The group tells it that there was more, before it votes; it is filled, and is a disk of its own from then on.
#[test]
fn an_older_copy_of_a_disk_is_recognised_and_refilled() {
    let (mut group, leader, other) = group();
    let copy = group.node(other).disk.copy();
    group.restart(other);
    send(&mut group, leader, 20);
    group.pass(500);

    group.cut.insert(other);
    group.restart_on(other, copy);
    group.pass(200);
    assert!(!group.node(other).measure().incomplete, "alone it cannot know");
    let before = meta(&group.node(other).disk).past;
    group.cut.clear();
    group.pass(20);
    assert!(says(group.node(other), "is an older copy of itself"), "{:?}", group.node(other).warnings);
    assert_ne!(meta(&group.node(other).disk).past.disk, before.disk);
    group.pass(1_000);
    assert!(!group.node(other).measure().incomplete && group.agree());

    // Recorded anew, it is nothing special any more.
    group.restart(other);
    group.pass(500);
    assert!(!says(group.node(other), "disk") && !group.node(other).measure().incomplete);
}

/// It is known of before the vote counts, whoever asks for it and although nobody leads.
#[test]
fn an_older_copy_does_not_elect_whom_it_would_not_have() {
    let (mut group, leader, other) = group();
    let third = group.others(leader)[1];
    let copy = group.node(other).disk.copy();
    group.restart(other);
    send(&mut group, leader, 5);
    group.pass(500);
    // The leader and the other one have this, the third has not.
    group.cut.insert(third);
    send(&mut group, leader, 5);
    group.cut = [leader].into();
    group.restart_on(other, copy);
    group.pass(10_000);
    let leads = |group: &Replicas, id: ReplicaId| group.all[id as usize - 1].broker.is_leader();
    assert!(!leads(&group, other) && !leads(&group, third), "they lack what was acknowledged");
    group.cut.clear();
    let next = group.leader();
    assert_eq!(group.read(next, "T", 0).len(), 10);
}

#[test]
fn a_disk_that_was_replaced_is_told_by_whoever_leads() {
    let (mut group, leader, other) = group();
    send(&mut group, leader, 20);
    group.restart_on(other, MemDisk::default());
    group.pass(1_000);
    assert!(says(group.node(leader), "comes with another disk"), "{:?}", group.node(leader).warnings);
    assert!(says(group.node(other), "comes with another disk"), "{:?}", group.node(other).warnings);
    assert!(!group.node(other).measure().incomplete && group.agree());
    // The old disk comes back: it is another one again.
    let old = group.restart_on(other, MemDisk::default()).disk;
    group.pass(1_000);
    group.restart_on(other, old);
    group.pass(20);
    assert!(says(group.node(other), "comes with another disk"));
}

/// Two processes on copies of one disk: the one that was started last stays.
#[test]
fn of_two_with_one_disk_one_stops() {
    let (mut group, leader, other) = group();
    let copy = group.node(other).disk.copy();
    let mut first = group.restart_on(other, copy);
    group.pass(500);
    assert!(!group.node(other).measure().incomplete);
    // The first one still hears the others.
    let mut heard = Vec::new();
    group.node(leader).pass(200);
    heard.append(&mut group.node(leader).outbox);
    for message in heard.into_iter().filter(|message| message.to == other) {
        first.input(steadfast_broker::io::Input::Message(message));
    }
    assert!(says(&first, "another process was started as this replica, on a copy"), "{:?}", first.warnings);
}
