//! Retention: old messages go, so that the disk does not fill. The leader decides which segments of the log have
//! served their time and proposes that; it holds once it is committed, like everything else.
//!
//! ```text
//! look (every 10 s) ─▶ demand ─▶ extents of the queues, by a reader ─▶ Control::Expire ─▶ log
//!    applied: queues begin later, segments are no longer part of the log
//!       ─▶ checkpoint ─▶ verified: Effect::Free ─▶ files become spare space or are removed
//! ```

mod clock;
mod pins;
mod rules;

use steadfast_store::log::Gone;
use steadfast_types::{LogOffset, Timestamp};

use self::clock::AgeClock;
pub(crate) use self::pins::{Holder, Pin};
pub(crate) use self::rules::Demand;
use self::rules::Standing;
pub use self::rules::{Retention, utc_hour};
use crate::broker::{Broker, Out, Phase};
use crate::control::{Control, Expire, QueueStart};
use crate::io::{Effect, Extent, Freed, Freeing, Now, ReadResult};
use crate::services::ReadPurpose;
use steadfast_store::sabotage::{self, Sabotage};

/// So many times longer until the next look if everything that should go is needed.
const PINNED_PAUSE: u64 = 6;
/// Segments that one decision looks at.
const CANDIDATES: usize = 256;
/// Places of queues in segments that one decision looks at: with very many queues, it is about fewer segments.
const EXTENTS: usize = 1 << 20;
/// Queues that one record moves: with the longest names, a third of what a record may take.
const QUEUES_PER_RECORD: usize = 1024;
/// Milliseconds until it is told again that space cannot be made.
const TELL_EVERY: u64 = 3_600_000;
/// Milliseconds until files that could not be freed are tried again.
const RETRY_AFTER: u64 = 60_000;
/// Files of freed segments that are kept for new ones.
const SPARES: usize = 2;

const WITHDRAWN: &str = "old messages were to be removed, but somebody needs some of them again: a position was moved back \
                         or a topic protected meanwhile; it is decided anew";

/// What a leader remembers of retention between steps.
#[derive(Debug, Default)]
pub(crate) struct Retaining {
    clock: AgeClock,
    /// Ticks of the next look.
    next: u64,
    /// A reader looks where the queues lie.
    measuring: bool,
    /// Segments that the log dropped and whose files may still be there, each with the end of the log at that time.
    dropped: Vec<(LogOffset, LogOffset)>,
    /// Files are being freed.
    freeing: bool,
    /// Ticks before which files that could not be freed are not tried again.
    retry_at: u64,
    /// Spare files were given up, as space is short.
    lean: bool,
    /// A decision did not hold when it was applied.
    withdrawn: bool,
    /// A snapshot that covers the log up to here would let more of it go.
    cover: LogOffset,
    /// Ticks before which it is not told again that space cannot be made.
    told_until: u64,
}

impl Retaining {
    /// A broker starts whose log, which ends at `end`, has dropped these segments; their files are there.
    pub(crate) fn resume(leftover: Vec<LogOffset>, end: LogOffset) -> Self {
        Self { dropped: leftover.into_iter().map(|base| (base, end)).collect(), ..Self::default() }
    }

    /// Whether a checkpoint of the log after `covered` would let segments go or files be freed.
    pub(crate) fn wants_checkpoint(&self, covered: LogOffset) -> bool {
        self.cover > covered || self.dropped.iter().any(|(_, decided)| *decided > covered)
    }
}

impl Broker {
    /// Ticks of the next look, if there is anything to look at.
    pub(crate) fn retention_deadline(&self) -> Option<u64> {
        let idle = self.state.segments.iter().len() <= 1 && self.retaining.dropped.is_empty();
        (self.phase == Phase::Leading && self.membership.is_alone() && !idle).then_some(self.retaining.next)
    }

    /// What the log has no longer.
    pub(crate) fn gone(&self) -> Gone {
        self.state.segments.gone(self.layout.segment_size)
    }

    /// Looks from time to time what should go.
    pub(crate) fn look_after_space(&mut self, now: Now, out: &mut Out<'_>) {
        self.free(now, out);
        if std::mem::take(&mut self.retaining.withdrawn) {
            out(Effect::Warn(WITHDRAWN.to_owned()));
        }
        // A replica that was away for long needs the whole log: nothing can fill it up otherwise yet.
        if self.phase != Phase::Leading || !self.membership.is_alone() || now.ticks < self.retaining.next {
            return;
        }
        self.retaining.next = now.ticks + self.options.retention.every;
        let busy = self.retaining.measuring || !self.retaining.dropped.is_empty();
        // Without a message there is no time to begin with.
        if busy || self.is_expiry_under_way() || self.store_time == Timestamp::ZERO {
            return;
        }
        let segments: Vec<_> = self.state.segments.iter().collect();
        let demand = self.options.retention.demand(&Standing {
            now: self.retaining.clock.now(now, self.store_time),
            wall: now.wall,
            space: self.room.space,
            segment_size: self.layout.segment_size,
            segments: &segments,
        });
        let mut candidates = self.candidates(&segments);
        let is_awaited = self.await_snapshot(demand, &segments, candidates.len());
        if demand.count() == 0 {
            candidates.retain(|(_, newest)| *newest < demand.older_than);
        }
        if candidates.first().is_some_and(|(_, newest)| demand.wants(*newest, 0)) {
            self.ask_for_extents(demand, candidates, out);
        } else if candidates.is_empty() && demand.count() > 0 && !is_awaited {
            self.tell_pressed(now, demand, "the file that is being written always stays", out);
        }
    }

    /// Tells, once in a while, that the log stays longer than the disk or its limit allow.
    fn tell_pressed(&mut self, now: Now, demand: Demand, cause: &str, out: &mut Out<'_>) {
        if now.ticks < self.retaining.told_until {
            return;
        }
        self.retaining.told_until = now.ticks + TELL_EVERY;
        out(Effect::Warn(format!(
            "{} log files should go to make space ({} % of the disk are in use) and none can: {cause}; steadfast admin \
             retention shows what keeps them",
            demand.count().min(self.state.segments.iter().len()),
            self.room.space.used_percent()
        )));
    }

    /// Whether a decision was proposed and is not applied yet.
    fn is_expiry_under_way(&self) -> bool {
        self.controls_under_way().any(|control| matches!(control, Control::Expire(_)))
    }

    /// Segments that every snapshot on disk covers.
    fn candidates(&self, segments: &[(LogOffset, Timestamp)]) -> Vec<(LogOffset, Timestamp)> {
        let tail = self.layout.base_of(self.applied.end);
        let end = if sabotage::is(Sabotage::FreedBeforeSnapshot) { tail } else { self.stretch.from };
        let covered = |base: LogOffset| base + self.layout.segment_size <= end;
        let queues = self.state.topics.iter().map(|topic| topic.queues.len()).sum::<usize>().max(1);
        let most = (EXTENTS / queues).clamp(1, CANDIDATES);
        segments.iter().copied().filter(|(base, _)| covered(*base)).take(most).collect()
    }

    /// Asks for a checkpoint if more segments have to go than the `before` that can: on a full disk nothing is written
    /// that would make one due.
    fn await_snapshot(&mut self, demand: Demand, segments: &[(LogOffset, Timestamp)], before: usize) -> bool {
        let tail = self.layout.base_of(self.applied.end);
        let covered = |base: LogOffset| base + self.layout.segment_size <= self.stretch.from;
        let more = segments.iter().any(|(base, _)| !covered(*base) && *base < tail);
        let is_awaited = more && demand.count() > before;
        if is_awaited {
            self.retaining.cover = tail;
        }
        is_awaited
    }

    fn ask_for_extents(
        &mut self,
        demand: Demand,
        candidates: Vec<(LogOffset, Timestamp)>,
        out: &mut Out<'_>,
    ) {
        self.retaining.measuring = true;
        let job = self.extents_job(candidates.iter().map(|(base, _)| *base));
        self.read(ReadPurpose::Extents { demand, candidates }, job, out);
    }

    /// Decides which of the candidates go, and proposes it.
    pub(crate) fn extents_done(
        &mut self,
        now: Now,
        demand: Demand,
        candidates: &[(LogOffset, Timestamp)],
        result: ReadResult,
        out: &mut Out<'_>,
    ) {
        self.retaining.measuring = false;
        let extents = match result {
            ReadResult::Extents(extents) => extents,
            other => {
                return out(Effect::Warn(format!("old messages are not removed for now: {other:?}")));
            }
        };
        let mut going: Vec<usize> = Vec::new();
        let pinned = held(&self.state.pins(), &extents, candidates.len());
        let awaited = if demand.processed > demand.at_least { self.state.awaited() } else { Vec::new() };
        let awaited = held(&awaited, &extents, candidates.len());
        for (i, (_, newest)) in candidates.iter().enumerate() {
            if !demand.wants(*newest, going.len()) {
                break;
            }
            if !pinned[i] && (!awaited[i] || demand.insists(*newest, going.len())) {
                going.push(i);
            }
        }
        let segments: Vec<LogOffset> = going.iter().map(|i| candidates[*i].0).collect();
        if segments.is_empty() {
            // All of it is needed: that will not change so soon.
            self.retaining.next = now.ticks + PINNED_PAUSE * self.options.retention.every;
            if demand.count() > 0 {
                self.tell_pressed(now, demand, "somebody still has to process messages in each of them", out);
            }
            return;
        }
        for expire in self.records(&extents, &going, segments) {
            let control = Control::Expire(expire);
            self.pending.push_control(now, control, None);
        }
    }

    /// The records of a decision. The segments go with the last one: if the start of a protected queue turns out to be
    /// wrong, its record and those after it are refused, and what the others have moved was due anyway.
    fn records(&self, extents: &[Extent], going: &[usize], mut segments: Vec<LogOffset>) -> Vec<Expire> {
        let starts = extents.iter().filter_map(|extent| start_after(extent, going));
        let (protected, mut starts): (Vec<_>, Vec<_>) = starts.partition(|start| {
            self.state.topics.get(&start.topic).is_some_and(|topic| self.state.holds(topic))
        });
        starts.extend(protected);
        let last = starts.len().div_ceil(QUEUES_PER_RECORD).max(1) - 1;
        let mut starts = starts.into_iter();
        let records = (0..=last).map(|i| Expire {
            part: i as u32,
            starts: starts.by_ref().take(QUEUES_PER_RECORD).collect(),
            segments: if i == last { std::mem::take(&mut segments) } else { Vec::new() },
        });
        records.collect()
    }

    /// The last record of a decision is committed: these segments go, unless messages of theirs are needed again.
    pub(crate) fn expired(&mut self, segments: &[LogOffset]) {
        let decided = self.applied.end;
        let dropped = segments.iter().filter(|base| !self.state.segments.has(**base));
        self.retaining.dropped.extend(dropped.map(|base| (*base, decided)));
        self.retaining.withdrawn |= segments.iter().any(|base| self.state.segments.has(*base));
    }

    /// Frees the files of dropped segments, as far as a checkpoint covers the decision.
    fn free(&mut self, now: Now, out: &mut Out<'_>) {
        if self.retaining.freeing || self.phase != Phase::Leading || now.ticks < self.retaining.retry_at {
            return;
        }
        let covered =
            |decided: LogOffset| decided <= self.stretch.from || sabotage::is(Sabotage::FreedBeforeSnapshot);
        let bases: Vec<LogOffset> = self
            .retaining
            .dropped
            .iter()
            .filter(|(_, decided)| covered(*decided))
            .map(|(base, _)| *base)
            .collect();
        let lean = self.room.space.used_percent() > self.options.retention.clean_above;
        if bases.is_empty() && lean == self.retaining.lean {
            return;
        }
        self.retaining.lean = lean;
        self.retaining.freeing = true;
        let spares = if lean { 0 } else { SPARES };
        out(Effect::Free(Freeing { bases, spares, gone: self.gone() }));
    }

    /// Files were freed, or not.
    pub(crate) fn freed(&mut self, now: Now, result: Result<Freed, String>, out: &mut Out<'_>) {
        self.retaining.freeing = false;
        match result {
            Ok(Freed { bases, space }) => {
                self.room.space = space;
                self.retaining.dropped.retain(|(base, _)| !bases.contains(base));
                self.damage.forget(&bases);
                self.mending.forget(&bases);
            }
            Err(cause) => {
                self.retaining.retry_at = now.ticks + RETRY_AFTER;
                out(Effect::Warn(format!("space was not freed and will be tried again: {cause}")));
            }
        }
    }

    /// Whether the disk is so full that messages go whatever their age, unless a group still has to process them.
    pub(crate) fn is_forcing(&self) -> bool {
        self.room.space.used_percent() > self.options.retention.force_above
    }

    /// Whether the disk is too full for messages; the text says so.
    pub(crate) fn check_space(&self) -> Result<(), String> {
        let (used, limit) = (self.room.space.used_percent(), self.options.retention.refuse_above);
        if used <= limit {
            return Ok(());
        }
        Err(format!(
            "the disk is {used} % full, messages are refused above {limit} % (diskSpaceWarningLevelRatio); free space \
             or add some, service resumes by itself"
        ))
    }
}

/// Which of the first so many segments of the extents hold messages that are needed.
fn held(pins: &[Pin], extents: &[Extent], segments: usize) -> Vec<bool> {
    let pins: Vec<_> = pins.iter().filter_map(|pin| Some((pin, pin.extent(extents)?))).collect();
    let is_held = |i: usize| pins.iter().any(|(pin, extent)| pin.needs(&extent.offsets[i]));
    (0..segments).map(is_held).collect()
}

/// Where a queue begins when the segments `going` go; None if that does not move it. What it has left in older
/// segments goes too: a queue has no holes.
fn start_after(extent: &Extent, going: &[usize]) -> Option<QueueStart> {
    let within = going.iter().rev().map(|i| &extent.offsets[*i]).find(|offsets| !offsets.is_empty())?;
    let (topic, queue_id) = (extent.queue.topic.clone(), extent.queue.queue_id);
    Some(QueueStart { topic, queue_id, min: within.end })
}
