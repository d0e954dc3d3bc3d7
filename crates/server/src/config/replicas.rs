//! The settings of a group's replicas, as RocketMQ's DLedger writes them. Replica `nK` is number K + 1, and a broker that
//! follows is known to name servers under that id, as in RocketMQ.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use steadfast_broker::Membership;
use steadfast_consensus::ReplicaId;

use super::value::Value;

/// All replicas of a group: `host:port` for replication of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas(pub BTreeMap<ReplicaId, String>);

/// Which of them this one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SelfId(pub Option<ReplicaId>);

fn parse_name(text: &str) -> Option<ReplicaId> {
    let number: u32 = text.strip_prefix('n')?.parse().ok()?;
    Some(ReplicaId::from(number) + 1)
}

/// Host, without the brackets of an IPv6 address, and port.
pub(super) fn split(addr: &str) -> Option<(&str, u16)> {
    let (host, port) = addr.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then_some((host, port))
}

/// Whether nobody on another machine reaches a host.
pub(super) fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl Replicas {
    /// Whether all of them are on this machine and reached from nowhere else.
    pub(super) fn are_local(&self) -> bool {
        self.0.values().all(|addr| split(addr).is_some_and(|(host, _)| is_local(host)))
    }

    /// The port of a replica.
    pub(super) fn port(&self, id: ReplicaId) -> Option<u16> {
        Some(split(self.0.get(&id)?)?.1)
    }

    /// The address of this machine where a replica listens if it is not to be reached from others.
    pub(crate) fn local_ip(&self, id: ReplicaId) -> Option<IpAddr> {
        let (host, _) = split(self.0.get(&id)?)?;
        let ip = host.parse().unwrap_or(IpAddr::from([127, 0, 0, 1]));
        is_local(host).then_some(ip)
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Value for Replicas {
    const KIND: &'static str = "n0-HOST:PORT;n1-HOST:PORT;n2-HOST:PORT, or five of them, or nothing";

    fn parse(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for written in text.split(';').map(str::trim).filter(|written| !written.is_empty()) {
            let parts = written.split_once('-').and_then(|(name, addr)| Some((parse_name(name)?, addr)));
            let (id, addr) =
                parts.filter(|(_, addr)| split(addr).is_some()).ok_or_else(|| Self::refuse(written))?;
            if all.values().any(|known| known == addr) {
                return Err(format!("has the address {addr} twice: each replica has its own"));
            }
            if all.insert(id, addr.to_owned()).is_some() {
                return Err(format!("has {} twice: each replica has an id of its own", Membership::name(id)));
            }
        }
        match all.len() {
            0 | 3 | 5 => Ok(Replicas(all)),
            1 => Err("has 1 replica: a group has 3 or 5; a single server needs no dLegerPeers".to_owned()),
            count => Err(format!(
                "has {count} replicas: a group has 3 or 5, of which 1 or 2 may be down; an even number bears no more than one less"
            )),
        }
    }

    fn text(&self) -> String {
        let written = self.0.iter().map(|(id, addr)| format!("{}-{addr}", Membership::name(*id)));
        written.collect::<Vec<_>>().join(";")
    }
}

impl Value for SelfId {
    const KIND: &'static str = "an id such as n0, or nothing";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(SelfId(None));
        }
        parse_name(text).map(|id| SelfId(Some(id))).ok_or_else(|| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.0.map(Membership::name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_reached_from_elsewhere() {
        let local = |addrs: [&str; 3]| {
            let text = addrs.iter().enumerate().map(|(i, addr)| format!("n{i}-{addr}")).collect::<Vec<_>>();
            Replicas::parse(&text.join(";")).unwrap().are_local()
        };
        assert!(local(["127.0.0.1:1", "[::1]:2", "localhost:3"]));
        assert!(!local(["127.0.0.1:1", "127.0.0.1:2", "10.0.0.1:3"]));
        assert!(!local(["127.0.0.1:1", "127.0.0.1:2", "my-host:3"]));
    }

    #[test]
    fn a_replica_on_loopback_listens_there() {
        let replicas = Replicas::parse("n0-localhost:1;n1-[::1]:2;n2-10.0.0.1:3").unwrap();
        let ips: Vec<_> = (1..=3).map(|id| replicas.local_ip(id).map(|ip| ip.to_string())).collect();
        assert_eq!(ips, [Some("127.0.0.1".to_owned()), Some("::1".to_owned()), None]);
        assert_eq!(Replicas::parse(&replicas.text()), Ok(replicas));
    }
}
