//! Who led when: the terms of all entries of the log. A replica that starts from a snapshot can so still say which of its
//! old entries another one has.

use bytes::{Buf, BufMut};
use steadfast_types::{LogIndex, Term};

use crate::bytes_ext::Malformed;

/// First index and term of each stretch of entries with the same term, ascending.
#[derive(Debug, Default)]
pub(crate) struct Terms(Vec<(LogIndex, Term)>);

impl Terms {
    /// The next entry has this index and term.
    pub(crate) fn note(&mut self, index: LogIndex, term: Term) {
        if self.0.last().is_none_or(|(_, last)| *last != term) {
            self.0.push((index, term));
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[(LogIndex, Term)] {
        &self.0
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.0.len() as u32);
        for (index, term) in &self.0 {
            out.put_u64(index.get());
            out.put_u64(term.get());
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut terms = Vec::new();
        for _ in 0..bytes.try_get_u32()? {
            let index = LogIndex::new(bytes.try_get_u64()?);
            terms.push((index, Term::new(bytes.try_get_u64()?)));
        }
        Ok(Self(terms))
    }
}
