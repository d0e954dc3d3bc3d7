//! What the log says of the group's replicas themselves.
//!
//! An entry of kind [`Membership`](steadfast_store::log::Kind::Membership) holds one change, numbers in network byte order:
//!
//! ```text
//! u8 version | u8 1: a replica's process was started, and has everything | u64 replica
//!              | u64 identity of its disk | u64 life of it | u64 number of the start
//! ```

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, TryGetError};
use steadfast_store::meta::Start;
use steadfast_types::LogIndex;

use crate::ReplicaId;

const VERSION: u8 = 1;
const STARTED: u8 = 1;

/// A change that an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A replica's process was started, and has everything that the replica ever acknowledged: whatever else comes in
    /// its name has another past.
    Started(ReplicaId, Start),
}

/// Bytes are not what this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change of the group's members cannot be read; use a newer server")]
pub struct UnknownChange;

impl From<TryGetError> for UnknownChange {
    fn from(_: TryGetError) -> Self {
        Self
    }
}

impl Change {
    /// The payload of its entry.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Self::Started(replica, start) => {
                out.put_u8(STARTED);
                out.put_u64(*replica);
                put_start(&mut out, *start);
            }
        }
        out.into()
    }

    /// Reads what [`Change::encode`] wrote.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, UnknownChange> {
        let bytes = &mut bytes;
        let change = match (bytes.try_get_u8()?, bytes.try_get_u8()?) {
            (VERSION, STARTED) => Self::Started(bytes.try_get_u64()?, get_start(bytes)?),
            _ => return Err(UnknownChange),
        };
        if bytes.is_empty() { Ok(change) } else { Err(UnknownChange) }
    }
}

/// A start, and the entry that tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// What was recorded.
    pub start: Start,
    /// The entry's index.
    pub at: LogIndex,
}

/// What all changes up to some entry led to; a part of every snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    started: BTreeMap<ReplicaId, Recorded>,
}

impl Members {
    /// Applies the change of the entry with this index.
    pub fn apply(&mut self, at: LogIndex, change: &Change) {
        match *change {
            Change::Started(replica, start) => {
                self.started.insert(replica, Recorded { start, at });
            }
        }
    }

    /// The last start that was recorded of a replica.
    pub fn started(&self, replica: ReplicaId) -> Option<Recorded> {
        self.started.get(&replica).copied()
    }

    /// Appends its encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.started.len() as u32);
        for (replica, Recorded { start, at }) in &self.started {
            out.put_u64(*replica);
            put_start(out, *start);
            out.put_u64(at.get());
        }
    }

    /// Reads what [`Members::encode`] wrote.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, TryGetError> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u32()? {
            let (replica, start) = (bytes.try_get_u64()?, get_start(bytes)?);
            let at = LogIndex::new(bytes.try_get_u64()?);
            this.started.insert(replica, Recorded { start, at });
        }
        Ok(this)
    }
}

/// The members as a replica's log tells them, to its very end: what was told once is better known than not, whether it is
/// committed or not.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    applied: Members,
    /// Changes that are not applied, by index.
    open: Vec<(u64, Change)>,
}

impl Roll {
    /// After a snapshot.
    pub(crate) fn new(applied: Members) -> Self {
        Self { applied, open: Vec::new() }
    }

    /// The next entry that holds a change.
    pub(crate) fn append(&mut self, index: u64, change: Change) {
        self.open.push((index, change));
    }

    /// Entries after this one are gone.
    pub(crate) fn truncate(&mut self, last: u64) {
        self.open.retain(|(index, _)| *index <= last);
    }

    /// Everything up to this entry is applied.
    pub(crate) fn apply(&mut self, last: u64) {
        for (index, change) in self.open.extract_if(.., |(index, _)| *index <= last) {
            self.applied.apply(LogIndex::new(index), &change);
        }
    }

    /// The last start of a replica that the log tells.
    pub(crate) fn started(&self, replica: ReplicaId) -> Option<Recorded> {
        let open = self.open.iter().rev().find_map(|(index, change)| match change {
            Change::Started(of, start) if *of == replica => {
                Some(Recorded { start: *start, at: LogIndex::new(*index) })
            }
            _ => None,
        });
        open.or_else(|| self.applied.started(replica))
    }
}

pub(crate) fn put_start(out: &mut impl BufMut, start: Start) {
    out.put_u64(start.disk);
    out.put_u64(start.life);
    out.put_u64(start.number);
}

pub(crate) fn get_start(bytes: &mut impl Buf) -> Result<Start, TryGetError> {
    Ok(Start { disk: bytes.try_get_u64()?, life: bytes.try_get_u64()?, number: bytes.try_get_u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_encoding() {
        let start = Start { disk: 1, life: 2, number: 3 };
        let change = Change::Started(7, start);
        let bytes = change.encode();
        assert_eq!(Change::decode(&bytes), Ok(change));
        assert_eq!(Change::decode(&bytes[..bytes.len() - 1]), Err(UnknownChange));
        assert_eq!(Change::decode(&[&bytes[..], &[0]].concat()), Err(UnknownChange));

        let mut members = Members::default();
        members.apply(LogIndex::new(9), &change);
        members.apply(LogIndex::new(11), &Change::Started(8, start));
        let mut out = Vec::new();
        members.encode(&mut out);
        assert_eq!(Members::decode(&mut &out[..]), Ok(members));
    }
}
