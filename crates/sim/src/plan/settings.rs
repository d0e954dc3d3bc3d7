//! The broker's settings in a run: everything small, so that what is rare in production happens all the time.

use steadfast_broker::{DelayLevels, Flush, Options, Retention};

use super::workload::Workload;
use crate::disk::Latency;
use crate::rng::Rng;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

pub(super) fn draw(workload: &Workload, rng: &mut Rng) -> Options {
    // Below the smallest segment of production. What counts is that the largest batch fits into one.
    let large = workload.sizes.largest() as u64 > MIB;
    let segment_size = if large || rng.one_in(8) { 16 * MIB } else { 4 * MIB };
    let checkpoints_by_size = rng.percent(50);
    Options {
        broker_name: crate::message::BROKER.to_owned(),
        auto_create_topic: true,
        default_topic_queues: 8,
        max_body: if large { 4 * MIB as usize } else { MIB as usize },
        flush: if rng.one_in(7) { Flush::Async } else { Flush::Sync },
        flush_timeout: *rng.pick(&[500, 5_000, 5_000]),
        segment_size,
        control_reserve: *rng.pick(&[16 * KIB, 256 * KIB, MIB]),
        checkpoint_bytes: if checkpoints_by_size { rng.skewed(32 * KIB..2 * MIB) } else { 64 * MIB },
        checkpoint_messages: if checkpoints_by_size { 1 << 20 } else { rng.skewed(15..1_500) as usize },
        hot_bytes: *rng.pick(&[0, 4 << 10, 64 << 10, 1 << 20]),
        pending_bytes: rng.within(32 * KIB..MIB) as usize,
        disk_free_min: *rng.pick(&[64 * KIB, 512 * KIB]),
        read_cache_bytes: 0,
        retention: nothing_goes(),
        ..Options::default()
    }
}

/// Delays that a run waits for.
pub(super) fn delay_levels(rng: &mut Rng) -> DelayLevels {
    let levels = (0..rng.within(1..6)).map(|_| rng.skewed(1..1_500)).collect();
    DelayLevels::new(levels).expect("there are some, and they are short")
}

/// Disks of all kinds.
pub(super) fn latency(rng: &mut Rng) -> Latency {
    Latency::default().slower(*rng.pick(&[1, 1, 1, 4]))
}

/// Nothing is removed.
pub(crate) fn nothing_goes() -> Retention {
    Retention { reserved: u64::MAX, force_above: 100, refuse_above: 100, ..Retention::default() }
}

/// Messages are old soon, or few of them are kept.
pub(super) fn retain(options: &mut Options, rng: &mut Rng) {
    if options.max_body as u64 <= MIB {
        // The smallest that holds a batch, so that there are many.
        options.segment_size = 2 * MIB;
        options.pending_bytes = options.pending_bytes.min(256 << 10);
    }
    let bytes = if rng.percent(50) { options.segment_size * rng.within(2..5) } else { 0 };
    options.retention = Retention {
        reserved: rng.skewed(100..60_000),
        hours: (0..24).collect(),
        bytes,
        every: rng.skewed(20..2_000),
        force_above: *rng.pick(&[85, 100]),
        refuse_above: 100,
        ..Retention::default()
    };
}
