//! From the settings of a server to those of its broker's core.

use std::net::SocketAddr;

use jiff::tz::TimeZone;
use steadfast_broker::{Flush, Options, Retention, utc_hour};
use steadfast_types::Timestamp;

use crate::advertise;
use crate::config::{Config, FlushDiskType};

/// The broker's settings, as far as they concern its core.
pub(crate) fn options(config: &Config, advertised: SocketAddr) -> Options {
    let broker_name = advertise::broker_name(config);
    // What is left to the machine is shown as it came out.
    let shown = |key, value| match key {
        "brokerName" => broker_name.clone(),
        "brokerIP1" => advertised.ip().to_string(),
        "listenPort" => advertised.port().to_string(),
        _ => value,
    };
    Options {
        shown_config: config.settings().map(|s| (s.key.to_owned(), shown(s.key, s.value))).collect(),
        cluster: config.cluster.clone(),
        broker_name,
        store_host: advertised,
        region: config.region.as_str().into(),
        auto_create_topic: config.auto_create_topic,
        default_topic_queues: config.default_topic_queues,
        auto_create_group: config.auto_create_group,
        delay_levels: config.delay_levels.clone(),
        max_body: config.max_message_size.0 as usize,
        flush: match config.flush {
            FlushDiskType::SyncFlush => Flush::Sync,
            FlushDiskType::AsyncFlush => Flush::Async,
        },
        flush_timeout: config.sync_flush_timeout.0.into(),
        permission: config.permission.0,
        long_polling: config.long_polling,
        short_polling: config.short_polling.0.into(),
        notify_consumers: config.notify_consumers,
        server_side_reset: config.server_side_reset,
        segment_size: config.segment_size.0,
        disk_free_min: config.disk_free_min.0,
        checkpoint_bytes: config.checkpoint_bytes.0,
        retention: Retention {
            reserved: u64::from(config.file_reserved_time.0) * 3_600_000,
            hours: config.delete_when.0.clone(),
            hour_of: local_hour,
            bytes: config.retention_bytes.0,
            every: config.clean_resource_interval.0.into(),
            clean_above: config.disk_max_used.0,
            force_above: if config.clean_file_forcibly { config.disk_clean_forcibly.0 } else { 100 },
            refuse_above: config.disk_warning_level.0,
        },
        ..Options::default()
    }
}

/// The hour of the day in the machine's time zone.
fn local_hour(at: Timestamp) -> u8 {
    let local = i64::try_from(at.get()).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    local.map_or_else(|| utc_hour(at), |at| at.to_zoned(TimeZone::system()).hour().unsigned_abs())
}
