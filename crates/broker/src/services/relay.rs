//! What tools ask of a consumer through the broker, which alone has a connection to it: its running info (307), to
//! consume one message now (309), its positions (221, asked for with 223).

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use steadfast_types::message_id::parse_offset_msg_id;
use steadfast_wire::body::{Body, ClientPositions, GroupPositions};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::GetConsumerStatus;

use super::Answer;
use crate::broker::{Broker, Out, reply};
use crate::io::{ConnId, Effect, Now, Origin};
use crate::reply::Reply;
use crate::request::{RelayRequest, StatusRequest};

/// Milliseconds that a client has for an answer, as in RocketMQ.
const ANSWER_MAX: u64 = 10_000;
/// The same for its positions.
const STATUS_MAX: u64 = 5_000;
/// Version ordinal of the oldest client that can answer (V3_1_8_SNAPSHOT).
const VERSION_MIN: i32 = 62;

/// Who asked what of a client.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The answer goes to the tool as it is.
    Relay { origin: Origin, group: String, client: String },
    /// The answer is a part of what the tool gets.
    Status { gathering: u64, client: String },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay { group, client, .. } => write!(f, "consumer <{group}> <{client}>"),
            Self::Status { client, .. } => write!(f, "consumer <{client}>"),
        }
    }
}

/// Positions that are being asked for, by number.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    next: u64,
    by_number: BTreeMap<u64, Gathering>,
}

/// Positions of a group's clients, as far as they answered.
#[derive(Debug)]
struct Gathering {
    origin: Origin,
    found: GroupPositions,
    missing: usize,
}

impl Broker {
    /// GET_CONSUMER_RUNNING_INFO and CONSUME_MESSAGE_DIRECTLY. The latter names a message, which is sent along.
    pub(super) fn relay(
        &mut self,
        now: Now,
        origin: Origin,
        request: Box<RelayRequest>,
        out: &mut Out<'_>,
    ) -> Answer {
        let Some(message) = &request.message else { return self.relay_to(now, origin, *request, out) };
        self.client_of(&request)?;
        let Some((_, at)) = parse_offset_msg_id(message) else {
            let remark =
                format!("{message:?} is no id of a message's place; look it up by its unique key first");
            return Err(Reply::error(response::SYSTEM_ERROR, remark));
        };
        self.view_for(origin, at.get(), Some(request), out)
    }

    /// The message that a client shall consume was read.
    pub(super) fn relay_with(
        &mut self,
        now: Now,
        origin: Origin,
        request: RelayRequest,
        record: Bytes,
        out: &mut Out<'_>,
    ) {
        let RelayRequest { mut ext, .. } = request;
        let flag = ext.get("topic").and_then(|name| self.state.topics.get(name)).map(|t| t.config.sys_flag);
        ext.push("brokerName", self.options.broker_name.clone());
        if let Some(flag) = flag {
            ext.push("topicSysFlag", flag.to_string());
        }
        let request = RelayRequest { ext, body: record, ..request };
        if let Err(refused) = self.relay_to(now, origin, request, out) {
            reply(origin, refused, out);
        }
    }

    fn relay_to(&mut self, now: Now, origin: Origin, request: RelayRequest, out: &mut Out<'_>) -> Answer {
        let conn = self.client_of(&request)?;
        let RelayRequest { code, group, client, ext, body, .. } = request;
        let asked = Asked::Relay { origin, group, client };
        let call = self.calls.ask(conn, (code, ext, body), asked, now.ticks + ANSWER_MAX);
        out(Effect::Call(conn, call));
        Ok(None)
    }

    /// The connection of the client that is meant.
    fn client_of(&self, request: &RelayRequest) -> Result<ConnId, Reply> {
        let RelayRequest { group, client, .. } = request;
        let refuse = |remark| Reply::error(response::SYSTEM_ERROR, remark);
        let member = self.clients.consumer_group(group).and_then(|found| found.members.get(client));
        let Some(member) = member else {
            return Err(refuse(format!("The Consumer <{group}> <{client}> not online")));
        };
        if member.version < VERSION_MIN {
            let remark = format!(
                "The Consumer <{client}> Version <{}> too low to finish, please upgrade it",
                member.version
            );
            return Err(refuse(remark));
        }
        Ok(member.conn)
    }

    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS: how far each client of a group has read the queues of a topic, by its
    /// own account. Clients that do not answer are left out.
    pub(super) fn consumer_status(
        &mut self,
        now: Now,
        origin: Origin,
        request: StatusRequest,
        out: &mut Out<'_>,
    ) -> Answer {
        let StatusRequest { group, topic, client } = request;
        let members: Vec<(String, ConnId)> = match self.clients.consumer_group(&group) {
            None => Vec::new(),
            Some(found) => {
                let wanted = found.members.iter().filter(|(id, _)| client.as_ref().is_none_or(|c| c == *id));
                wanted.map(|(id, member)| (id.clone(), member.conn)).collect()
            }
        };
        if members.is_empty() {
            let remark = format!("No Any Consumer online in the consumer group: [{group}]");
            return Err(Reply::error(response::SYSTEM_ERROR, remark));
        }
        let gathering = self.statuses.next;
        self.statuses.next += 1;
        let all = Gathering { origin, found: GroupPositions::default(), missing: members.len() };
        self.statuses.by_number.insert(gathering, all);
        for (client, conn) in members {
            let mut ext = ExtFields::default();
            GetConsumerStatus { topic: topic.clone().into(), group: group.clone().into(), client_addr: None }
                .encode(&mut ext);
            let asked = Asked::Status { gathering, client };
            let what = (request::GET_CONSUMER_STATUS_FROM_CLIENT, ext, Bytes::new());
            let call = self.calls.ask(conn, what, asked, now.ticks + STATUS_MAX);
            out(Effect::Call(conn, call));
        }
        Ok(None)
    }

    /// A client answered, or will not.
    pub(super) fn answered(&mut self, asked: Asked, answer: Reply, out: &mut Out<'_>) {
        let (number, client) = match asked {
            Asked::Relay { origin, .. } => return reply(origin, answer, out),
            Asked::Status { gathering, client } => (gathering, client),
        };
        let Some(mut gathering) = self.statuses.by_number.remove(&number) else { return };
        let body = answer.body.first().filter(|_| answer.code == response::SUCCESS);
        if let Some(positions) = body.and_then(|body| ClientPositions::decode(body).ok()) {
            gathering.found.consumer_table.insert(client, positions.message_queue_table);
        }
        gathering.missing -= 1;
        if gathering.missing > 0 {
            self.statuses.by_number.insert(number, gathering);
        } else {
            reply(gathering.origin, Reply::json(&gathering.found), out);
        }
    }
}
