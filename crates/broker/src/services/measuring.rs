//! Gathers what an operator sees. Ages of messages are read from the messages themselves, so the answer may have to
//! wait for the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use steadfast_store::unit::Unit;
use steadfast_types::record::StoredMessage;
use steadfast_types::{QueueOffset, Timestamp};

use super::Answer;
use super::reads::ReadPurpose;
use crate::broker::{Broker, Out, Phase, reply};
use crate::io::{Effect, Now, Origin, ReadJob, ReadResult};
use crate::measures::{Lag, Measures, MessageKind, PositionJumps, Stored, Traffic};
use crate::state::{Queue, Topic};

/// Most reads for one answer; ages beyond are not told.
const READS_MAX: usize = 512;

/// Answers that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct Measuring {
    by_number: BTreeMap<u64, UnderWay>,
    /// Runtime infos that wait for the time of the oldest message.
    infos: Option<Infos>,
    /// When the oldest message was stored, and the beginnings of the queues for which that holds.
    oldest: Option<(Beginnings, Timestamp)>,
}

/// The number of queues with messages and the sum of their first offsets: changes when messages are removed.
type Beginnings = (usize, u64);

#[derive(Debug)]
struct UnderWay {
    measures: Box<Measures>,
    reads: usize,
    now: Timestamp,
    /// As they were when it was asked for.
    beginnings: Beginnings,
}

/// Runtime infos that wait for the disk. Who asks meanwhile waits for the same reads.
#[derive(Debug)]
struct Infos {
    origins: Vec<Origin>,
    reads: usize,
    oldest: Option<Timestamp>,
    beginnings: Beginnings,
}

/// An age in an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgeOf {
    /// Which answer.
    number: u64,
    age: Age,
}

#[derive(Debug, Clone, Copy)]
enum Age {
    /// Of the oldest message that is not processed, for one of the lags.
    Latency(usize),
    /// Of the oldest one that was not given out.
    Queueing(usize),
    /// Of the oldest one there is.
    Oldest,
}

impl Measures {
    /// The message of this age was stored then; the oldest of several counts.
    fn note(&mut self, age: Age, stored: Timestamp, now: Timestamp) {
        let millis = now.get().saturating_sub(stored.get());
        let slot = match age {
            Age::Latency(lag) => self.lags.get_mut(lag).map(|lag| &mut lag.latency),
            Age::Queueing(lag) => self.lags.get_mut(lag).map(|lag| &mut lag.queueing),
            Age::Oldest => Some(&mut self.oldest),
        };
        if let Some(slot) = slot {
            *slot = Some(slot.map_or(millis, |known| known.max(millis)));
        }
    }
}

impl Broker {
    /// Gathers all figures, then [`Effect::Measured`].
    pub(crate) fn measure(&mut self, now: Now, number: u64, out: &mut Out<'_>) {
        let mut measures = self.figures();
        let mut reads = Vec::new();
        let mut ask = |measures: &mut Measures, age: Age, oldest: Oldest| match oldest {
            Oldest::None => {}
            Oldest::Stored(time) => measures.note(age, time, now.wall),
            Oldest::OnDisk(jobs) if reads.len() + jobs.len() > READS_MAX => {}
            Oldest::OnDisk(jobs) => reads.extend(jobs.into_iter().map(|job| (AgeOf { number, age }, job))),
        };
        let (beginnings, oldest) = self.oldest_kept();
        ask(&mut measures, Age::Oldest, oldest);
        for (group, topic) in self.state.positions.pairs() {
            let Some(topic) = self.state.topics.get(topic) else { continue };
            let (lag, unprocessed, not_given) = self.lag(group, topic);
            let at = measures.lags.len();
            measures.lags.push(lag);
            ask(&mut measures, Age::Latency(at), self.oldest(&unprocessed));
            ask(&mut measures, Age::Queueing(at), self.oldest(&not_given));
        }
        if reads.is_empty() {
            return out(Effect::Measured(number, Box::new(measures)));
        }
        let under_way =
            UnderWay { measures: Box::new(measures), reads: reads.len(), now: now.wall, beginnings };
        self.measuring.by_number.insert(number, under_way);
        for (age, job) in reads {
            self.read(ReadPurpose::Age(age), job, out);
        }
    }

    /// GET_BROKER_RUNTIME_INFO. When the oldest message was stored is looked up, unless that would take too many reads.
    pub(super) fn ask_runtime_info(&mut self, now: Now, origin: Origin, out: &mut Out<'_>) -> Answer {
        if let Some(infos) = &mut self.measuring.infos {
            infos.origins.push(origin);
            return Ok(None);
        }
        let (beginnings, oldest) = self.oldest_kept();
        let jobs = match oldest {
            Oldest::Stored(time) => return Ok(Some(self.runtime_info(now, Some(time)))),
            Oldest::OnDisk(jobs) if jobs.len() <= READS_MAX => jobs,
            Oldest::None | Oldest::OnDisk(_) => return Ok(Some(self.runtime_info(now, None))),
        };
        let infos = Infos { origins: vec![origin], reads: jobs.len(), oldest: None, beginnings };
        self.measuring.infos = Some(infos);
        for job in jobs {
            self.read(ReadPurpose::Oldest, job, out);
        }
        Ok(None)
    }

    /// The store time of what may be the oldest message was read for runtime infos.
    pub(super) fn oldest_read(&mut self, now: Now, result: &ReadResult, out: &mut Out<'_>) {
        let Some(infos) = &mut self.measuring.infos else { return };
        if let ReadResult::Number(time) = result {
            let time = Timestamp::new(*time);
            infos.oldest = Some(infos.oldest.map_or(time, |known| known.min(time)));
        }
        infos.reads -= 1;
        if infos.reads > 0 {
            return;
        }
        if let Some(Infos { origins, oldest, beginnings, .. }) = self.measuring.infos.take() {
            self.measuring.oldest = oldest.map(|time| (beginnings, time));
            for origin in origins {
                reply(origin, self.runtime_info(now, oldest), out);
            }
        }
    }

    /// How far a group is behind, and for each of its queues the first offset that it has not processed and the first
    /// that it was not given.
    fn lag<'a>(&'a self, group: &Arc<str>, topic: &'a Topic) -> (Lag, Vec<Place<'a>>, Vec<Place<'a>>) {
        let name = &topic.config.name;
        let readable = &topic.queues[..(topic.config.read_queues as usize).min(topic.queues.len())];
        let (mut unprocessed, mut not_given) = (Vec::new(), Vec::new());
        let mut lag = Lag { topic: name.clone(), group: group.clone(), ..Lag::default() };
        for queue in readable {
            let id = queue.name.queue_id;
            let Some(position) = self.state.positions.get(group, name, id) else { continue };
            let position = position.clamp(queue.min, queue.end);
            let given = self.given_from(group, queue, position);
            lag.messages += queue.end.get() - position.get();
            lag.inflight += given.get() - position.get();
            unprocessed.push((queue, position));
            not_given.push((queue, given));
        }
        // Nothing waits, unless the messages say otherwise.
        let waits = |messages: u64| (messages == 0).then_some(0);
        (lag.latency, lag.queueing) = (waits(lag.messages), waits(lag.messages - lag.inflight));
        (lag, unprocessed, not_given)
    }

    /// The oldest message of all; its time is remembered, since finding it may take many reads.
    fn oldest_kept(&self) -> (Beginnings, Oldest) {
        let queues = self.state.topics.iter().flat_map(|topic| &topic.queues);
        let kept: Vec<Place<'_>> =
            queues.filter(|queue| queue.min < queue.end).map(|queue| (queue, queue.min)).collect();
        let beginnings = (kept.len(), kept.iter().map(|(_, min)| min.get()).sum());
        match self.measuring.oldest {
            Some((of, time)) if of == beginnings => (beginnings, Oldest::Stored(time)),
            _ => (beginnings, self.oldest(&kept)),
        }
    }

    /// A message's store time was read for an answer.
    pub(super) fn age_read(&mut self, of: AgeOf, result: &ReadResult, out: &mut Out<'_>) {
        let Some(under_way) = self.measuring.by_number.get_mut(&of.number) else { return };
        if let ReadResult::Number(time) = result {
            under_way.measures.note(of.age, Timestamp::new(*time), under_way.now);
        }
        under_way.reads -= 1;
        if under_way.reads > 0 {
            return;
        }
        if let Some(UnderWay { measures, now, beginnings, .. }) = self.measuring.by_number.remove(&of.number)
        {
            let oldest = measures.oldest.map(|age| Timestamp::new(now.get().saturating_sub(age)));
            self.measuring.oldest = oldest.map(|time| (beginnings, time));
            out(Effect::Measured(of.number, measures));
        }
    }

    /// The oldest of the messages at or after these offsets. Stamps ascend with the log, so it is the one with the
    /// lowest log offset; where that is not in memory, it is one of those that are not either.
    fn oldest(&self, from: &[Place<'_>]) -> Oldest {
        let (mut first, mut on_disk) = (None, Vec::new());
        for &(queue, offset) in from.iter().filter(|(queue, offset)| *offset < queue.end) {
            match queue.unit(offset) {
                Some(unit) => {
                    first = first.into_iter().chain([(unit.log_offset, queue, offset)]).min_by_key(|f| f.0)
                }
                None => on_disk.push(self.time_of(queue, offset)),
            }
        }
        if !on_disk.is_empty() {
            return Oldest::OnDisk(on_disk);
        }
        let Some((_, queue, offset)) = first else { return Oldest::None };
        match queue.unit(offset).and_then(|unit| self.hot_time(unit)) {
            Some(time) => Oldest::Stored(time),
            None => Oldest::OnDisk(vec![self.time_of(queue, offset)]),
        }
    }

    /// The store time of a message, if that is in memory.
    pub(super) fn hot_time(&self, unit: &Unit) -> Option<Timestamp> {
        let record = self.hot.record(unit)?;
        Some(StoredMessage::decode(&record).ok()?.stamp.store_time)
    }

    /// How to find it out otherwise.
    pub(super) fn time_of(&self, queue: &Queue, offset: QueueOffset) -> ReadJob {
        ReadJob::StoreTime {
            queue: queue.name.clone(),
            offset,
            unit: queue.unit(offset).copied(),
            committed: self.committed(),
        }
    }

    /// All that needs no disk.
    fn figures(&self) -> Measures {
        let topics = || self.state.topics.iter();
        let stored = topics().flat_map(|topic| {
            MessageKind::ALL.into_iter().filter_map(|kind| {
                let mut traffic = Traffic::default();
                topic.queues.iter().for_each(|queue| traffic.add(queue.stored[kind as usize]));
                let topic = topic.config.name.clone();
                (traffic.messages > 0).then_some(Stored { topic, kind, traffic })
            })
        });
        let with_position = self.state.positions.pairs().map(|(group, _)| &**group);
        let groups: BTreeSet<&str> = with_position.chain(self.clients.consumer_groups()).collect();
        let jumps = self.state.jumps.counts().map(|(group, cause, count)| PositionJumps {
            group: group.clone(),
            cause: cause.name(),
            jumps: count.jumps,
            skipped: count.skipped,
            repeated: count.repeated,
        });
        Measures {
            leading: self.phase == Phase::Leading,
            poisoned: matches!(self.phase, Phase::Poisoned(_)),
            incomplete: self.group.fence().is_some(),
            peers: self.group.progress(),
            term: self.group.term(),
            permission: self.options.permission,
            topics: topics().count(),
            groups: groups.len(),
            stored: stored.collect(),
            delivered: self.statistics.delivered().collect(),
            oldest: None,
            lags: Vec::new(),
            jumps: jumps.collect(),
            conflicts: self.clients.conflicts().collect(),
            producers: self.clients.producer_kinds(),
            consumers: self.clients.consumer_kinds(),
            pending_sends: self.pending.sends.len(),
            pending_bytes: self.pending.bytes,
            held_pulls: self.held.len(),
            reads: self.reads.len(),
            kept: self.gone().left_before(self.committed()),
            damaged: self.damaged().len(),
            damaged_reads: self.damage.reads,
            given_up: self.holes().len(),
            repairing: self.mending.damaged(),
            repaired: self.mending.repaired,
            unverified: self.damage.unverified(),
            committed: self.committed(),
            proposed: self.group.place(0).at,
            checkpointed: self.stretch.from,
            disk_full: self.room.disk_full,
        }
    }
}

/// A queue and an offset in it.
type Place<'a> = (&'a Queue, QueueOffset);

/// Where the oldest of some messages is.
enum Oldest {
    /// There is none.
    None,
    /// Its store time is known.
    Stored(Timestamp),
    /// One of these will tell.
    OnDisk(Vec<ReadJob>),
}
