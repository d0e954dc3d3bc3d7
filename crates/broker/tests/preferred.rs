//! The replica that is preferred to lead leads: once it can, and without haste.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;
mod replicas;

use replicas::{Replicas, TICK};
use steadfast_consensus::ReplicaId;

/// Lets time pass until a replica leads; returns the milliseconds that took.
fn until_it_leads(group: &mut Replicas, id: ReplicaId, at_most: u64) -> u64 {
    for passed in (0..=at_most).step_by(TICK as usize) {
        if group.node(id).broker.is_leader() {
            return passed;
        }
        group.pass(TICK);
    }
    panic!("{id} does not lead after {at_most} ms");
}

fn term(group: &mut Replicas, id: ReplicaId) -> u64 {
    group.node(id).measure().term.get()
}

/// A group whose preferred replica, n2, leads.
fn three() -> Replicas {
    let mut group = Replicas::preferring(3, Some(3));
    until_it_leads(&mut group, 3, 3_000);
    group
}

#[test]
fn the_preferred_replica_leads_and_leads_again_when_it_is_back() {
    for preferred in 1..=3 {
        let mut group = Replicas::preferring(3, Some(preferred));
        until_it_leads(&mut group, preferred, 3_000);
        group.send(preferred, "T", 0, "first");
        group.cut.insert(preferred);
        let other = group.leader();
        assert_ne!(other, preferred);
        (0..100).for_each(|i| _ = group.send(other, "T", 0, &format!("{i}")));
        group.pass(1_000);
        group.cut.clear();
        let took = until_it_leads(&mut group, preferred, 10_000);
        assert!(took >= 100 * TICK, "it had not kept up for a while: {took} ms");
        assert_eq!(group.leader(), preferred);
        assert_eq!(group.read(preferred, "T", 0).len(), 101);
        let led = term(&mut group, preferred);
        group.pass(10_000);
        assert_eq!(term(&mut group, preferred), led, "nobody takes it away again");
    }
}

/// Whoever lacks entries, or is not there, would only keep the others from leading.
#[test]
fn who_does_not_keep_up_is_not_preferred() {
    let mut group = three();
    group.cut.insert(3);
    let leader = group.leader();
    group.pass(5_000);
    assert_eq!(group.hand_overs, 1, "it is not there");
    group.cut.clear();
    // It hears and answers, and has nowhere to write.
    group.without_space(3);
    group.send(leader, "T", 0, "it lacks this");
    group.pass(5_000);
    assert_eq!((group.leader(), group.hand_overs), (leader, 1), "it has nothing");
    group.node(3).fill();
    until_it_leads(&mut group, 3, 5_000);
    assert_eq!(group.read(3, "T", 0), ["it lacks this"]);
}

/// Each time costs senders an election time-out.
#[test]
fn one_that_does_not_take_it_is_asked_less_and_less_often() {
    let mut group = three();
    group.cut.insert(3);
    let leader = group.leader();
    group.cut.clear();
    (group.hand_overs, group.hand_overs_get_lost) = (0, true);
    let mut asked = Vec::new();
    for passed in 0..60_000 / TICK {
        group.pass(TICK);
        let times = std::mem::take(&mut group.hand_overs);
        asked.extend((times > 0).then_some(passed));
    }
    assert_eq!(group.leader(), leader);
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 3 && pauses[0] >= 200, "{asked:?}");
    assert!(pauses.windows(2).all(|pair| pair[1] >= 2 * pair[0]), "{pauses:?}");
}
