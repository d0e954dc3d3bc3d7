//! Damaged parts of a replica's log are mended with what the others have ([`steadfast_store::log::Mend`]): one segment at a
//! time, the newest first, and one question at a time, to one replica after the other until one has it whole. What it asks of
//! others, it gives them too.
//!
//! ```text
//!            damage is met                        these bytes are needed
//! (nothing) ───────────────▶ Effect::Mend ──────────────────────────────▶ LogRequest ─▶ another replica
//!     ▲                       │      ▲                                                       │
//!     └── the segment is whole┘      └───────────────── LogPart ◀────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use steadfast_consensus::{Body, Card, Message, PART_MAX, ReplicaId};
use steadfast_store::log::{Damaged, Mend, MendError, Mended, Next, segment_path};
use steadfast_types::{LogOffset, Term};

use crate::broker::{Broker, Out};
use crate::io::{Effect, MendDone, MendJob, Now, PartJob};
use crate::membership::Membership;

/// Milliseconds that an answer is waited for.
const PATIENCE: u64 = 1_000;
/// Milliseconds until a segment is tried again that nobody could give, or that turned out to be whole.
const RETRY_AFTER: u64 = 5_000;

/// Segments with damage, and what is done about them.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    segments: BTreeMap<LogOffset, Suspect>,
    repair: Option<Repair>,
    last_number: u64,
    /// For whom the log is being read.
    giving: BTreeSet<ReplicaId>,
    /// All that was repaired since the start.
    pub(crate) repaired: Mended,
}

/// A segment in which damage was met.
#[derive(Debug, Default)]
struct Suspect {
    /// The last place where it was.
    last: LogOffset,
    /// Ticks before which it is left alone.
    not_before: u64,
    /// It is known to be whole, unless damage is met again.
    is_whole: bool,
}

/// The segment that is being mended.
#[derive(Debug)]
struct Repair {
    base: LogOffset,
    /// Who is asked.
    from: ReplicaId,
    /// Who could not help since something was written.
    tried: BTreeSet<ReplicaId>,
    /// Bytes written.
    written: u64,
    /// None while the disk works.
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    mend: Box<Mend>,
    stretch: Range<LogOffset>,
    number: u64,
    /// Ticks at which it is waited for no more.
    until: u64,
}

impl Mending {
    /// How many segments are known to be damaged.
    pub(crate) fn damaged(&self) -> usize {
        self.segments.values().filter(|suspect| !suspect.is_whole).count()
    }

    /// Forgets segments that are gone.
    pub(crate) fn forget(&mut self, bases: &[LogOffset]) {
        self.segments.retain(|base, _| !bases.contains(base));
    }

    fn put_off(&mut self, base: LogOffset, until: u64) {
        if let Some(suspect) = self.segments.get_mut(&base) {
            suspect.not_before = until;
        }
    }
}

impl Broker {
    /// Whether there are other replicas, from which damage is repaired.
    pub fn has_others(&self) -> bool {
        !self.membership.is_alone()
    }

    /// Damage was met at a place of the log. A group of one can only tell.
    pub(crate) fn suspect(&mut self, at: LogOffset) {
        let base = self.layout.base_of(at);
        if self.membership.is_alone() || at >= self.applied.end || !self.state.segments.has(base) {
            return;
        }
        let suspect = self.mending.segments.entry(base).or_default();
        (suspect.last, suspect.is_whole) = (suspect.last.max(at), false);
    }

    /// Begins to mend a segment if there is one, and asks somebody else if there is no answer.
    pub(crate) fn look_after_damage(&mut self, now: Now, out: &mut Out<'_>) {
        if !self.takes_part() {
            return;
        }
        match self.mending.repair.take() {
            Some(repair) if repair.asked.as_ref().is_some_and(|asked| asked.until <= now.ticks) => {
                self.ask_another(now, repair, out);
            }
            Some(repair) => self.mending.repair = Some(repair),
            None => self.begin_to_mend(now, out),
        }
    }

    /// Ticks at which something has to be done about damage.
    pub(crate) fn mending_deadline(&self) -> Option<u64> {
        let Mending { repair, segments, .. } = &self.mending;
        match repair {
            _ if !self.takes_part() => None,
            Some(repair) => repair.asked.as_ref().map(|asked| asked.until),
            None => {
                segments.values().filter(|suspect| !suspect.is_whole).map(|suspect| suspect.not_before).min()
            }
        }
    }

    fn begin_to_mend(&mut self, now: Now, out: &mut Out<'_>) {
        let is_due = |suspect: &Suspect| !suspect.is_whole && suspect.not_before <= now.ticks;
        let newest = self.mending.segments.iter().rfind(|(_, suspect)| is_due(suspect));
        let Some((base, suspect)) = newest.map(|(base, suspect)| (*base, suspect.last)) else { return };
        let damaged =
            Damaged { base, last: suspect, group: self.identity, layout: self.layout, end: self.applied };
        let from = self.membership.id;
        self.mending.repair = Some(Repair { base, from, tried: BTreeSet::new(), written: 0, asked: None });
        out(Effect::Mend(MendJob { mend: Box::new(Mend::new(damaged)), part: None }));
    }

    /// The disk is done with what was given, and it is known what is needed next.
    pub(crate) fn mended(&mut self, now: Now, MendDone { mend, result }: MendDone, out: &mut Out<'_>) {
        let repair = self.mending.repair.take().filter(|repair| repair.base == mend.base());
        let Some(mut repair) = repair.filter(|_| self.takes_part()) else { return };
        let base = repair.base;
        match result {
            Ok(Next::Needs(stretch) | Next::Refused(stretch)) if stretch.is_empty() => {
                self.mending.put_off(base, now.ticks + RETRY_AFTER);
            }
            Ok(Next::Needs(stretch)) => {
                if mend.mended().bytes > repair.written {
                    repair.written = mend.mended().bytes;
                    repair.tried.clear();
                }
                self.ask(now, repair, (mend, stretch), out);
            }
            Ok(Next::Refused(stretch)) => {
                repair.asked = Some(Asked { mend, stretch, number: 0, until: 0 });
                self.ask_another(now, repair, out);
            }
            Ok(Next::TooNew) => self.mending.put_off(base, now.ticks + RETRY_AFTER),
            Ok(Next::Whole(mended)) => self.is_whole(now, &repair, mended, out),
            // What a failed write has left on the medium nobody knows (promise P3).
            Err(error @ MendError::File(_)) => self.poison(&error.to_string(), out),
            Err(error) => {
                let file = segment_path(base);
                out(Effect::Warn(format!("{file} is damaged, and cannot be repaired now: {error}")));
                self.mending.put_off(base, now.ticks + RETRY_AFTER);
            }
        }
    }

    fn is_whole(&mut self, now: Now, repair: &Repair, mended: Mended, out: &mut Out<'_>) {
        let base = repair.base;
        // What is met again at once is not in the log.
        let not_before = now.ticks + if mended.bytes > 0 { 0 } else { RETRY_AFTER };
        self.mending.segments.insert(base, Suspect { not_before, is_whole: true, ..Suspect::default() });
        self.damage.lift(base);
        if mended.bytes > 0 {
            self.mending.repaired.entries += mended.entries;
            self.mending.repaired.bytes += mended.bytes;
            let Mended { entries, bytes } = mended;
            let (file, from) = (segment_path(base), Membership::name(repair.from));
            out(Effect::Warn(format!(
                "{entries} damaged entries ({bytes} bytes) of {file} were fetched from {from}, verified and repaired"
            )));
        }
    }

    /// Asks the same replica for more, if there is one that has given something.
    fn ask(
        &mut self,
        now: Now,
        mut repair: Repair,
        (mend, stretch): (Box<Mend>, Range<LogOffset>),
        out: &mut Out<'_>,
    ) {
        repair.asked = Some(Asked { mend, stretch, number: 0, until: 0 });
        match repair.from == self.membership.id {
            true => self.ask_another(now, repair, out),
            false => self.send_question(now, repair, out),
        }
    }

    /// Asks the next replica that was not asked in vain; when all were, everybody is asked again later.
    fn ask_another(&mut self, now: Now, mut repair: Repair, out: &mut Out<'_>) {
        let me = self.membership.id;
        repair.tried.insert(repair.from);
        let others = self.membership.voters.iter().filter(|id| !repair.tried.contains(id) && **id != me);
        // Not all ask the same one.
        let next = others.min_by_key(|id| (**id < me, **id)).copied();
        match next {
            Some(next) => {
                repair.from = next;
                self.send_question(now, repair, out);
            }
            None => {
                let file = segment_path(repair.base);
                if self.damage.may_tell(now, &file) {
                    out(Effect::Warn(format!(
                        "{file} is damaged, and no other replica has what is missing now; they are asked again"
                    )));
                }
                self.mending.put_off(repair.base, now.ticks + RETRY_AFTER);
            }
        }
    }

    fn send_question(&mut self, now: Now, mut repair: Repair, out: &mut Out<'_>) {
        self.mending.last_number += 1;
        let number = self.mending.last_number;
        let to = repair.from;
        if let Some(asked) = &mut repair.asked {
            let Range { start, end } = asked.stretch;
            let stretch = start..end.min(start + PART_MAX);
            (asked.number, asked.until) = (number, now.ticks + PATIENCE);
            self.tell_replica(to, Body::LogRequest { number, stretch }, out);
        }
        self.mending.repair = Some(repair);
    }

    /// Another replica answers.
    pub(crate) fn part_came(
        &mut self,
        now: Now,
        from: ReplicaId,
        (number, at, bytes): (u64, LogOffset, Bytes),
        out: &mut Out<'_>,
    ) {
        let Some(mut repair) = self.mending.repair.take() else { return };
        let is_it = |asked: &mut Asked| (asked.number, asked.stretch.start) == (number, at);
        match repair.asked.take_if(is_it).filter(|_| repair.from == from) {
            None => self.mending.repair = Some(repair),
            Some(asked) if bytes.is_empty() => {
                repair.asked = Some(asked);
                self.ask_another(now, repair, out);
            }
            Some(Asked { mend, .. }) => {
                self.mending.repair = Some(repair);
                out(Effect::Mend(MendJob { mend, part: Some(bytes) }));
            }
        }
    }

    /// Another replica asks for bytes of the log, and gets those that are committed here: it may be further. At most one of its
    /// questions is under way, or it would have to be trusted to hold back.
    pub(crate) fn part_wanted(
        &mut self,
        to: ReplicaId,
        (number, stretch): (u64, Range<LogOffset>),
        out: &mut Out<'_>,
    ) {
        let at = stretch.start;
        let (base, size) = (self.layout.base_of(at), self.layout.segment_size);
        let end = stretch.end.min(self.applied.end).min(base + size);
        if at >= end || !self.state.segments.has(base) {
            self.tell_replica(to, Body::LogPart { number, at, bytes: Bytes::new() }, out);
        } else if self.mending.giving.insert(to) {
            out(Effect::ReadPart(PartJob { to, number, stretch: at..end }));
        }
    }

    /// What another replica asked for was read, or could not be.
    pub(crate) fn part_read(&mut self, job: PartJob, bytes: Option<Bytes>, out: &mut Out<'_>) {
        let PartJob { to, number, stretch } = job;
        self.mending.giving.remove(&to);
        let (at, bytes) = (stretch.start, bytes.unwrap_or_default());
        self.tell_replica(to, Body::LogPart { number, at, bytes }, out);
    }

    fn tell_replica(&self, to: ReplicaId, body: Body, out: &mut Out<'_>) {
        let (from, term) = (self.membership.id, self.group.term());
        // Whoever has not heard of the group yet says nothing.
        if term > Term::ZERO {
            out(Effect::Message(Message { from, to, term, card: Card::default(), body }));
        }
    }
}
