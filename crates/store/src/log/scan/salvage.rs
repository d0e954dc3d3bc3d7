//! Where a repair's scan goes on and an ordinary one gives up: at an acknowledged entry whose frame does not verify. Its
//! neighbours say what it was.

use std::ops::ControlFlow::{Break, Continue};

use bytes::Bytes;
use steadfast_types::{LogOffset, Term};

use super::{Head, ScanError, Scanned, Walk};
use crate::disk::Disk;
use crate::log::PAYLOAD_MAX;
use crate::log::batch::Batch;
use crate::log::frame::{self, Entry, FRAME_HEADER_LEN, FrameHeader, Kind, frame_len};
use crate::log::layout::Mark;
use crate::log::segment::SEGMENT_HEADER_LEN;

impl<D: Disk> Walk<'_, D> {
    /// The next entry, as far as it can be told. None if that is not far enough to go on.
    pub(super) fn salvage(&mut self) -> Result<Option<Scanned>, ScanError> {
        let (base, end) = (self.scan.layout.base_of(self.mark.end), self.mark.end);
        let next = if end > base { base + self.scan.layout.segment_size } else { base };
        // The frame may have opened the next segment.
        for (base, at) in [(base, end), (next, next + SEGMENT_HEADER_LEN as u64)] {
            if at == base || (at != end && !self.continues_in(base)?) {
                continue;
            }
            if let Some(found) = self.headless(base, at)? {
                return Ok(Some(found));
            }
            if let Some(found) = self.rebuilt(base, at)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The entry at `at`, if its header is whole and in its place and only the head of its payload is damaged.
    fn headless(&mut self, base: LogOffset, at: LogOffset) -> Result<Option<Scanned>, ScanError> {
        let mark = self.mark;
        let Some(segment) = self.segment(base)? else { return Ok(None) };
        let Some(Ok(header)) = segment.header_at(at)? else { return Ok(None) };
        if header.at != at || header.index != mark.index.next() || !header.follows(mark.chain) {
            return Ok(None);
        }
        let payload_at = at + FRAME_HEADER_LEN as u64;
        let Some(payload) = segment.bytes(payload_at, header.payload_len)? else { return Ok(None) };
        let payload = Bytes::copy_from_slice(payload);
        let entry = Entry { index: header.index, term: header.term, kind: header.kind, payload };
        self.mark =
            Mark { index: header.index, end: at + frame_len(header.payload_len), chain: header.chain };
        Ok(Some(Scanned { entry, payload_at, damaged: Vec::new(), head: Head::Lost(header.head_len) }))
    }

    /// The entry at `at`, if only its header is damaged. What the header was follows from the payload; that it was that,
    /// the chain value of the next frame proves.
    fn rebuilt(&mut self, base: LogOffset, at: LogOffset) -> Result<Option<Scanned>, ScanError> {
        let payload_at = at + FRAME_HEADER_LEN as u64;
        let Some(segment) = self.segment(base)? else { return Ok(None) };
        let left = (base + segment.len).get().saturating_sub(payload_at.get());
        let len = left.min(PAYLOAD_MAX as u64) as usize;
        let bytes = segment.bytes(payload_at, len)?.unwrap_or_default();
        let batch = Batch::stated_len(bytes).and_then(|len| bytes.get(..usize::try_from(len).ok()?));
        let batch = batch.map(|payload| (Kind::Batch, Bytes::copy_from_slice(payload)));
        for (kind, payload) in batch.into_iter().chain([(Kind::Leader, Bytes::new())]) {
            let end = at + frame_len(payload.len());
            let Some(header) = self.proven(kind, &payload, at, end)? else { continue };
            let Ok((entry, damaged)) = header.check(payload) else { continue };
            self.mark = Mark { index: header.index, end, chain: header.chain };
            return Ok(Some(Scanned { entry, payload_at, damaged, head: Head::Proven }));
        }
        Ok(None)
    }

    /// The header of the next entry if it is this one: a frame follows that was written after it.
    fn proven(
        &mut self,
        kind: Kind,
        payload: &Bytes,
        at: LogOffset,
        end: LogOffset,
    ) -> Result<Option<FrameHeader>, ScanError> {
        let (index, chain) = (self.mark.index.next(), self.mark.chain);
        let mut proven = None;
        let first = self.scan.layout.base_of(at);
        for base in self.bases.clone().into_iter().filter(|base| *base >= first) {
            let Some(segment) = self.segment(base)? else { continue };
            segment.each_header(end.max(base + SEGMENT_HEADER_LEN as u64), |next| {
                if next.index != index.next() {
                    return Continue(());
                }
                // The next frame may be the first of a new leader.
                for term in [next.term.get(), next.term.get().saturating_sub(1)] {
                    let entry = Entry { index, term: Term::new(term), kind, payload: payload.clone() };
                    let (header, chain) = frame::header(&entry, at, chain);
                    if next.follows(chain) {
                        proven = FrameHeader::decode(&header).ok();
                        return Break(());
                    }
                }
                Continue(())
            })?;
            if proven.is_some() {
                break;
            }
        }
        Ok(proven)
    }
}
