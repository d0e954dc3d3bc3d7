//! What becomes of the group's replicas themselves: their part of the state, and what there is to say of their disks.

use steadfast_consensus::{Change, News, Start, UnknownChange};
use steadfast_store::log::{Entry, Kind};

use crate::broker::{Broker, Out};
use crate::io::Effect;
use crate::membership::Membership;

impl Broker {
    /// Applies what an entry says of the replicas, if it does. Recovery does the same.
    pub(crate) fn members_changed(&mut self, entry: &Entry) -> Result<(), UnknownChange> {
        if entry.kind == Kind::Membership {
            self.state.members.apply(entry.index, &Change::decode(&entry.payload)?);
        }
        Ok(())
    }

    /// Tells what was found out about a disk.
    pub(crate) fn tell_news(&self, news: &News, out: &mut Out<'_>) {
        let me = Membership::name(self.membership.id);
        out(Effect::Warn(match *news {
            News::LostStart { recorded, own } if recorded.disk == own.disk => format!(
                "the disk of this replica, {me}, is an older copy of itself: its group has seen start {} of it, and this is \
                 another start {}. It may lack what it acknowledged; it is filled again, and until then its vote does not \
                 count as if it had that",
                recorded.life, own.life
            ),
            News::LostStart { recorded, own } => format!(
                "this replica, {me}, comes with another disk ({}) than the one that its group knows ({}). It is filled, and \
                 until then its vote does not count as if it had everything",
                disk(own),
                disk(recorded)
            ),
            News::OtherDisk { replica, start } => format!(
                "replica {} comes with another disk ({}) than before: one that is new, or an older copy. It is being filled, and \
                 until then the group bears the loss of no other replica",
                Membership::name(replica),
                disk(start)
            ),
        }));
    }
}

/// What a disk is called.
fn disk(start: Start) -> String {
    format!("{:016x}", start.disk)
}
