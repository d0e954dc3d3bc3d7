//! How one Raft entry lies in a segment.
//!
//! ```text
//!  0 u32 magic | 4 u32 header crc32c | 8 u32 payload length | 12 u32 head length | 16 u32 head crc32c
//! 20 u32 chain | 24 u64 term | 32 u64 index | 40 u64 log offset of this frame | 48 u64 commit index
//! 56 u8 kind | 57 u8 version | 58 six zeroes | 64 payload, zero-padded to 8 bytes
//! ```
//!
//! The chain is a checksum over the previous frame's chain and this header: it rejects what index, term and CRC
//! cannot, a stale frame of an earlier term that happens to continue the index (see `docs/adr`).

use bytes::{BufMut, Bytes};
use steadfast_types::{LogIndex, LogOffset, Term, Timestamp};

use super::PAYLOAD_MAX;
use super::batch::{Batch, head_len};

/// Bytes before the payload.
pub const FRAME_HEADER_LEN: usize = 64;
pub(super) const MAGIC: u32 = 0x5346_454E;
const VERSION: u8 = 1;
const ALIGN: usize = 8;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A batch of records.
    Batch = 1,
    /// The empty entry with which a leader opens its term.
    Leader = 2,
    /// What becomes of the group's replicas themselves, in the encoding of `consensus/src/members.rs`.
    Membership = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Batch, Self::Leader, Self::Membership].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One entry of the Raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: LogIndex,
    /// Term of the leader that made it.
    pub term: Term,
    /// What the payload is.
    pub kind: Kind,
    /// For [`Kind::Batch`] see [`Batch`]; empty for [`Kind::Leader`].
    pub payload: Bytes,
}

impl Entry {
    /// The commit index that the leader stamped, 0 where the entry carries none.
    pub fn commit(&self) -> LogIndex {
        match (self.kind, self.payload.first_chunk::<8>()) {
            (Kind::Batch, Some(commit)) => LogIndex::new(u64::from_be_bytes(*commit)),
            _ => LogIndex::ZERO,
        }
    }

    /// The store time of its records, None where it has none.
    pub fn store_time(&self) -> Option<Timestamp> {
        let time = self.payload.get(8..16)?.first_chunk()?;
        (self.kind == Kind::Batch).then(|| Timestamp::new(u64::from_be_bytes(*time)))
    }

    /// How many bytes of the payload the frame's own checksum covers; a batch's table covers the rest.
    fn head_len(&self) -> usize {
        match (self.kind, self.payload.get(16..20)) {
            (Kind::Batch, Some(count)) => {
                let count = u32::from_be_bytes([count[0], count[1], count[2], count[3]]) as usize;
                head_len(count).min(self.payload.len())
            }
            _ => self.payload.len(),
        }
    }
}

/// Bytes that an entry with this payload takes in a segment.
pub const fn frame_len(payload_len: usize) -> u64 {
    ((FRAME_HEADER_LEN + payload_len).next_multiple_of(ALIGN)) as u64
}

/// Writes the frame of `entry`, for log offset `at`, into `out`, which has exactly its length; returns its chain
/// value.
pub(super) fn encode(entry: &Entry, at: LogOffset, previous_chain: u32, out: &mut [u8]) -> u32 {
    let (header, chain) = header(entry, at, previous_chain);
    let payload_end = FRAME_HEADER_LEN + entry.payload.len();
    out[..FRAME_HEADER_LEN].copy_from_slice(&header);
    out[FRAME_HEADER_LEN..payload_end].copy_from_slice(&entry.payload);
    out[payload_end..].fill(0);
    chain
}

/// The header of the frame of `entry` at log offset `at`, and its chain value.
pub(super) fn header(entry: &Entry, at: LogOffset, previous_chain: u32) -> ([u8; FRAME_HEADER_LEN], u32) {
    let head = entry.head_len();
    let mut header = [0; FRAME_HEADER_LEN];
    {
        let mut h = &mut header[8..];
        h.put_u32(entry.payload.len() as u32);
        h.put_u32(head as u32);
        h.put_u32(crc32c::crc32c(&entry.payload[..head]));
        h.put_u32(0);
        h.put_u64(entry.term.get());
        h.put_u64(entry.index.get());
        h.put_u64(at.get());
        h.put_u64(entry.commit().get());
        h.put_u8(entry.kind as u8);
        h.put_u8(VERSION);
    }
    header[..4].copy_from_slice(&MAGIC.to_be_bytes());
    let chain = chain(previous_chain, &header);
    header[20..24].copy_from_slice(&chain.to_be_bytes());
    let crc = header_crc(&header);
    header[4..8].copy_from_slice(&crc.to_be_bytes());
    (header, chain)
}

/// The chain covers everything of the header but its CRC and the chain field itself.
fn chain(previous: u32, header: &[u8; FRAME_HEADER_LEN]) -> u32 {
    let crc = crc32c::crc32c_append(previous, &header[8..20]);
    crc32c::crc32c_append(crc, &header[24..])
}

fn header_crc(header: &[u8; FRAME_HEADER_LEN]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..4]), &header[8..])
}

/// A header whose own CRC was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) payload_len: usize,
    pub(super) head_len: usize,
    head_crc: u32,
    pub(super) chain: u32,
    chain_input: [u8; FRAME_HEADER_LEN],
    pub(super) term: Term,
    pub(super) index: LogIndex,
    pub(super) at: LogOffset,
    pub(super) commit: LogIndex,
    pub(super) kind: Kind,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No frame was ever written here.
    #[error("there is no frame")]
    Absent,
    /// The header does not match its checksum or cannot be.
    #[error("the frame's header is damaged")]
    Header,
    /// The part of the payload before the records does not match its checksum.
    #[error("the head of the frame's payload is damaged")]
    Head,
    /// Written by a later version.
    #[error("the frame has format version {0}, this server knows {VERSION}")]
    Version(u8),
}

impl FrameHeader {
    /// Reads a header. It vouches for itself only; position, index and chain are the caller's to compare.
    pub(super) fn decode(bytes: &[u8; FRAME_HEADER_LEN]) -> Result<Self, FrameError> {
        if bytes.iter().all(|b| *b == 0) {
            return Err(FrameError::Absent);
        }
        let u32_at = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| (u64::from(u32_at(at)) << 32) | u64::from(u32_at(at + 4));
        if u32_at(0) != MAGIC || u32_at(4) != header_crc(bytes) {
            return Err(FrameError::Header);
        }
        if bytes[57] != VERSION {
            return Err(FrameError::Version(bytes[57]));
        }
        let kind = Kind::from_byte(bytes[56]).ok_or(FrameError::Header)?;
        let (payload_len, head_len) = (u32_at(8) as usize, u32_at(12) as usize);
        if payload_len > PAYLOAD_MAX || head_len > payload_len {
            return Err(FrameError::Header);
        }
        Ok(Self {
            payload_len,
            head_len,
            head_crc: u32_at(16),
            chain: u32_at(20),
            chain_input: *bytes,
            term: Term::new(u64_at(24)),
            index: LogIndex::new(u64_at(32)),
            at: LogOffset::new(u64_at(40)),
            commit: LogIndex::new(u64_at(48)),
            kind,
        })
    }

    /// Whether this frame was written after one with this chain value.
    pub(super) fn follows(&self, previous_chain: u32) -> bool {
        chain(previous_chain, &self.chain_input) == self.chain
    }

    /// Checks the payload. Ok tells which records of a batch are damaged; everything else is whole.
    pub(super) fn check(&self, payload: Bytes) -> Result<(Entry, Vec<usize>), FrameError> {
        if crc32c::crc32c(&payload[..self.head_len]) != self.head_crc {
            return Err(FrameError::Head);
        }
        let damaged = match self.kind {
            Kind::Batch => Batch::parse(payload.clone()).map_err(|_| FrameError::Head)?.damaged(),
            _ => Vec::new(),
        };
        let entry = Entry { index: self.index, term: self.term, kind: self.kind, payload };
        Ok((entry, damaged))
    }
}
