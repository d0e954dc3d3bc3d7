//! The broker of one group: takes inputs, keeps the state, emits effects. What each request does is in
//! `services`; how a batch becomes durable is in `propose.rs` and `apply.rs`.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use steadfast_consensus::{Group, Write};
use steadfast_store::log::{Layout, Mark, Room};
use steadfast_types::{LogOffset, Term, Timestamp};

use crate::checkpoint::Stretch;
use crate::clock::Clock;
use crate::damage::Damage;
use crate::io::{ConnId, Effect, Input, Now, Origin};
use crate::membership::Membership;
use crate::mending::Mending;
use crate::options::Options;
use crate::pending::{Ack, Bundle, InFlight, Parked, Pending, not_stored, unknown};
use crate::preferred::Preference;
use crate::recent::{HotTail, RecentKeys};
use crate::reply::Reply;
use crate::request::Request;
use crate::retention::Retaining;
use crate::services::{
    Calls, Clients, Confirming, Deliveries, HeldPulls, LockHolders, Measuring, ProgressAnswers,
    ReadsUnderWay, Resets, Statistics, Statuses,
};
use crate::state::State;
use steadfast_wire::code::response;

/// Why a broker that stops takes nothing more.
pub(crate) const STOPPING: &str = "the broker is stopping";

/// Where effects go, as early as possible.
pub(crate) type Out<'a> = dyn FnMut(Effect) + 'a;

/// What the broker can do at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Another replica leads the group, or none does.
    Following,
    /// It is elected, and the entry that opens its term is not committed yet.
    Starting,
    /// Serving.
    Leading,
    /// A write failed: nothing is written any more, committed data is still served.
    Poisoned(String),
    /// Finishing what is in flight.
    Stopping,
    /// Nothing is left to do.
    Stopped,
}

/// A broker; see the crate's documentation.
pub struct Broker {
    pub(crate) options: Options,
    pub(crate) phase: Phase,
    pub(crate) state: State,
    pub(crate) group: Group,
    pub(crate) membership: Membership,
    pub(crate) preference: Preference,
    /// Ticks at which the group's time goes on, in a group of several.
    pub(crate) next_tick: Option<u64>,
    /// What was last told: it has all that it may have acknowledged.
    pub(crate) is_complete: bool,
    /// The group's next write, for which there is no space yet.
    pub(crate) held_write: Option<Write>,
    pub(crate) confirming: Confirming,
    /// End of the applied log.
    pub(crate) applied: Mark,
    /// Term of the last applied entry.
    pub(crate) applied_term: Term,
    /// Newest store time in the log: stamps never go back, whatever the clock does.
    pub(crate) store_time: Timestamp,
    /// The time of stamps and of delayed messages.
    pub(crate) clock: Clock,
    pub(crate) room: Room,
    pub(crate) layout: Layout,
    pub(crate) retaining: Retaining,
    pub(crate) damage: Damage,
    pub(crate) mending: Mending,
    /// Identity of the group, as its segments name it.
    pub(crate) identity: u64,
    pub(crate) pending: Pending,
    /// What was proposed and is not committed, in the order of the log. In a group of one that is one batch at most.
    pub(crate) in_flight: VecDeque<InFlight>,
    /// Requests that wait until a topic has been made.
    pub(crate) parked: Vec<Parked>,
    /// Questions for positions whose update is not durable yet.
    pub(crate) waiting_queries: Vec<(Origin, Request)>,
    pub(crate) hot: HotTail,
    pub(crate) keys: RecentKeys,
    pub(crate) stretch: Stretch,
    pub(crate) clients: Clients,
    pub(crate) calls: Calls,
    pub(crate) held: HeldPulls,
    pub(crate) reads: ReadsUnderWay,
    pub(crate) resets: Resets,
    pub(crate) lock_holders: LockHolders,
    pub(crate) progress_answers: ProgressAnswers,
    pub(crate) statuses: Statuses,
    pub(crate) statistics: Statistics,
    pub(crate) measuring: Measuring,
    pub(crate) deliveries: Deliveries,
    /// Spreads sends that leave the queue to the broker.
    pub(crate) next_queue: BTreeMap<String, u32>,
}

impl Broker {
    /// Handles inputs, then proposes what waits. Effects are emitted as early as possible: dispatch each at
    /// once. Call it first with no inputs, to stand for election.
    pub fn step(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, out: &mut dyn FnMut(Effect)) {
        self.clock.advance(now, self.store_time);
        self.statistics.tick(now.ticks);
        for input in inputs {
            self.input(now, input, out);
        }
        self.begin_alone(now, out);
        self.tick(now, out);
        self.expire(now, out);
        self.deliver(now, out);
        self.look_after_space(now, out);
        self.look_after_damage(now, out);
        self.ask_quorum(now, out);
        self.propose(now, out);
        self.maybe_checkpoint(now, out);
        self.maybe_stopped(out);
    }

    /// Ticks at which [`Broker::step`] must be called at the latest, even without input.
    pub fn deadline(&self) -> Option<u64> {
        let timeout = self.options.flush_timeout;
        let writes = self.in_flight.iter().find(|f| !f.acks.is_empty()).map(|f| f.since + timeout);
        let pending = self.pending.oldest().map(|since| since + timeout);
        let parked = self.parked.iter().map(|p| p.since + timeout).min();
        let deliveries = self.deliveries.deadline().filter(|_| self.phase == Phase::Leading);
        let others = [
            self.held.deadline(),
            self.clients.deadline(),
            self.calls.deadline(),
            deliveries,
            self.retention_deadline(),
            self.tick_deadline(),
            self.mending_deadline(),
        ];
        others.into_iter().chain([writes, pending, parked]).flatten().min()
    }

    /// End of the committed log.
    pub fn committed(&self) -> LogOffset {
        self.applied.end
    }

    /// The log may not be dropped from here on: the oldest delayed message that waits for its turn lies here or later.
    /// None if there is none.
    pub fn delayed_from(&self) -> Option<LogOffset> {
        self.state.delayed_from()
    }

    fn input(&mut self, now: Now, input: Input, out: &mut Out<'_>) {
        match input {
            Input::Request(origin, request) => self.arrived(now, origin, request, out),
            Input::CallAnswered(conn, answer) => self.call_answered(conn, answer, out),
            Input::Disconnected(conn) => self.disconnected(conn, out),
            Input::Persisted(number, mark) => self.persisted(now, number, mark, out),
            Input::WriteFailed(cause) => {
                self.poison(&cause, out);
                self.ask_again(now, out);
            }
            Input::Room(room) => {
                self.room = room;
                self.write(out);
            }
            Input::Message(message) => self.message(now, message, out),
            Input::Fetched(number, entries) => self.fetched(now, number, entries, out),
            Input::MetDamage(at) => self.suspect(at),
            Input::PartRead(job, bytes) => self.part_read(job, bytes, out),
            Input::Mended(done) => self.mended(now, done, out),
            Input::Transfer(to) => self.transfer(now, to, out),
            Input::Freed(result) => self.freed(now, result, out),
            Input::ReadDone(number, result) => self.read_done(now, number, result, out),
            Input::CheckpointDone(result) => self.checkpoint_done(now, result, out),
            Input::Reconfigure(origin, options) => self.reconfigure(origin, *options, out),
            Input::Measure(number) => self.measure(now, number, out),
            Input::GiveUp(damaged) => self.give_up(now, damaged),
            Input::Scrubbed(scrubbed) => self.scrubbed(scrubbed, out),
            Input::Stop => self.stop(out),
        }
    }

    fn reconfigure(&mut self, origin: Origin, options: Options, out: &mut Out<'_>) {
        self.options = options;
        if self.phase == Phase::Leading {
            // Clients learn from the routes what they may do.
            self.register(out);
        }
        reply(origin, Reply::ok(), out);
    }

    /// The first failed write is the last one (promise P3).
    pub(crate) fn poison(&mut self, cause: &str, out: &mut Out<'_>) {
        if matches!(self.phase, Phase::Poisoned(_)) {
            return;
        }
        self.phase = Phase::Poisoned(cause.to_owned());
        out(Effect::Poisoned(cause.to_owned()));
        self.leave_unknown(cause, out);
        self.refuse_pending(response::SERVICE_NOT_AVAILABLE, cause, out);
        // Others go on, and what this replica knows gets old.
        if !self.membership.is_alone() {
            self.turn_away(cause, out);
        }
    }

    /// Answers everything that was not proposed yet: none of it is stored.
    pub(crate) fn refuse_pending(&mut self, code: i32, cause: &str, out: &mut Out<'_>) {
        self.refuse_sends(code, cause, out);
        for control in std::mem::take(&mut self.pending.controls) {
            if let Some((origin, _)) = control.answer {
                reply(origin, not_stored(code, cause), out);
            }
        }
        while let Some(bundle) = self.pending.pop_bundle() {
            self.abandon(bundle, (code, cause), out);
        }
    }

    /// Gives up a bundle that was not proposed: nothing of it is stored.
    pub(crate) fn abandon(&mut self, bundle: Bundle, (code, cause): (i32, &str), out: &mut Out<'_>) {
        bundle.controls.iter().for_each(|control| self.deliveries.abandoned(control, bundle.since));
        if let Some(origin) = bundle.origin {
            reply(origin, not_stored(code, cause), out);
        }
    }

    /// Answers the sends that were not proposed yet.
    pub(crate) fn refuse_sends(&mut self, code: i32, cause: &str, out: &mut Out<'_>) {
        while let Some(send) = self.pending.pop_send() {
            reply(send.origin, not_stored(code, cause), out);
        }
        for Parked { origin, .. } in std::mem::take(&mut self.parked) {
            reply(origin, not_stored(code, cause), out);
        }
    }

    /// Asks again what waited for an update that is durable now, or failed.
    pub(crate) fn ask_again(&mut self, now: Now, out: &mut Out<'_>) {
        for (origin, query) in std::mem::take(&mut self.waiting_queries) {
            self.request(now, origin, query, out);
        }
    }

    fn expire(&mut self, now: Now, out: &mut Out<'_>) {
        let timeout = self.options.flush_timeout;
        let late = |since: u64| now.ticks >= since + timeout;
        for in_flight in self.in_flight.iter_mut().take_while(|f| late(f.since)) {
            let who = if self.membership.is_alone() { "the disk" } else { "a quorum of the group" };
            let cause = format!("{who} did not confirm the write within {timeout} ms");
            for ack in in_flight.acks.drain(..) {
                reply(*ack.origin(), unknown(&cause), out);
            }
        }
        if self.pending.oldest().is_some_and(late) {
            let cause = format!("the write before it has been under way for more than {timeout} ms");
            while self.pending.sends.front().is_some_and(|s| late(s.since)) {
                if let Some(send) = self.pending.pop_send() {
                    reply(send.origin, not_stored(response::SYSTEM_BUSY, &cause), out);
                }
            }
            while let Some(control) = self.pending.controls.pop_front_if(|c| late(c.since)) {
                if let Some((origin, _)) = control.answer {
                    reply(origin, not_stored(response::SYSTEM_BUSY, &cause), out);
                }
            }
            self.refuse_late_bundles(now, &cause, out);
            self.ask_again(now, out);
        }
        if self.parked.iter().any(|p| late(p.since)) {
            let cause = format!("its topic could not be made within {timeout} ms");
            for parked in self.parked.extract_if(.., |p| late(p.since)) {
                reply(parked.origin, not_stored(response::SYSTEM_BUSY, &cause), out);
            }
        }
        self.expire_held(now, out);
        self.expire_clients(now, out);
        self.expire_calls(now, out);
    }

    fn refuse_late_bundles(&mut self, now: Now, cause: &str, out: &mut Out<'_>) {
        let timeout = self.options.flush_timeout;
        for _ in 0..self.pending.bundles.len() {
            let Some(bundle) = self.pending.pop_bundle() else { return };
            if bundle.origin.is_some() && now.ticks >= bundle.since + timeout {
                self.abandon(bundle, (response::SYSTEM_BUSY, cause), out);
            } else {
                self.pending.push_bundle(bundle);
            }
        }
    }

    fn disconnected(&mut self, conn: ConnId, out: &mut Out<'_>) {
        self.held.drop_connection(conn, &mut self.state);
        self.reads.drop_connection(conn);
        self.confirming.drop_connection(conn);
        self.forget_connection(conn, out);
        self.drop_calls(conn, out);
    }

    fn stop(&mut self, out: &mut Out<'_>) {
        if !matches!(self.phase, Phase::Stopped) {
            self.phase = match &self.phase {
                Phase::Poisoned(_) => Phase::Stopped,
                _ => Phase::Stopping,
            };
            self.release_held(STOPPING, out);
        }
    }

    fn maybe_stopped(&mut self, out: &mut Out<'_>) {
        // A group without a quorum confirms nothing: nobody is waited for who was told so.
        let waits = |f: &InFlight| self.membership.is_alone() || !f.acks.is_empty();
        let idle = !self.in_flight.iter().any(waits) && self.pending.is_empty() && self.stretch.is_idle();
        if self.phase == Phase::Stopped || (self.phase == Phase::Stopping && idle) {
            self.phase = Phase::Stopped;
            if !self.membership.is_alone() {
                self.turn_away(STOPPING, out);
            }
            out(Effect::Stopped);
        }
    }

    /// Whether messages and changes are taken now; if not, the answer.
    pub(crate) fn check_writable(&self) -> Result<(), Reply> {
        let cause: Cow<'_, str> = match &self.phase {
            Phase::Leading => return Ok(()),
            Phase::Following => self.not_leading().into(),
            Phase::Starting if self.room.disk_full => {
                "the disk is full, the broker cannot start writing".into()
            }
            Phase::Starting => "the broker is starting".into(),
            Phase::Stopping | Phase::Stopped => STOPPING.into(),
            Phase::Poisoned(cause) => cause.into(),
        };
        Err(not_stored(response::SERVICE_NOT_AVAILABLE, &cause))
    }
}

/// Emits an answer, unless the request wants none.
pub(crate) fn reply(origin: Origin, reply: Reply, out: &mut Out<'_>) {
    if !origin.oneway {
        out(Effect::Reply(origin, reply));
    }
}

/// Emits the answer of an acknowledged batch item.
pub(crate) fn acknowledge(ack: Ack, options: &Options, out: &mut Out<'_>) {
    let origin = *ack.origin();
    if origin.oneway {
        return;
    }
    let answer = match ack {
        Ack::Done(_, answer) => answer,
        Ack::Sent { queue_id, queue_offset, log_offsets, unique_key, .. } => {
            let sent = crate::reply::Sent {
                store_host: options.store_host,
                log_offsets,
                queue_id,
                queue_offset,
                transaction_id: unique_key,
                region: options.region.clone(),
            };
            Reply::with(crate::reply::ReplyHeader::Sent(Box::new(sent)))
        }
    };
    out(Effect::Reply(origin, answer));
}
