//! Asking several brokers for messages by a key.

use std::ops::RangeInclusive;

use anyhow::anyhow;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::QueryMessage;

use super::cluster::{AskError, Broker, Cluster, Request};
use super::message::{self, Message};

/// What a search of several brokers came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) messages: Vec<(Broker, Message)>,
    /// Brokers that could not be searched.
    pub(super) failures: Vec<AskError>,
    /// What brokers that found nothing say about it: how far they looked, and whether messages were given up.
    pub(super) said: Vec<(Broker, String)>,
}

/// A search that left a broker out must not pass for a complete one.
pub(super) fn complete(failures: &[AskError]) -> anyhow::Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let causes: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(anyhow!("the search is not complete, there may be more: {}", causes.join("; ")))
}

/// Asks each of the brokers for messages.
pub(super) async fn search(cluster: &Cluster, brokers: &[Broker], query: &QueryMessage<'_>) -> Found {
    let mut found = Found::default();
    for broker in brokers {
        let fields = query.clone();
        let request = Request::with(request::QUERY_MESSAGE, |ext| fields.encode(ext));
        let answered = match cluster.ask(&broker.addr, request).await {
            Ok(response) => message::decode(response.body(), &broker.name),
            Err(AskError::Refused { code: response::QUERY_NOT_FOUND, remark, .. }) => {
                found.said.push((broker.clone(), remark));
                continue;
            }
            Err(error) => {
                found.failures.push(error);
                continue;
            }
        };
        match answered {
            // RocketMQ's index knows hashes only, so what it returns may have another key.
            Ok(messages) => found.messages.extend(
                messages.into_iter().filter(|message| matches(message, query)).map(|m| (broker.clone(), m)),
            ),
            Err(error) => found.failures.push(AskError::Damaged(broker.addr.clone(), format!("{error:#}"))),
        }
    }
    found
}

fn matches(message: &Message, query: &QueryMessage<'_>) -> bool {
    if query.unique_key_query { message.msg_id == query.key } else { message.has_key(&query.key) }
}

/// Messages with this unique key, oldest first.
pub(super) async fn by_unique_key(
    cluster: &Cluster,
    brokers: &[Broker],
    topic: &str,
    id: &str,
    stored: RangeInclusive<i64>,
) -> anyhow::Result<Found> {
    let query = QueryMessage {
        topic: topic.into(),
        key: id.into(),
        max_num: 32,
        begin_timestamp: *stored.start(),
        end_timestamp: *stored.end(),
        unique_key_query: true,
        ..QueryMessage::default()
    };
    let mut found = search(cluster, brokers, &query).await;
    if found.messages.is_empty() {
        complete(&found.failures)?;
    }
    found.messages.sort_by_key(|(_, message)| (message.store_timestamp, message.commit_log_offset));
    Ok(found)
}
