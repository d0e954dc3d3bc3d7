//! The servers a command talks to: the name servers it was given, and the brokers that these know.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use steadfast_net::client::{Client, ClientError, Response};
use steadfast_wire::body::{Body, BodyError, BrokerData, ClusterInfo, TopicRouteData};
use steadfast_wire::code::{request, response};
use steadfast_wire::frame;
use steadfast_wire::header::{ExtFields, Header, HeaderError};
use steadfast_wire::headers::GetRouteInfo;

/// Id of a broker's master among its addresses.
pub(super) const MASTER: i64 = 0;
/// What to do about an empty name server.
pub(super) const NO_BROKER: &str =
    "no broker is registered at the name server; is one running, and is its namesrvAddr right?";

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The server answered that it did not do it.
    #[error("{addr} refused {}: CODE: {code} ({})  DESC: {remark}", request::name(*.request), response::name(*.code))]
    Refused { addr: String, request: i32, code: i32, remark: String },
    /// Nobody answered.
    #[error("{error}{}", cause(.error))]
    NoAnswer { error: ClientError },
    /// The answer's header is not what the protocol says.
    #[error("the answer of {0} cannot be read: {1}")]
    Header(String, HeaderError),
    /// The answer's body is not what the protocol says.
    #[error("the answer of {0} cannot be read: {1}")]
    Body(String, BodyError),
    /// The answer's messages are damaged.
    #[error("the answer of {0} cannot be read: {1}")]
    Damaged(String, String),
}

fn cause(error: &ClientError) -> String {
    match error {
        ClientError::Connect { source, .. } => format!(
            ": {source}; is the server running, and can this machine reach that address (a broker's is its brokerIP1)?"
        ),
        _ => String::new(),
    }
}

impl From<ClientError> for AskError {
    fn from(error: ClientError) -> Self {
        AskError::NoAnswer { error }
    }
}

impl AskError {
    /// The response code, if there was a response.
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            AskError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// A request that is not sent yet.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    header: Header<'a>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A request without fields.
    pub(super) fn new(code: i32) -> Self {
        Request { header: Header::request(code, 0), body: Vec::new() }
    }

    /// A request whose fields `encode` writes.
    pub(super) fn with(code: i32, encode: impl FnOnce(&mut ExtFields<'a>)) -> Self {
        let mut request = Request::new(code);
        encode(&mut request.header.ext);
        request
    }

    /// The same with a body.
    pub(super) fn body(self, body: Vec<u8>) -> Self {
        Request { body, ..self }
    }
}

/// A server's address and, where a name server told it, its broker's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Broker {
    /// `brokerName`; empty if only the address was given.
    pub(super) name: String,
    /// Host and port.
    pub(super) addr: String,
}

impl Broker {
    /// The master, or the replica with the smallest id.
    pub(super) fn any_replica(broker: &BrokerData) -> Option<Self> {
        let (_, addr) = broker.broker_addrs.first_key_value()?;
        Some(Broker { name: broker.broker_name.clone(), addr: addr.clone() })
    }
}

/// Name servers and brokers, and the connections to them.
#[derive(Debug)]
pub(super) struct Cluster {
    namesrv: Vec<String>,
    timeout: Duration,
    connections: RefCell<BTreeMap<String, Client>>,
}

impl Cluster {
    /// `namesrv` as RocketMQ writes it: addresses separated by semicolons.
    pub(super) fn new(namesrv: &str, timeout: Duration) -> Self {
        let namesrv = namesrv.split(';').map(str::trim).filter(|addr| !addr.is_empty());
        Cluster { namesrv: namesrv.map(str::to_owned).collect(), timeout, connections: RefCell::default() }
    }

    /// The name servers' addresses.
    pub(super) fn namesrv(&self) -> &[String] {
        &self.namesrv
    }

    /// Sends a request that must succeed.
    pub(super) async fn ask(&self, addr: &str, request: Request<'_>) -> Result<Response, AskError> {
        let response = self.answer(addr, request.clone()).await?;
        if response.code == response::SUCCESS {
            return Ok(response);
        }
        Err(refusal(addr, request.header.code, &response))
    }

    /// Sends a request; whatever the answer says.
    pub(super) async fn answer(&self, addr: &str, request: Request<'_>) -> Result<Response, AskError> {
        let client = self.connect(addr).await.map_err(AskError::from)?;
        client.request(request.header, &request.body, self.timeout).await.map_err(AskError::from)
    }

    async fn connect(&self, addr: &str) -> Result<Client, ClientError> {
        if let Some(client) = self.connections.borrow().get(addr) {
            return Ok(client.clone());
        }
        let client = Client::connect(addr, frame::Serialize::Json, self.timeout).await?;
        self.connections.borrow_mut().insert(addr.to_owned(), client.clone());
        Ok(client)
    }

    /// Sends a request whose answer has a body.
    pub(super) async fn read<T: Body>(&self, addr: &str, request: Request<'_>) -> Result<T, AskError> {
        let response = self.ask(addr, request).await?;
        T::decode(response.body()).map_err(|error| AskError::Body(addr.to_owned(), error))
    }

    /// Asks the name servers one after the other until one answers.
    pub(super) async fn ask_namesrv(&self, request: Request<'_>) -> anyhow::Result<Response> {
        ensure!(!self.namesrv.is_empty(), "no name server is given; use -n HOST:PORT or NAMESRV_ADDR");
        let mut failures = Vec::new();
        for addr in &self.namesrv {
            match self.ask(addr, request.clone()).await {
                Err(AskError::NoAnswer { error }) => failures.push(anyhow::Error::new(error)),
                answered => return Ok(answered?),
            }
        }
        let failures: Vec<String> = failures.iter().map(|failure| format!("{failure:#}")).collect();
        bail!(
            "no name server answers: {}; is it running? Start one with `steadfast server`, or name yours with \
             -n HOST:PORT or NAMESRV_ADDR",
            failures.join("; ")
        )
    }

    async fn read_namesrv<T: Body>(&self, request: Request<'_>) -> anyhow::Result<T> {
        T::decode(self.ask_namesrv(request).await?.body())
            .context("the answer of the name server cannot be read")
    }

    /// Asks the name servers for a body.
    pub(super) async fn info(&self) -> anyhow::Result<ClusterInfo> {
        self.read_namesrv(Request::new(request::GET_BROKER_CLUSTER_INFO)).await
    }

    /// All topics that the name server knows, sorted.
    pub(super) async fn topics(&self) -> anyhow::Result<Vec<String>> {
        let request = Request::new(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
        let mut topics = self.read_namesrv::<steadfast_wire::body::TopicList>(request).await?.topic_list;
        topics.sort_unstable();
        Ok(topics)
    }

    /// Where a topic is.
    pub(super) async fn route(&self, topic: &str) -> anyhow::Result<TopicRouteData> {
        let fields = GetRouteInfo { topic: topic.into(), accept_standard_json_only: true };
        self.read_namesrv(Request::with(request::GET_ROUTEINFO_BY_TOPIC, |ext| fields.encode(ext))).await
    }

    /// The brokers that hold a topic: one address each, the master's if there is one. With a cluster, those of it
    /// alone, or of the topic whose route that name has (RocketMQ's tools take either).
    pub(super) async fn brokers_of(&self, topic: &str, cluster: Option<&str>) -> anyhow::Result<Vec<Broker>> {
        if let Some(name) = cluster {
            let info = self.info().await?;
            if info.cluster_addr_table.contains_key(name) {
                return masters(&info, name);
            }
        }
        let route = self.route(cluster.unwrap_or(topic)).await?;
        let mut brokers: Vec<Broker> = route.broker_datas.iter().filter_map(Broker::any_replica).collect();
        brokers.sort_unstable();
        ensure!(!brokers.is_empty(), "the route of topic {topic} names no broker");
        Ok(brokers)
    }

    /// Every broker that the name server knows: one address each, the master's if there is one.
    pub(super) async fn brokers(&self) -> anyhow::Result<Vec<Broker>> {
        let info = self.info().await?;
        let brokers: Vec<Broker> = info.broker_addr_table.values().filter_map(Broker::any_replica).collect();
        ensure!(!brokers.is_empty(), "{NO_BROKER}");
        Ok(brokers)
    }

    /// The master of a broker that is named.
    pub(super) async fn broker_named(&self, name: &str) -> anyhow::Result<Broker> {
        let info = self.info().await?;
        let broker = info.broker_addr_table.get(name).and_then(Broker::any_replica);
        broker.with_context(|| {
            let known: Vec<&str> = info.broker_addr_table.keys().map(String::as_str).collect();
            format!("no broker is called {name}; the name server knows: {}", known.join(", "))
        })
    }
}

/// The error of a response that is not the wanted one.
pub(super) fn refusal(addr: &str, request: i32, response: &Response) -> AskError {
    let (code, remark) = (response.code, response.remark());
    AskError::Refused { addr: addr.to_owned(), request, code, remark }
}

/// The masters of a cluster, by name.
pub(super) fn masters(info: &ClusterInfo, cluster: &str) -> anyhow::Result<Vec<Broker>> {
    let members = replicas(info, cluster)?;
    Ok(members.into_iter().filter(|(id, _)| *id == MASTER).map(|(_, broker)| broker).collect())
}

/// All addresses of a cluster with their broker ids, by broker name and id.
pub(super) fn replicas(info: &ClusterInfo, cluster: &str) -> anyhow::Result<Vec<(i64, Broker)>> {
    let names = info.cluster_addr_table.get(cluster).with_context(|| {
        let known: Vec<&str> = info.cluster_addr_table.keys().map(String::as_str).collect();
        format!("no cluster is called {cluster}; the name server knows: {}", known.join(", "))
    })?;
    let mut names: Vec<&String> = names.iter().collect();
    names.sort_unstable();
    let brokers = names.into_iter().filter_map(|name| info.broker_addr_table.get(name));
    Ok(brokers
        .flat_map(|broker| {
            let replica = |addr: &String| Broker { name: broker.broker_name.clone(), addr: addr.clone() };
            broker.broker_addrs.iter().map(move |(id, addr)| (*id, replica(addr)))
        })
        .collect())
}
