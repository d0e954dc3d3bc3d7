//! Messages between replicas: what is sent arrives as it was, and bytes that are not a message are an error, whatever
//! they claim.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use steadfast_consensus::{
    Append, Body, Card, Change, CodecError, Fence, HEADER_LEN, MESSAGE_MAX, Message, PART_MAX, Position,
    Recorded, Start, decode, encode, encoded_len, message_len,
};
use steadfast_store::log::{Entry, Kind};
use steadfast_types::{LogIndex, LogOffset, Term};

const GROUP: u64 = 0x0123_4567_89AB_CDEF;

fn position() -> impl Strategy<Value = Position> {
    (0..u64::MAX / 2, any::<u64>())
        .prop_map(|(index, term)| Position { index: LogIndex::new(index), term: Term::new(term) })
}

fn fence() -> impl Strategy<Value = Option<Fence>> {
    proptest::option::of((position(), index()).prop_map(|(floor, committed)| Fence { floor, committed }))
}

fn index() -> impl Strategy<Value = LogIndex> {
    any::<u64>().prop_map(LogIndex::new)
}

/// Entries that follow each other, and a term that is not before theirs.
fn append() -> impl Strategy<Value = (Append, u64)> {
    let payloads = proptest::collection::vec((0..3u64, proptest::collection::vec(any::<u8>(), 0..300)), 0..9);
    (0..1u64 << 40, 1..1u64 << 40, any::<u64>(), any::<u64>(), payloads).prop_map(
        |(index, term, commit, at, payloads)| {
            let previous = Position { index: LogIndex::new(index), term: Term::new(term) };
            let mut last = previous;
            let entries = payloads.into_iter().map(|(more, payload)| {
                last = Position { index: last.index.next(), term: Term::new(last.term.get() + more) };
                let start = Start { disk: more, life: more, number: more };
                let (kind, payload) = match payload.len() {
                    0 => (Kind::Leader, Bytes::new()),
                    1..20 => (Kind::Membership, Change::Started(3, start).encode()),
                    _ => (Kind::Batch, payload.into()),
                };
                Entry { index: last.index, term: last.term, kind, payload }
            });
            let entries = entries.collect();
            let (commit, at) = (LogIndex::new(commit), LogOffset::new(at));
            (Append { previous, commit, at, entries }, last.term.get())
        },
    )
}

fn body() -> impl Strategy<Value = (Body, u64)> {
    let read = || proptest::option::of(any::<u64>());
    let term = || 1..u64::MAX;
    prop_oneof![
        append().prop_map(|(append, term)| (Body::Append(append), term)),
        (index(), index(), proptest::option::of(position()), term())
            .prop_map(|(index, commit, rejected, t)| (Body::AppendResponse { index, commit, rejected }, t)),
        (any::<bool>(), position(), position(), any::<bool>(), term()).prop_map(
            |(pre, last, commit, transfer, t)| (Body::RequestVote { pre, last, commit, transfer }, t)
        ),
        (any::<bool>(), any::<bool>(), position(), position(), fence(), term()).prop_map(
            |(pre, granted, commit, last, fence, t)| {
                (Body::VoteResponse { pre, granted, commit, last, fence }, t)
            }
        ),
        (any::<u64>(), position(), term()).prop_map(|(nonce, last, t)| (Body::Inquiry { nonce, last }, t)),
        (any::<u64>(), position(), term()).prop_map(|(nonce, last, t)| (Body::Standing { nonce, last }, t)),
        (index(), read(), term()).prop_map(|(commit, read, t)| (Body::Heartbeat { commit, read }, t)),
        (index(), read(), term()).prop_map(|(commit, read, t)| (Body::HeartbeatResponse { commit, read }, t)),
        (Just(Body::TimeoutNow), term()),
        (any::<u64>(), 0..u64::MAX / 2, 1..=PART_MAX, term()).prop_map(|(number, at, len, t)| {
            (Body::LogRequest { number, stretch: LogOffset::new(at)..LogOffset::new(at + len) }, t)
        }),
        (any::<u64>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..300), term()).prop_map(
            |(number, at, bytes, t)| {
                (Body::LogPart { number, at: LogOffset::new(at), bytes: bytes.into() }, t)
            }
        ),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(disk, life, number)| Start { disk, life, number })
}

fn card() -> impl Strategy<Value = Card> {
    let known = (start(), 1..u64::MAX).prop_map(|(start, at)| Recorded { start, at: LogIndex::new(at) });
    (start(), any::<bool>(), proptest::option::of(known), index())
        .prop_map(|(start, whole, known, accounted)| Card { start, whole, known, accounted })
}

fn message() -> impl Strategy<Value = Message> {
    (1..u64::MAX, 1..u64::MAX, card(), body()).prop_map(|(from, to, card, (body, term))| Message {
        from,
        to,
        term: Term::new(term),
        card,
        body,
    })
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let bytes: Vec<u8> = encode(GROUP, message).pieces().flatten().copied().collect();
    assert_eq!(bytes.len(), encoded_len(message));
    bytes
}

/// Makes the checksum right, so that what comes after it is looked at.
fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
}

proptest! {
    #[test]
    fn what_is_sent_arrives(message in message()) {
        let bytes = bytes_of(&message);
        prop_assert_eq!(message_len(&bytes[..12]), Ok(Some(bytes.len())));
        prop_assert_eq!(decode(GROUP, bytes.into()), Ok(message));
    }

    #[test]
    fn no_byte_may_change(message in message(), at in any::<usize>(), with in 1..=255u8) {
        let mut bytes = bytes_of(&message);
        let at = at % bytes.len();
        bytes[at] ^= with;
        prop_assert!(decode(GROUP, bytes.into()).is_err());
    }

    /// Numbers with a right checksum, and still nonsense: an error or a message, and no more memory than there are bytes.
    #[test]
    fn nonsense_is_no_more_than_an_error(
        message in message(),
        nonsense in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..20),
        cut in proptest::option::of(any::<usize>()),
    ) {
        let mut bytes = bytes_of(&message);
        let len = cut.map_or(bytes.len(), |cut| (cut % (bytes.len() + 1)).max(HEADER_LEN));
        bytes.truncate(len);
        bytes[8..12].copy_from_slice(&(len as u32).to_be_bytes());
        for (at, with) in nonsense {
            let at = 14 + at % (len - 14);
            bytes[at] = with;
        }
        seal(&mut bytes);
        if let Ok(message) = decode(GROUP, bytes.into()) {
            prop_assert!(bytes_of(&message).len() <= len);
        }
    }

    #[test]
    fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(GROUP, bytes.clone().into()).is_err());
        prop_assert!(!matches!(message_len(&bytes), Ok(Some(_))));
    }
}

fn heartbeat() -> Message {
    let body = Body::Heartbeat { commit: LogIndex::new(7), read: None };
    Message { from: 1, to: 2, term: Term::new(3), card: Card::default(), body }
}

#[test]
fn a_message_of_another_group_or_version_says_so() {
    let bytes = Bytes::from(bytes_of(&heartbeat()));
    assert_eq!(decode(9, bytes.clone()), Err(CodecError::WrongGroup { found: GROUP, expected: 9 }));
    let mut newer = bytes.to_vec();
    newer[13] = 9;
    seal(&mut newer);
    assert_eq!(decode(GROUP, newer.into()), Err(CodecError::Version(9)));
}

#[test]
fn a_length_is_believed_only_within_bounds() {
    let start = |len: u32| [&bytes_of(&heartbeat())[..8], &len.to_be_bytes()].concat();
    assert_eq!(message_len(&start(0)), Err(CodecError::NotAMessage));
    assert_eq!(message_len(&start(MESSAGE_MAX as u32 + 1)), Err(CodecError::NotAMessage));
    assert_eq!(message_len(&start(u32::MAX)), Err(CodecError::NotAMessage));
    assert_eq!(message_len(&start(MESSAGE_MAX as u32)), Ok(Some(MESSAGE_MAX)));
    assert_eq!(message_len(&start(200)[..11]), Ok(None));
}

/// Payloads go out and come in without a copy.
#[test]
fn payloads_are_shared() {
    let payload = Bytes::from(vec![5; 1000]);
    let entry = |index| Entry {
        index: LogIndex::new(index),
        term: Term::new(3),
        kind: Kind::Batch,
        payload: payload.clone(),
    };
    let previous = Position { index: LogIndex::new(8), term: Term::new(2) };
    let (commit, at) = (LogIndex::new(8), LogOffset::new(4096));
    let body = Body::Append(Append { previous, commit, at, entries: vec![entry(9), entry(10)] });
    let encoded = encode(GROUP, &Message { from: 1, to: 2, term: Term::new(3), card: Card::default(), body });
    assert!(encoded.pieces().skip(1).all(|piece| piece.as_ptr() == payload.as_ptr()));
    let whole: Bytes = encoded.pieces().flatten().copied().collect::<Vec<u8>>().into();
    let Body::Append(append) = decode(GROUP, whole.clone()).unwrap().body else { panic!("an append") };
    let range = whole.as_ptr_range();
    assert!(append.entries.iter().all(|entry| range.contains(&entry.payload.as_ptr())));
}

/// Whoever asks for more than one answer may carry asks for nothing.
#[test]
fn a_stretch_of_the_log_has_bounds() {
    let ask = |from: u64, to: u64| {
        let body = Body::LogRequest { number: 1, stretch: LogOffset::new(from)..LogOffset::new(to) };
        decode(
            GROUP,
            bytes_of(&Message { from: 1, to: 2, term: Term::new(3), card: Card::default(), body }).into(),
        )
    };
    assert!(ask(5, 5 + PART_MAX).is_ok());
    for (from, to) in [(5, 5), (5, 4), (5, 6 + PART_MAX), (0, u64::MAX)] {
        assert_eq!(ask(from, to), Err(CodecError::Malformed), "{from}..{to}");
    }
}
