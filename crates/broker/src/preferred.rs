//! Hands leadership to the replica that is preferred to lead (RocketMQ's `preferredLeaderId`), calmly: a hand-over costs
//! clients a look at the routes, so it has to last.

use steadfast_consensus::{Body, Message, ReplicaId};

use crate::broker::{Broker, Out};
use crate::io::Now;

// Times are in ticks of the group, of which there are 20 in a second.

/// For so long must the preferred replica have kept up before it is given leadership.
const CALM: u64 = 100;
/// One that has not said a word for so long does not keep up.
const SILENCE: u64 = 10;
/// Between two hand-overs: at first, and at most. It doubles as long as hand-overs follow each other: the preferred replica
/// does not take leadership, or does not keep it.
const PAUSE: (u64, u64) = (200, 12_000);
/// Entries that it may lack: what is on its way under load.
const NEAR: u64 = 64;

/// What a leader knows of the replica that is preferred.
#[derive(Debug, Default)]
pub(crate) struct Preference {
    /// When it was heard last.
    heard: Option<u64>,
    /// Since when it has kept up.
    able_since: Option<u64>,
    /// When leadership was handed over last, and the pause after it.
    last: Option<(u64, u64)>,
}

impl Preference {
    /// Whether it has kept up for long enough, now that it `keeps_up` or not.
    fn is_calm(&mut self, now: u64, keeps_up: bool) -> bool {
        let is_heard = self.heard.is_some_and(|heard| now <= heard + SILENCE);
        if !keeps_up || !is_heard {
            self.able_since = None;
            return false;
        }
        let able_since = *self.able_since.get_or_insert(now);
        now >= able_since + CALM && self.last.is_none_or(|(at, pause)| now >= at + pause)
    }

    /// Leadership is handed over now.
    fn handed_over(&mut self, now: u64) {
        let (first, longest) = PAUSE;
        let recent = self.last.filter(|(at, pause)| now < at + 2 * pause);
        let pause = recent.map_or(first, |(_, pause)| (2 * pause).min(longest));
        self.last = Some((now, pause));
        self.able_since = None;
    }
}

impl Broker {
    fn group_ticks(&self, now: Now) -> u64 {
        now.ticks / self.membership.tick
    }

    /// The replica that is preferred to this one.
    fn preferred(&self) -> Option<ReplicaId> {
        self.membership.preferred.filter(|id| *id != self.membership.id)
    }

    /// Takes note of a word of the preferred replica. One that asks how far the log goes has lost entries, and would not
    /// stand for election.
    pub(crate) fn hear_preferred(&mut self, now: Now, message: &Message) {
        if self.preferred() == Some(message.from) {
            match message.body {
                Body::Inquiry { .. } => self.preference.able_since = None,
                _ => self.preference.heard = Some(self.group_ticks(now)),
            }
        }
    }

    /// Hands over to the preferred replica if it has kept up for a while, and this one leads.
    pub(crate) fn prefer(&mut self, now: Now, out: &mut Out<'_>) {
        let Some(preferred) = self.preferred() else { return };
        let keeps_up = self.leads() && self.group.keeps_up(preferred, NEAR);
        let ticks = self.group_ticks(now);
        if self.preference.is_calm(ticks, keeps_up) {
            self.preference.handed_over(ticks);
            self.transfer(now, Some(preferred), out);
        }
    }
}
