//! The layout that `peers` asks for: each of a few processes is a name server and a replica of every broker group. The groups
//! lead apart, so that a client whose broker has gone has another one at once.
//!
//! All names, ids and ports follow from the list, which is the same everywhere, and from which of it a process is. So nothing
//! else has to agree.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};

use steadfast_consensus::ReplicaId;

use super::host::Host;
use super::replicas::{Replicas, SelfId, is_local, split};
use super::table::Config;
use super::value::{NameServers, Role, Value};

/// Port of a name server, which stands for all ports of its process: another one moves all of them by the same distance.
const NAMESRV: u16 = 9876;
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Port of the first group for clients. The one for replication is the next one, as with RocketMQ's HA.
const CLIENTS: u16 = 10911;
/// From the ports of one group to those of the next one.
const STRIDE: u16 = 10;
/// Groups at most: their ports must stay clear of each other's and their names have one letter.
pub(super) const GROUPS_MAX: u64 = 8;

/// What the layout decides, and nobody else beside it.
const DECIDED: [&str; 12] = [
    "role",
    "listenPort",
    "fastListenPort",
    "namesrvPort",
    "namesrvAddr",
    "brokerName",
    "brokerId",
    "enableDLegerCommitLog",
    "dLegerGroup",
    "dLegerPeers",
    "dLegerSelfId",
    "preferredLeaderId",
];

/// A process of the layout: its host, and the port of its name server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    host: Host,
    port: u16,
}

/// All processes of the layout; none if there is no layout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers(Vec<Peer>);

impl Peer {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match Host::parse(text) {
            Some(host) => (host, NAMESRV),
            None => split(text).and_then(|(host, port)| Some((Host::parse(host)?, port)))?,
        };
        Some(Peer { host, port })
    }

    /// An address of it: its host and one of its ports.
    fn at(&self, port: u16) -> String {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
            host => format!("{host}:{port}"),
        }
    }

    /// One of its ports: where the usual one is moved to.
    fn port(&self, usual: u16) -> Option<u16> {
        let moved = i32::from(usual) + i32::from(self.port) - i32::from(NAMESRV);
        u16::try_from(moved).ok().filter(|port| *port > 0)
    }

    /// Whether this process can be it: the host is this machine.
    fn is_here(&self) -> bool {
        let is_own = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
        match &self.host {
            Host::Ip(ip) => is_own(*ip),
            Host::Name(name) => {
                let found = (name.as_str(), 0).to_socket_addrs();
                found.is_ok_and(|mut addrs| addrs.any(|addr| is_own(addr.ip())))
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at(self.port))
    }
}

impl Peers {
    /// Whether there is a layout.
    pub(crate) fn is_some(&self) -> bool {
        !self.0.is_empty()
    }

    /// All name servers, as clients are given them.
    pub(crate) fn namesrvs(&self) -> String {
        self.0.iter().map(Peer::to_string).collect::<Vec<_>>().join(";")
    }

    /// Which of them this process is: the one that `named` says, or else the one whose host is this machine.
    fn own(&self, named: &str) -> Result<usize, String> {
        if named.is_empty() {
            let here: Vec<_> = (0..self.0.len()).filter(|i| self.0[*i].is_here()).collect();
            return match here[..] {
                [own] => Ok(own),
                [] => Err(format!(
                    "none of peers ({self}) is this machine by its own addresses; say which one it is: --self HOST"
                )),
                [..] => Err("more than one of peers is this machine; say which one it is: --self HOST:PORT"
                    .to_owned()),
            };
        }
        let is_named = |peer: &Peer| peer.host.to_string() == named || peer.to_string() == named;
        let named_so: Vec<_> = (0..self.0.len()).filter(|i| is_named(&self.0[*i])).collect();
        match named_so[..] {
            [own] => Ok(own),
            [] => Err(format!("peersSelf must be one of peers ({self}), not {named:?}")),
            [..] => Err(format!(
                "more than one of peers ({self}) is on {named:?}; say which one: --self HOST:PORT"
            )),
        }
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Value for Peers {
    const KIND: &'static str =
        "HOST,HOST,HOST, or five of them, each with :PORT if it is not 9876; or nothing";

    fn parse(text: &str) -> Result<Self, String> {
        let mut all: Vec<Peer> = Vec::new();
        for written in text.split([',', ';']).map(str::trim).filter(|written| !written.is_empty()) {
            let peer = Peer::parse(written).ok_or_else(|| Self::refuse(written))?;
            if all.contains(&peer) {
                return Err(format!("has {peer} twice: each process has a host or a port of its own"));
            }
            all.push(peer);
        }
        match all.len() {
            0 | 3 | 5 => Ok(Peers(all)),
            1 => Err("has 1 process: a layout has 3 or 5; a single server needs no peers".to_owned()),
            count => Err(format!(
                "has {count} processes: a layout has 3 or 5, of which 1 or 2 may be down; an even number bears no more than one \
                 less"
            )),
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(Peer::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Config {
    /// Settles what follows from `peers` for the whole process, if there are any. `written` are the keys that somebody wrote
    /// down.
    ///
    /// # Errors
    /// What does not go with the layout.
    pub(super) fn lay_out(&mut self, written: &BTreeSet<String>) -> Result<(), String> {
        if !self.peers.is_some() {
            let named = !self.peers_self.is_empty();
            return if named { Err("peersSelf needs peers, of which it is one".to_owned()) } else { Ok(()) };
        }
        let both: Vec<_> = DECIDED.into_iter().filter(|key| written.contains(*key)).collect();
        if !both.is_empty() {
            return Err(format!(
                "peers lays out names, roles and ports, and these with them: {}; leave out either",
                both.join(", ")
            ));
        }
        let own = self.peers.own(&self.peers_self)?;
        self.check_distances()?;
        let peer = self.peers.0[own].clone();
        let port = |usual| peer.port(usual).ok_or_else(|| too_far(&peer));
        self.namesrv_port = peer.port;
        if !written.contains("metricsPromExporterPort") {
            self.metrics_port = port(self.metrics_port)?;
        }
        port(CLIENTS - 2)?;
        let others = self.peers.0.iter().enumerate().filter(|(i, _)| *i != own);
        self.namesrv_addr = NameServers(others.map(|(_, peer)| peer.to_string()).collect());
        // Who tries it out on one machine does not open it to others.
        if is_local(&peer.host.to_string()) && !written.contains("bindAddress") {
            self.bind_address = peer.host.ip().unwrap_or(LOCALHOST);
        }
        // A machine may know its own name as an address of loopback, which would be of no use to clients.
        self.broker_ip = self.broker_ip.take().or(peer.host.ip().map(Host::Ip));
        self.replicated = true;
        self.self_id = SelfId(Some(id(own)));
        for group in 0..self.broker_groups {
            self.replicas = self.group(group)?;
        }
        Ok(())
    }

    /// Refuses two processes on one machine that would take each other's ports.
    fn check_distances(&self) -> Result<(), String> {
        let of_group = |group| [CLIENTS - 2, CLIENTS, CLIENTS + 1].map(|port| port + STRIDE * group as u16);
        let usual: BTreeSet<u16> =
            (0..self.broker_groups).flat_map(of_group).chain([NAMESRV, self.metrics_port]).collect();
        let all = &self.peers.0;
        let pairs =
            all.iter().enumerate().flat_map(|(i, one)| all[i + 1..].iter().map(move |other| (one, other)));
        for (one, other) in pairs.filter(|(one, other)| one.host == other.host) {
            let distance = one.port.abs_diff(other.port);
            if usual.iter().any(|port| usual.contains(&port.saturating_add(distance))) {
                return Err(format!(
                    "{one} and {other} of peers are on one machine and would take each other's ports, which follow from these: \
                     choose ports further apart, such as 100"
                ));
            }
        }
        Ok(())
    }

    /// The replicas of a group.
    fn group(&self, group: u32) -> Result<Replicas, String> {
        let port = CLIENTS + 1 + STRIDE * group as u16;
        let addr = |peer: &Peer| peer.port(port).map(|port| peer.at(port)).ok_or_else(|| too_far(peer));
        let all = self.peers.0.iter().enumerate();
        let all = all.map(|(i, peer)| Ok((id(i), addr(peer)?))).collect::<Result<_, String>>()?;
        Ok(Replicas(all))
    }

    /// The settings of each broker of this process: these, or what they come to for each group of the layout.
    pub(crate) fn brokers(&self) -> Vec<Config> {
        if !self.peers.is_some() {
            return vec![self.clone()];
        }
        (0..self.broker_groups).map(|group| self.broker_of(group)).collect()
    }

    fn broker_of(&self, group: u32) -> Config {
        let own = self.self_id.0.map_or(0, |id| id as usize - 1);
        let name = format!("broker-{}", char::from(b'a' + group as u8));
        let port = CLIENTS + STRIDE * group as u16;
        let leader = group as usize % self.peers.0.len();
        Config {
            role: Role::All,
            data: self.data.join(&name),
            broker_name: name,
            // It was laid out before, so that every port is one.
            listen_port: self.peers.0[own].port(port).unwrap_or(port),
            replicas: self.group(group).unwrap_or_default(),
            preferred_leader: SelfId(Some(id(leader))),
            ..self.clone()
        }
    }
}

fn id(index: usize) -> ReplicaId {
    index as ReplicaId + 1
}

fn too_far(peer: &Peer) -> String {
    format!(
        "the ports of {peer} would be none: the port of a peer is its name server's, and moves all others by its distance from \
         {NAMESRV}"
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Loaded, Sources};

    fn load(arguments: &[&str]) -> Result<Config, String> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let sources = Sources { arguments, ..Sources::default() };
        Config::load(&sources).map(|Loaded { config, .. }| config).map_err(|error| error.to_string())
    }

    const THREE: &str = "peers=127.0.0.1:9876,127.0.0.1:9976,127.0.0.1:10076";

    #[test]
    fn two_groups_lead_apart() {
        for (own, ports, metrics) in [("9876", [10911, 10921], 5557), ("10076", [11111, 11121], 5757)] {
            let config = load(&[THREE, &format!("peersSelf=127.0.0.1:{own}")]).unwrap();
            assert_eq!((config.namesrv_port.to_string(), config.metrics_port), (own.to_owned(), metrics));
            assert_eq!(config.bind_address, IpAddr::from([127, 0, 0, 1]));
            let brokers = config.brokers();
            let names: Vec<_> = brokers.iter().map(|broker| broker.broker_name.as_str()).collect();
            assert_eq!(names, ["broker-a", "broker-b"]);
            assert_eq!(brokers.iter().map(|broker| broker.listen_port).collect::<Vec<_>>(), ports);
            let leaders: Vec<_> = brokers.iter().map(|broker| broker.preferred_leader.0).collect();
            assert_eq!(leaders, [Some(1), Some(2)]);
            assert_eq!(
                brokers[0].replicas.text(),
                "n0-127.0.0.1:10912;n1-127.0.0.1:11012;n2-127.0.0.1:11112"
            );
            assert_eq!(
                brokers[1].replicas.text(),
                "n0-127.0.0.1:10922;n1-127.0.0.1:11022;n2-127.0.0.1:11122"
            );
            assert_eq!(brokers[1].data, PathBuf::from("data/broker-b"));
            assert_eq!(config.namesrv_addr.0.len(), 2);
            assert!(!config.namesrv_addr.0.contains(&format!("127.0.0.1:{own}")));
        }
    }

    #[test]
    fn a_process_finds_itself_by_its_address() {
        let far = ["peers=198.51.100.1,127.0.0.1,198.51.100.2", "replicationUnprotected=true"];
        let config = load(&far).unwrap();
        assert_eq!(
            (config.self_id.0, config.namesrv_addr.text()),
            (Some(2), "198.51.100.1:9876;198.51.100.2:9876".into())
        );
        let config = load(&["peers=b-1,b-2,b-3", "peersSelf=b-3", "replicationUnprotected=true"]).unwrap();
        assert_eq!((config.self_id.0, config.broker_ip), (Some(3), None));
    }

    #[test]
    fn a_layout_that_cannot_be_is_refused_with_what_to_do() {
        for (arguments, part) in [
            (vec!["peers=a,b"], "2 processes: a layout has 3 or 5"),
            (vec!["peers=a,b,c,d"], "4 processes"),
            (vec!["peers=a"], "1 process: a layout has 3 or 5; a single server needs no peers"),
            (vec!["peers=a,b,a:9876"], "a:9876 twice"),
            (vec!["peers=a,b,c:x"], "not \"c:x\""),
            (
                vec!["peers=a,b,c", "peersSelf=d"],
                "peersSelf must be one of peers (a:9876,b:9876,c:9876), not \"d\"",
            ),
            (vec![THREE], "more than one of peers is this machine; say which one it is: --self"),
            (vec![THREE, "peersSelf=127.0.0.1"], "say which one: --self HOST:PORT"),
            (vec!["peers=198.51.100.1,198.51.100.2,198.51.100.3"], "say which one it is: --self HOST"),
            (vec!["peers=a,b,c", "peersSelf=a"], "need replicationSecretFile"),
            (vec![THREE, "listenPort=1", "brokerName=x"], "listenPort, brokerName; leave out either"),
            (vec!["peers=a,b:65000,c", "peersSelf=a"], "the ports of b:65000 would be none"),
            (vec!["peersSelf=a"], "peersSelf needs peers"),
            (vec![THREE, "brokerGroups=9"], "brokerGroups must be 1 to 8"),
        ] {
            let error = load(&arguments).unwrap_err();
            assert!(error.contains(part), "{part} not in:\n{error}");
        }
    }

    #[test]
    fn processes_of_one_machine_keep_their_ports_apart() {
        for (second, third) in [(9877, 9976), (9886, 9976), (9976, 9977), (10911, 12000)] {
            let peers = format!("peers=127.0.0.1:9876,127.0.0.1:{second},127.0.0.1:{third}");
            let error = load(&[&peers, "peersSelf=127.0.0.1:9876"]).unwrap_err();
            assert!(error.contains("would take each other's ports"), "{peers}: {error}");
        }
        assert!(
            load(&["peers=127.0.0.1:9876,127.0.0.1:9896,127.0.0.1:9976", "peersSelf=127.0.0.1:9876"]).is_ok()
        );
    }
}
