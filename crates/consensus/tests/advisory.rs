//! The Raft engine brings protobuf 2.28, on which an advisory is open (RUSTSEC-2024-0437: deeply nested groups in what
//! is parsed). Here such bytes are a payload like any other: the engine does not look into a batch.
//! docs/adr/0004-raft-crate-dependencies.md has the decision.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, Message};
use steadfast_consensus::{Group, Vote};
use steadfast_store::log::{Layout, Mark};
use steadfast_types::Term;

/// The beginning of a group that no message has (field 15), in another one, and so on.
fn nested_groups() -> Vec<u8> {
    vec![0x7B; 4 << 20]
}

#[test]
fn what_no_parser_takes_is_a_payload_like_any_other() {
    let bytes = nested_groups();
    assert!(Entry::parse_from_bytes(&bytes).is_err() && Message::parse_from_bytes(&bytes).is_err());
    // The two that the engine parses itself, when a change of members is proposed.
    assert!(ConfChange::parse_from_bytes(&bytes).is_err() && ConfChangeV2::parse_from_bytes(&bytes).is_err());

    let layout = Layout { segment_size: 16 << 20 };
    let mut group = Group::single(1, layout, Mark::default(), Term::ZERO, Vote::default());
    group.campaign();
    let opening = group.drain().write.unwrap();
    group.persisted(opening.number);
    group.drain();
    let payload = Bytes::from(bytes);
    group.propose(payload.clone()).unwrap();
    let write = group.drain().write.unwrap();
    assert_eq!(write.entries[0].0.payload, payload);
    group.persisted(write.number);
    let committed = group.drain().committed;
    assert_eq!(committed[0].entry.payload, payload);
}
