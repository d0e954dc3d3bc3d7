//! Requests that a group of several answers only where they belong, and if a quorum confirms it. A leader that was cut off
//! does not know that there is another one: what it says of the newest state may be old. So before it answers from its
//! state it asks a quorum whether it still leads, for all requests that came meanwhile at once (read index, section 6.4 of
//! Ongaro's thesis). What is stored or read after that is current.
//!
//! Two kinds need no question, the two that matter for speed: a send that will be stored, as its commit says as much, and a
//! pull of messages that are there, as they stay what they are.

use std::collections::VecDeque;

use steadfast_consensus::{Read, ReadError};
use steadfast_types::LogIndex;
use steadfast_types::topic::RETRY_PREFIX;
use steadfast_wire::code::response;

use crate::broker::{Broker, Out, Phase, STOPPING, reply};
use crate::io::{ConnId, Now, Origin};
use crate::pending::not_stored;
use crate::reply::Reply;
use crate::request::{PullRequest, Request, SendRequest};

/// A request and who asks.
type Asked = (Origin, Request);

/// Requests that wait for a quorum.
#[derive(Debug, Default)]
pub(crate) struct Confirming {
    /// They came after the question that is under way.
    next: Vec<Asked>,
    /// The number of the question, and who waits for its answer.
    under_way: Option<(u64, Vec<Asked>)>,
    /// They may be answered once everything up to an entry is applied.
    confirmed: VecDeque<(LogIndex, Vec<Asked>)>,
}

impl Confirming {
    /// Forgets the requests of a connection that is gone.
    pub(crate) fn drop_connection(&mut self, conn: ConnId) {
        let under_way = self.under_way.iter_mut().map(|(_, asked)| asked);
        let confirmed = self.confirmed.iter_mut().map(|(_, asked)| asked);
        for asked in under_way.chain(confirmed).chain([&mut self.next]) {
            asked.retain(|(origin, _)| origin.conn != conn);
        }
    }

    /// Gives all of them up.
    pub(crate) fn give_up(&mut self) -> impl Iterator<Item = (Origin, Request)> + use<> {
        let Self { next, under_way, confirmed } = std::mem::take(self);
        let asked = under_way.into_iter().map(|(_, asked)| asked);
        let asked = asked.chain(confirmed.into_iter().map(|(_, asked)| asked)).chain([next]);
        asked.flatten()
    }
}

/// The answer to a request of which nothing was done.
pub(crate) fn refused(request: &Request, cause: &str) -> Reply {
    let is_change = matches!(
        request,
        Request::Send(_)
            | Request::SendBack(_)
            | Request::UpdateConsumerOffset { .. }
            | Request::CreateTopic(..)
            | Request::DeleteTopic(_)
            | Request::LockQueues(_)
            | Request::UnlockQueues(_)
            | Request::ResetOffset(_)
            | Request::PutGroups(_)
            | Request::DeleteGroup { .. }
    );
    match is_change {
        true => not_stored(response::SERVICE_NOT_AVAILABLE, cause),
        false => Reply::error(response::SERVICE_NOT_AVAILABLE, cause.to_owned()),
    }
}

impl Broker {
    /// A request has come.
    pub(crate) fn arrived(&mut self, now: Now, origin: Origin, request: Request, out: &mut Out<'_>) {
        if self.membership.is_alone() || self.is_for_anyone(&request) {
            return self.request(now, origin, request, out);
        }
        let cause = match &self.phase {
            Phase::Poisoned(cause) => Some(cause.clone()),
            Phase::Stopped => Some(STOPPING.to_owned()),
            _ if !self.group.is_leader() => Some(self.not_leading()),
            _ => None,
        };
        if let Some(cause) = cause {
            return reply(origin, refused(&request, &cause), out);
        }
        if self.needs_no_quorum(&request) {
            self.request(now, origin, request, out);
        } else {
            self.confirming.next.push((origin, request));
        }
    }

    /// Whether any replica answers this: what it says of itself and of its clients, and messages that it has.
    fn is_for_anyone(&self, request: &Request) -> bool {
        match request {
            Request::Heartbeat(..)
            | Request::UnregisterClient { .. }
            | Request::CheckClientConfig(_)
            | Request::GetBrokerConfig
            | Request::GetRuntimeInfo
            | Request::GetRetention => true,
            Request::ViewMessage(at) => *at < self.committed().get(),
            _ => false,
        }
    }

    fn needs_no_quorum(&self, request: &Request) -> bool {
        match request {
            Request::Send(send) => self.will_store(send),
            Request::Pull(pull) => self.phase == Phase::Leading && self.has_messages_for(pull),
            _ => false,
        }
    }

    /// Whether a send is refused for nothing that the state says, or is refused since nothing is stored now.
    fn will_store(&self, send: &SendRequest) -> bool {
        let Some(topic) = self.state.topics.get(&send.topic) else { return false };
        let has_queue = usize::try_from(send.queue_id).map_or(true, |id| id < topic.queues.len());
        self.phase != Phase::Leading
            || (topic.config.is_writable() && has_queue && !send.topic.starts_with(RETRY_PREFIX))
    }

    fn has_messages_for(&self, pull: &PullRequest) -> bool {
        let (Ok(queue), Ok(_)) = (self.known_queue(&pull.queue), self.check_pull(pull)) else { return false };
        let is_reset =
            self.state.positions.reset_to(&pull.group, &pull.queue.topic, queue.name.queue_id).is_some();
        let here = queue.min.get()..queue.end.get();
        !is_reset && u64::try_from(pull.offset).is_ok_and(|offset| here.contains(&offset))
    }

    /// Asks a quorum for all that have come since the last question.
    pub(crate) fn ask_quorum(&mut self, now: Now, out: &mut Out<'_>) {
        if self.confirming.next.is_empty() || self.confirming.under_way.is_some() {
            return;
        }
        match self.group.read_index() {
            Ok(number) => {
                let asked = std::mem::take(&mut self.confirming.next);
                self.confirming.under_way = Some((number, asked));
                self.advance(now, out);
            }
            // It was elected, and will know soon.
            Err(ReadError::TooEarly) => {}
            Err(ReadError::NotLeader) => {
                let cause = self.not_leading();
                self.turn_away(&cause, out);
            }
        }
    }

    /// A quorum has answered.
    pub(crate) fn confirmed(&mut self, now: Now, reads: &[Read], out: &mut Out<'_>) {
        for read in reads {
            if let Some((_, asked)) = self.confirming.under_way.take_if(|(number, _)| *number == read.number)
            {
                self.confirming.confirmed.push_back((read.index, asked));
            }
        }
        while let Some((_, asked)) =
            self.confirming.confirmed.pop_front_if(|(index, _)| *index <= self.applied.index)
        {
            for (origin, request) in asked {
                self.request(now, origin, request, out);
            }
        }
    }
}
