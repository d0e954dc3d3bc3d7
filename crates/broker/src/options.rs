//! What an operator decides about a broker.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::retention::Retention;
use steadfast_types::topic::{PERM_READ, PERM_WRITE};

use crate::delay_levels::DelayLevels;

/// When an acknowledgement may leave (RocketMQ's `flushDiskType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// After the entry is on stable storage.
    #[default]
    Sync,
    /// After the entry is with the operating system: survives the process, not a power cut.
    Async,
}

/// Settings of a broker. The names of RocketMQ's keys are in brackets.
#[derive(Debug, Clone)]
pub struct Options {
    /// Cluster (`brokerClusterName`).
    pub cluster: String,
    /// Name of the group of replicas (`brokerName`).
    pub broker_name: String,
    /// Address that clients are told (`brokerIP1`:`listenPort`).
    pub store_host: SocketAddr,
    /// Region on every message (`regionId`).
    pub region: Arc<str>,
    /// Topics appear on the first message to them (`autoCreateTopicEnable`).
    pub auto_create_topic: bool,
    /// Queues of such a topic at most (`defaultTopicQueueNums`).
    pub default_topic_queues: u32,
    /// Consumer groups appear with their first consumer (`autoCreateSubscriptionGroup`).
    pub auto_create_group: bool,
    /// The delays that a message may ask for (`messageDelayLevel`).
    pub delay_levels: DelayLevels,
    /// Clients learn of a reset by their next pull; if not, they are told at once as well
    /// (`useServerSideResetOffset`).
    pub server_side_reset: bool,
    /// Largest body in bytes (`maxMessageSize`).
    pub max_body: usize,
    /// What clients may do with the broker: bits of [`steadfast_types::topic`] (`brokerPermission`).
    pub permission: u32,
    /// Pulls wait as long as the consumer asks for (`longPollingEnable`).
    pub long_polling: bool,
    /// Milliseconds that they wait instead (`shortPollingTimeMills`).
    pub short_polling: u64,
    /// Consumers are told when their group changes (`notifyConsumerIdsChangedEnable`).
    pub notify_consumers: bool,
    /// Flushing (`flushDiskType`).
    pub flush: Flush,
    /// Milliseconds until a sender whose write is not durable is told so (`syncFlushTimeout`).
    pub flush_timeout: u64,
    /// Bytes of a log segment, for a new directory (`mappedFileSizeCommitLog`).
    pub segment_size: u64,
    /// Bytes of allocated log space that only control records may use.
    pub control_reserve: u64,
    /// Bytes of log after which a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// Messages after which a checkpoint is written.
    pub checkpoint_messages: usize,
    /// Bytes of the newest log kept in memory for consumers at the tail.
    pub hot_bytes: usize,
    /// Bytes of messages waiting to be written, above which senders are told that the broker is busy.
    pub pending_bytes: usize,
    /// Bytes of disk that the log leaves alone, for checkpoints.
    pub disk_free_min: u64,
    /// How long messages are kept.
    pub retention: Retention,
    /// Bytes of memory for reads of older messages.
    pub read_cache_bytes: usize,
    /// All settings as GET_BROKER_CONFIG shows them: key and value.
    pub shown_config: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: "DefaultCluster".to_owned(),
            broker_name: "broker-a".to_owned(),
            store_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 10911)),
            region: "DefaultRegion".into(),
            auto_create_topic: true,
            default_topic_queues: 8,
            auto_create_group: true,
            delay_levels: DelayLevels::default(),
            server_side_reset: true,
            max_body: steadfast_types::limits::BODY_LEN,
            permission: PERM_READ | PERM_WRITE,
            long_polling: true,
            short_polling: 1_000,
            notify_consumers: true,
            flush: Flush::Sync,
            flush_timeout: 5_000,
            segment_size: 1 << 30,
            control_reserve: 16 << 20,
            checkpoint_bytes: 256 << 20,
            checkpoint_messages: 256 << 10,
            hot_bytes: 64 << 20,
            pending_bytes: 64 << 20,
            disk_free_min: 64 << 20,
            retention: Retention::default(),
            read_cache_bytes: 48 << 20,
            shown_config: Vec::new(),
        }
    }
}
