//! What clients ask and what they are told. The facts of every answer go into the ledger here, whether or not
//! its client still waits for it.

use std::rc::Rc;

use bytes::Bytes;
use steadfast_audit::{CommitTicket, MessageId, Moment, Name, Place, Position, Queue};
use steadfast_broker::reader::QUERY_BYTES;
use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_types::topic::{dlq_topic, retry_topic};
use steadfast_types::{QueueId, QueueOffset, limits};
use steadfast_wire::body::{Body, ResetOffsetBody};
use steadfast_wire::code::response;
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{OffsetResponse, PullMessageResponse, SendMessageResponse};

use crate::message::{self, Message, Seen};
use crate::plan::Filter;
use crate::stage::Stage;
use crate::watch::Gist;

/// Numbers clients.
pub(crate) type ClientNo = usize;
/// Numbers calls; the low bits are the request's id on the wire.
pub(crate) type CallId = u64;

/// What a call was for.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// Sending; `epoch` is of the topic, see [`crate::watch::Watch::epoch`].
    Send {
        messages: Rc<Vec<Message>>,
        epoch: Option<u32>,
    },
    Pull(Box<Pull>),
    SendBack(Rc<Back>),
    /// Setting a position.
    Commit(CommitTicket),
    /// An operator setting a position.
    Reset(CommitTicket),
    /// Locking a queue.
    Lock {
        queue: Queue,
    },
    /// Asking for a position.
    Position(Position, Moment),
    /// Looking up a key, under which these messages at least must be found.
    Lookup {
        topic: Name,
        key: Name,
        expected: Option<u64>,
    },
    /// Fetching the message at a place.
    View {
        number: u64,
        place: Place,
    },
    /// Asking for the end of a queue, which must not be before the floor.
    MaxOffset {
        queue: Queue,
        floor: u64,
    },
    /// Asking for the beginning of a queue.
    MinOffset {
        queue: Queue,
    },
    MakeTopic {
        topic: Name,
        queues: u32,
    },
    DeleteTopic {
        topic: Name,
    },
    /// Anything whose answer is not judged here.
    Other,
}

/// A pull.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub(crate) group: Name,
    pub(crate) queue: Queue,
    pub(crate) offset: u64,
    pub(crate) filter: Filter,
    /// What the queue's end was known to be when the pull left.
    pub(crate) floor: u64,
}

/// Retries after which a message is a dead letter.
pub(crate) const MAX_RETRIES: u32 = 2;

/// A message that is sent back.
#[derive(Debug, Clone)]
pub(crate) struct Back {
    pub(crate) id: MessageId,
    pub(crate) group: Name,
    /// Where its consumer got it.
    pub(crate) place: Place,
    pub(crate) log_offset: u64,
    pub(crate) delay_level: i32,
    pub(crate) first_topic: Name,
    /// Where it must turn up.
    pub(crate) to: Name,
}

impl Back {
    /// A consumer of a group sends a message back that it got.
    pub(crate) fn new(group: &Name, seen: &Seen, delay_level: i32) -> Self {
        let is_dead = delay_level < 0 || seen.reconsume_times >= MAX_RETRIES;
        let to = if is_dead { dlq_topic(group) } else { retry_topic(group) };
        Self {
            id: seen.id.clone(),
            group: group.clone(),
            place: seen.place.clone(),
            log_offset: seen.place.log_offset.get(),
            delay_level,
            first_topic: seen.first_topic.clone(),
            to: to.into(),
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Reply(Response),
    /// The request left, and no answer came: too late, or the connection broke.
    Lost,
    /// The request never left.
    NotSent,
}

/// An answer of the server.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) code: i32,
    pub(crate) remark: String,
    pub(crate) ext: ExtFields<'static>,
    pub(crate) body: Bytes,
}

/// What an answer to a change says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    NotDone,
    Unknown,
}

impl Response {
    pub(crate) fn is_ok(&self) -> bool {
        self.code == response::SUCCESS
    }

    /// The field of an answer that is a queue offset.
    pub(crate) fn offset(&self) -> Option<u64> {
        let header = OffsetResponse::decode(&self.ext).ok()?;
        u64::try_from(header.offset).ok()
    }

    /// Codes that the edge gives before anything was done count as a certain no.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.code {
            response::SUCCESS => Outcome::Done,
            response::MESSAGE_ILLEGAL | response::TOPIC_NOT_EXIST | response::INVALID_PARAMETER => {
                Outcome::NotDone
            }
            _ if self.remark.starts_with("stored=no") => Outcome::NotDone,
            _ => Outcome::Unknown,
        }
    }
}

/// Books what an answer says.
pub(crate) fn observe(call: &Call, answer: &Response, stage: &mut Stage) {
    if (response::FLUSH_DISK_TIMEOUT..=response::FLUSH_SLAVE_TIMEOUT).contains(&answer.code) {
        stage
            .watch
            .find(Gist::Answer, format!("{call:?} was answered with code {}, a weak success", answer.code));
    }
    match call {
        Call::Send { messages, epoch } => sent(messages, *epoch, answer, stage),
        Call::Pull(pull) => pulled(pull, answer, stage),
        Call::SendBack(back) => sent_back(back, answer, stage),
        // A remark says that a reset came first, and the commit changed nothing.
        Call::Commit(ticket) if answer.is_ok() && answer.remark.is_empty() => {
            stage.ledger.acknowledge(ticket)
        }
        Call::Reset(ticket) if answer.is_ok() => reset(ticket, answer, stage),
        Call::Position(position, begun) => match (answer.code, answer.offset()) {
            (response::SUCCESS, Some(offset)) => {
                stage.ledger.position_read(*begun, position, Some(QueueOffset::new(offset)));
            }
            (response::QUERY_NOT_FOUND, _) => stage.ledger.position_read(*begun, position, None),
            _ => stage.watch.topic_answer(&position.queue.topic, answer.code),
        },
        Call::Lookup { topic, key, expected } => looked_up(topic, key, *expected, answer, stage),
        Call::View { number, place } => viewed(*number, place, answer, stage),
        Call::MaxOffset { queue, floor } => match answer.offset() {
            Some(max) if answer.is_ok() => stage.watch.max_offset(queue, *floor, max),
            _ => stage.watch.topic_answer(&queue.topic, answer.code),
        },
        Call::MinOffset { queue } => match answer.offset() {
            Some(min) if answer.is_ok() => stage.watch.min_offset(queue, min),
            _ => stage.watch.topic_answer(&queue.topic, answer.code),
        },
        Call::MakeTopic { topic, queues } if answer.is_ok() => stage.watch.topic_made(topic, *queues),
        Call::DeleteTopic { topic } => stage.watch.topic_deleted(topic, answer.outcome()),
        Call::Commit(_) | Call::Reset(_) | Call::Lock { .. } | Call::MakeTopic { .. } | Call::Other => {}
    }
}

fn sent(messages: &[Message], epoch: Option<u32>, answer: &Response, stage: &mut Stage) {
    match answer.outcome() {
        Outcome::NotDone => messages.iter().for_each(|message| stage.ledger.refused(&message.id())),
        Outcome::Unknown => messages.iter().for_each(|message| stage.ledger.unknown(&message.id())),
        Outcome::Done if messages[0].delay_level > 0 => {
            stage.ledger.owed(&messages[0].id());
            stage.watch.topic_made(&messages[0].topic, 0);
        }
        Outcome::Done => {
            let Some(places) = places(messages, answer) else {
                let text =
                    format!("the answer to a send of {} messages is malformed: {answer:?}", messages.len());
                return stage.watch.find(Gist::Answer, text);
            };
            for (message, place) in messages.iter().zip(&places) {
                stage.ledger.acked(&message.id(), place.clone());
                stage.watch.acked(message, place, epoch);
            }
        }
    }
}

/// Where the messages of an acknowledged send are.
fn places(messages: &[Message], answer: &Response) -> Option<Vec<Place>> {
    let header = SendMessageResponse::decode(&answer.ext).ok()?;
    let queue =
        message::queue(messages.first()?.topic.clone(), QueueId::new(u32::try_from(header.queue_id).ok()?));
    let first = u64::try_from(header.queue_offset).ok()?;
    let place_in_log = |id| parse_offset_msg_id(id).map(|(_, offset)| offset);
    let logs: Option<Vec<_>> = header.msg_id.split(',').map(place_in_log).collect();
    let logs = logs.filter(|logs| logs.len() == messages.len())?;
    Some((first..).zip(logs).map(|(offset, log)| message::place(&queue, offset, log)).collect())
}

fn sent_back(back: &Back, answer: &Response, stage: &mut Stage) {
    match answer.outcome() {
        Outcome::NotDone => stage.ledger.copy_refused(&back.id, &back.to),
        Outcome::Unknown => {}
        Outcome::Done => {
            stage.ledger.copy_owed(&back.id, back.to.clone());
            stage.watch.topic_made(&back.to, 1);
        }
    }
}

fn pulled(pull: &Pull, answer: &Response, stage: &mut Stage) {
    let Ok(header) = PullMessageResponse::decode(&answer.ext) else {
        return stage.watch.topic_answer(&pull.queue.topic, answer.code);
    };
    if !matches!(
        answer.code,
        response::SUCCESS
            | response::PULL_NOT_FOUND
            | response::PULL_RETRY_IMMEDIATELY
            | response::PULL_OFFSET_MOVED
    ) {
        return stage.watch.topic_answer(&pull.queue.topic, answer.code);
    }
    let seen = match message::messages(&answer.body) {
        Ok(seen) => seen,
        Err(error) => {
            let text =
                format!("{} got something unreadable at {}@{}: {error}", pull.group, pull.queue, pull.offset);
            return stage.watch.find(Gist::Answer, text);
        }
    };
    for message in &seen {
        stage.ledger.delivered(&message.id, &message.place, message.digest, &pull.group);
        stage.watch.served(message);
    }
    stage.watch.pulled(pull, answer.code, &header, &seen);
    stage.last_seen = seen;
}

/// The server says where the reset led.
fn reset(ticket: &CommitTicket, answer: &Response, stage: &mut Stage) {
    let table = ResetOffsetBody::decode(&answer.body).map(|body| body.offset_table.0);
    let to = table.ok().and_then(|table| table.into_values().next()).and_then(|to| u64::try_from(to).ok());
    match to {
        Some(to) => stage.ledger.acknowledge_reset(ticket, QueueOffset::new(to)),
        None => stage.watch.find(Gist::Answer, format!("the answer to a reset is malformed: {answer:?}")),
    }
}

fn looked_up(topic: &Name, key: &Name, expected: Option<u64>, answer: &Response, stage: &mut Stage) {
    let Some(number) = expected else { return };
    let found = match answer.code {
        response::SUCCESS => message::messages(&answer.body),
        response::QUERY_NOT_FOUND => Ok(Vec::new()),
        code => return stage.watch.topic_answer(topic, code),
    };
    let missing = |found: &[Seen]| !found.iter().any(|seen| seen.id == number.into());
    // It is not denied: the answer says that messages were given up.
    let is_told = answer.is_ok() || answer.remark.contains("given up");
    match found {
        Ok(_) if is_told && stage.watch.is_given_up(number) => {}
        Ok(found) if !is_limited(found.len(), answer.body.len()) && missing(&found) => {
            let text = format!("message #{number}, acknowledged, is not found by key {key} of topic {topic}");
            stage.watch.not_found(topic, number, text);
        }
        Ok(_) => {}
        Err(error) => stage.watch.find(Gist::Answer, format!("a lookup of {key} returned garbage: {error}")),
    }
}

/// Whether a lookup that found so much may have left something out: the oldest messages of a key give way.
pub(crate) fn is_limited(messages: usize, bytes: usize) -> bool {
    let largest = limits::BODY_LEN + limits::PROPERTIES_LEN + 1024;
    messages >= limits::QUERY_RESULTS || bytes + largest > QUERY_BYTES
}

fn viewed(number: u64, place: &Place, answer: &Response, stage: &mut Stage) {
    let denied = ["no message begins", "there is no message", "removed by retention"];
    if answer.is_ok() {
        match message::messages(&answer.body).as_deref() {
            Ok([seen]) if seen.id == number.into() && seen.place == *place => stage.watch.served(seen),
            other => {
                let text = format!("the message at {place} is #{number}, but a view returned {other:?}");
                stage.watch.find(Gist::Answer, text);
            }
        }
    } else if denied.iter().any(|text| answer.remark.contains(text)) {
        let text = format!("message #{number}, acknowledged at {place}, is denied: {}", answer.remark);
        stage.watch.denied(number, text);
    }
}
