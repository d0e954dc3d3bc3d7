//! The JSON bodies of requests and responses.
//!
//! What is written is compact JSON without nulls and with sorted members, as Java peers send it. Integer keys of
//! maps are quoted (`{"0":"ip:port"}`), which all clients read; maps keyed by a message queue are written in
//! fastjson's object-key form (`{{"brokerName":"b",...}:{...}}`), which is no JSON but the only form the Java
//! admin client reads. What is read may be JSON or any of fastjson's loose forms.

mod admin;
mod client;
mod group;
mod lenient;
mod loose;
mod retention;
mod route;
mod running;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use admin::*;
pub use client::*;
pub use group::*;
pub use loose::QueueMap;
pub use retention::*;
pub use route::*;
pub use running::*;

/// A body: how it is written and read.
pub trait Body: Serialize + DeserializeOwned {
    /// Whether message queues as map keys are written as bare objects.
    const OBJECT_KEYS: bool = false;

    /// The body's bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let written = if Self::OBJECT_KEYS {
            self.serialize(&mut serde_json::Serializer::with_formatter(
                &mut out,
                loose::ObjectKeys::default(),
            ))
        } else {
            self.serialize(&mut serde_json::Serializer::new(&mut out))
        };
        written.expect("a body has text keys and is written to memory");
        out
    }

    /// Reads a body, strict JSON or loose. A [`serde_json::Value`] reads any body, keys that are objects as their
    /// text.
    fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        match serde_json::from_slice(bytes) {
            Err(error) if error.is_syntax() => Ok(serde_json::from_slice(&loose::to_strict(bytes)?)?),
            read => Ok(read?),
        }
    }
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not JSON of the expected shape.
    #[error("body: {0}")]
    Json(#[from] serde_json::Error),
    /// Neither JSON nor one of fastjson's loose forms.
    #[error("body: {what} at byte {at}")]
    Loose {
        /// What is wrong.
        what: &'static str,
        /// Byte offset in the body.
        at: usize,
    },
    /// A form this crate does not read.
    #[error("body: {0}")]
    Unsupported(&'static str),
}

macro_rules! bodies {
    ($($body:ty $(, object_keys = $keys:literal)?;)+) => {
        $(impl Body for $body { $(const OBJECT_KEYS: bool = $keys;)? })+
    };
}

bodies! {
    HeartbeatData;
    CheckClientRequestBody;
    LockBatchRequest;
    LockBatchResponse;
    ConsumerIdList;
    TopicRouteData;
    ClusterInfo;
    RegisterBrokerBody;
    DataVersion;
    TopicConfig;
    TopicConfigSerializeWrapper;
    TopicList;
    TopicStatsTable, object_keys = true;
    ConsumeStats, object_keys = true;
    ConsumerConnection;
    ResetOffsetBody, object_keys = true;
    ResetOffsetBodyForC;
    KVTable;
    KvConfigs;
    ProducerConnection;
    ClientPositions, object_keys = true;
    GroupPositions, object_keys = true;
    GroupSubscription;
    ConsumeQueue;
    ConsumerRunningInfo, object_keys = true;
    ConsumeMessageDirectlyResult;
    ConsumerOffsets;
    DelayOffsets;
    GroupList;
    SubscriptionGroupConfig;
    SubscriptionGroupList;
    SubscriptionGroupWrapper;
    RetentionReport;
    serde_json::Value;
}
