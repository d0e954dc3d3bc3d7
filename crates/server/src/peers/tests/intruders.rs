//! Those who do not belong on the port: each is refused with its reason, nothing that it says is delivered, and the
//! good replica next to it notices nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::{any, prop};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use steadfast_consensus::{MESSAGE_MAX, Message, ReplicaId, encode};
use steadfast_types::Term;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::group::{GROUP, PATIENCE, Replica, append, bounds, heartbeat, payload, place, ports};
use crate::peers::handshake::{self, Failed, PART_LEN};
use crate::peers::refusal::Cause;
use crate::peers::{Bounds, Place};

const SECRET: Option<&str> = Some("sixteen bytes or more");

/// A replica of three with a good one that is connected to it; the third one is who the intruder says to be.
struct Scene {
    target: Replica,
    good: Replica,
    addrs: BTreeMap<ReplicaId, String>,
    beats: u64,
}

impl Scene {
    async fn new(secret: Option<&str>, bounds: Bounds) -> Self {
        let (addrs, mut listeners) = ports(3).await;
        let mut start =
            |id| Replica::within(bounds, place(id, &addrs, secret), listeners.remove(&id).unwrap());
        let (target, good) = (start(1), start(2));
        good.until(|links| links[0].connected).await;
        Scene { target, good, addrs, beats: 0 }
    }

    /// Who the third one would be.
    fn intruder(&self, secret: Option<&str>) -> Place {
        place(3, &self.addrs, secret)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.addrs[&1]).await.unwrap()
    }

    async fn dial(&self, place: &Place, to: ReplicaId) -> (TcpStream, Result<(), Failed>) {
        let mut stream = self.connect().await;
        let dialed = timeout(PATIENCE, handshake::dial(&mut stream, place, to)).await.unwrap();
        (stream, dialed)
    }

    /// The good replica is heard on the connection that it had all the time, and nobody else.
    fn is_undisturbed(&mut self) {
        self.beats += 1;
        let beat = heartbeat(2, 1, self.beats);
        self.good.peers.send(beat.clone());
        assert_eq!(self.target.hear(1), [beat]);
        assert!(self.target.heard_nothing());
        assert_eq!(self.good.peers.links()[0].dropped, 0);
    }
}

fn bytes_of(message: &Message) -> Vec<u8> {
    encode(GROUP, message).pieces().flatten().copied().collect()
}

/// What the target says before it closes the connection.
async fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut words = Vec::new();
    // It may be gone before all that came was read.
    let _ =
        timeout(PATIENCE, stream.read_to_end(&mut words)).await.expect("the target closes the connection");
    words
}

async fn is_refused(stream: &mut TcpStream, cause: Cause) {
    let failed = timeout(PATIENCE, handshake::until_refused(stream)).await.unwrap();
    assert!(matches!(failed, Failed::Refused(told) if told == cause), "{failed:?} instead of {cause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_group_id_or_secret_is_refused_and_told_why() {
    for secret in [None, SECRET] {
        let mut scene = Scene::new(secret, bounds()).await;
        let me = || scene.intruder(secret);
        let none = if secret.is_some() { Cause::NoSecret } else { Cause::NeedsNoSecret };
        let other = if secret.is_some() { Cause::OtherSecret } else { Cause::NeedsNoSecret };
        let unset = if secret.is_some() { None } else { SECRET };
        let cases = [
            (Place { group: GROUP + 1, ..me() }, 1, Cause::Group),
            (me(), 2, Cause::WrongReplica),
            (Place { me: 9, ..me() }, 1, Cause::NoMember),
            (Place { me: 1, ..me() }, 1, Cause::NoMember),
            (scene.intruder(unset), 1, none),
            (scene.intruder(Some("sixteen bytes or mOre")), 1, other),
        ];
        for (place, to, cause) in cases {
            let (mut stream, dialed) = scene.dial(&place, to).await;
            let failed = dialed.unwrap_err();
            assert!(
                matches!(failed, Failed::Refused(told) if told == cause),
                "{failed:?} instead of {cause:?}"
            );
            // What it says all the same is not heard.
            let _ = stream.write_all(&bytes_of(&heartbeat(3, 1, 1))).await;
            last_words(&mut stream).await;
            scene.is_undisturbed();
        }
        // The same without a fault is let in.
        let (mut stream, dialed) = scene.dial(&scene.intruder(secret), 1).await;
        dialed.unwrap();
        stream.write_all(&bytes_of(&heartbeat(3, 1, 1))).await.unwrap();
        assert_eq!(scene.target.hear(1), [heartbeat(3, 1, 1)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_something_else_are_refused() {
    let mut scene = Scene::new(SECRET, bounds()).await;
    let (message, mut runner) = (bytes_of(&heartbeat(3, 1, 1)), TestRunner::deterministic());
    let random = prop::collection::vec(any::<u8>(), 12..300);
    let mut said: Vec<Vec<u8>> = (0..50).map(|_| random.new_tree(&mut runner).unwrap().current()).collect();
    said.push(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    said.push(vec![0; 1 << 20]);
    said.push(message);
    for bytes in said {
        let mut stream = scene.connect().await;
        // A long one may be cut off on its way.
        let _ = stream.write_all(&bytes).await;
        let words = last_words(&mut stream).await;
        assert!(
            words.is_empty() || words.len() == PART_LEN && words[11] == Cause::NotAReplica as u8,
            "{words:?}"
        );
        scene.is_undisturbed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_version_is_told_so() {
    let mut scene = Scene::new(SECRET, bounds()).await;
    let mut hello = recorded(&scene).await[..PART_LEN].to_vec();
    hello[9] += 1;
    let mut stream = scene.connect().await;
    stream.write_all(&hello).await.unwrap();
    is_refused(&mut stream, Cause::Version).await;
    scene.is_undisturbed();
}

/// What the third replica says to the target when it connects and sends a message.
async fn recorded(scene: &Scene) -> Vec<u8> {
    let (mut near, far) = tokio::io::duplex(4096);
    let (mut target_reads, mut target_writes) = scene.connect().await.into_split();
    let (mut reads, mut writes) = tokio::io::split(far);
    let back = tokio::spawn(async move { tokio::io::copy(&mut target_reads, &mut writes).await });
    let tape = tokio::spawn(async move {
        let (mut tape, mut chunk) = (Vec::new(), [0; 1024]);
        loop {
            let read = reads.read(&mut chunk).await.unwrap();
            if read == 0 {
                return tape;
            }
            tape.extend_from_slice(&chunk[..read]);
            target_writes.write_all(&chunk[..read]).await.unwrap();
        }
    });
    handshake::dial(&mut near, &scene.intruder(SECRET), 1).await.unwrap();
    near.write_all(&bytes_of(&heartbeat(3, 1, 77))).await.unwrap();
    assert_eq!(scene.target.hear(1), [heartbeat(3, 1, 77)]);
    drop(near);
    back.abort();
    tape.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_handshake_opens_nothing_again() {
    let mut scene = Scene::new(SECRET, bounds()).await;
    let tape = recorded(&scene).await;
    assert_eq!(tape.len(), 2 * PART_LEN + bytes_of(&heartbeat(3, 1, 77)).len());
    let mut stream = scene.connect().await;
    stream.write_all(&tape).await.unwrap();
    stream.read_exact(&mut [0; PART_LEN]).await.unwrap();
    is_refused(&mut stream, Cause::OtherSecret).await;
    scene.is_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_finished_is_not_waited_for() {
    let short = Bounds { handshake: Duration::from_millis(100), ..bounds() };
    let mut scene = Scene::new(SECRET, short).await;
    let tape = recorded(&scene).await;
    for len in [0, 1, 11, 12, 71, 72, 100, 143] {
        for is_closed in [true, false] {
            let mut stream = scene.connect().await;
            stream.write_all(&tape[..len]).await.unwrap();
            if is_closed {
                stream.shutdown().await.unwrap();
            }
            let words = last_words(&mut stream).await;
            if !is_closed {
                assert_eq!(words[words.len() - PART_LEN + 11], Cause::Late as u8);
            }
        }
        scene.is_undisturbed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let few = Bounds { strangers: 4, handshake: PATIENCE, ..bounds() };
    let mut scene = Scene::new(SECRET, few).await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(scene.connect().await);
    }
    let (_stream, dialed) = scene.dial(&scene.intruder(SECRET), 1).await;
    dialed.unwrap();
    // The first of them were closed long before their time was over.
    for stream in &mut crowd[..36] {
        assert!(last_words(stream).await.is_empty());
    }
    scene.is_undisturbed();
}

/// Even a replica that has proven who it is may be broken.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_replica_sends_closes_the_connection() {
    let mut scene = Scene::new(SECRET, bounds()).await;
    let good = heartbeat(3, 1, 5);
    let mut damaged = bytes_of(&append(3, 1, 5, &[payload(100_000, 1)]));
    damaged[70_000] ^= 1;
    let giant = |len: u32| {
        let mut bytes = bytes_of(&good);
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        bytes
    };
    let other_group: Vec<u8> = encode(GROUP + 1, &good).pieces().flatten().copied().collect();
    let cases = [
        (damaged, Cause::Damaged),
        (giant(u32::MAX), Cause::Malformed),
        (giant(MESSAGE_MAX as u32 + 1), Cause::Malformed),
        (giant(5), Cause::Malformed),
        (bytes_of(&heartbeat(2, 1, 5)), Cause::Malformed),
        (bytes_of(&heartbeat(3, 2, 5)), Cause::Malformed),
        (bytes_of(&Message { term: Term::ZERO, ..good.clone() }), Cause::Malformed),
        (other_group, Cause::Group),
        (vec![b'x'; 12], Cause::Malformed),
    ];
    for (bytes, cause) in cases {
        let (mut stream, dialed) = scene.dial(&scene.intruder(SECRET), 1).await;
        dialed.unwrap();
        stream.write_all(&bytes_of(&good)).await.unwrap();
        assert_eq!(scene.target.hear(1), std::slice::from_ref(&good));
        stream.write_all(&bytes).await.unwrap();
        is_refused(&mut stream, cause).await;
        scene.is_undisturbed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_replica_takes_the_place_of_the_old_one() {
    let mut scene = Scene::new(SECRET, bounds()).await;
    let (mut old, dialed) = scene.dial(&scene.intruder(SECRET), 1).await;
    dialed.unwrap();
    for round in 0..20 {
        let (mut new, dialed) = scene.dial(&scene.intruder(SECRET), 1).await;
        dialed.unwrap();
        is_refused(&mut old, Cause::Replaced).await;
        new.write_all(&bytes_of(&heartbeat(3, 1, round))).await.unwrap();
        assert_eq!(scene.target.hear(1), [heartbeat(3, 1, round)]);
        old = new;
    }
    scene.is_undisturbed();
}
