//! How a message goes over the wire between replicas. No protobuf: what comes from outside is parsed here and nowhere
//! else (`docs/adr/0004`).
//!
//! ```text
//!  0 u32 magic | 4 u32 crc32c of everything after it | 8 u32 length of it all | 12 u16 version | 14 u8 kind | 15 u8 flags
//! 16 u64 group identity | 24 u64 from | 32 u64 to | 40 u64 term
//! 48 u64 index | 56 u64 its term | 64 u64 commit index | 72 u64 its term | 80 u64 log offset, number of a read or of a question, or index
//! 88 u64 another index | 96 u64 its term
//! 104 u32 number of entries | 108 u32 zero
//! 112 the sender's start: u64 identity of the disk | u64 life | u64 number
//! 136 the receiver's start as the sender knows it, in the same form, all 0 if it does not | 160 u64 index of the entry that tells it
//! 168 u64 index of the entry with the last start of the sender that it knows of
//! 176 per entry: u64 term | u32 length of its payload | u8 kind | three zeroes      then the payloads, one after the other
//! ```
//!
//! Fields that a kind does not use are 0. The index of an entry follows from that of the one before. A question for bytes of
//! the log has their beginning and end at 48 and 64, the answer their beginning at 48, and the bytes themselves at 176.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use steadfast_store::log::{Entry, Kind, PAYLOAD_MAX};
use steadfast_store::meta::Fence;
use steadfast_types::{LogIndex, LogOffset, Position, Term};

use crate::members::{Change, Recorded, get_start, put_start};
use crate::message::{Append, Body, Card, Message, PART_MAX};

/// Bytes of a message without its entries.
pub const HEADER_LEN: usize = 176;
/// Bytes of the largest message that is taken.
pub const MESSAGE_MAX: usize = 2 * PAYLOAD_MAX;
const MAGIC: u32 = 0x5346_524D;
const VERSION: u16 = 4;
const PER_ENTRY: usize = 16;

const APPEND: u8 = 1;
const APPEND_RESPONSE: u8 = 2;
const REQUEST_VOTE: u8 = 3;
const VOTE_RESPONSE: u8 = 4;
const HEARTBEAT: u8 = 5;
const HEARTBEAT_RESPONSE: u8 = 6;
const TIMEOUT_NOW: u8 = 7;
const INQUIRY: u8 = 8;
const STANDING: u8 = 9;
const LOG_REQUEST: u8 = 10;
const LOG_PART: u8 = 11;

/// Rejected, a pre-vote.
const FLAG: u8 = 1;
/// Granted, told by the leader to stand.
const SECOND_FLAG: u8 = 2;
/// Carries a read, or a fence.
const THIRD_FLAG: u8 = 4;
/// The sender has everything; of all kinds.
const WHOLE: u8 = 8;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They do not begin like one, or its length cannot be.
    #[error("this is not a message of a replica")]
    NotAMessage,
    /// Damaged on the way.
    #[error("the message does not match its checksum")]
    Checksum,
    /// Of a later version.
    #[error("the message has version {0}, this server knows {VERSION}; update the older server")]
    Version(u16),
    /// For another group.
    #[error(
        "the message is for group {found:#018x}, this is {expected:#018x}; compare the addresses of the replicas"
    )]
    WrongGroup {
        /// The message's.
        found: u64,
        /// This one.
        expected: u64,
    },
    /// Whole, and still not what a replica sends.
    #[error("the message has a field that no replica sends")]
    Malformed,
}

/// A message ready to be sent: the pieces in order are its bytes. Payloads are shared, not copied.
#[derive(Debug, Clone)]
pub struct Encoded {
    head: Bytes,
    payloads: Vec<Bytes>,
}

impl Encoded {
    /// The pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.head).chain(&self.payloads)
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// Whether there are no bytes: never.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// The numbers of a header after the term.
#[derive(Default)]
struct Fields {
    kind: u8,
    flags: u8,
    position: Position,
    commit: Position,
    extra: u64,
    floor: Position,
}

/// Bytes of a message once it is encoded.
pub fn encoded_len(message: &Message) -> usize {
    let payloads: usize = payloads_of(message).map(Bytes::len).sum();
    HEADER_LEN + PER_ENTRY * entries_of(message).len() + payloads
}

fn entries_of(message: &Message) -> &[Entry] {
    match &message.body {
        Body::Append(append) => &append.entries,
        _ => &[],
    }
}

/// What follows the header and the table of entries.
fn payloads_of(message: &Message) -> impl Iterator<Item = &Bytes> {
    let part = match &message.body {
        Body::LogPart { bytes, .. } => Some(bytes),
        _ => None,
    };
    entries_of(message).iter().map(|entry| &entry.payload).chain(part)
}

/// Encodes a message of a group.
pub fn encode(group: u64, message: &Message) -> Encoded {
    let fields = fields_of(&message.body);
    let entries = entries_of(message);
    let payloads: Vec<Bytes> = payloads_of(message).cloned().collect();
    let head_len = HEADER_LEN + PER_ENTRY * entries.len();
    let mut head = BytesMut::with_capacity(head_len);
    head.put_u32(MAGIC);
    head.put_u32(0);
    head.put_u32(encoded_len(message) as u32);
    head.put_u16(VERSION);
    let Card { start, whole, known, accounted } = message.card;
    head.put_u8(fields.kind);
    head.put_u8(fields.flags | if whole { WHOLE } else { 0 });
    for number in [group, message.from, message.to, message.term.get()] {
        head.put_u64(number);
    }
    for position in [fields.position, fields.commit] {
        head.put_u64(position.index.get());
        head.put_u64(position.term.get());
    }
    head.put_u64(fields.extra);
    head.put_u64(fields.floor.index.get());
    head.put_u64(fields.floor.term.get());
    head.put_u32(entries.len() as u32);
    head.put_u32(0);
    let known = known.unwrap_or_default();
    put_start(&mut head, start);
    put_start(&mut head, known.start);
    head.put_u64(known.at.get());
    head.put_u64(accounted.get());
    for entry in entries {
        head.put_u64(entry.term.get());
        head.put_u32(entry.payload.len() as u32);
        head.put_u8(entry.kind as u8);
        head.put_bytes(0, 3);
    }
    let crc =
        payloads.iter().fold(crc32c::crc32c(&head[8..]), |crc, bytes| crc32c::crc32c_append(crc, bytes));
    head[4..8].copy_from_slice(&crc.to_be_bytes());
    Encoded { head: head.freeze(), payloads }
}

/// A log offset in the place of an index.
fn at_offset(at: LogOffset) -> Position {
    Position { index: LogIndex::new(at.get()), term: Term::ZERO }
}

fn fields_of(body: &Body) -> Fields {
    let at = |index: &LogIndex| Position { index: *index, term: Term::ZERO };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    match body {
        Body::Append(Append { previous, commit, at: place, .. }) => Fields {
            kind: APPEND,
            flags: 0,
            position: *previous,
            commit: at(commit),
            extra: place.get(),
            ..Fields::default()
        },
        Body::AppendResponse { index, commit, rejected } => {
            let hint = rejected.unwrap_or_default();
            let position = Position { index: *index, term: hint.term };
            let flags = flag(rejected.is_some(), FLAG);
            let (commit, extra) = (at(commit), hint.index.get());
            Fields { kind: APPEND_RESPONSE, flags, position, commit, extra, ..Fields::default() }
        }
        Body::RequestVote { pre, last, commit, transfer } => {
            let flags = flag(*pre, FLAG) | flag(*transfer, SECOND_FLAG);
            Fields { kind: REQUEST_VOTE, flags, position: *last, commit: *commit, ..Fields::default() }
        }
        Body::VoteResponse { pre, granted, commit, last, fence } => {
            let flags = flag(*pre, FLAG) | flag(*granted, SECOND_FLAG) | flag(fence.is_some(), THIRD_FLAG);
            let Fence { floor, committed } = fence.unwrap_or_default();
            let (position, extra) = (*last, committed.get());
            Fields { kind: VOTE_RESPONSE, flags, position, commit: *commit, extra, floor }
        }
        Body::Heartbeat { commit, read } | Body::HeartbeatResponse { commit, read } => {
            let is_response = matches!(body, Body::HeartbeatResponse { .. });
            let kind = if is_response { HEARTBEAT_RESPONSE } else { HEARTBEAT };
            let (flags, extra) = (flag(read.is_some(), THIRD_FLAG), read.unwrap_or_default());
            Fields { kind, flags, commit: at(commit), extra, ..Fields::default() }
        }
        Body::TimeoutNow => Fields { kind: TIMEOUT_NOW, ..Fields::default() },
        Body::Inquiry { nonce, last } => {
            Fields { kind: INQUIRY, position: *last, extra: *nonce, ..Fields::default() }
        }
        Body::Standing { nonce, last } => {
            Fields { kind: STANDING, position: *last, extra: *nonce, ..Fields::default() }
        }
        Body::LogRequest { number, stretch } => Fields {
            kind: LOG_REQUEST,
            position: at_offset(stretch.start),
            commit: at_offset(stretch.end),
            extra: *number,
            ..Fields::default()
        },
        Body::LogPart { number, at, .. } => {
            Fields { kind: LOG_PART, position: at_offset(*at), extra: *number, ..Fields::default() }
        }
    }
}

/// The length of the message that begins with these bytes, for whoever splits a stream; None if there are too few to tell.
pub fn message_len(start: &[u8]) -> Result<Option<usize>, CodecError> {
    let Some(mut start) = start.get(..12) else { return Ok(None) };
    let magic = start.get_u32();
    start.advance(4);
    let len = start.get_u32() as usize;
    if magic != MAGIC || !(HEADER_LEN..=MESSAGE_MAX).contains(&len) {
        return Err(CodecError::NotAMessage);
    }
    Ok(Some(len))
}

/// Decodes one whole message for a replica of `group`. Payloads share its memory.
pub fn decode(group: u64, bytes: Bytes) -> Result<Message, CodecError> {
    if message_len(&bytes)? != Some(bytes.len()) {
        return Err(CodecError::NotAMessage);
    }
    let mut head = bytes.slice(4..);
    if head.get_u32() != crc32c::crc32c(&head) {
        return Err(CodecError::Checksum);
    }
    head.advance(4);
    let version = head.get_u16();
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let (kind, flags) = (head.get_u8(), head.get_u8());
    let found = head.get_u64();
    if found != group {
        return Err(CodecError::WrongGroup { found, expected: group });
    }
    let (from, to, term) = (head.get_u64(), head.get_u64(), Term::new(head.get_u64()));
    let mut position = || Position { index: LogIndex::new(head.get_u64()), term: Term::new(head.get_u64()) };
    let (position, commit) = (position(), position());
    let extra = head.get_u64();
    let floor = Position { index: LogIndex::new(head.get_u64()), term: Term::new(head.get_u64()) };
    let count = head.get_u32() as usize;
    head.advance(4);
    let card = card(flags, &mut head).map_err(|_| CodecError::Malformed)?;
    let is_bare = !matches!(kind, APPEND | LOG_PART);
    if from == 0 || to == 0 || term == Term::ZERO || (is_bare && !head.is_empty()) {
        return Err(CodecError::Malformed);
    }
    let fields = Fields { kind, flags, position, commit, extra, floor };
    let body = match kind {
        APPEND => append(&fields, term, count, head)?,
        LOG_PART if count == 0 && head.len() as u64 <= PART_MAX => {
            Body::LogPart { number: extra, at: LogOffset::new(position.index.get()), bytes: head }
        }
        _ => body_of(&fields)?,
    };
    Ok(Message { from, to, term, card, body })
}

fn card(flags: u8, head: &mut Bytes) -> Result<Card, TryGetError> {
    let (start, known) = (get_start(head)?, get_start(head)?);
    let known = Recorded { start: known, at: LogIndex::new(head.try_get_u64()?) };
    let known = (known != Recorded::default()).then_some(known);
    let accounted = LogIndex::new(head.try_get_u64()?);
    Ok(Card { start, whole: flags & WHOLE != 0, known, accounted })
}

fn body_of(fields: &Fields) -> Result<Body, CodecError> {
    let Fields { kind, flags, position, commit, extra, floor } = *fields;
    let (flag, second_flag) = (flags & FLAG != 0, flags & SECOND_FLAG != 0);
    let read = (flags & THIRD_FLAG != 0).then_some(extra);
    Ok(match kind {
        APPEND_RESPONSE => {
            let hint = Position { index: LogIndex::new(extra), term: position.term };
            Body::AppendResponse {
                index: position.index,
                commit: commit.index,
                rejected: flag.then_some(hint),
            }
        }
        REQUEST_VOTE => Body::RequestVote { pre: flag, last: position, commit, transfer: second_flag },
        VOTE_RESPONSE => {
            let fence = Fence { floor, committed: LogIndex::new(extra) };
            let fence = (flags & THIRD_FLAG != 0).then_some(fence);
            Body::VoteResponse { pre: flag, granted: second_flag, commit, last: position, fence }
        }
        HEARTBEAT => Body::Heartbeat { commit: commit.index, read },
        HEARTBEAT_RESPONSE => Body::HeartbeatResponse { commit: commit.index, read },
        TIMEOUT_NOW => Body::TimeoutNow,
        INQUIRY => Body::Inquiry { nonce: extra, last: position },
        STANDING => Body::Standing { nonce: extra, last: position },
        LOG_REQUEST => {
            let stretch = LogOffset::new(position.index.get())..LogOffset::new(commit.index.get());
            let len = stretch.end.get().checked_sub(stretch.start.get());
            if !len.is_some_and(|len| (1..=PART_MAX).contains(&len)) {
                return Err(CodecError::Malformed);
            }
            Body::LogRequest { number: extra, stretch }
        }
        _ => return Err(CodecError::Malformed),
    })
}

/// The entries of a leader: as long as the message says, and of terms that a log can have.
fn append(fields: &Fields, term: Term, count: usize, mut rest: Bytes) -> Result<Body, CodecError> {
    let previous = fields.position;
    let table_len = count.checked_mul(PER_ENTRY).filter(|len| *len <= rest.len());
    let mut table = rest.split_to(table_len.ok_or(CodecError::Malformed)?);
    let mut entries = Vec::with_capacity(count);
    let mut last = previous;
    for _ in 0..count {
        let (entry_term, len) = (Term::new(table.get_u64()), table.get_u32() as usize);
        let kind = table.get_u8();
        table.advance(3);
        let kind = match kind {
            kind if kind == Kind::Batch as u8 && len > 0 => Kind::Batch,
            kind if kind == Kind::Leader as u8 && len == 0 => Kind::Leader,
            kind if kind == Kind::Membership as u8 => Kind::Membership,
            _ => return Err(CodecError::Malformed),
        };
        let index = last.index.get().checked_add(1).map(LogIndex::new).ok_or(CodecError::Malformed)?;
        if entry_term < last.term || entry_term > term || len > PAYLOAD_MAX || len > rest.len() {
            return Err(CodecError::Malformed);
        }
        let payload = rest.split_to(len);
        if kind == Kind::Membership && Change::decode(&payload).is_err() {
            return Err(CodecError::Malformed);
        }
        last = Position { index, term: entry_term };
        entries.push(Entry { index, term: entry_term, kind, payload });
    }
    if !rest.is_empty() {
        return Err(CodecError::Malformed);
    }
    let (commit, at) = (fields.commit.index, LogOffset::new(fields.extra));
    Ok(Body::Append(Append { previous, commit, at, entries }))
}
