//! Questions about a queue: its ends, its oldest message's time, the offset that belongs to a time.

use steadfast_types::Timestamp;
use steadfast_wire::code::response;

use super::Answer;
use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, reply};
use crate::io::{Now, Origin, ReadJob, ReadResult};
use crate::reply::{Reply, ReplyHeader};
use crate::request::{QueueRef, Request};
use crate::state::Queue;

impl Broker {
    /// Only what is committed counts, whatever the request's `committed` says: an offset that was told can
    /// never be taken back.
    pub(super) fn max_offset(&self, queue: &QueueRef) -> Answer {
        Ok(Some(offset(self.known_queue(queue)?.end.get())))
    }

    pub(super) fn min_offset(&self, queue: &QueueRef) -> Answer {
        Ok(Some(offset(self.known_queue(queue)?.min.get())))
    }

    pub(super) fn search_offset(
        &mut self,
        now: Now,
        origin: Origin,
        queue: &QueueRef,
        time: Timestamp,
        upper: bool,
        out: &mut Out<'_>,
    ) -> Answer {
        let found = self.known_queue(queue)?;
        if found.min == found.end {
            return Ok(Some(offset(found.end.get())));
        }
        if !self.reads.has_turn() {
            return self.reads.wait(now, origin, Request::SearchOffset { queue: queue.clone(), time, upper });
        }
        let job = self.search_job(found, time, upper);
        self.read(ReadPurpose::Search { origin }, job, out);
        Ok(None)
    }

    /// The search of a queue that has messages.
    pub(super) fn search_job(&self, queue: &Queue, time: Timestamp, upper: bool) -> ReadJob {
        let recent_from = queue.recent_from().max(queue.min);
        ReadJob::Search {
            queue: queue.name.clone(),
            offsets: queue.min..queue.end,
            recent: queue.units_from(recent_from).copied().collect(),
            holes: queue.holes().range(queue.min..queue.end).map(|(offset, _)| *offset).collect(),
            time,
            upper,
            committed: self.committed(),
        }
    }

    pub(super) fn search_done(origin: Origin, result: ReadResult, out: &mut Out<'_>) {
        let answer = match result {
            ReadResult::Number(found) => offset(found),
            other => unreadable(other),
        };
        reply(origin, answer, out);
    }

    pub(super) fn earliest_store_time(
        &mut self,
        origin: Origin,
        queue: &QueueRef,
        out: &mut Out<'_>,
    ) -> Answer {
        let found = self.known_queue(queue)?;
        if found.min == found.end {
            return Ok(Some(Reply::with(ReplyHeader::Timestamp(-1))));
        }
        let mut offset = found.min;
        while found.holes().contains_key(&offset) {
            offset = offset.next();
        }
        if offset == found.end {
            return Ok(Some(Reply::with(ReplyHeader::Timestamp(-1))));
        }
        let job = ReadJob::StoreTime {
            queue: found.name.clone(),
            offset,
            unit: found.unit(offset).copied(),
            committed: self.committed(),
        };
        self.read(ReadPurpose::StoreTime { origin }, job, out);
        Ok(None)
    }

    pub(super) fn store_time_done(origin: Origin, result: ReadResult, out: &mut Out<'_>) {
        let answer = match result {
            ReadResult::Number(time) => Reply::with(ReplyHeader::Timestamp(time as i64)),
            other => unreadable(other),
        };
        reply(origin, answer, out);
    }
}

fn offset(value: u64) -> Reply {
    Reply::with(ReplyHeader::Offset(value as i64))
}

pub(super) fn unreadable(result: ReadResult) -> Reply {
    let cause = match result {
        ReadResult::Damaged(cause) | ReadResult::Failed(cause) => cause,
        ReadResult::Incomplete(bound) => return Reply::error(response::SYSTEM_BUSY, bound),
        _ => "the queue has no message there".to_owned(),
    };
    Reply::error(response::SYSTEM_ERROR, cause)
}
