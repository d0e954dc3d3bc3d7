//! The Raft engine brings protobuf 2.28, whose parser ends the process on bytes that nest deeply enough
//! (RUSTSEC-2024-0437). Here they are a payload like any other: nothing from a socket or a disk is parsed as protobuf.
//! docs/adr/0004-raft-crate-dependencies.md has the decision.

use std::process::Command;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::Entry;
use steadfast_consensus::{Group, Vote};
use steadfast_store::log::{Layout, Mark};
use steadfast_types::Term;

/// Set in the child process that parses the bytes.
const PARSE: &str = "STEADFAST_TEST_PARSE_NESTED_GROUPS";

/// The beginning of an unknown group in an unknown group, and so on: the parser calls itself for each.
fn nested_groups() -> Vec<u8> {
    vec![0x0B; 4 << 20]
}

#[test]
fn bytes_that_end_the_parser_are_a_payload_like_any_other() {
    if std::env::var_os(PARSE).is_some() {
        let parsed = Entry::parse_from_bytes(&nested_groups());
        panic!("the parser survived: {}", parsed.is_ok());
    }
    // They do what they are said to do. A panic would end the test process with a status of its own.
    let test = "bytes_that_end_the_parser_are_a_payload_like_any_other";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let parsed = child.args(["--exact", test]).env(PARSE, "1").output().unwrap();
    assert_eq!(parsed.status.code(), None, "ended by a signal: {}", String::from_utf8_lossy(&parsed.stderr));

    let layout = Layout { segment_size: 16 << 20 };
    let mut group = Group::single(1, layout, Mark::default(), Term::ZERO, Vote::default());
    let opening = group.campaign().unwrap();
    group.persisted(opening.number);
    let payload = Bytes::from(nested_groups());
    let write = group.propose(payload.clone()).unwrap();
    assert_eq!(write.entries[0].0.payload, payload);
    let committed = group.persisted(write.number);
    assert_eq!(committed[0].entry.payload, payload);
}
