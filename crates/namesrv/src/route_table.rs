//! Brokers, their replicas, and the topics they serve.

use std::collections::BTreeMap;
use std::fmt;

use steadfast_types::limits;
use steadfast_wire::body::{BrokerData, ClusterInfo, DataVersion, QueueData, TopicConfig, TopicRouteData};

/// A connection, numbered by the shell; never reused.
pub type ConnId = u64;

/// How long a broker counts as alive after it registered, in milliseconds, unless it says otherwise
/// (RocketMQ's `DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`).
pub const DEFAULT_LIFETIME_MS: u64 = 120_000;

/// Where a registration came from, and so what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A broker in this process: it stays until it unregisters.
    Local,
    /// A connection: the broker is gone when it closes, or when it is silent for this many milliseconds.
    Remote {
        /// The connection.
        conn: ConnId,
        /// The bound on its silence.
        lifetime_ms: u64,
    },
}

/// What one replica of a broker says of itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The cluster.
    pub cluster: String,
    /// The broker group's name.
    pub broker_name: String,
    /// Which replica: 0 is the master.
    pub broker_id: i64,
    /// Where clients reach it, `ip:port`.
    pub addr: String,
    /// Where replicas of RocketMQ reach it.
    pub ha_addr: String,
    /// Whether a slave may act as master.
    pub enable_acting_master: bool,
    /// Topics, of which a local registration names all and a remote one perhaps only those that changed.
    pub topics: BTreeMap<String, TopicConfig>,
    /// Version of the topics.
    pub version: DataVersion,
    /// Where it came from.
    pub source: Source,
}

/// Why a registration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Another address holds the id with a newer state.
    #[error(
        "broker {broker} id {id} is registered by {holder} with state version {held}, newer than {offered}: \
         the older replica must not replace it"
    )]
    Outdated {
        /// The broker group's name.
        broker: String,
        /// The id.
        id: i64,
        /// Address of the replica that holds it.
        holder: String,
        /// The holder's state version.
        held: i64,
        /// The state version that was offered.
        offered: i64,
    },
    /// The table is full.
    #[error(
        "the name server would know {count} {what}, the limit is {limit}; unregister what is not there any more"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A name is longer than any that RocketMQ allows.
    #[error("a name of {0} bytes is no name of a topic, a broker or a cluster; the limit is {max}", max = limits::NAME_LEN)]
    LongName(usize),
    /// One topic changed at a broker whose other topics are not known.
    #[error("broker {broker} has not registered: its first registration must name all of its topics")]
    Incomplete {
        /// The broker group's name.
        broker: String,
    },
}

/// Write permission in [`QueueData::perm`].
const PERM_WRITE: i32 = 2;

/// What RocketMQ's topic flag says; both are for deployments in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFlags {
    /// The topic belongs to a unit.
    pub unit: bool,
    /// A group of a unit subscribes to it.
    pub unit_sub: bool,
}

impl TopicFlags {
    fn of(flag: i32) -> Self {
        Self { unit: flag & 1 != 0, unit_sub: flag & 2 != 0 }
    }
}

/// A replica that was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The broker group's name.
    pub broker_name: String,
    /// Which replica.
    pub broker_id: i64,
    /// Its address.
    pub addr: String,
}

/// A replica took the name and id of another one that was not gone: it moved, or two servers share a name by mistake
/// and take the routes from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// The one that is known no more.
    pub gone: Gone,
    /// Address of the one that is known now.
    pub by: String,
}

impl fmt::Display for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gone: Gone { broker_name, broker_id, addr }, by } = self;
        write!(
            f,
            "broker {broker_name} id {broker_id} is at {by} now, and was at {addr}: no route names {addr} any more. If both \
             servers run, clients lose the topics of one of them: give them different names (brokerName; the default is \
             the host's name)"
        )
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} id {} at {}", self.broker_name, self.broker_id, self.addr)
    }
}

#[derive(Debug)]
struct Replica {
    addr: String,
    ha_addr: String,
    version: DataVersion,
    source: Source,
    last_seen: u64,
}

/// The replicas that share a broker name, and their topics.
#[derive(Debug, Default)]
struct Broker {
    cluster: String,
    enable_acting_master: bool,
    replicas: BTreeMap<i64, Replica>,
    topics: BTreeMap<String, QueueData>,
}

/// Which brokers there are and what they serve, ordered, so that equal histories give equal answers.
#[derive(Debug, Default)]
pub struct RouteTable {
    brokers: BTreeMap<String, Broker>,
    displaced: Option<Displaced>,
}

impl RouteTable {
    /// Takes up what a broker says. Topics come from the master alone.
    pub fn register(&mut self, now: u64, registration: Registration) -> Result<(), Rejected> {
        let Registration { broker_name, broker_id, addr, version, source, .. } = &registration;
        let known = self.brokers.get(broker_name);
        let holder = known.and_then(|broker| broker.replicas.get(broker_id));
        let holder = holder.filter(|holder| holder.addr != *addr);
        if let Some(holder) = holder
            && holder.version.state_version > version.state_version
        {
            return Err(Rejected::Outdated {
                broker: broker_name.clone(),
                id: *broker_id,
                holder: holder.addr.clone(),
                held: holder.version.state_version,
                offered: version.state_version,
            });
        }
        // A new leader of a group takes the place of the old one, as it should.
        let rival = holder.filter(|holder| holder.version.state_version == version.state_version);
        let displaced = rival.map(|holder| Displaced {
            gone: Gone { broker_name: broker_name.clone(), broker_id: *broker_id, addr: holder.addr.clone() },
            by: addr.clone(),
        });
        let is_new =
            !known.is_some_and(|broker| broker.replicas.values().any(|replica| replica.addr == *addr));
        let complete = *source == Source::Local;
        // RocketMQ's brokers announce a changed topic alone.
        if is_new && !complete && registration.topics.len() == 1 {
            return Err(Rejected::Incomplete { broker: broker_name.clone() });
        }
        if !complete {
            self.check_room(&registration, is_new)?;
        }
        self.displaced = displaced;
        self.brokers.entry(broker_name.clone()).or_default().take(now, registration, complete);
        Ok(())
    }

    /// The replica whose place the last registration took, if it was another one's; told once.
    pub fn take_displaced(&mut self) -> Option<Displaced> {
        self.displaced.take()
    }

    /// Anybody may register, so what is known stays bounded.
    fn check_room(&self, registration: &Registration, is_new: bool) -> Result<(), Rejected> {
        let Registration { cluster, broker_name, addr, ha_addr, topics, .. } = registration;
        let names = [cluster, broker_name, addr, ha_addr].into_iter().chain(topics.keys());
        if let Some(long) = names.map(String::len).find(|len| *len > limits::NAME_LEN) {
            return Err(Rejected::LongName(long));
        }
        let within = |what, count, limit| match count <= limit {
            true => Ok(()),
            false => Err(Rejected::TooMany { what, count, limit }),
        };
        let replicas = self.brokers.values().map(|broker| broker.replicas.len()).sum::<usize>();
        within("brokers", replicas + usize::from(is_new), limits::NAMESRV_BROKERS)?;
        let has =
            |topic: &String| self.brokers.get(broker_name).is_some_and(|b| b.topics.contains_key(topic));
        let added = topics.keys().filter(|topic| !has(topic)).count();
        let known = self.brokers.values().map(|broker| broker.topics.len()).sum::<usize>();
        if added == 0 { Ok(()) } else { within("topics", known + added, limits::NAMESRV_TOPICS) }
    }

    /// Forgets one replica.
    pub fn unregister(&mut self, broker_name: &str, broker_id: i64, addr: &str) -> Vec<Gone> {
        self.forget(|name, id, replica| name == broker_name && id == broker_id && replica.addr == addr)
    }

    /// Forgets what registered over this connection.
    pub fn disconnected(&mut self, conn: ConnId) -> Vec<Gone> {
        self.forget(|_, _, replica| matches!(replica.source, Source::Remote { conn: c, .. } if c == conn))
    }

    /// Forgets the replicas that have been silent for too long.
    pub fn expire(&mut self, now: u64) -> Vec<Gone> {
        self.forget(|_, _, replica| match replica.source {
            Source::Local => false,
            Source::Remote { lifetime_ms, .. } => now.saturating_sub(replica.last_seen) > lifetime_ms,
        })
    }

    /// A replica gave a sign of life; returns the version it registered with, if it has.
    pub fn heard(&mut self, now: u64, broker_name: &str, addr: &str) -> Option<DataVersion> {
        let broker = self.brokers.get_mut(broker_name)?;
        let replica = broker.replicas.values_mut().find(|replica| replica.addr == addr)?;
        replica.last_seen = now;
        Some(replica.version)
    }

    /// Address and replication address of a broker's master.
    pub fn master(&self, broker_name: &str) -> Option<(&str, &str)> {
        let master = self.brokers.get(broker_name)?.replicas.get(&0)?;
        Some((&master.addr, &master.ha_addr))
    }

    /// Whether no broker is registered at all.
    pub fn is_empty(&self) -> bool {
        self.brokers.is_empty()
    }

    /// The brokers that serve a topic; None if there is none. The order of its queues is not known here.
    pub fn route(&self, topic: &str) -> Option<TopicRouteData> {
        let mut route = TopicRouteData::default();
        for (name, broker) in &self.brokers {
            if let Some(queues) = broker.topics.get(topic) {
                route.queue_datas.push(queues.clone());
                route.broker_datas.push(broker.data(name));
            }
        }
        (!route.queue_datas.is_empty()).then_some(route)
    }

    /// All brokers.
    pub fn cluster_info(&self) -> ClusterInfo {
        let mut info = ClusterInfo::default();
        for (name, broker) in &self.brokers {
            info.broker_addr_table.insert(name.clone(), broker.data(name));
            info.cluster_addr_table.entry(broker.cluster.clone()).or_default().push(name.clone());
        }
        info
    }

    /// The topics of one cluster, or of all, sorted.
    pub fn topics(&self, cluster: Option<&str>) -> Vec<String> {
        let brokers = self.brokers.values().filter(|broker| cluster.is_none_or(|c| broker.cluster == c));
        let mut topics: Vec<String> = brokers.flat_map(|broker| broker.topics.keys().cloned()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// The topics with such flags, sorted.
    pub fn topics_with_flags(&self, wanted: impl Fn(TopicFlags) -> bool) -> Vec<String> {
        let all = self.brokers.values().flat_map(|broker| &broker.topics);
        let mut topics: Vec<_> = all
            .filter(|(_, queues)| wanted(TopicFlags::of(queues.topic_sys_flag)))
            .map(|(topic, _)| topic.clone())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Gives or takes the write permission of every topic of a broker, until the broker's topics change; returns how
    /// many topics that concerns.
    pub fn set_writable(&mut self, broker_name: &str, writable: bool) -> usize {
        let Some(broker) = self.brokers.get_mut(broker_name) else { return 0 };
        for queues in broker.topics.values_mut() {
            queues.perm = if writable { queues.perm | PERM_WRITE } else { queues.perm & !PERM_WRITE };
        }
        broker.topics.len()
    }

    /// Forgets a topic in one cluster, or in all.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        for broker in self.brokers.values_mut().filter(|broker| cluster.is_none_or(|c| broker.cluster == c)) {
            broker.topics.remove(topic);
        }
    }

    fn forget(&mut self, mut lost: impl FnMut(&str, i64, &Replica) -> bool) -> Vec<Gone> {
        let mut gone = Vec::new();
        self.brokers.retain(|name, broker| {
            broker.replicas.retain(|id, replica| {
                let lost = lost(name, *id, replica);
                if lost {
                    let addr = replica.addr.clone();
                    gone.push(Gone { broker_name: name.clone(), broker_id: *id, addr });
                }
                !lost
            });
            !broker.replicas.is_empty()
        });
        gone
    }
}

impl Broker {
    /// `complete`: topics that are not named are gone.
    fn take(&mut self, now: u64, registration: Registration, complete: bool) {
        let Registration { cluster, broker_name, broker_id, addr, ha_addr, version, source, .. } =
            registration;
        // A replica that changed its id must not be listed twice.
        self.replicas.retain(|id, replica| *id == broker_id || replica.addr != addr);
        self.cluster = cluster;
        self.enable_acting_master = registration.enable_acting_master;
        let known = self.replicas.get(&broker_id);
        let is_news = known.is_none_or(|replica| replica.addr != addr || replica.version != version);
        self.replicas.insert(broker_id, Replica { addr, ha_addr, version, source, last_seen: now });
        // A sign of life says nothing of topics: what an operator changed of them stays.
        if broker_id != 0 || !is_news {
            return;
        }
        if complete {
            self.topics.clear();
        }
        let queues = |config: TopicConfig| QueueData {
            broker_name: broker_name.clone(),
            perm: config.perm,
            read_queue_nums: config.read_queue_nums,
            topic_sys_flag: config.topic_sys_flag,
            write_queue_nums: config.write_queue_nums,
        };
        self.topics.extend(registration.topics.into_iter().map(|(topic, config)| (topic, queues(config))));
    }

    fn data(&self, name: &str) -> BrokerData {
        BrokerData {
            broker_addrs: self.replicas.iter().map(|(id, replica)| (*id, replica.addr.clone())).collect(),
            broker_name: name.to_owned(),
            cluster: self.cluster.clone(),
            enable_acting_master: self.enable_acting_master,
            zone_name: None,
        }
    }
}
