//! What keeps a broker's log as long as it is: response to [`GET_RETENTION`](crate::code::request::GET_RETENTION), a
//! request of our own.

use serde::{Deserialize, Serialize};

/// The whole report. Offsets are log offsets in bytes, times milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionReport {
    /// The log begins here; there may be holes after it.
    pub retention_head: u64,
    /// A replica or a start needs the log from here on; what is before it is in the newest snapshot.
    pub replication_head: u64,
    /// The committed log ends here.
    pub end: u64,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Bytes of the disk, and how many of them are free.
    pub disk_total: u64,
    /// See `disk_total`.
    pub disk_free: u64,
    /// The oldest segments first, at most 256 of them.
    pub segments: Vec<KeptSegment>,
    /// What is needed, whatever its age.
    pub pins: Vec<PinnedMessages>,
    /// Messages that are known to be damaged.
    pub damaged: Vec<DamagedMessage>,
}

/// A segment of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptSegment {
    /// Where it begins.
    pub base: u64,
    /// Store time of its newest message.
    pub newest: u64,
    /// Why it is still there.
    pub why: String,
}

/// Messages of a queue that somebody still has to process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PinnedMessages {
    /// Their topic.
    pub topic: String,
    /// Their queue.
    pub queue_id: u32,
    /// The consumer group that has processed the least; none if no group has a position.
    pub group: Option<String>,
    /// Offset of the first.
    pub from: u64,
    /// How many there are.
    pub messages: u64,
    /// About how many bytes they have.
    pub bytes: u64,
    /// Bases of the segments that they keep, of those in the report.
    pub segments: Vec<u64>,
    /// Milliseconds since the newest message in the oldest of these segments was stored.
    pub age: u64,
    /// Why they are needed.
    pub why: String,
    /// How to release them.
    pub release: String,
}

/// A message whose bytes do not verify.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DamagedMessage {
    /// Its topic.
    pub topic: String,
    /// Its queue.
    pub queue_id: u32,
    /// Its offset there.
    pub offset: u64,
    /// Its place in the log.
    pub log_offset: u64,
}
