//! Tells name servers which topics the broker has, when something changed and every 30 s: the one in this process
//! directly, others over the network. Of a group of several each replica registers: the leader as id 0 with the topics, the
//! others under ids of their own. The term is the state version, by which name servers tell an old leader from a new one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use steadfast_broker::TopicConfig;
use steadfast_consensus::{ReplicaId, Role};
use steadfast_namesrv::{Registration, Source};
use steadfast_net::client::Client;
use steadfast_types::Term;
use steadfast_wire::body::{self, Body, DataVersion, RegisterBrokerBody};
use steadfast_wire::code::{request, response};
use steadfast_wire::frame::Serialize;
use steadfast_wire::header::Header;
use steadfast_wire::headers::RegisterBroker;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::namesrv::SharedNamesrv;

/// How long a name server may take (RocketMQ's `registerBrokerTimeoutMills`).
const TIMEOUT: Duration = Duration::from_secs(3);
/// Pause after a failure, so that a name server that comes back soon has the routes.
const RETRY: Duration = Duration::from_secs(1);

/// RocketMQ's topic for self-tests, which every broker has.
const SELF_TEST: &str = "SELF_TEST_TOPIC";
/// Another topic that every broker of RocketMQ has. Name servers take a first registration with one topic alone for a
/// part of something they missed, so a broker without topics names this one as well.
const OFFSET_MOVED: &str = "OFFSET_MOVED_EVENT";

/// All of the broker's topics, as last announced; None before the first time.
type Latest = Option<Arc<Registration>>;

/// Who registers.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) broker_name: String,
    /// Which replica of a group of several it is.
    pub(crate) replica: Option<ReplicaId>,
    /// What clients are told.
    pub(crate) advertised: SocketAddr,
}

/// Registers the broker.
pub(crate) struct Registrar {
    identity: Identity,
    local: Option<SharedNamesrv>,
    latest: watch::Sender<Latest>,
    clock: Clock,
    term: Term,
    changes: i64,
    locally_known: bool,
    registered: Registered,
}

/// How many name servers know the broker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registered(Arc<AtomicUsize>);

impl Registered {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// One name server more, or less.
    fn change(&self, was: bool, is: bool) {
        match (was, is) {
            (false, true) => _ = self.0.fetch_add(1, Relaxed),
            (true, false) => _ = self.0.fetch_sub(1, Relaxed),
            _ => {}
        }
    }
}

impl Registrar {
    pub(crate) fn new(identity: Identity, local: Option<SharedNamesrv>, clock: Clock) -> Self {
        let (latest, registered) = (watch::Sender::default(), Registered::default());
        let term = Term::ZERO;
        Registrar { identity, local, latest, clock, term, changes: 0, locally_known: false, registered }
    }

    /// How many name servers know the broker, now and later.
    pub(crate) fn registered(&self) -> Registered {
        self.registered.clone()
    }

    /// Registers with the name server in this process and those at `addrs` from now on, on the current runtime.
    pub(crate) fn keep_registered(&self, addrs: &[String], period: Duration) {
        if let Some(namesrv) = &self.local {
            tokio::spawn(keep_registered_here(namesrv.clone(), period, self.latest.subscribe()));
        }
        for addr in addrs {
            let latest = self.latest.subscribe();
            tokio::spawn(keep_registered_at(addr.clone(), period, latest, self.registered()));
        }
    }

    /// The broker's topics, all of them; it takes messages.
    pub(crate) fn announce(&mut self, topics: Vec<TopicConfig>) {
        self.tell(0, topics);
    }

    /// The replica's role in its group. One that is elected is announced when it takes messages.
    pub(crate) fn has_role(&mut self, term: Term, role: Role) {
        self.term = term;
        if let Some(id) = self.identity.replica.filter(|_| role != Role::Leader) {
            self.tell(id as i64, Vec::new());
        }
    }

    fn tell(&mut self, broker_id: i64, topics: Vec<TopicConfig>) {
        self.changes += 1;
        let registration = self.registration(broker_id, topics);
        self.latest.send_replace(Some(Arc::new(registration)));
        if let Some(namesrv) = &self.local {
            match namesrv.register(|| self.latest.borrow().as_deref().cloned()) {
                Ok(()) => self.registered.change(std::mem::replace(&mut self.locally_known, true), true),
                Err(rejected) => tracing::error!("registration refused: {rejected}"),
            }
        }
    }

    fn registration(&self, broker_id: i64, topics: Vec<TopicConfig>) -> Registration {
        let Identity { cluster, broker_name, replica, advertised } = &self.identity;
        let second = topics.is_empty().then_some(OFFSET_MOVED);
        let closed = |name| TopicConfig { perm: 0, ..TopicConfig::new(name, 1, 1) };
        let all = topics.into_iter().chain([SELF_TEST].into_iter().chain(second).map(closed));
        let topics: BTreeMap<_, _> = all.map(|topic| (topic.name.to_string(), to_wire(&topic))).collect();
        let ha_addr = SocketAddr::new(advertised.ip(), advertised.port().wrapping_add(1));
        let timestamp = self.clock.wall().get() as i64;
        // A group of one has no older leaders; its terms mean nothing to others of its name.
        let state_version = if replica.is_some() { self.term.get() as i64 } else { 0 };
        Registration {
            cluster: cluster.clone(),
            broker_name: broker_name.clone(),
            broker_id,
            addr: advertised.to_string(),
            ha_addr: ha_addr.to_string(),
            enable_acting_master: false,
            topics,
            version: DataVersion { counter: self.changes, state_version, timestamp },
            source: Source::Local,
        }
    }
}

fn to_wire(topic: &TopicConfig) -> body::TopicConfig {
    body::TopicConfig {
        topic_name: topic.name.to_string(),
        read_queue_nums: topic.read_queues as i32,
        write_queue_nums: topic.write_queues as i32,
        perm: topic.perm as i32,
        topic_sys_flag: topic.sys_flag,
        order: topic.order,
        attributes: topic.attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        ..body::TopicConfig::default()
    }
}

/// Registers with the name server in this process for ever. Changes are announced as they come; this is for the routes
/// that another broker of the same name took, with which they would be gone as well.
async fn keep_registered_here(namesrv: SharedNamesrv, period: Duration, latest: watch::Receiver<Latest>) {
    let mut ticks = tokio::time::interval(period);
    while latest.has_changed().is_ok() {
        ticks.tick().await;
        if let Err(rejected) = namesrv.register(|| latest.borrow().as_deref().cloned()) {
            tracing::error!("registration refused: {rejected}");
        }
    }
}

/// Registers with one name server for ever. A closed connection tells it that the broker is gone.
async fn keep_registered_at(
    addr: String,
    period: Duration,
    mut latest: watch::Receiver<Latest>,
    registered: Registered,
) {
    let mut client = None;
    let mut healthy = None;
    loop {
        let registration = latest.borrow_and_update().clone();
        let mut pause = period;
        if let Some(registration) = registration {
            let result = register(&addr, &mut client, &registration).await;
            match (&result, healthy) {
                (Ok(()), Some(true)) => {}
                (Ok(()), _) => tracing::info!("registered with name server {addr}"),
                (Err(error), Some(false)) => tracing::debug!("name server {addr}: {error}"),
                (Err(error), _) => tracing::warn!("name server {addr}: {error}; trying again every second"),
            }
            registered.change(healthy == Some(true), result.is_ok());
            healthy = Some(result.is_ok());
            if result.is_err() {
                client = None;
                pause = RETRY.min(period);
            }
        }
        let ended = async {
            match &client {
                Some(client) => client.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = tokio::time::timeout(pause, latest.changed()) => {
                if matches!(changed, Ok(Err(_))) {
                    return;
                }
            }
            // A name server that was restarted knows nobody.
            () = ended => client = None,
        }
    }
}

async fn register(
    addr: &str,
    client: &mut Option<Client>,
    registration: &Registration,
) -> anyhow::Result<()> {
    let connected = match client.take() {
        Some(connected) => connected,
        None => Client::connect(addr, Serialize::Json, TIMEOUT).await?,
    };
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.topic_config_table = registration.topics.clone();
    body.topic_config_serialize_wrapper.data_version = registration.version;
    let body = body.encode();
    let mut header = Header::request(request::REGISTER_BROKER, 0);
    RegisterBroker {
        broker_name: (&registration.broker_name).into(),
        broker_addr: (&registration.addr).into(),
        cluster_name: (&registration.cluster).into(),
        ha_server_addr: (&registration.ha_addr).into(),
        broker_id: registration.broker_id,
        body_crc32: 0,
        ..RegisterBroker::default()
    }
    .encode(&mut header.ext);
    let answer = connected.request(header, &body, TIMEOUT).await?;
    if answer.code != response::SUCCESS {
        anyhow::bail!("registration refused with code {}: {}", answer.code, answer.remark());
    }
    *client = Some(connected);
    Ok(())
}
