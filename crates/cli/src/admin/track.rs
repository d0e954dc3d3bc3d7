//! Who has consumed a message, as far as positions and subscriptions tell.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use steadfast_wire::body::{
    ConsumeStats, ConsumeType, ConsumerConnection, GroupList, MessageModel, MessageQueue,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{GetConsumeStats, GetConsumerConnectionList, TopicOnly};

use super::cluster::{AskError, Broker, Cluster, Request};
use super::message::Message;
use super::output::or_null;

/// What became of a message in one consumer group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Track {
    consumer_group: String,
    track_type: TrackType,
    /// Whether the group's position is past the message; unknown where the group keeps its position itself.
    consumed: Option<bool>,
    exception_desc: Option<String>,
}

/// RocketMQ's names for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TrackType {
    Consumed,
    ConsumedButFiltered,
    Pull,
    NotConsumeYet,
    NotOnline,
    ConsumeBroadcasting,
    Unknown,
}

impl fmt::Display for TrackType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrackType::Consumed => "CONSUMED",
            TrackType::ConsumedButFiltered => "CONSUMED_BUT_FILTERED",
            TrackType::Pull => "PULL",
            TrackType::NotConsumeYet => "NOT_CONSUME_YET",
            TrackType::NotOnline => "NOT_ONLINE",
            TrackType::ConsumeBroadcasting => "CONSUME_BROADCASTING",
            TrackType::Unknown => "UNKNOWN",
        })
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "MessageTrack [consumerGroup={}, trackType={}, exceptionDesc={}]",
            self.consumer_group,
            self.track_type,
            or_null(self.exception_desc.as_deref())
        )
    }
}

/// Every group that consumes the message's topic at the broker that has the message.
pub(super) async fn of(
    cluster: &Cluster,
    broker: &Broker,
    message: &Message,
) -> Result<Vec<Track>, AskError> {
    let fields = TopicOnly { topic: message.topic.as_str().into() };
    let request = Request::with(request::QUERY_TOPIC_CONSUME_BY_WHO, |ext| fields.encode(ext));
    let groups: GroupList = cluster.read(&broker.addr, request).await?;
    let mut tracks = Vec::new();
    for group in BTreeSet::from_iter(groups.group_list) {
        tracks.push(match track(cluster, broker, message, &group).await {
            Ok(track) => track,
            Err(error) => Track {
                consumer_group: group,
                track_type: TrackType::Unknown,
                consumed: None,
                exception_desc: Some(error.to_string()),
            },
        });
    }
    Ok(tracks)
}

async fn track(
    cluster: &Cluster,
    broker: &Broker,
    message: &Message,
    group: &str,
) -> Result<Track, AskError> {
    let consumed = consumed(cluster, broker, message, group).await?;
    let track = |track_type, consumed| Track {
        consumer_group: group.to_owned(),
        track_type,
        consumed,
        exception_desc: None,
    };
    let connection = match connection(cluster, broker, group).await {
        Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {
            let reached = if consumed { "is past the message" } else { "has not reached the message" };
            let exception_desc = Some(format!("the group's position {reached}"));
            return Ok(Track { exception_desc, ..track(TrackType::NotOnline, Some(consumed)) });
        }
        connection => connection?,
    };
    Ok(match (connection.consume_type, connection.message_model) {
        (ConsumeType::Actively, _) => track(TrackType::Pull, None),
        (_, MessageModel::Broadcasting) => track(TrackType::ConsumeBroadcasting, None),
        _ if !consumed => track(TrackType::NotConsumeYet, Some(false)),
        _ if !wants(&connection, message) => track(TrackType::ConsumedButFiltered, Some(false)),
        _ => track(TrackType::Consumed, Some(true)),
    })
}

async fn connection(cluster: &Cluster, broker: &Broker, group: &str) -> Result<ConsumerConnection, AskError> {
    let fields = GetConsumerConnectionList { consumer_group: group.into() };
    let request = Request::with(request::GET_CONSUMER_CONNECTION_LIST, |ext| fields.encode(ext));
    cluster.read(&broker.addr, request).await
}

/// Whether the group's position is past the message.
async fn consumed(
    cluster: &Cluster,
    broker: &Broker,
    message: &Message,
    group: &str,
) -> Result<bool, AskError> {
    let fields = GetConsumeStats {
        consumer_group: group.into(),
        topic: Some(message.topic.as_str().into()),
        ..GetConsumeStats::default()
    };
    let request = Request::with(request::GET_CONSUME_STATS, |ext| fields.encode(ext));
    let stats: ConsumeStats = cluster.read(&broker.addr, request).await?;
    let queue = MessageQueue {
        broker_name: message.broker_name.clone(),
        queue_id: message.queue_id as i32,
        topic: message.topic.clone(),
    };
    let position = stats.offset_table.get(&queue).map_or(0, |progress| progress.consumer_offset);
    Ok(position > message.queue_offset as i64)
}

/// Whether the group subscribes to the message's tag. A filter that is no list of tags is taken to let it through.
fn wants(connection: &ConsumerConnection, message: &Message) -> bool {
    let subscription = connection.subscription_table.get(&message.topic);
    subscription.is_none_or(|subscription| {
        let tags = &subscription.tags_set;
        tags.is_empty() || tags.contains("*") || message.tags.as_ref().is_some_and(|tag| tags.contains(tag))
    })
}
