//! A group of one: what is proposed is committed when it is durable, not before, and a restart goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use steadfast_consensus::{Committed, Group, ProposeError, Vote, Write};
use steadfast_store::log::{Kind, Layout, Mark};
use steadfast_types::{LogIndex, LogOffset, Term};

const LAYOUT: Layout = Layout { segment_size: 16 << 20 };

fn fresh() -> Group {
    Group::single(1, LAYOUT, Mark::default(), Term::ZERO, Vote::default())
}

fn campaign(group: &mut Group) -> Write {
    group.campaign();
    group.drain().write.unwrap()
}

fn propose(group: &mut Group, payload: Bytes) -> Write {
    group.propose(payload).unwrap();
    group.drain().write.unwrap()
}

fn persisted(group: &mut Group, write: &Write) -> Vec<Committed> {
    group.persisted(write.number);
    let output = group.drain();
    assert!(output.messages.is_empty() && output.write.is_none(), "there is nobody else");
    output.committed
}

#[test]
fn an_election_is_won_at_once_and_its_vote_is_written_first() {
    let mut group = fresh();
    let write = campaign(&mut group);
    assert!(group.is_leader());
    assert_eq!(write.vote, Some(Vote { term: Term::new(1), replica: 1 }));
    assert_eq!(write.entries.len(), 1);
    assert_eq!(write.entries[0].0.kind, Kind::Leader);
    assert_eq!(group.commit(), LogIndex::ZERO, "nothing is committed before it is durable");
    let committed = persisted(&mut group, &write);
    assert_eq!(committed.len(), 1);
    assert_eq!(group.commit(), LogIndex::new(1));
}

#[test]
fn a_batch_is_committed_when_it_is_durable_and_not_before() {
    let mut group = fresh();
    let opening = campaign(&mut group);
    assert_eq!(group.propose(Bytes::from_static(b"x")).unwrap_err(), ProposeError::Busy);
    persisted(&mut group, &opening);
    let payload = Bytes::from(vec![1; 100]);
    let place = group.place(payload.len());
    let write = propose(&mut group, payload.clone());
    assert_eq!(write.vote, None);
    assert_eq!(write.entries[0].1, place.at, "the place that was announced is the place it got");
    assert_eq!(group.commit(), LogIndex::new(1));
    let committed = persisted(&mut group, &write);
    assert_eq!(committed.len(), 1);
    assert_eq!(committed[0].entry.payload, payload);
    assert_eq!(committed[0].payload_at, place.at + 64);
    assert_eq!(committed[0].end, place.end);
}

#[test]
fn a_restart_opens_a_new_term_after_the_old_log() {
    let mark = Mark { index: LogIndex::new(41), end: LogOffset::new(8192), chain: 9 };
    let vote = Vote { term: Term::new(6), replica: 1 };
    let mut group = Group::single(1, LAYOUT, mark, Term::new(6), vote);
    let write = campaign(&mut group);
    assert_eq!(write.vote.map(|v| v.term), Some(Term::new(7)));
    let (entry, at) = &write.entries[0];
    assert_eq!((entry.index, entry.term, *at), (LogIndex::new(42), Term::new(7), LogOffset::new(8192)));
    persisted(&mut group, &write);
    for i in 0..1000u64 {
        let write = propose(&mut group, Bytes::from(i.to_be_bytes().to_vec()));
        let committed = persisted(&mut group, &write);
        assert_eq!(committed[0].entry.index, LogIndex::new(43 + i));
    }
}
