//! What a replica of several answers when it leads, when it does not, and when it does not know that it does not any more.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;
mod replicas;

use node::{Answer, pull_header, query_header, send_header};
use replicas::Replicas;
use steadfast_broker::Membership;
use steadfast_broker::io::Input;
use steadfast_consensus::ReplicaId;
use steadfast_wire::body::{Body, HeartbeatData, ProducerData};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers;

fn max_offset(topic: &str, queue: i32) -> Header<'static> {
    let mut header = Header::request(request::GET_MAX_OFFSET, 0);
    headers::GetMaxOffset { topic: topic.into(), queue_id: queue, committed: true }.encode(&mut header.ext);
    header.into_owned()
}

fn view(at: i64) -> Header<'static> {
    let mut header = Header::request(request::VIEW_MESSAGE_BY_ID, 0);
    headers::ViewMessage { offset: at, topic: None }.encode(&mut header.ext);
    header.into_owned()
}

/// Log offset of an acknowledged message.
fn place(sent: &Answer) -> i64 {
    let id = sent.ext.get("msgId").unwrap();
    i64::from_str_radix(&id[id.len() - 16..], 16).unwrap()
}

/// A group with one message in queue 0 of topic T, that all have applied.
fn three() -> (Replicas, ReplicaId, i64) {
    let mut group = Replicas::new(3);
    let leader = group.leader();
    let at = place(&group.send(leader, "T", 0, "first"));
    group.pass(100);
    (group, leader, at)
}

#[test]
fn a_follower_says_who_leads_and_what_to_do() {
    let (mut group, leader, at) = three();
    let follower = group.others(leader)[0];
    let sent = group.ask(follower, send_header("T", 0, ""), "x");
    assert_eq!(sent.code, response::SERVICE_NOT_AVAILABLE);
    assert!(sent.remark.starts_with("stored=no; retry=safe"), "{}", sent.remark);
    for answer in [
        sent,
        group.ask(follower, pull_header("T", 0, 0, 10_000), ""),
        group.ask(follower, max_offset("T", 0), ""),
        group.ask(follower, query_header("T", "first", 0, i64::MAX), ""),
    ] {
        assert_eq!(answer.code, response::SERVICE_NOT_AVAILABLE);
        assert!(
            answer.remark.contains(&format!("follows {}", Membership::name(leader))),
            "{}",
            answer.remark
        );
        assert!(answer.remark.contains("ask the leader"), "{}", answer.remark);
    }
    // What any replica knows for certain, any replica says.
    let producer = ProducerData { group_name: "producers".into() };
    let beat = HeartbeatData {
        client_id: "c".into(),
        producer_data_set: vec![producer],
        ..HeartbeatData::default()
    };
    let opaque = group.node(follower).request(1, Header::request(request::HEART_BEAT, 0), beat.encode());
    assert_eq!(group.node(follower).answer_to(opaque).unwrap().code, response::SUCCESS);
    assert_eq!(group.ask(follower, view(at), "").bodies(), ["first"]);
}

/// A message that a follower does not have yet is not denied.
#[test]
fn a_follower_that_is_behind_denies_no_message() {
    let (mut group, leader, _) = three();
    let behind = group.others(leader)[0];
    group.cut.insert(behind);
    let at = place(&group.send(leader, "T", 0, "second"));
    let answer = group.ask(behind, view(at), "");
    assert_eq!(answer.code, response::SERVICE_NOT_AVAILABLE);
    assert!(answer.remark.contains("ask the leader"), "{}", answer.remark);
}

#[test]
fn a_leader_without_a_quorum_says_nothing_of_the_newest_state() {
    let (mut group, old, _) = three();
    group.cut.insert(old);
    let asked = [
        group.request(old, max_offset("T", 0), ""),
        group.request(old, pull_header("T", 0, 1, 0), ""),
        group.request(old, pull_header("T", 0, 1, 60_000), ""),
        group.request(old, query_header("T", "second", 0, i64::MAX), ""),
        group.node(old).ask_position("consumers", "T", 0),
        group.node(old).commit("consumers", "T", 0, 1),
    ];
    assert_eq!(group.pull(old, "T", 0, 0).bodies(), ["first"], "what is there stays what it is");
    assert!(asked.iter().all(|opaque| group.node(old).answer_to(*opaque).is_none()));
    let new = group.leader();
    assert_eq!(group.send(new, "T", 0, "second").number("queueOffset"), 1);
    group.pass(1_000);
    for opaque in asked {
        let answer = group.node(old).answer_to(opaque).expect("it knows by now that nobody follows it");
        assert_eq!(answer.code, response::SERVICE_NOT_AVAILABLE);
        assert!(answer.remark.contains("knows no leader"), "{}", answer.remark);
    }
    assert_eq!(group.ask(new, max_offset("T", 0), "").number("offset"), 2);
    assert_eq!(group.ask(new, query_header("T", "second", 0, i64::MAX), "").bodies(), ["second"]);
}

/// Many questions that come together are one for the quorum, and nobody waits for longer than the other replicas take.
#[test]
fn reads_wait_for_a_quorum_and_not_for_time() {
    let (mut group, leader, _) = three();
    let before = group.all[leader as usize - 1].ticks;
    assert_eq!(group.ask(leader, max_offset("T", 0), "").number("offset"), 1);
    assert_eq!(group.pull(leader, "T", 0, 1).code, response::PULL_NOT_FOUND);
    let held = group.request(leader, pull_header("T", 0, 1, 10_000), "");
    assert!(group.node(leader).answer_to(held).is_none(), "it is held");
    group.send(leader, "T", 0, "second");
    assert_eq!(group.node(leader).answer_to(held).unwrap().bodies(), ["second"]);
    assert_eq!(group.all[leader as usize - 1].ticks, before);
}

#[test]
fn a_leader_that_is_deposed_tells_each_what_it_knows() {
    let (mut group, old, _) = three();
    let held = group.request(old, pull_header("T", 0, 1, 60_000), "");
    group.cut.insert(old);
    group.node(old).hold_writes = true;
    let proposed = group.request(old, send_header("T", 0, ""), "proposed");
    let waiting = group.request(old, send_header("T", 0, ""), "waiting");
    assert!(group.node(old).answer_to(proposed).is_none());
    group.leader();
    group.pass(1_000);
    let told = |group: &mut Replicas, opaque| group.node(old).answer_to(opaque).unwrap();
    let (proposed, waiting, held) =
        (told(&mut group, proposed), told(&mut group, waiting), told(&mut group, held));
    assert!(proposed.remark.starts_with("stored=unknown; retry=same id"), "{}", proposed.remark);
    assert_eq!(proposed.code, response::SYSTEM_ERROR, "clients send it again");
    assert!(waiting.remark.starts_with("stored=no; retry=safe"), "{}", waiting.remark);
    assert_eq!((waiting.code, held.code), (response::SERVICE_NOT_AVAILABLE, response::SERVICE_NOT_AVAILABLE));
}

/// It may have to apply what its predecessor left before it knows the next offset of any queue.
#[test]
fn a_new_leader_takes_nothing_before_it_has_committed_something() {
    let (mut group, old, _) = three();
    let [next, third] = group.others(old)[..] else { panic!("three") };
    group.node(old).input(Input::Transfer(Some(next)));
    group.node(next).hold_writes = true;
    for _ in 0..4 {
        // Its vote is written, the entry that opens its term is not.
        group.run();
        if group.all[next as usize - 1].broker.is_leader() {
            break;
        }
        group.node(next).release_writes();
    }
    assert!(group.all[next as usize - 1].broker.is_leader());
    let early = group.ask(next, send_header("T", 0, ""), "early");
    assert_eq!(early.code, response::SERVICE_NOT_AVAILABLE);
    assert!(early.remark.starts_with("stored=no; retry=safe"), "{}", early.remark);
    let asked = group.request(next, max_offset("T", 0), "");
    assert!(group.node(next).answer_to(asked).is_none());
    group.node(next).hold_writes = false;
    group.node(next).release_writes();
    group.run();
    assert_eq!(group.node(next).answer_to(asked).unwrap().number("offset"), 1);
    assert_eq!(group.send(next, "T", 0, "second").number("queueOffset"), 1);
    group.pass(100);
    assert!(group.agree() && !group.all[third as usize - 1].broker.is_leader());
}

/// P3: it acknowledges nothing any more, and what it knows gets old. The others go on.
#[test]
fn a_leader_whose_disk_fails_is_replaced() {
    let (mut group, old, at) = three();
    let held = group.request(old, pull_header("T", 0, 1, 60_000), "");
    group.node(old).hold_writes = true;
    let sent = group.request(old, send_header("T", 0, ""), "x");
    group.node(old).input(Input::WriteFailed("the disk is gone".into()));
    let sent = group.node(old).answer_to(sent).unwrap();
    assert!(sent.remark.starts_with("stored=unknown; retry=same id"), "{}", sent.remark);
    assert_eq!(group.node(old).answer_to(held).unwrap().code, response::SERVICE_NOT_AVAILABLE);
    assert!(group.ask(old, max_offset("T", 0), "").remark.contains("the disk is gone"));
    assert_eq!(group.ask(old, view(at), "").bodies(), ["first"]);
    let new = group.leader();
    assert_ne!(new, old);
    let offset = group.send(new, "T", 0, "y").number("queueOffset");
    assert!((1..=2).contains(&offset), "what was unknown may be there");
}

/// The messages of a level and its progress are one entry: whoever leads, each comes once.
#[test]
fn a_delayed_message_comes_once_whoever_leads() {
    let (mut group, first, _) = three();
    let delayed = |body: &str| send_header("T", 0, &format!("DELAY\u{1}1\u{2}KEYS\u{1}{body}\u{2}"));
    assert_eq!(group.ask(first, delayed("a"), "a").code, response::SUCCESS);
    group.pass(600);
    group.cut.insert(first);
    let second = group.leader();
    assert_eq!(group.ask(second, delayed("b"), "b").code, response::SUCCESS);
    group.pass(1_500);
    group.cut.clear();
    group.pass(1_000);
    group.node(second).input(Input::Transfer(Some(first)));
    group.run();
    let third = group.leader();
    group.pass(3_000);
    let leader = group.leader();
    assert_eq!((leader, group.read(leader, "T", 0)), (third, vec!["first".into(), "a".into(), "b".into()]));
    assert!(group.agree());
}
