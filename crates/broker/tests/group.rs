//! The broker on a group of several: what is acknowledged is on a quorum, whoever leads then goes on with it, and every
//! replica has the same state, whatever the way by which it came to it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;
mod replicas;

use node::{MemDisk, options, query_header, send_header};
use replicas::{Replicas, membership};
use steadfast_broker::io::Input;
use steadfast_broker::recovery;
use steadfast_consensus::Role;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;

#[test]
fn what_one_leader_took_the_next_one_goes_on_with() {
    for count in [3, 5] {
        let mut group = Replicas::new(count);
        let first = group.leader();
        for i in 0..40 {
            let sent = group.send(first, "T", i % 2, &format!("m{i}"));
            assert_eq!((sent.code, sent.number("queueOffset")), (response::SUCCESS, i64::from(i / 2)));
        }
        group.pass(100);
        assert!(group.agree(), "followers have applied the same");

        group.cut.insert(first);
        let second = group.leader();
        assert_ne!(first, second);
        assert!(matches!(group.node(second).roles.last(), Some(Role::Leader)));
        let sent = group.send(second, "T", 0, "after");
        assert_eq!((sent.code, sent.number("queueOffset")), (response::SUCCESS, 20), "it goes on there");
        let expected: Vec<String> = (0..40).step_by(2).map(|i| format!("m{i}")).collect();
        assert_eq!(group.read(second, "T", 0)[..20], expected);
        assert_eq!(group.ask(second, query_header("T", "m7", 0, i64::MAX), "").bodies(), ["m7"]);

        group.cut.clear();
        group.pass(1_000);
        assert!(group.agree(), "the first leader has caught up");
        assert_eq!(group.pull(second, "T", 0, 20).bodies(), ["after"]);
    }
}

/// A new disk is one that was lost: who has it says so until it has the leader's log.
#[test]
fn a_replica_says_from_when_on_it_has_all_that_it_should_have() {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    group.pass(100);
    let lost = group.others(leader)[0];
    assert!(group.node(lost).is_complete);
    group.without_space(lost);
    group.cut.insert(lost);
    group.send(leader, "T", 0, "while it is away");
    assert!(group.node(lost).measure().incomplete);
    group.pass(2_000);
    assert!(!group.node(lost).is_complete);
    let behind = |group: &mut Replicas| {
        let peers = group.node(leader).measure().peers;
        peers.into_iter().find(|peer| peer.replica == lost).map(|peer| (peer.behind > 0, peer.answers))
    };
    assert_eq!(behind(&mut group), Some((true, false)));
    group.node(lost).fill();
    group.cut.clear();
    group.pass(2_000);
    assert!(group.node(lost).is_complete && group.agree());
    assert_eq!(behind(&mut group), Some((false, true)));
}

/// A checkpoint of its own, or a restart, changes nothing of what a replica knows.
#[test]
fn a_replica_that_was_started_again_is_in_the_same_state() {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    for round in 0..3u64 {
        for i in 0..30 {
            group.send(leader, "T", i % 3, &format!("{round}-{i}"));
        }
        let down = group.others(leader)[round as usize % 2];
        group.restart(down);
        group.send(leader, "T", 0, "while it was away");
        group.pass(500);
        assert_eq!(group.leader(), leader);
        assert!(group.agree(), "round {round}");
    }
    group.restart(leader);
    let next = group.leader();
    group.pass(500);
    assert!(group.agree());
    let pulled = group.pull(next, "T", 1, 0);
    assert_eq!(pulled.number("maxOffset"), 30);
    for round in 0..3 {
        let key = format!("{round}-17");
        assert_eq!(group.ask(next, query_header("T", &key, 0, i64::MAX), "").bodies(), [key]);
    }
}

/// One that was away for longer than the others' checkpoints still gets what it lacks: also from a leader that knows of
/// these entries only from its snapshot.
#[test]
fn a_replica_gets_entries_that_others_have_only_on_disk() {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    let away = group.others(leader)[0];
    let third = group.others(leader)[1];
    for i in 0..10 {
        group.send(leader, "T", 0, &format!("m{i}"));
    }
    group.pass(100);
    group.cut.insert(away);
    for i in 10..100 {
        group.send(leader, "T", 0, &format!("m{i}"));
    }
    group.pass(100);
    group.restart(leader);
    group.restart(third);
    let leader = group.leader();
    let sent = group.send(leader, "T", 0, "m100");
    assert_eq!(sent.code, response::SUCCESS, "{sent:?}");
    group.cut.clear();
    group.pass(2_000);
    assert!(group.agree());
    let leader = group.leader();
    assert_eq!(group.read(leader, "T", 0), (0..=100).map(|i| format!("m{i}")).collect::<Vec<_>>());
}

/// What a deposed leader alone has is gone, and its offsets go to others: nobody saw them.
#[test]
fn an_offset_that_nobody_saw_is_given_again() {
    let mut group = Replicas::new(3);
    let old = group.leader();
    group.send(old, "T", 0, "seen");
    group.pass(100);
    group.cut.insert(old);
    let lost = group.request(old, send_header("T", 0, ""), "lost");
    let new = group.leader();
    assert_eq!(group.send(new, "T", 0, "kept").number("queueOffset"), 1);
    group.cut.clear();
    group.pass(1_000);
    let answer = group.node(old).answer_to(lost).expect("it was told when its leader was deposed");
    assert!(answer.remark.starts_with("stored=unknown; retry=same id"), "{}", answer.remark);
    assert!(group.agree());
    assert_eq!(group.read(new, "T", 0), ["seen", "kept"]);
    // And it can lead again.
    group.cut.insert(new);
    let next = group.leader();
    assert_eq!(group.send(next, "T", 0, "on").number("queueOffset"), 2);
}

/// Its leader does not know how far a follower's filler is, and what the filler still fills must not be written before.
#[test]
fn a_follower_writes_where_its_filler_has_been() {
    let mut group = Replicas::new(3);
    let follower = 3;
    group.without_space(follower);
    let leader = group.leader();
    assert_eq!(group.send(leader, "T", 0, "first").code, response::SUCCESS, "the two others are a quorum");
    group.pass(50);
    assert_eq!(group.node(follower).log_end(), 0, "nothing is written where there is no space");
    group.cut.insert(3 - leader);
    let sent = group.request(leader, send_header("T", 0, ""), "second");
    assert!(group.node(leader).answer_to(sent).is_none());
    group.node(follower).fill();
    group.pass(100);
    assert_eq!(group.node(leader).answer_to(sent).unwrap().number("queueOffset"), 1);
}

/// Two replicas with one vote, or a replica that goes on alone, would take back what was acknowledged.
#[test]
fn a_directory_is_opened_by_its_own_replica_alone() {
    let disk = MemDisk::default();
    let open = |disk: &MemDisk, group, id| {
        let opened = recovery::open_member(disk.clone(), &options(), group, &membership(id, 3));
        opened.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(open(&disk, 7, 2), Ok(()));
    assert_eq!(open(&disk, 7, 2), Ok(()));
    let refused = |result: Result<(), String>, part: &str| {
        let error = result.unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    refused(open(&disk, 8, 2), "another group");
    refused(open(&disk, 7, 3), "that of replica n1, and this is n2");
    let alone = recovery::open(disk.clone(), &options(), 7).map(drop);
    refused(alone.map_err(|error| error.to_string()), "that of a replica of a group, n1");
    let repair = recovery::open_damaged(disk, &options()).map(drop);
    refused(repair.map_err(|error| error.to_string()), "that of a replica of a group, n1");
    let single = MemDisk::default();
    recovery::open(single.clone(), &options(), 7).map(drop).unwrap();
    refused(open(&single, 7, 2), "that of a single server");
}

/// Whoever stops hands over to the replica that has the least to catch up with, and no acknowledgement is lost.
#[test]
fn a_leader_hands_over_to_who_has_most() {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    let [behind, ahead] = group.others(leader)[..] else { panic!("three replicas") };
    let config = |group: &mut Replicas, id| {
        let answer = group.ask(id, Header::request(request::GET_BROKER_CONFIG, 0), "");
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    assert_eq!(config(&mut group, leader), "brokerId=0");
    assert_eq!(config(&mut group, ahead), format!("brokerId={ahead}"));
    group.cut.insert(behind);
    assert_eq!(group.send(leader, "T", 0, "first").code, response::SUCCESS);
    group.node(leader).input(Input::Transfer(None));
    group.run();
    group.pass(50);
    assert_eq!(group.leader(), ahead);
    assert_eq!(config(&mut group, leader), format!("brokerId={leader}"));
    assert_eq!(group.read(ahead, "T", 0), ["first"]);
}

/// What comes while a write is under way becomes the next one, which may need more space than a filler keeps ready. Until it
/// is durable the replica says nothing: no vote either.
#[test]
fn a_follower_has_the_space_made_that_its_write_needs() {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    let [follower, other] = group.others(leader)[..] else { unreachable!() };
    group.send(leader, "T", 0, "first");
    group.pass(100);
    group.node(follower).hold_writes = true;
    let large = "x".repeat(1 << 20);
    for i in 0..8 {
        group.node(leader).make_space();
        group.node(other).make_space();
        let sent = group.ask(leader, send_header("T", 0, ""), &large);
        assert_eq!(sent.code, response::SUCCESS, "{i}: {}", sent.remark);
    }
    group.node(follower).hold_writes = false;
    group.node(follower).release_writes();
    group.node(follower).fill();
    group.cut.insert(other);
    group.pass(1_000);
    assert_eq!(
        group.send(leader, "T", 1, "after").code,
        response::SUCCESS,
        "the follower acknowledges again"
    );
    group.cut.clear();
    group.pass(1_000);
    assert!(group.agree());
}
