//! A group of one: what is proposed is committed when it is durable, not before, and a restart goes on.

use bytes::Bytes;
use steadfast_consensus::{Group, ProposeError, Vote};
use steadfast_store::log::{Kind, Layout, Mark};
use steadfast_types::{LogIndex, LogOffset, Term};

const LAYOUT: Layout = Layout { segment_size: 16 << 20 };

fn fresh() -> Group {
    Group::single(1, LAYOUT, Mark::default(), Term::ZERO, Vote::default())
}

#[test]
fn an_election_is_won_at_once_and_its_vote_is_written_first() {
    let mut group = fresh();
    let write = group.campaign().unwrap();
    assert!(group.is_leader());
    assert_eq!(write.vote, Some(Vote { term: Term::new(1), replica: 1 }));
    assert_eq!(write.entries.len(), 1);
    assert_eq!(write.entries[0].0.kind, Kind::Leader);
    assert_eq!(group.commit(), LogIndex::ZERO, "nothing is committed before it is durable");
    let committed = group.persisted(write.number);
    assert_eq!(committed.len(), 1);
    assert_eq!(group.commit(), LogIndex::new(1));
}

#[test]
fn a_batch_is_committed_when_it_is_durable_and_not_before() {
    let mut group = fresh();
    let opening = group.campaign().unwrap();
    assert_eq!(group.propose(Bytes::from_static(b"x")).unwrap_err(), ProposeError::Busy);
    group.persisted(opening.number);
    let payload = Bytes::from(vec![1; 100]);
    let place = group.place(payload.len());
    let write = group.propose(payload.clone()).unwrap();
    assert_eq!(write.vote, None);
    assert_eq!(write.entries[0].1, place.at, "the place that was announced is the place it got");
    assert_eq!(group.commit(), LogIndex::new(1));
    let committed = group.persisted(write.number);
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
    let write = group.campaign().unwrap();
    assert_eq!(write.vote.map(|v| v.term), Some(Term::new(7)));
    let (entry, at) = &write.entries[0];
    assert_eq!((entry.index, entry.term, *at), (LogIndex::new(42), Term::new(7), LogOffset::new(8192)));
    group.persisted(write.number);
    for i in 0..1000u64 {
        let write = group.propose(Bytes::from(i.to_be_bytes().to_vec())).unwrap();
        let committed = group.persisted(write.number);
        assert_eq!(committed[0].entry.index, LogIndex::new(43 + i));
    }
}
