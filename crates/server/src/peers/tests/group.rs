//! Replicas that mean well: what they say to each other, and what one hears that they say.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use steadfast_consensus::{Append, Body, Card, Message, ReplicaId};
use steadfast_store::log::{Entry, Kind, PAYLOAD_MAX};
use steadfast_types::{LogIndex, LogOffset, Position, Term};
use tokio::net::TcpListener;
use tokio::sync::oneshot::error::TryRecvError;

use crate::peers::{Bounds, Link, Peer, Peers, Place, Secret};

/// Longest time for anything that is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const GROUP: u64 = 0x1122_3344_5566_7788;

/// A replica under test.
pub(super) struct Replica {
    pub(super) peers: Peers,
    heard: Receiver<Vec<Message>>,
}

/// Short enough for tests, long enough for a busy machine.
pub(super) fn bounds() -> Bounds {
    Bounds { pause: (Duration::from_millis(5), Duration::from_millis(50)), ..Bounds::default() }
}

pub(super) fn place(me: ReplicaId, addrs: &BTreeMap<ReplicaId, String>, secret: Option<&str>) -> Place {
    let others = addrs.iter().filter(|(id, _)| **id != me).map(|(id, addr)| (*id, addr.clone())).collect();
    let secret = secret.map(|secret| Secret::of(secret.as_bytes()));
    Place { group: GROUP, name: "orders".to_owned(), me, others, secret }
}

/// A port for each replica.
pub(super) async fn ports(
    count: ReplicaId,
) -> (BTreeMap<ReplicaId, String>, BTreeMap<ReplicaId, TcpListener>) {
    let (mut addrs, mut listeners) = (BTreeMap::new(), BTreeMap::new());
    for id in 1..=count {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addrs.insert(id, listener.local_addr().unwrap().to_string());
        listeners.insert(id, listener);
    }
    (addrs, listeners)
}

impl Replica {
    pub(super) fn start(place: Place, listener: TcpListener) -> Self {
        Self::within(bounds(), place, listener)
    }

    pub(super) fn within(bounds: Bounds, place: Place, listener: TcpListener) -> Self {
        let (tell, heard) = channel();
        let peers = Peers::within(bounds, place, listener, move |messages| {
            // The test may be over.
            let _ = tell.send(messages);
        });
        Replica { peers, heard }
    }

    /// Replicas that are all connected to each other.
    pub(super) async fn group(count: ReplicaId, secret: Option<&str>) -> BTreeMap<ReplicaId, Self> {
        let (addrs, listeners) = ports(count).await;
        let start = |(id, listener)| (id, Replica::start(place(id, &addrs, secret), listener));
        let group: BTreeMap<_, _> = listeners.into_iter().map(start).collect();
        for replica in group.values() {
            replica.until(|links| links.iter().all(|link| link.connected && link.heard.is_some())).await;
        }
        group
    }

    /// Waits until it stands like this with the others.
    pub(super) async fn until(&self, wanted: impl Fn(&[Link]) -> bool) {
        let begun = Instant::now();
        loop {
            let links = self.peers.links();
            if wanted(&links) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{links:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for so many messages.
    pub(super) fn hear(&self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.extend(self.heard.recv_timeout(PATIENCE).expect("a message"));
        }
        assert_eq!(messages.len(), count);
        messages
    }

    /// What was said to it and not taken with [`Replica::hear`].
    pub(super) fn heard_nothing(&self) -> bool {
        self.heard.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Timeout)
    }
}

pub(in crate::peers) fn heartbeat(from: ReplicaId, to: ReplicaId, number: u64) -> Message {
    let body = Body::Heartbeat { commit: LogIndex::new(number), read: Some(number) };
    Message { from, to, term: Term::new(1), card: Card::default(), body }
}

pub(in crate::peers) fn append(from: ReplicaId, to: ReplicaId, number: u64, payloads: &[Bytes]) -> Message {
    let previous = Position { index: LogIndex::new(number), term: Term::new(1) };
    let entry = |(i, payload): (usize, &Bytes)| Entry {
        index: LogIndex::new(number + 1 + i as u64),
        term: Term::new(1),
        kind: Kind::Batch,
        payload: payload.clone(),
    };
    let entries = payloads.iter().enumerate().map(entry).collect();
    let append = Append { previous, commit: LogIndex::new(number), at: LogOffset::new(4096), entries };
    Message { from, to, term: Term::new(1), card: Card::default(), body: Body::Append(append) }
}

/// Bytes that differ from place to place.
pub(in crate::peers) fn payload(len: usize, seed: u64) -> Bytes {
    (0..len as u64).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 7) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_whole_and_in_order() {
    for secret in [None, Some("sixteen bytes or more")] {
        let group = Replica::group(3, secret).await;
        let sizes = [1, 100, 2_048, 2_049, 70_000, 1 << 20, PAYLOAD_MAX, 5, PAYLOAD_MAX / 2, 1000];
        let sent: Vec<_> = sizes
            .iter()
            .zip(0..)
            .map(|(len, number)| append(1, 2, number, &[payload(*len, number), payload(1 + *len / 3, 7)]))
            .collect();
        sent.iter().cloned().for_each(|message| group[&1].peers.send(message));
        assert!(group[&2].hear(sent.len()) == sent);
        // Answers go the other way, and to nobody else.
        let answers: Vec<_> = (0..500).map(|number| heartbeat(2, 1, number)).collect();
        answers.iter().cloned().for_each(|message| group[&2].peers.send(message));
        assert_eq!(group[&1].hear(answers.len()), answers);
        assert!(group[&3].heard_nothing());
        for link in group[&1].peers.links() {
            assert_eq!((link.queued, link.dropped), (0, 0), "{link:?}");
        }
    }
}

/// Nobody waits for more to send, or for a pause to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_lone_message_leaves_at_once() {
    let (addrs, mut listeners) = ports(2).await;
    let (tell, heard) = channel();
    let listener = listeners.remove(&2).unwrap();
    let to = Peers::start(place(2, &addrs, None), listener, move |messages| {
        let _ = tell.send((Instant::now(), messages));
    });
    let from = Replica::start(place(1, &addrs, None), listeners.remove(&1).unwrap());
    from.until(|links| links[0].connected).await;
    let payload = payload(1024, 0);
    let mut times: Vec<_> = (0..400)
        .map(|number| {
            let message = append(1, 2, number, std::slice::from_ref(&payload));
            let sent = Instant::now();
            from.peers.send(message.clone());
            let (at, messages) = heard.recv_timeout(PATIENCE).unwrap();
            assert_eq!(messages, [message]);
            at - sent
        })
        .collect();
    times.sort_unstable();
    println!("1 KiB one way: half of them within {:?}, 99 % within {:?}", times[200], times[396]);
    assert!(times[200] < Duration::from_millis(20), "{:?}", times[200]);
    drop(to);
}

/// The tasks of two connections may come to their place in either order.
#[test]
fn the_newest_connection_counts_whichever_is_noticed_first() {
    let peer = Peer::new("", 0);
    let mut second = peer.came(2);
    assert_eq!(peer.came(1).try_recv(), Err(TryRecvError::Closed));
    assert_eq!(second.try_recv(), Err(TryRecvError::Empty));
    let third = peer.came(3);
    assert_eq!(second.try_recv(), Err(TryRecvError::Closed));
    assert!(peer.link(2).heard.is_some());
    drop(third);
    assert!(peer.link(2).heard.is_none());
}
