//! Brokers that are the replicas of one group, with a network in memory that a test can cut. Every message goes through the
//! codec.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "test support")]

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use steadfast_broker::{Membership, Options};
use steadfast_consensus::{Body, Message, ReplicaId, decode, encode};
use steadfast_wire::code::response;
use steadfast_wire::header::Header;

use crate::node::{Answer, MemDisk, Node, options, pull_header, send_header};

const GROUP: u64 = 42;
/// Milliseconds of a tick.
pub(crate) const TICK: u64 = 10;

pub(crate) struct Replicas {
    pub(crate) all: Vec<Node>,
    wire: VecDeque<Message>,
    /// Replicas that no other one reaches or hears.
    pub(crate) cut: BTreeSet<ReplicaId>,
    /// The one that all prefer to lead.
    preferred: Option<ReplicaId>,
    /// How often somebody was told to take leadership over; and whether that is lost on its way.
    pub(crate) hand_overs: usize,
    pub(crate) hand_overs_get_lost: bool,
    /// Starts after the first ones.
    starts: u64,
}

pub(crate) fn membership(id: ReplicaId, count: u64) -> Membership {
    Membership { tick: TICK, seed: 70 + id, ..Membership::of(id, (1..=count).collect()) }
}

fn open(id: ReplicaId, group: (u64, Option<ReplicaId>), disk: MemDisk, options: Options, wall: u64) -> Node {
    let (count, preferred) = group;
    Node::starting_as(disk, options, wall, &Membership { preferred, ..membership(id, count) })
}

impl Replicas {
    pub(crate) fn new(count: u64) -> Self {
        Self::preferring(count, None)
    }

    /// Replicas that all prefer the same one to lead.
    pub(crate) fn preferring(count: u64, preferred: Option<ReplicaId>) -> Self {
        let node = |id| open(id, (count, preferred), MemDisk::default(), options(), 1_000_000);
        let mut all: Vec<Node> = (1..=count).map(node).collect();
        all.iter_mut().for_each(Node::fill);
        let (wire, cut) = (VecDeque::new(), BTreeSet::new());
        Self { all, wire, cut, preferred, hand_overs: 0, hand_overs_get_lost: false, starts: 0 }
    }

    fn group(&self) -> (u64, Option<ReplicaId>) {
        (self.all.len() as u64, self.preferred)
    }

    pub(crate) fn node(&mut self, id: ReplicaId) -> &mut Node {
        &mut self.all[id as usize - 1]
    }

    /// The ids of all replicas but one.
    pub(crate) fn others(&self, id: ReplicaId) -> Vec<ReplicaId> {
        (1..=self.all.len() as u64).filter(|other| *other != id).collect()
    }

    /// Kills a replica's process and starts another one on the same disk.
    pub(crate) fn restart(&mut self, id: ReplicaId) {
        let disk = self.node(id).disk.clone();
        self.restart_on(id, disk);
    }

    /// As [`Replicas::restart`], on this disk; returns the node of before.
    pub(crate) fn restart_on(&mut self, id: ReplicaId, disk: MemDisk) -> Node {
        let (count, preferred) = self.group();
        self.starts += 1;
        let seed = 1_000 * self.starts + id;
        let node = self.node(id);
        let (options, wall) = (node.options.clone(), node.wall + node.ticks);
        let membership = Membership { seed, preferred, ..membership(id, count) };
        let new = Node::starting_as(disk, options, wall, &membership);
        let old = std::mem::replace(self.node(id), new);
        self.node(id).fill();
        old
    }

    /// Replaces the disk of a replica, and starts its process on the new one.
    pub(crate) fn replace_disk(&mut self, id: ReplicaId) {
        self.node(id).disk = MemDisk::default();
        self.restart(id);
    }

    /// Takes a new disk for a replica that has not said anything yet; its filler does not work.
    pub(crate) fn without_space(&mut self, id: ReplicaId) {
        *self.node(id) = open(id, self.group(), MemDisk::default(), options(), 1_000_000);
    }

    /// Delivers what they say to each other until they are silent.
    pub(crate) fn run(&mut self) {
        loop {
            for node in &mut self.all {
                self.wire.extend(node.outbox.drain(..));
            }
            let Some(message) = self.wire.pop_front() else { return };
            if self.cut.contains(&message.from) || self.cut.contains(&message.to) {
                continue;
            }
            if message.body == Body::TimeoutNow {
                self.hand_overs += 1;
                if self.hand_overs_get_lost {
                    continue;
                }
            }
            let bytes: Vec<u8> = encode(GROUP, &message).pieces().flatten().copied().collect();
            let message = decode(GROUP, Bytes::from(bytes)).unwrap();
            let to = message.to;
            self.node(to).input(steadfast_broker::io::Input::Message(message));
        }
    }

    /// Lets time pass for all.
    pub(crate) fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(TICK) {
            self.all.iter_mut().for_each(|node| node.pass(TICK));
            self.run();
        }
    }

    /// Who leads among those that reach each other.
    pub(crate) fn leader(&mut self) -> ReplicaId {
        for _ in 0..100 {
            let reachable = (1..=self.all.len() as u64).filter(|id| !self.cut.contains(id));
            let leaders: Vec<_> =
                reachable.filter(|id| self.all[*id as usize - 1].broker.is_leader()).collect();
            if let [leader] = leaders[..]
                && self.all[leader as usize - 1].measure().leading
            {
                return leader;
            }
            self.pass(5 * TICK);
        }
        panic!("nobody leads");
    }

    /// Sends a request to a replica; returns its id.
    pub(crate) fn request(&mut self, id: ReplicaId, header: Header<'_>, body: &str) -> i32 {
        let opaque = self.node(id).request(1, header, body.as_bytes().to_vec());
        self.run();
        opaque
    }

    /// Asks a replica, which must answer without that time passes.
    pub(crate) fn ask(&mut self, id: ReplicaId, header: Header<'_>, body: &str) -> Answer {
        let opaque = self.request(id, header, body);
        self.node(id).answer_to(opaque).unwrap_or_else(|| panic!("request {opaque} was not answered"))
    }

    pub(crate) fn send(&mut self, id: ReplicaId, topic: &str, queue: i32, body: &str) -> Answer {
        self.ask(id, send_header(topic, queue, &format!("KEYS\u{1}{body}\u{2}")), body)
    }

    pub(crate) fn pull(&mut self, id: ReplicaId, topic: &str, queue: i32, offset: i64) -> Answer {
        self.ask(id, pull_header(topic, queue, offset, 0), "")
    }

    /// All messages of a queue.
    pub(crate) fn read(&mut self, id: ReplicaId, topic: &str, queue: i32) -> Vec<String> {
        let (mut bodies, mut next) = (Vec::new(), 0);
        loop {
            let pulled = self.pull(id, topic, queue, next);
            next = pulled.number("nextBeginOffset");
            match pulled.code {
                response::SUCCESS => bodies.extend(pulled.bodies()),
                response::PULL_NOT_FOUND => return bodies,
                code => panic!("code {code}: {}", pulled.remark),
            }
        }
    }

    /// Whether all have applied the same and are in the same state.
    pub(crate) fn agree(&mut self) -> bool {
        let states: Vec<_> = self.all.iter().map(|node| node.broker.encoded_state()).collect();
        states.windows(2).all(|pair| pair[0] == pair[1])
    }
}
