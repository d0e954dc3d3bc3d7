//! Inputs and effects in a few words, for the record of a run.

use std::fmt;

use steadfast_broker::io::{Effect, Input, ReadJob, ReadResult};
use steadfast_broker::request::Request;
use steadfast_consensus::{Body, Message};

/// Writes something in a few words.
pub(crate) struct Brief<'a, T>(pub(crate) &'a T);

impl fmt::Display for Brief<'_, Input> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Input::Request(origin, request) => {
                write!(f, "{}#{} {}", origin.conn, origin.opaque, Brief(request))
            }
            Input::ReadDone(number, result) => write!(f, "read {number} done: {}", Brief(result)),
            Input::CheckpointDone(Ok(runs)) => write!(f, "checkpoint done, {} runs", runs.len()),
            Input::Message(message) => write!(f, "from {}: {}", message.from, Brief(message)),
            Input::Fetched(number, entries) => {
                write!(f, "fetched {number}: {} entries", entries.as_ref().map_or(0, Vec::len))
            }
            Input::PartRead(job, bytes) => {
                write!(f, "{job:?} is read: {} bytes", bytes.as_ref().map_or(0, bytes::Bytes::len))
            }
            Input::Mended(done) => write!(f, "segment {}: {:?}", done.mend.base(), done.result),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Brief<'_, Message> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { term, body, .. } = self.0;
        match body {
            Body::Append(append) => {
                let (after, commit, count) = (append.previous.index, append.commit, append.entries.len());
                write!(f, "term {term}, {count} entries after {after}, commit {commit}")
            }
            Body::LogPart { number, at, bytes } => write!(f, "part {number}: {} bytes at {at}", bytes.len()),
            other => write!(f, "term {term}, {other:?}"),
        }
    }
}

impl fmt::Display for Brief<'_, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Request::Send(send) => {
                let (topic, queue, records, bytes) =
                    (&send.topic, send.queue_id, send.records.len(), send.len());
                write!(f, "send {records} to {topic}/{queue}, {bytes} bytes, id {}", send.unique_key)
            }
            Request::Pull(pull) => {
                let queue = &pull.queue;
                let (topic, id, offset, hold) = (&queue.topic, queue.queue_id, pull.offset, pull.hold);
                write!(f, "pull by {} of {topic}/{id}@{offset}", pull.group)?;
                if hold > 0 { write!(f, ", held for {hold} ms") } else { Ok(()) }
            }
            Request::Heartbeat(data, _) => write!(f, "heartbeat of {}", data.client_id),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Brief<'_, ReadResult> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ReadResult::Messages { records, next } => write!(f, "{} messages, next {next}", records.len()),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Brief<'_, Effect> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Effect::Reply(origin, reply) => {
                let bytes: usize = reply.body.iter().map(bytes::Bytes::len).sum();
                write!(f, "{}#{} code {}", origin.conn, origin.opaque, reply.code)?;
                if let Some(remark) = &reply.remark {
                    write!(f, " {remark}")?;
                }
                write!(f, ", {bytes} bytes")
            }
            Effect::Write(write) => {
                write!(f, "write {}", write.number)?;
                if let Some(vote) = &write.vote {
                    write!(f, ", vote in term {}", vote.term)?;
                }
                for (entry, at) in &write.entries {
                    write!(f, ", {:?} {} at {at}, {} bytes", entry.kind, entry.index, entry.payload.len())?;
                }
                Ok(())
            }
            Effect::Read(number, job) => write!(f, "read {number}: {}", Brief(job)),
            Effect::Checkpoint(checkpoint) => {
                let snapshot = &checkpoint.snapshot;
                write!(f, "checkpoint of entry {}", snapshot.mark.index)?;
                match &checkpoint.run {
                    Some(run) => write!(f, " with a run of {:?}", run.covers),
                    None => Ok(()),
                }
            }
            Effect::Message(message) => write!(f, "to {}: {}", message.to, Brief(message)),
            Effect::Mend(job) => {
                let given = job.part.as_ref().map_or(0, bytes::Bytes::len);
                write!(f, "mend segment {} with {given} bytes", job.mend.base())
            }
            Effect::Register(topics) => write!(f, "register {} topics", topics.len()),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Brief<'_, ReadJob> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ReadJob::Queue { queue, offsets, .. } => write!(f, "{queue} {offsets:?} from runs"),
            ReadJob::Records { units, .. } => write!(f, "{} records", units.len()),
            ReadJob::Query { topic, key, recent, .. } => {
                write!(f, "key {key} of {topic}, {} recent candidates", recent.len())
            }
            ReadJob::View { at, .. } => write!(f, "record at {at}"),
            ReadJob::Units { queue, offsets } => write!(f, "units {offsets:?} of {queue}"),
            ReadJob::StoreTime { queue, offset, .. } => write!(f, "store time of {queue}@{offset}"),
            ReadJob::Extents { stretches, queues } => {
                write!(f, "extents of {} queues in {} stretches", queues.len(), stretches.len())
            }
            ReadJob::Search { queue, offsets, time, .. } => write!(f, "{queue} {offsets:?} at time {time}"),
        }
    }
}
