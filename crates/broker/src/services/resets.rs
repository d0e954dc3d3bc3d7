//! Resets by an operator (INVOKE_BROKER_TO_RESET_OFFSET, 222): the position is set here, in the log, whether a client
//! is connected or not. Clients learn of it from the answer to their next pull, or, with
//! `useServerSideResetOffset=false`, by RESET_CONSUMER_CLIENT_OFFSET (220) at once.

use std::collections::BTreeMap;

use steadfast_types::{QueueId, QueueOffset, topic};
use steadfast_wire::body::{Body, MessageQueue, QueueOffsetForC, ResetOffsetBody, ResetOffsetBodyForC};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::ResetOffset;

use super::Answer;
use super::offsets::unreadable;
use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, reply};
use crate::control::Control;
use crate::io::{Effect, Now, Origin, ReadJob, ReadResult};
use crate::jump::{Jump, JumpCause, Move};
use crate::reply::Reply;
use crate::request::{QueueRef, ResetRequest, ResetTarget};

/// Resets whose offsets are being searched, by number.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    next: u64,
    by_number: BTreeMap<u64, Gathering>,
}

/// A reset of which some offsets are known.
#[derive(Debug)]
struct Gathering {
    origin: Origin,
    request: ResetRequest,
    found: BTreeMap<QueueId, QueueOffset>,
    missing: usize,
}

impl Broker {
    pub(super) fn reset_offset(
        &mut self,
        now: Now,
        origin: Origin,
        request: ResetRequest,
        out: &mut Out<'_>,
    ) -> Answer {
        self.check_writable()?;
        if let Err(error) = topic::check_group(&request.group) {
            let remark = format!("group {:?}: {error}", request.group);
            return Err(Reply::error(response::INVALID_PARAMETER, remark));
        }
        let ids = self.queues_to_reset(&request)?;
        let mut gathering = Gathering { origin, request, found: BTreeMap::new(), missing: 0 };
        let mut jobs = Vec::new();
        for id in ids {
            match self.reset_target(&gathering.request, id)? {
                Ok(offset) => drop(gathering.found.insert(id, offset)),
                Err(job) => jobs.push((id, job)),
            }
        }
        if jobs.is_empty() {
            self.reset_to(now, gathering);
            return Ok(None);
        }
        gathering.missing = jobs.len();
        let reset = self.resets.next;
        self.resets.next += 1;
        self.resets.by_number.insert(reset, gathering);
        for (queue, job) in jobs {
            self.read(ReadPurpose::Reset { reset, queue }, job, out);
        }
        Ok(None)
    }

    /// The queue that was named, or all that consumers read.
    fn queues_to_reset(&self, request: &ResetRequest) -> Result<Vec<QueueId>, Reply> {
        let topic = self.state.topics.get(&request.topic).ok_or_else(|| super::no_topic(&request.topic))?;
        if request.queue_id < 0 {
            return Ok((0..topic.config.read_queues).map(QueueId::new).collect());
        }
        let queue = QueueRef { topic: request.topic.clone(), queue_id: request.queue_id };
        Ok(vec![self.known_queue(&queue)?.name.queue_id])
    }

    /// Where the position in a queue goes, or how to find out.
    fn reset_target(
        &self,
        request: &ResetRequest,
        id: QueueId,
    ) -> Result<Result<QueueOffset, ReadJob>, Reply> {
        let queue = self.state.topics.queue(&request.topic, id);
        let queue = queue.ok_or_else(|| super::no_topic(&request.topic))?;
        let (min, end) = (queue.min, queue.end);
        match request.target {
            ResetTarget::Offset(offset) => {
                let in_range = u64::try_from(offset).ok().map(QueueOffset::new);
                let in_range = in_range.filter(|offset| (min..=end).contains(offset));
                in_range.map(Ok).ok_or_else(|| {
                    let name = &queue.name;
                    let remark =
                        format!("Target offset {offset} not in consume queue range [{min}-{end}] of {name}");
                    Reply::error(response::SYSTEM_ERROR, remark)
                })
            }
            ResetTarget::End => Ok(Ok(end)),
            ResetTarget::Time(_) if min == end => Ok(Ok(end)),
            ResetTarget::Time(time) => Ok(Err(self.search_job(queue, time, false))),
        }
    }

    /// The search for one queue's offset is done.
    pub(super) fn reset_search_done(
        &mut self,
        now: Now,
        (reset, queue): (u64, QueueId),
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        // It failed before, and was answered.
        let Some(mut gathering) = self.resets.by_number.remove(&reset) else { return };
        let ReadResult::Number(offset) = result else {
            return reply(gathering.origin, unreadable(result), out);
        };
        gathering.found.insert(queue, QueueOffset::new(offset));
        gathering.missing -= 1;
        if gathering.missing > 0 {
            self.resets.by_number.insert(reset, gathering);
        } else if let Err(refusal) = self.check_writable() {
            reply(gathering.origin, refusal, out);
        } else {
            self.reset_to(now, gathering);
        }
    }

    /// All offsets are known: the group jumps, in all queues at once, and the operator is told where to.
    fn reset_to(&mut self, now: Now, gathering: Gathering) {
        let Gathering { origin, request, found, .. } = gathering;
        let moves: Vec<Move> = found.into_iter().map(|(id, to)| self.reset_move(&request, id, to)).collect();
        let answer =
            Reply::json(&ResetOffsetBody { offset_table: self.offsets(&request.topic, &moves).collect() });
        let (group, topic) = (request.group.as_str().into(), request.topic.as_str().into());
        let jump = Jump { group, topic, cause: JumpCause::Reset, moves };
        self.pending.push_control(now, Control::Jump(jump), Some((origin, answer)));
    }

    fn reset_move(&self, request: &ResetRequest, queue_id: QueueId, to: QueueOffset) -> Move {
        let from = self.state.positions.get(&request.group, &request.topic, queue_id);
        // Without force nothing is skipped.
        let to = from.filter(|from| !request.force && *from < to).unwrap_or(to);
        Move { queue_id, from, to }
    }

    fn offsets(&self, topic: &str, moves: &[Move]) -> impl Iterator<Item = (MessageQueue, i64)> {
        let queue = |moved: &Move| MessageQueue {
            broker_name: self.options.broker_name.clone(),
            queue_id: moved.queue_id.get() as i32,
            topic: topic.to_owned(),
        };
        moves.iter().map(move |moved| (queue(moved), moved.to.get() as i64))
    }

    /// RESET_CONSUMER_CLIENT_OFFSET to every member of the group, in the form that its language reads.
    pub(super) fn tell_of_reset(&mut self, now: Now, jump: &Jump, out: &mut Out<'_>) {
        let Some(group) = self.clients.consumer_group(&jump.group) else { return };
        let offsets: Vec<_> = self.offsets(&jump.topic, &jump.moves).collect();
        let for_c = offsets.iter().map(|(queue, offset)| QueueOffsetForC {
            broker_name: queue.broker_name.clone(),
            offset: *offset,
            queue_id: queue.queue_id,
            topic: queue.topic.clone(),
        });
        let for_c = ResetOffsetBodyForC { offset_table: for_c.collect() }.encode();
        let for_others = ResetOffsetBody { offset_table: offsets.into_iter().collect() }.encode();
        let members: Vec<_> = group.members.values().map(|m| (m.conn, m.language)).collect();
        for (conn, language) in members {
            let mut ext = ExtFields::default();
            ResetOffset {
                topic: jump.topic.to_string().into(),
                group: jump.group.to_string().into(),
                timestamp: now.wall.get() as i64,
                ..ResetOffset::default()
            }
            .encode(&mut ext);
            let body = if language == "CPP" { &for_c } else { &for_others };
            let call = self.calls.oneway(request::RESET_CONSUMER_CLIENT_OFFSET, ext, body.clone().into());
            out(Effect::Call(conn, call));
        }
    }
}
