//! What the server says when it serves: short, for a person who just started it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use steadfast_broker::recovery::Report;

use crate::config::{Config, FlushDiskType};
use crate::disk::Durable;
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
        let BrokerFacts { listening, fast, advertised, name, data, durable, report, changed } = facts;
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
        let (flush, unprotected) = match self.config.flush {
            FlushDiskType::SyncFlush => (
                format!("SYNC_FLUSH: acknowledged means on stable storage; {durable}"),
                "a dead disk loses everything: there is one copy, replication is not there yet",
            ),
            FlushDiskType::AsyncFlush => (
                "ASYNC_FLUSH: acknowledged means handed to the operating system".to_owned(),
                "a power cut loses the last half second, a dead disk everything: there is one copy, replication is \
                 not there yet",
            ),
        };
        self.lines.push(("durability", flush));
        self.lines.push(("unprotected", unprotected.to_owned()));
    }

    /// Says it. Nobody listening is no reason to fail.
    pub(crate) fn print(&self) {
        let mut text = format!("Steadfast {} is serving\n", env!("CARGO_PKG_VERSION"));
        for (name, line) in &self.lines {
            let _ = writeln!(text, "  {name:<12} {line}");
        }
        if let (true, Some(namesrv)) = (self.has_broker, &self.namesrv) {
            for (name, line) in [
                ("send", format!("any RocketMQ client with name server {namesrv}")),
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
