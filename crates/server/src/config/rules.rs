//! What settings must be together. What is refused and what docs/settings.md says is the same text.

use super::host::Host;
use super::table::Config;
use super::value::{Bytes, MetricsExporter, Role};

/// One rule.
pub(super) struct Rule {
    /// The rule for people.
    pub(super) text: &'static str,
    holds: fn(&Config) -> bool,
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        text: "listenPort, namesrvPort, metricsPromExporterPort and this replica's port in dLegerPeers must differ, as far as \
               role, metricsExporterType and enableDLegerCommitLog ask for them",
        holds: |config| {
            let used = [
                (config.listen_port, config.role != Role::Namesrv),
                (config.namesrv_port, config.role != Role::Broker),
                (config.metrics_port, config.serves_pages()),
                (config.replication_port().unwrap_or_default(), config.is_replica()),
            ];
            let ports: Vec<_> = used.iter().filter(|(port, used)| *used && *port != 0).collect();
            ports.iter().enumerate().all(|(i, port)| !ports[..i].contains(port))
        },
    },
    Rule {
        text: "fastListenPort (listenPort - 2 if it is not set) must differ from listenPort and namesrvPort",
        holds: |config| {
            config.fast_port().is_none_or(|fast| fast != config.listen_port && fast != config.namesrv_port)
        },
    },
    Rule {
        text: "role=broker needs namesrvAddr: without a name server no client finds the broker",
        holds: |config| config.role != Role::Broker || !config.namesrv_addr.0.is_empty(),
    },
    Rule {
        text: "brokerIP1 must be an address that clients can reach, not 0.0.0.0",
        holds: |config| !matches!(&config.broker_ip, Some(Host::Ip(told)) if told.is_unspecified()),
    },
    Rule {
        text: "brokerId must be 0 without enableDLegerCommitLog=true: there are no slaves to be",
        holds: |config| config.broker_id == 0 || config.is_replica(),
    },
    Rule {
        text: "enableDLegerCommitLog=true needs dLegerPeers, all replicas of the group (n0-HOST:PORT;n1-HOST:PORT;n2-HOST:PORT), \
               and dLegerSelfId, which of them this is (n0)",
        holds: |config| !config.is_replica() || (!config.replicas.0.is_empty() && config.self_id.0.is_some()),
    },
    Rule {
        text: "dLegerSelfId, and preferredLeaderId if it is set, must be ids in dLegerPeers; the list is the same on all replicas, \
               dLegerSelfId is not",
        holds: |config| {
            let (ids, named) = (&config.replicas.0, [config.self_id.0, config.preferred_leader.0]);
            !config.is_replica() || ids.is_empty() || named.iter().flatten().all(|id| ids.contains_key(id))
        },
    },
    Rule {
        text: "enableDLegerCommitLog=true needs brokerName or dLegerGroup, the same on all replicas: the host's name is not",
        holds: |config| !config.is_replica() || !config.broker_name.is_empty() || !config.group.is_empty(),
    },
    Rule {
        text: "dLegerPeers, or peers, beyond this machine need replicationSecretFile, a file with the same secret on all replicas (head -c 32 \
               /dev/urandom | base64 > FILE), or replicationUnprotected=true if nobody else reaches these ports: who does \
               could write anything into the log",
        holds: |config| {
            !config.is_replica()
                || config.replicas.are_local()
                || config.replication_secret.is_some()
                || config.replication_unprotected
        },
    },
    Rule {
        text: "retentionBytes must be 0 or at least twice mappedFileSizeCommitLog: only whole files are removed",
        holds: |config| {
            let (Bytes(retained), Bytes(segment)) = (config.retention_bytes, config.segment_size);
            retained == 0 || retained >= 2 * segment
        },
    },
    Rule {
        text: "diskMaxUsedSpaceRatio, diskSpaceCleanForciblyRatio and diskSpaceWarningLevelRatio must not descend",
        holds: |config| {
            [config.disk_max_used, config.disk_clean_forcibly, config.disk_warning_level].is_sorted()
        },
    },
];

impl Config {
    /// The rules that the settings break.
    pub(super) fn broken_rules(&self) -> impl Iterator<Item = String> {
        let brokers = self.brokers();
        let is_broken = move |rule: &&Rule| !brokers.iter().all(rule.holds);
        RULES.iter().filter(is_broken).map(|rule| rule.text.to_owned())
    }

    /// Whether there is a port for probes and metrics: it tells of a broker.
    pub(crate) fn serves_pages(&self) -> bool {
        self.role != Role::Namesrv && self.metrics_exporter == MetricsExporter::Prom
    }

    /// Whether this is a replica of several: a broker, and told to be one.
    pub(crate) fn is_replica(&self) -> bool {
        self.replicated && self.role != Role::Namesrv
    }

    /// The port that the other replicas reach this one at.
    pub(crate) fn replication_port(&self) -> Option<u16> {
        self.replicas.port(self.self_id.0?)
    }

    /// What to change for another port, of which this is the setting if it is not laid out.
    pub(crate) fn port_key(&self, key: &'static str) -> &'static str {
        if self.peers.is_some() { "peers" } else { key }
    }

    /// The fast port, if there is to be one.
    pub fn fast_port(&self) -> Option<u16> {
        self.fast_listen_port.or_else(|| self.listen_port.checked_sub(2)).filter(|port| *port != 0)
    }
}
