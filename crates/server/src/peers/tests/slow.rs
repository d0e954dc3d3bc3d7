//! A replica that does not read, or is not there: it holds a bounded amount of memory, and nobody else waits for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use steadfast_consensus::{Body, Message, ReplicaId, decode, message_len};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::group::{GROUP, PATIENCE, Replica, append, bounds, heartbeat, payload, place, ports};
use crate::peers::{Bounds, handshake};

const MIB: usize = 1 << 20;

/// The second of three replicas, which reads only when the test wants it to. The first and the third are real.
async fn scene(bounds: Bounds) -> (Replica, Replica, TcpListener, TcpStream) {
    let (addrs, mut listeners) = ports(3).await;
    let mut start = |id| Replica::within(bounds, place(id, &addrs, None), listeners.remove(&id).unwrap());
    let (leader, good) = (start(1), start(3));
    let listener = listeners.remove(&2).unwrap();
    let slow = taken(&listener, &addrs).await;
    leader.until(|links| links.iter().all(|link| link.connected)).await;
    (leader, good, listener, slow)
}

/// The first replica's next connection to the second one.
async fn taken(listener: &TcpListener, addrs: &BTreeMap<ReplicaId, String>) -> TcpStream {
    loop {
        let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        if handshake::accept(&mut stream, &place(2, addrs, None)).await.is_ok_and(|from| from == 1) {
            return stream;
        }
    }
}

/// Reads until `enough` have come.
async fn read(stream: &mut TcpStream, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
    let (mut buf, mut messages) = (BytesMut::new(), Vec::new());
    while !enough(&messages) {
        let read = timeout(PATIENCE, stream.read_buf(&mut buf)).await.unwrap().unwrap();
        assert!(read > 0, "the connection ended after {} messages", messages.len());
        while let Some(len) = message_len(&buf).unwrap().filter(|len| *len <= buf.len()) {
            messages.push(decode(GROUP, buf.split_to(len).freeze()).unwrap());
        }
    }
    messages
}

fn is_append(message: &Message) -> bool {
    matches!(message.body, Body::Append(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_replica_holds_bounded_memory_and_delays_nobody() {
    let bounds = Bounds { queued: 4 * MIB, stalled: PATIENCE, ..bounds() };
    let (leader, good, _listener, mut slow) = scene(bounds).await;
    let payload = payload(MIB, 3);
    let sent = 64;
    for number in 0..sent {
        let to = |to| append(1, to, number, std::slice::from_ref(&payload));
        leader.peers.send(to(2));
        let links = leader.peers.links();
        assert!(links[0].queued <= bounds.queued, "{links:?}");
        // The good one has each at once.
        leader.peers.send(to(3));
        assert!(good.hear(1) == [to(3)]);
    }
    let dropped = leader.peers.links()[0].dropped;
    // 4 MiB may wait, and the system's buffers are smaller than the rest.
    assert!(dropped > 20, "{dropped}");
    // Votes and heartbeats for the slow one are taken, and are the first to leave.
    let beats: Vec<_> = (0..100).map(|number| heartbeat(1, 2, number)).collect();
    beats.iter().cloned().for_each(|beat| leader.peers.send(beat));
    let expected = (sent - dropped) as usize + beats.len();
    let messages = read(&mut slow, |messages| messages.len() == expected).await;
    assert_eq!(messages.iter().filter(|m| !is_append(m)).cloned().collect::<Vec<_>>(), beats);
    let behind = messages.iter().rev().take_while(|message| is_append(message)).count();
    assert!(behind > 0, "the heartbeats had to wait for all appends");
    let numbers = messages.iter().filter_map(|message| match &message.body {
        Body::Append(append) => Some(append.previous.index),
        _ => None,
    });
    assert!(numbers.is_sorted());
    assert_eq!(leader.peers.links()[0].dropped, dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_small_messages_than_anybody_needs_are_dropped_from_the_oldest() {
    let bounds = Bounds { stalled: PATIENCE, ..bounds() };
    let (leader, _good, _listener, mut slow) = scene(bounds).await;
    // Fill what is ready to be written and the system's buffers, so that the rest stays in the outbox.
    let filler: Bytes = payload(8 * MIB, 1);
    for number in 0..4 {
        leader.peers.send(append(1, 2, number, std::slice::from_ref(&filler)));
    }
    let begun = Instant::now();
    let mut number = 0;
    while leader.peers.links()[0].dropped == 0 {
        assert!(begun.elapsed() < PATIENCE);
        number += 1;
        leader.peers.send(heartbeat(1, 2, number));
    }
    assert!(leader.peers.links()[0].queued < 40 * MIB);
    let last = heartbeat(1, 2, number);
    let messages = read(&mut slow, |messages| messages.contains(&last)).await;
    assert!(messages.len() < number as usize + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_nothing_is_given_up_and_made_anew() {
    let bounds = Bounds { stalled: Duration::from_millis(200), ..bounds() };
    let (leader, _good, listener, _slow) = scene(bounds).await;
    let payload = payload(8 * MIB, 3);
    for number in 0..4 {
        leader.peers.send(append(1, 2, number, std::slice::from_ref(&payload)));
    }
    leader.until(|links| links[0].trouble.is_some()).await;
    let link = leader.peers.links().remove(0);
    // Said by this process or by the system, whoever notices first.
    let trouble = link.trouble.unwrap();
    assert!(trouble.contains("has taken no byte") || trouble.contains("timed out"), "{trouble}");
    assert_eq!((link.connected, link.queued), (false, 0));
    assert!(link.dropped > 0);
    // It has come back: what waited for the old connection is not sent again.
    let addrs = [(1, String::new()), (2, String::new()), (3, String::new())].into();
    let mut slow = taken(&listener, &addrs).await;
    leader.until(|links| links[0].connected).await;
    leader.peers.send(heartbeat(1, 2, 1));
    assert_eq!(read(&mut slow, |messages| !messages.is_empty()).await, [heartbeat(1, 2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_is_connected_again() {
    let (addrs, mut listeners) = ports(2).await;
    let here = Replica::start(place(1, &addrs, None), listeners.remove(&1).unwrap());
    let mut listener = listeners.remove(&2).unwrap();
    for round in 0..3 {
        let there = Replica::start(place(2, &addrs, None), listener);
        here.until(|links| links[0].connected && links[0].heard.is_some()).await;
        there.until(|links| links[0].connected && links[0].heard.is_some()).await;
        here.peers.send(heartbeat(1, 2, round));
        there.peers.send(heartbeat(2, 1, round));
        assert_eq!(there.hear(1), [heartbeat(1, 2, round)]);
        assert_eq!(here.hear(1), [heartbeat(2, 1, round)]);
        drop(there);
        here.until(|links| !links[0].connected && links[0].heard.is_none() && links[0].trouble.is_some())
            .await;
        // Nobody can hear it, and it is of no use later.
        let dropped = here.peers.links()[0].dropped;
        here.peers.send(heartbeat(1, 2, 99));
        let link = here.peers.links().remove(0);
        assert_eq!((link.queued, link.dropped), (0, dropped + 1));
        listener = again(&addrs[&2]).await;
    }
}

/// Takes a port again as soon as it is free.
async fn again(addr: &str) -> TcpListener {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
