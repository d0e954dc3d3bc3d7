//! What the server says when it serves: short, for a person who just started it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use steadfast_broker::Membership;
use steadfast_broker::recovery::Report;

use crate::config::{Config, FlushDiskType};
use crate::disk::Durable;
use crate::group::ReplicaFacts;
use crate::settings;

/// Facts about a broker that is about to serve.
pub(crate) struct BrokerFacts {
    pub(crate) listening: SocketAddr,
    pub(crate) fast: Option<SocketAddr>,
    pub(crate) advertised: SocketAddr,
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) durable: Durable,
    pub(crate) report: Report,
    /// Settings that were changed at run time.
    pub(crate) changed: Vec<String>,
    /// Which replica it is, of a group of several.
    pub(crate) replica: Option<ReplicaFacts>,
}

/// The lines said at start.
pub(crate) struct Banner<'a> {
    config: &'a Config,
    lines: Vec<(&'static str, String)>,
    /// Where a client on this machine reaches a name server.
    namesrv: Option<String>,
    has_broker: bool,
}

impl<'a> Banner<'a> {
    pub(crate) fn new(config: &'a Config) -> Self {
        Banner {
            config,
            lines: Vec::new(),
            namesrv: config.namesrv_addr.0.first().cloned(),
            has_broker: false,
        }
    }

    pub(crate) fn namesrv(&mut self, listening: SocketAddr) {
        self.lines.push(("name server", listening.to_string()));
        self.namesrv = Some(reachable(listening).to_string());
    }

    pub(crate) fn pages(&mut self, listening: SocketAddr) {
        let url = format!("http://{}/metrics", reachable(listening));
        self.lines.push(("metrics", format!("{url}, and /healthz and /readyz there")));
    }

    pub(crate) fn broker(&mut self, facts: &BrokerFacts) {
        let BrokerFacts { listening, fast, advertised, name, data, durable, report, changed, replica } =
            facts;
        self.has_broker = true;
        let cluster = &self.config.cluster;
        let mut broker = format!("{name} in {cluster} on {listening}; clients are told {advertised}");
        if advertised.ip().is_loopback() {
            broker.push_str(" (this machine only; brokerIP1 sets another address)");
        }
        self.lines.push(("broker", broker));
        if let Some(fast) = fast {
            self.lines
                .push(("fast port", format!("{fast}, for clients with a VIP channel: everything but pulls")));
        }
        self.lines.push(("data", format!("{} ({report})", data.display())));
        if !changed.is_empty() {
            let file = data.join(settings::FILE);
            self.lines.push((
                "changed",
                format!("{} (at run time, kept in {})", changed.join(", "), file.display()),
            ));
        }
        if let Some(ReplicaFacts { me, group, all, .. }) = replica {
            self.lines.push(("replica", format!("{me} of {group}: {all}")));
        }
        let (flush, unprotected) = self.protection(durable, replica.as_ref().map(|replica| replica.count));
        // Brokers of one process have this in common.
        self.lines.retain(|(name, _)| !matches!(*name, "durability" | "unprotected"));
        self.lines.push(("durability", flush));
        self.lines.push(("unprotected", unprotected));
    }

    /// What an acknowledgement means, and what it does not.
    fn protection(&self, durable: &Durable, replicas: Option<usize>) -> (String, String) {
        let (stable, handed) = ("on stable storage", "handed to the operating system");
        match (self.config.flush, replicas) {
            (FlushDiskType::SyncFlush, None) => (
                format!("SYNC_FLUSH: acknowledged means {stable}; {durable}"),
                "a dead disk loses everything: there is one copy (docs/replication.md tells how to have three)"
                    .to_owned(),
            ),
            (FlushDiskType::AsyncFlush, None) => (
                format!("ASYNC_FLUSH: acknowledged means {handed}"),
                "a power cut loses the last half second, a dead disk everything: there is one copy (docs/replication.md \
                 tells how to have three)"
                    .to_owned(),
            ),
            (FlushDiskType::SyncFlush, Some(count)) => {
                let quorum = Membership::quorum(count);
                (
                    format!("SYNC_FLUSH: acknowledged after {quorum} of {count} replicas have it {stable}; {durable}"),
                    format!(
                        "{quorum} disks that die at once lose what only they had; old messages are not removed in a group \
                         of several yet"
                    ),
                )
            }
            (FlushDiskType::AsyncFlush, Some(count)) => {
                let quorum = Membership::quorum(count);
                (
                    format!("ASYNC_FLUSH: acknowledged after {quorum} of {count} replicas have it {handed}"),
                    "a power cut of one machine can lose acknowledged messages if others are down or follow soon; old \
                     messages are not removed in a group of several yet"
                        .to_owned(),
                )
            }
        }
    }

    /// What each replica is to its group now, in the order of the brokers.
    pub(crate) fn roles(&mut self, roles: impl IntoIterator<Item = String>) {
        let mut roles = roles.into_iter();
        let mut lines = Vec::with_capacity(self.lines.len());
        for line in self.lines.drain(..) {
            let is_replica = line.0 == "replica";
            lines.push(line);
            if is_replica {
                lines.extend(roles.next().map(|role| ("role", role)));
            }
        }
        self.lines = lines;
    }

    /// Says it. Nobody listening is no reason to fail.
    pub(crate) fn print(&self) {
        let mut text = format!("Steadfast {} is serving\n", env!("CARGO_PKG_VERSION"));
        for (name, line) in &self.lines {
            let _ = writeln!(text, "  {name:<12} {line}");
        }
        if let (true, Some(namesrv)) = (self.has_broker, &self.namesrv) {
            let peers = &self.config.peers;
            let all = if peers.is_some() { &peers.namesrvs() } else { namesrv };
            for (name, line) in [
                ("send", format!("any RocketMQ client with name server {all}")),
                ("look up", format!("mqadmin queryMsgByKey -n {namesrv} -t TOPIC -k KEY")),
                ("measure", format!("steadfast bench --namesrv {namesrv}")),
            ] {
                let _ = writeln!(text, "  {name:<12} {line}");
            }
        }
        text.push('\n');
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// An address to try from this machine.
fn reachable(listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listening.port())
    } else {
        listening
    }
}
