//! A group of several: what a quorum has is committed, and nothing else; what leaves a replica does not outrun its disk.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peers;

use bytes::Bytes;
use peers::Peers;
use steadfast_consensus::{Body, Halt, Limits, ProposeError, ReadError, Role};
use steadfast_types::LogIndex;

fn three() -> Peers {
    Peers::new(3, Limits::default())
}

#[test]
fn what_the_leader_proposes_is_the_same_everywhere() {
    for count in [3, 5] {
        let mut peers = Peers::new(count, Limits::default());
        let leader = peers.leader();
        for i in 0..50u8 {
            peers.propose(leader, vec![i; 10 + 3 * usize::from(i)]);
        }
        peers.tick(3);
        let expected: Vec<Bytes> = (0..50u8).map(|i| vec![i; 10 + 3 * usize::from(i)].into()).collect();
        for id in 1..=count {
            assert_eq!(peers.applied(id), expected, "replica {id} of {count}");
        }
        let log = peers.peer(leader).log.clone();
        assert!(peers.all.iter().all(|peer| peer.log == log), "entries and places are the same");
        let roles = peers.all.iter().filter(|peer| peer.group.role() == Role::Follower(Some(leader)));
        assert_eq!(roles.count() as u64, count - 1);
    }
}

#[test]
fn a_write_is_answered_for_when_it_is_durable_and_not_before() {
    let mut peers = three();
    let leader = peers.leader();
    let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    followers.iter().for_each(|id| peers.peer(*id).stalled = true);
    peers.propose(leader, vec![1; 10]);
    assert!(followers.iter().all(|id| peers.all[*id as usize - 1].writing.is_some()), "they have it");
    assert!(peers.applied(leader).is_empty(), "and nobody may count on it");
    peers.peer(followers[0]).stalled = false;
    peers.run();
    assert_eq!(peers.applied(leader).len(), 1, "two of three have it");
}

/// The leader's own write does not hold its followers up, but it commits nothing that it does not have itself.
#[test]
fn a_leader_sends_while_it_writes() {
    let mut peers = three();
    let leader = peers.leader();
    peers.peer(leader).stalled = true;
    peers.propose(leader, vec![1; 10]);
    let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    assert!(followers.iter().all(|id| peers.all[*id as usize - 1].log.len() == 2), "they have it");
    assert!(peers.applied(leader).is_empty());
    assert_eq!(peers.peer(leader).group.propose(Bytes::from_static(b"x")), Err(ProposeError::Busy));
    peers.peer(leader).stalled = false;
    peers.run();
    assert_eq!(peers.applied(leader).len(), 1);
    // What it had before it began to write is handed out while it writes.
    followers.iter().for_each(|id| peers.peer(*id).stalled = true);
    peers.propose(leader, vec![2; 10]);
    peers.peer(leader).stalled = true;
    peers.propose(leader, vec![3; 10]);
    assert_eq!(peers.applied(leader).len(), 1);
    followers.iter().for_each(|id| peers.peer(*id).stalled = false);
    peers.run();
    assert_eq!(peers.applied(leader).len(), 2);
}

/// Entries that tell of each other's commit, too: what a torn write leaves of them the others have.
#[test]
fn a_follower_writes_at_once_what_it_has_missed() {
    let mut peers = three();
    let leader = peers.leader();
    let follower = 1 + leader % 3;
    peers.peer(follower).stalled = true;
    let before = peers.peer(follower).writes;
    for _ in 0..10 {
        let index = peers.peer(leader).log.len() as u64 + 1;
        peers.propose(leader, [(index - 1).to_be_bytes(), [0; 8]].concat());
    }
    peers.peer(follower).stalled = false;
    peers.run();
    assert_eq!(peers.peer(follower).writes - before, 2, "the first, and all others");
    let log = peers.peer(leader).log.clone();
    assert!(peers.peer(follower).log == log);
}

#[test]
fn what_a_lost_leader_alone_has_is_replaced() {
    let mut peers = three();
    let old = peers.leader();
    peers.propose(old, vec![1; 10]);
    peers.cut.insert(old);
    for i in 0..3 {
        peers.propose(old, vec![100 + i; 500]);
    }
    let new = peers.leader();
    assert_ne!(new, old);
    peers.tick(20);
    assert!(!peers.peer(old).group.is_leader(), "it has stepped down: no quorum answers");
    assert!(peers.peer(old).last.role.is_some(), "and said so");
    peers.propose(new, vec![2; 10]);
    peers.cut.clear();
    peers.tick(10);
    assert_eq!(peers.peer(old).replaced, 3);
    for id in 1..=3 {
        assert_eq!(peers.applied(id), [vec![1; 10], vec![2; 10]], "replica {id}");
    }
    let log = peers.peer(new).log.clone();
    assert!(peers.all.iter().all(|peer| peer.log == log));
}

/// Its leader does not hold for it what it missed, and does not send it all at once.
#[test]
fn a_follower_that_was_away_costs_a_bounded_amount_of_memory() {
    let limits =
        Limits { cache: 64 << 10, message: 16 << 10, in_flight: 4, fetch: 48 << 10, uncommitted: 1 << 20 };
    let mut peers = Peers::new(3, limits);
    let leader = peers.leader();
    let away = 1 + leader % 3;
    peers.cut.insert(away);
    for i in 0..600u32 {
        peers.propose(leader, vec![i as u8; 7_000]);
        if i % 20 == 0 {
            peers.tick(1);
        }
    }
    assert_eq!(peers.leader(), leader);
    peers.most_under_way = 0;
    peers.cut.clear();
    peers.tick(200);
    let expected = peers.applied(leader);
    assert_eq!(expected.len(), 600);
    assert!(peers.applied(away) == expected);
    assert!(peers.peer(leader).fetched > 10, "old entries come from the log");
    let log = peers.peer(leader).log.clone();
    assert!(peers.peer(away).log == log);
    let most = 5 * ((16 << 10) + 7_000);
    assert!(peers.most_under_way < most, "{} bytes were under way to it", peers.most_under_way);
}

#[test]
fn a_leader_takes_no_more_than_it_may_while_nothing_is_committed() {
    let limits = Limits { message: 10_000, uncommitted: 100_000, ..Limits::default() };
    let mut peers = Peers::new(3, limits);
    let leader = peers.leader();
    peers.cut.extend((1..=3).filter(|id| *id != leader));
    let taken = (0..100).take_while(|_| {
        let proposed = peers.peer(leader).group.propose(vec![1; 10_000].into());
        peers.run();
        proposed.inspect_err(|error| assert_eq!(*error, ProposeError::Backlog)).is_ok()
    });
    assert!((9..=12).contains(&taken.count()));
}

#[test]
fn a_read_is_answered_by_whoever_still_leads() {
    let mut peers = three();
    let leader = peers.leader();
    peers.propose(leader, vec![1; 10]);
    let number = peers.peer(leader).group.read_index().unwrap();
    peers.run();
    let reads = std::mem::take(&mut peers.peer(leader).reads);
    assert_eq!(reads.iter().map(|read| read.number).collect::<Vec<_>>(), [number]);
    assert_eq!(reads[0].index, peers.peer(leader).group.commit());
    // One that nobody follows any more does not know what others have committed.
    peers.cut.insert(leader);
    peers.peer(leader).group.read_index().unwrap();
    let new = peers.leader();
    peers.propose(new, vec![2; 10]);
    peers.cut.clear();
    peers.tick(10);
    assert!(peers.peer(leader).reads.is_empty());
    assert_eq!(peers.peer(leader).group.read_index(), Err(ReadError::NotLeader));
}

#[test]
fn a_new_leader_reads_when_it_has_committed_something() {
    let mut peers = three();
    let leader = peers.leader();
    let next = 1 + leader % 3;
    let third = 6 - leader - next;
    peers.peer(leader).stalled = true;
    peers.peer(third).stalled = true;
    peers.peer(leader).group.transfer(next);
    peers.run();
    // Its opening entry is on its own disk alone; it was elected before the others' disks stood still only if they voted.
    for id in [leader, third] {
        peers.peer(id).persist();
    }
    peers.run();
    assert!(peers.peer(next).group.is_leader());
    assert_eq!(peers.peer(next).group.read_index(), Err(ReadError::TooEarly));
    for id in [leader, third] {
        peers.peer(id).stalled = false;
    }
    peers.run();
    assert!(peers.peer(next).group.read_index().is_ok());
}

#[test]
fn leadership_is_handed_over() {
    let mut peers = three();
    let leader = peers.leader();
    let next = 1 + leader % 3;
    peers.cut.insert(next);
    peers.peer(leader).group.transfer(next);
    peers.run();
    let refused = peers.peer(leader).group.propose(Bytes::from_static(b"x"));
    assert_eq!(refused, Err(ProposeError::Transferring));
    // It does not wait for ever for one that cannot be reached.
    peers.tick(25);
    peers.propose(leader, vec![1; 10]);
    peers.cut.clear();
    peers.tick(10);
    peers.peer(leader).group.transfer(next);
    peers.run();
    assert!(peers.peer(next).group.is_leader() && !peers.peer(leader).group.is_leader());
    assert_eq!(peers.peer(leader).group.propose(Bytes::from_static(b"x")), Err(ProposeError::NotLeader));
    peers.propose(next, vec![2; 10]);
    peers.tick(3);
    assert!((1..=3).all(|id| peers.applied(id).len() == 2));
}

#[test]
fn a_restart_goes_on_with_what_is_in_the_log() {
    let mut peers = three();
    let leader = peers.leader();
    for i in 0..10 {
        peers.propose(leader, vec![i; 100]);
    }
    for id in 1..=3 {
        let log = peers.peer(id).log.clone();
        peers.restart(id, log);
    }
    let leader = peers.leader();
    peers.propose(leader, vec![99; 100]);
    peers.tick(3);
    assert!((1..=3).all(|id| peers.applied(id).len() == 11));
}

#[test]
fn an_entry_at_another_place_than_the_leaders_stops_the_replica() {
    let mut peers = three();
    let leader = peers.leader();
    let follower = 1 + leader % 3;
    peers.peer(leader).group.propose(vec![1; 10].into()).unwrap();
    let mut output = peers.peer(leader).group.drain();
    let mut message = output.messages.swap_remove(0);
    message.to = follower;
    let Body::Append(append) = &mut message.body else { panic!("the entry is sent") };
    let right = append.at;
    append.at = append.at + 8;
    peers.peer(follower).group.step(message);
    let output = peers.peer(follower).group.drain();
    let index = LogIndex::new(2);
    assert_eq!(output.halted, Some(Halt::Misplaced { index, leader: right + 8, own: right }));
    assert!(output.write.is_none() && output.messages.is_empty());
    assert!(peers.peer(follower).group.drain().halted.is_none(), "it is told once");
}

/// dledger#61: a replica that comes back without its log is not taken for one that is behind: it is filled again, and until
/// then its vote does not count.
#[test]
fn a_replica_that_has_lost_its_log_is_filled_again() {
    let mut peers = three();
    let leader = peers.leader();
    for i in 0..10 {
        peers.propose(leader, vec![i; 10]);
    }
    peers.tick(3);
    let follower = 1 + leader % 3;
    let third = 6 - leader - follower;
    peers.restart(follower, Vec::new());
    peers.peer(follower).stalled = true;
    peers.tick(3);
    assert!(peers.peer(follower).group.fence().is_some(), "its leader names what it does not have");
    peers.peer(follower).stalled = false;
    peers.tick(6);
    assert_eq!(peers.peer(follower).group.fence(), None);
    assert_eq!(peers.applied(follower).len(), 10);
    // It counts again.
    peers.cut.insert(third);
    peers.propose(leader, vec![10; 10]);
    assert_eq!(peers.applied(leader).len(), 11);
}

#[test]
fn the_same_seeds_are_the_same_run() {
    let run = || {
        let mut peers = Peers::new(5, Limits::default());
        let mut story = Vec::new();
        for _ in 0..6 {
            let leader = peers.leader();
            story.push((leader, peers.peer(leader).group.term()));
            peers.cut.clear();
            peers.tick(5);
            peers.cut.insert(leader);
        }
        story
    };
    let story = run();
    assert!((0..5).all(|_| run() == story), "the engine's own random source counts for nothing");
}
