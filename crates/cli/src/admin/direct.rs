//! What can be done with a message that was found: give it to a consumer, or send it once more.

use std::fmt;

use anyhow::ensure;
use clap::Args;
use serde::Serialize;
use steadfast_wire::body::ConsumeMessageDirectlyResult;
use steadfast_wire::code::request;
use steadfast_wire::headers::ConsumerClient;

use super::cluster::{Broker, Cluster, Request};
use super::message::Message;
use super::output::{self, Out, or_null};
use super::send::{self, Draft, Sent};
use super::status;

/// Properties that the server sets, and sets anew.
const OF_THE_SERVER: [&str; 3] = ["CLUSTER", "MSG_REGION", "TRACE_ON"];

/// The options `-g` and `-d`: a member of a consumer group.
#[derive(Debug, Args)]
pub(super) struct Receiver {
    /// With -d: rather than show it, give the message to a member of this consumer group, which consumes it at once
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    group: Option<String>,
    /// With -g: the member's client id (consumerConnection shows it)
    #[arg(short = 'd', long = "clientId", value_name = "ID")]
    client: Option<String>,
}

/// What a consumer made of a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Consumed<'a> {
    msg_id: &'a str,
    #[serde(flatten)]
    result: ConsumeMessageDirectlyResult,
}

impl fmt::Display for Consumed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConsumeMessageDirectlyResult { order, auto_commit, consume_result, remark, spent_time_mills } =
            &self.result;
        write!(
            f,
            "ConsumeMessageDirectlyResult [order={order}, autoCommit={auto_commit}, consumeResult={}, remark={}, \
             spentTimeMills={spent_time_mills}]",
            or_null(consume_result.as_deref()),
            or_null(remark.as_deref())
        )
    }
}

impl Receiver {
    /// Group and client id of the member, if both are given.
    pub(super) fn member(&self) -> Option<(&str, &str)> {
        let member = self.group.as_deref().map(str::trim).zip(self.client.as_deref().map(str::trim));
        if member.is_none() && (self.group.is_some() || self.client.is_some()) {
            output::warn(
                "-g and -d have no effect without each other: they name a member to give the message to",
            );
        }
        member
    }
}

/// Gives a member of a group a message that is stored at `broker`. No position moves.
pub(super) async fn give(
    cluster: &Cluster,
    (group, client): (&str, &str),
    broker: &Broker,
    message: &Message,
    out: Out,
) -> anyhow::Result<()> {
    let info = status::running(cluster, &cluster.brokers().await?, group, client, false).await?;
    let consumes = info.properties.get("PROP_CONSUME_TYPE").and_then(|value| value.as_str());
    ensure!(
        consumes == Some("CONSUME_PASSIVELY"),
        "{client} is not a push consumer; only those take a message that is given to them"
    );
    let fields = ConsumerClient {
        consumer_group: group.into(),
        client_id: Some(client.into()),
        msg_id: Some(message.offset_msg_id.as_str().into()),
        ..ConsumerClient::default()
    };
    let request = Request::with(request::CONSUME_MESSAGE_DIRECTLY, |ext| fields.encode(ext));
    let result = cluster.read(&broker.addr, request).await?;
    out.show(&Consumed { msg_id: &message.msg_id, result })
}

/// A message that was sent once more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resent<'a> {
    original_msg_id: &'a str,
    topic: &'a str,
    #[serde(flatten)]
    sent: Sent,
}

impl fmt::Display for Resent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sent { broker_name, queue_id, queue_offset, send_status, msg_id, offset_msg_id } = &self.sent;
        write!(
            f,
            "prepare resend msg. originalMsgId={}SendResult [sendStatus={send_status}, msgId={msg_id}, \
             offsetMsgId={offset_msg_id}, messageQueue=MessageQueue [topic={}, brokerName={broker_name}, \
             queueId={queue_id}], queueOffset={queue_offset}, recallHandle=null]",
            self.original_msg_id, self.topic
        )
    }
}

/// Sends a message once more, to any queue of its topic. It keeps its unique key.
pub(super) async fn resend(cluster: &Cluster, id: &str, message: &Message, out: Out) -> anyhow::Result<()> {
    let properties = message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let draft = Draft {
        topic: &message.topic,
        properties: properties.filter(|(name, _)| !OF_THE_SERVER.contains(name)).collect(),
        flag: message.flag,
        body: &message.body.bytes,
    };
    let sent = send::send(cluster, draft, None, None).await?;
    out.show(&Resent { original_msg_id: id, topic: &message.topic, sent })
}
