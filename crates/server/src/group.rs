//! A server as one replica of a group: which one the settings make it, where the others reach it and, while it runs, what
//! it is to them. A group of one has none of this.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use steadfast_broker::Membership;
use steadfast_broker::io::Input;
use steadfast_consensus::{Message, ReplicaId, Role};
use steadfast_types::Term;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::advertise;
use crate::config::Config;
use crate::core::{Core, Event};
use crate::peers::{Link, Peers, Place, Secret, lock};

/// How long a group may be without a leader before that is worth a line; an election takes one or two seconds.
const WORTH_SAYING: Duration = Duration::from_secs(4);
/// How long a replica may say nothing, while nobody leads, until it does not count as connected.
const SILENT: Duration = Duration::from_secs(4);
/// Pause between two such lines.
const SAY_AGAIN: Duration = Duration::from_secs(15);
/// How long a leader that stops waits for a successor.
const HAND_OVER: Duration = Duration::from_millis(500);

/// A replica that does not run yet.
pub(crate) struct Replica {
    pub(crate) membership: Membership,
    place: Place,
    /// Where it listens for the others.
    listen: SocketAddr,
    /// All replicas, as the settings name them.
    all: String,
}

impl Replica {
    /// The replica that the settings ask for; None if they ask for a server without others. Which one it is and how many
    /// there are, their rules have checked. `seed` is to differ between replicas.
    ///
    /// # Errors
    /// The secret cannot be read.
    pub(crate) fn of(config: &Config, seed: u64) -> anyhow::Result<Option<Self>> {
        let Some(me) = config.self_id.0.filter(|_| config.is_replica()) else { return Ok(None) };
        let mut others = config.replicas.0.clone();
        let voters: Vec<ReplicaId> = others.keys().copied().collect();
        others.remove(&me);
        let name = advertise::group_name(config);
        let place = Place {
            group: identity(&config.cluster, &name, &voters),
            name,
            me,
            others,
            secret: config.replication_secret.as_deref().map(Secret::read).transpose()?,
        };
        let ip: IpAddr = config.replicas.local_ip(me).unwrap_or(config.bind_address);
        let listen = SocketAddr::new(ip, config.replication_port().unwrap_or_default());
        let all = config.replicas.to_string();
        Ok(Some(Replica {
            membership: Membership {
                seed,
                preferred: config.preferred_leader.0,
                ..Membership::of(me, voters)
            },
            place,
            listen,
            all,
        }))
    }

    /// Identity of its group.
    pub(crate) fn group(&self) -> u64 {
        self.place.group
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// For a person who started it.
    pub(crate) fn facts(&self) -> ReplicaFacts {
        let (me, count) = (Membership::name(self.place.me), self.membership.voters.len());
        ReplicaFacts { me, group: self.place.name.clone(), all: self.all.clone(), count }
    }

    /// Talks to the others from now on, on the current runtime. `is_new`: it has no log yet.
    pub(crate) fn start(self, listener: TcpListener, core: &Arc<Core>, is_new: bool) -> Standing {
        let Replica { membership, place, .. } = self;
        let (me, name, count) = (place.me, place.name.clone(), membership.voters.len());
        let inbox = Arc::clone(core);
        let deliver = move |messages: Vec<Message>| {
            inbox.extend(messages.into_iter().map(|message| Event::Input(Input::Message(message))));
        };
        let peers = Peers::start(place, listener, deliver);
        let role = watch::Sender::new((Term::ZERO, Role::Follower(None)));
        let (unled_since, is_complete) = (Mutex::new(Instant::now()), AtomicBool::new(true));
        Standing(Arc::new(Shared { me, name, count, is_new, role, unled_since, is_complete, peers }))
    }
}

/// What is said of a replica at start.
pub(crate) struct ReplicaFacts {
    pub(crate) me: String,
    pub(crate) group: String,
    pub(crate) all: String,
    pub(crate) count: usize,
}

/// The same for all replicas of a group and for no other group. Who its voters are is a part of it: two that do not agree
/// about that could both find a quorum.
fn identity(cluster: &str, name: &str, voters: &[ReplicaId]) -> u64 {
    let mut hash = Sha256::new();
    for text in [cluster, name] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    voters.iter().for_each(|id| hash.update(id.to_be_bytes()));
    let digest = hash.finalize();
    let first = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    first.max(1)
}

/// What a running replica is to its group, for whoever wants to know.
#[derive(Clone)]
pub(crate) struct Standing(Arc<Shared>);

struct Shared {
    me: ReplicaId,
    name: String,
    count: usize,
    /// Its directory was empty.
    is_new: bool,
    role: watch::Sender<(Term, Role)>,
    /// Since when nobody leads it, or the last time that somebody did.
    unled_since: Mutex<Instant>,
    /// It has all that it may have acknowledged.
    is_complete: AtomicBool,
    peers: Peers,
}

impl Standing {
    /// Queues a message to another replica.
    pub(crate) fn send(&self, message: Message) {
        self.0.peers.send(message);
    }

    /// It has another role from now on.
    pub(crate) fn has_role(&self, term: Term, role: Role) {
        let (_, before) = self.0.role.send_replace((term, role));
        if is_led(before) || is_led(role) {
            *lock(&self.0.unled_since) = Instant::now();
        }
        match role {
            Role::Leader | Role::Follower(Some(_)) => tracing::info!("{self}"),
            Role::Follower(None) | Role::Candidate => tracing::debug!("{self}"),
        }
    }

    /// Whether it has all that it may have acknowledged, from now on.
    pub(crate) fn is_complete(&self, is_complete: bool) {
        self.0.is_complete.store(is_complete, Relaxed);
        match is_complete {
            true => tracing::info!("{self}; it is complete: its vote counts in full"),
            false => tracing::warn!(
                "{self}; it is new or has lost entries, and is filled from the leader's log: until then the group bears \
                 no further loss"
            ),
        }
    }

    /// The term, and its role in it.
    pub(crate) fn role(&self) -> (Term, Role) {
        *self.0.role.borrow()
    }

    /// How it stands with each other replica.
    pub(crate) fn links(&self) -> Vec<Link> {
        self.0.peers.links()
    }

    /// Why its group should not be relied upon because of it; None if it leads, or follows who does, and has all that it
    /// should have.
    pub(crate) fn trouble(&self) -> Option<String> {
        if !is_led(self.role().1) {
            return Some(self.without_leader());
        }
        let is_complete = self.0.is_complete.load(Relaxed);
        (!is_complete).then(|| {
            format!(
                "{self}: it is new or has lost entries, and is being filled from the leader's log; do not stop another \
                 replica before that is done (steadfast_replica_behind_bytes of the leader tells how much it lacks)"
            )
        })
    }

    /// Who is there and who is missing.
    fn without_leader(&self) -> String {
        let Shared { count, is_new, .. } = *self.0;
        let missing: Vec<_> = self.links().iter().filter_map(|link| self.what_is_missing(link)).collect();
        let reached = count - missing.len();
        let quorum = Membership::quorum(count);
        let needed = match (is_new, self.0.is_complete.load(Relaxed)) {
            (true, _) => format!("{quorum} of {count}, the first one of a new group all of them"),
            (false, false) => "all of them with this one, which is new or has lost entries".to_owned(),
            (false, true) => format!("{quorum} of {count}, each with all that it should have"),
        };
        let missing = match missing[..] {
            [] => "an election is under way".to_owned(),
            _ => format!("missing: {}", missing.join("; ")),
        };
        format!(
            "{self}: {reached} of {count} replicas are there, itself included, and an election takes {needed}; {missing}"
        )
    }

    /// What the link lacks of one that elections can use. While nobody leads, every replica speaks every one or two seconds.
    fn what_is_missing(&self, link: &Link) -> Option<String> {
        let Link { peer, addr, connected, heard, trouble, .. } = link;
        let since = *lock(&self.0.unled_since);
        let cause = match (connected, heard, trouble) {
            (false, _, Some(cause)) => format!(" ({cause})"),
            (false, _, None) => String::new(),
            (true, None, _) => " (it is reached, and has not connected to this one yet)".to_owned(),
            (true, Some(last), _) => {
                let silent = last.max(&since).elapsed();
                let seconds = (silent > SILENT).then_some(silent.as_secs())?;
                format!(
                    " (it has said nothing for {seconds} s: it stands still, or the network swallows what it says)"
                )
            }
        };
        Some(format!("{} at {addr}{cause}", Membership::name(*peer)))
    }

    /// Says for ever what a leader is waited for, whenever there is none for long.
    pub(crate) async fn say_what_is_missing(self) {
        let mut role = self.0.role.subscribe();
        let mut patience = WORTH_SAYING;
        loop {
            // The sender is held here.
            let _ = role.wait_for(|(_, role)| !is_led(*role)).await;
            patience = match timeout(patience, role.wait_for(|(_, role)| is_led(*role))).await {
                Ok(_) => WORTH_SAYING,
                Err(_) => {
                    tracing::warn!("{}", self.without_leader());
                    SAY_AGAIN
                }
            };
        }
    }

    /// If it leads, has another replica lead, so that clients need not wait for an election; gives up soon.
    pub(crate) async fn hand_over(&self, core: &Core) {
        if self.role().1 == Role::Leader {
            core.push(Event::Input(Input::Transfer(None)));
            let mut role = self.0.role.subscribe();
            let follows = role.wait_for(|(_, role)| matches!(role, Role::Follower(Some(_))));
            let done = timeout(HAND_OVER, follows).await.is_ok();
            let text = if done { "leadership handed over" } else { "no replica took the leadership over" };
            tracing::info!("{text}; {self}");
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Shared { me, name, .. }, (term, role)) = (&*self.0, self.role());
        write!(f, "{} of {name} ", Membership::name(*me))?;
        match role {
            Role::Leader => write!(f, "leads in term {term}"),
            Role::Follower(Some(leader)) => write!(f, "follows {} in term {term}", Membership::name(leader)),
            Role::Follower(None) | Role::Candidate => f.write_str("knows no leader"),
        }
    }
}

/// Whether somebody leads the group.
fn is_led(role: Role) -> bool {
    matches!(role, Role::Leader | Role::Follower(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_its_cluster_its_name_and_its_voters() {
        let group = identity("C", "g", &[1, 2, 3]);
        assert_eq!(group, 0xb00e_2bdf_53e8_2cdd, "it is in every directory: it must not change");
        for other in [
            identity("C", "h", &[1, 2, 3]),
            identity("D", "g", &[1, 2, 3]),
            identity("Cg", "", &[1, 2, 3]),
            identity("C", "g", &[1, 2, 4]),
            identity("C", "g", &[1, 2, 3, 4, 5]),
        ] {
            assert_ne!(group, other);
        }
    }
}
