//! What a seed decides before a run begins: settings, workload and faults. Each seed enables a random part of the
//! faults (swarm testing, Groce et al., ISSTA 2012): runs that mix everything hide what single faults show.

mod aim;
mod damage;
mod faults;
mod settings;
mod workload;

use std::fmt;

pub use aim::Aim;
pub(crate) use damage::{Damage, Extent, Part};
pub(crate) use faults::{Crash, Fault};
pub(crate) use settings::nothing_goes;
pub(crate) use workload::{Filter, Group, Making, Sizes, TAGS, Topic, Workload};

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use steadfast_broker::Options;
use steadfast_broker::request::Edge;

use crate::clock::Micros;
use crate::cluster::ClusterAim;
use crate::disk::Latency;
use crate::rng::Rng;

/// The plan of a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    /// Bytes that the filler keeps ready ahead of the log's tail.
    pub(crate) ahead: u64,
    pub(crate) disk: Latency,
    /// Microseconds that a frame is under way.
    pub(crate) network: std::ops::Range<u64>,
    pub(crate) workload: Workload,
    /// Faults, each with the number of client operations after which it strikes; ascending.
    pub(crate) faults: Vec<(u32, Fault)>,
    /// A crash during the first start.
    pub(crate) first_start: Option<(Micros, Crash)>,
    /// How the process is restarted when the faults are over; None if it goes on.
    pub(crate) last_restart: Option<Fault>,
}

impl Plan {
    /// What the edge of a process of the server knows.
    pub(crate) fn edge(&self, process_id: u32) -> Edge {
        Edge {
            store_host: self.options.store_host,
            max_body: Arc::new(AtomicUsize::new(self.options.max_body)),
            region: (*self.options.region).into(),
            cluster: (*self.options.cluster).into(),
            process_id,
            ids: Arc::new(AtomicU32::new(0)),
        }
    }

    /// The plan of a seed for a group of several replicas, whose faults are planned elsewhere.
    /// Without an aim it may run under ASYNC_FLUSH: then nothing that loses the operating system's memory may strike.
    pub(crate) fn for_group(seed: u64, aim: ClusterAim) -> Self {
        let (mut rng, mut moves) = (Rng::stream(seed, "plan"), Rng::stream(seed, "moves"));
        let mut workload = Workload::draw(&mut rng).with_moves(&mut moves);
        // The faults last for seconds, however busy the clients are.
        workload.pause = moves.within(10_000..100_000);
        match aim {
            // Somebody always asks something.
            ClusterAim::Reads => (workload.probers, workload.pause) = (4, 10_000),
            // Somebody always sends something that takes space.
            ClusterAim::Space => {
                (workload.sizes, workload.producers, workload.pause) = (Sizes::Mixed, 6, 10_000);
                workload.delayed = 0;
                workload.groups.iter_mut().for_each(|group| group.sends_back = false);
            }
            _ => {}
        }
        let mut options = settings::draw(&workload, &mut rng);
        options.delay_levels = settings::delay_levels(&mut moves);
        if aim != ClusterAim::Anything {
            options.flush = steadfast_broker::Flush::Sync;
        }
        if aim == ClusterAim::Space {
            options.control_reserve = 16 << 10;
        }
        let scarce = aim == ClusterAim::Space || Rng::stream(seed, "group").percent(50);
        Self {
            ahead: if scarce { tight(&options, &workload) } else { ahead(&options, &workload) },
            network: 5..rng.skewed(20..5_000),
            disk: settings::latency(&mut rng),
            options,
            workload,
            faults: Vec::new(),
            first_start: None,
            last_restart: None,
        }
    }

    /// The plan of a seed.
    pub(crate) fn new(seed: u64, aim: Aim) -> Self {
        let mut rng = Rng::stream(seed, "plan");
        let mut aimed = Rng::stream(seed, "aim");
        let hostile = match aim {
            Aim::Anything => rng.one_in(12),
            Aim::Forgery => true,
            Aim::Damage | Aim::Retention | Aim::Snapshots => false,
        };
        let mut moves = Rng::stream(seed, "moves");
        let mut workload = match hostile {
            true => Workload::hostile(&mut rng),
            false => Workload::draw(&mut rng).with_moves(&mut moves),
        };
        // A stream of its own: what else a seed decides stays what it was before there was retention.
        let mut retention = Rng::stream(seed, "retention");
        if !hostile && (aim == Aim::Retention || retention.one_in(3)) {
            workload.retain(&mut retention);
        }
        aim.fill(&mut workload, &mut aimed);
        let mut options = settings::draw(&workload, &mut rng);
        options.delay_levels = settings::delay_levels(&mut moves);
        if workload.retaining {
            settings::retain(&mut options, &mut retention);
        }
        if hostile {
            options.flush = steadfast_broker::Flush::Sync;
        }
        aim.tune(&mut options, &mut aimed);
        let ahead = ahead(&options, &workload);
        let mut faults = if hostile {
            faults::hostile(&workload, &mut rng)
        } else {
            faults::draw(&options, &workload, &mut rng)
        };
        let mut scrub = Rng::stream(seed, "scrub");
        if !hostile && options.flush == steadfast_broker::Flush::Sync && scrub.one_in(3) {
            workload.scrub = Some(Micros::millis(scrub.skewed(5..1_000)));
            let more = faults::for_the_scrub(&mut scrub);
            faults::add(&mut faults, more, &workload, &mut scrub);
        }
        faults::add(&mut faults, aim.faults(&mut aimed), &workload, &mut aimed);
        let power = options.flush == steadfast_broker::Flush::Sync;
        let first_start = rng.one_in(4).then(|| {
            (Micros::new(rng.skewed(1..40_000)), Crash { again: 0, ..Crash::draw(power, &mut rng) })
        });
        let last_restart = match rng.below(4) {
            0 => None,
            1 => Some(Fault::Stop { down: Micros::millis(10) }),
            _ => Some(Fault::Crash(Crash::draw(power, &mut rng))),
        };
        let network = 5..rng.skewed(20..5_000);
        Self {
            disk: settings::latency(&mut rng),
            options,
            ahead,
            network,
            workload,
            faults,
            first_start,
            last_restart,
        }
    }
}

/// Bytes of log space that are enough for two batches.
fn ahead(options: &Options, workload: &Workload) -> u64 {
    let largest_batch = options.pending_bytes as u64 + workload.sizes.largest() as u64;
    options.control_reserve + 2 * largest_batch + (1 << 20)
}

/// Bytes of log space that are enough for a leader to go on: what a follower has to write at once may be more.
fn tight(options: &Options, workload: &Workload) -> u64 {
    let moves = workload.delayed > 0 || workload.groups.iter().any(|group| group.sends_back);
    let delivered_at_once = if moves { 512 << 10 } else { 0 };
    options.control_reserve + 2 * (workload.sizes.largest() as u64 + (64 << 10) + delivered_at_once)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let o = &self.options;
        writeln!(
            f,
            "settings: {:?} flush, segments {} MiB, checkpoint after {} messages or {} KiB, hot tail {} KiB, \
             flush timeout {} ms",
            o.flush,
            o.segment_size >> 20,
            o.checkpoint_messages,
            o.checkpoint_bytes >> 10,
            o.hot_bytes >> 10,
            o.flush_timeout
        )?;
        writeln!(f, "workload: {}", self.workload)?;
        if let Some((at, crash)) = &self.first_start {
            writeln!(f, "fault at {at}: {}", Fault::Crash(crash.clone()))?;
        }
        for (operations, fault) in &self.faults {
            writeln!(f, "fault after {operations} operations: {fault}")?;
        }
        match &self.last_restart {
            Some(fault) => write!(f, "then everything is healed, and: {fault}"),
            None => f.write_str("then everything is healed and goes on"),
        }
    }
}
