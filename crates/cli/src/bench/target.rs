//! The brokers under test and the topic on them.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use steadfast_audit::Queue;
use steadfast_net::client::{Client, Response};
use steadfast_types::topic;
use steadfast_wire::body::{Body, BrokerData, ClusterInfo, TopicRouteData};
use steadfast_wire::code::{request, response};
use steadfast_wire::frame::Serialize;
use steadfast_wire::header::{ExtFields, Header};
use steadfast_wire::headers::{CreateTopic, GetMaxOffset, GetMinOffset, GetRouteInfo, OffsetResponse};

use super::args::BenchArgs;

/// A topic on one or several brokers.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) topic: String,
    pub(super) brokers: Vec<Broker>,
    pub(super) serialize: Serialize,
    /// How long to wait for an answer.
    pub(super) timeout: Duration,
}

/// A broker and its queues of the topic.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    /// None if only the address is known.
    pub(super) name: Option<String>,
    pub(super) addr: String,
    /// The queues by number, as the audit names them.
    pub(super) queues: Vec<Queue>,
}

impl Broker {
    fn new(name: Option<&str>, addr: &str, topic: &str, queues: u32) -> Self {
        let called = name.unwrap_or(addr);
        let queues = (0..queues).map(|id| Queue::new(called, topic, id)).collect();
        Self { name: name.map(str::to_owned), addr: addr.to_owned(), queues }
    }
}

/// The messages that a queue holds: `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// Number of the broker in [`Target::brokers`].
    pub(super) broker: usize,
    pub(super) queue: u32,
    pub(super) from: u64,
    /// None: to the last one, waiting for more.
    pub(super) to: Option<u64>,
}

impl Target {
    /// Finds the brokers and creates the topic on all of them.
    pub(super) async fn create(args: &BenchArgs) -> anyhow::Result<Self> {
        let mut target = Self::new(args);
        target.brokers = match &args.broker {
            Some(addr) => vec![Broker::new(None, addr, &args.topic, args.queues)],
            None => target.brokers_of_cluster(&args.namesrv, args.queues).await?,
        };
        for broker in &target.brokers {
            target.create_topic(&broker.addr, args.queues).await?;
        }
        Ok(target)
    }

    /// Finds the brokers that have the topic.
    pub(super) async fn existing(args: &BenchArgs) -> anyhow::Result<Self> {
        let mut target = Self::new(args);
        target.brokers = match &args.broker {
            Some(addr) => vec![Broker::new(None, addr, &args.topic, args.queues)],
            None => target.brokers_of_route(&args.namesrv).await?,
        };
        Ok(target)
    }

    /// The same brokers, with `queues` queues of another topic.
    pub(super) fn of_topic(&self, topic: &str, queues: u32) -> Self {
        let of = |broker: &Broker| Broker::new(broker.name.as_deref(), &broker.addr, topic, queues);
        Self { topic: topic.to_owned(), brokers: self.brokers.iter().map(of).collect(), ..self.clone() }
    }

    fn new(args: &BenchArgs) -> Self {
        Self {
            topic: args.topic.clone(),
            brokers: Vec::new(),
            serialize: args.encoding.into(),
            timeout: args.timeout,
        }
    }

    /// A new connection to a broker or name server.
    pub(super) async fn connect(&self, addr: &str) -> anyhow::Result<Client> {
        let connected =
            Client::connect(addr, self.serialize, self.timeout).await.map_err(anyhow::Error::from);
        connected.map_err(|error| {
            let next = "is the server running? Start one with `steadfast server`, or name yours with --namesrv or --broker";
            anyhow!("{error:#}; {next}")
        })
    }

    /// Sends a request that must succeed. `fill` writes its fields.
    pub(super) async fn ask<'a>(
        &self,
        client: &Client,
        code: i32,
        fill: impl FnOnce(&mut ExtFields<'a>),
    ) -> anyhow::Result<Response> {
        let mut header = Header::request(code, 0);
        fill(&mut header.ext);
        let answer = client.request(header, &[], self.timeout).await?;
        if answer.code != response::SUCCESS {
            bail!(
                "{} answered {} to {}: {}",
                client.addr(),
                response_name(answer.code),
                request::name(code),
                answer.remark()
            );
        }
        Ok(answer)
    }

    async fn brokers_of_cluster(&self, namesrv: &str, queues: u32) -> anyhow::Result<Vec<Broker>> {
        let client = self.connect(namesrv).await?;
        let answer = self.ask(&client, request::GET_BROKER_CLUSTER_INFO, |_| {}).await?;
        let cluster = ClusterInfo::decode(answer.body())?;
        let masters = cluster.broker_addr_table.iter().filter_map(|(name, broker)| {
            let master = broker.broker_addrs.get(&0)?;
            Some(Broker::new(Some(name), master, &self.topic, queues))
        });
        let brokers: Vec<_> = masters.collect();
        ensure!(!brokers.is_empty(), "no broker is registered at the name server {namesrv}");
        Ok(brokers)
    }

    /// Who leads the brokers that have the topic, as far as the name server knows: names and addresses.
    pub(super) async fn leaders(&self, namesrv: &str) -> anyhow::Result<Vec<(String, String)>> {
        let route = self.route(namesrv).await?;
        let leader = |data: BrokerData| Some((data.broker_name, data.broker_addrs.get(&0)?.clone()));
        let leaders: Vec<_> = route.broker_datas.into_iter().filter_map(leader).collect();
        ensure!(!leaders.is_empty(), "the name server {namesrv} knows no leader of a broker with the topic");
        Ok(leaders)
    }

    async fn route(&self, namesrv: &str) -> anyhow::Result<TopicRouteData> {
        let client = self.connect(namesrv).await?;
        let fields = GetRouteInfo { topic: self.topic.as_str().into(), accept_standard_json_only: true };
        let answer = self.ask(&client, request::GET_ROUTEINFO_BY_TOPIC, |ext| fields.encode(ext)).await?;
        Ok(TopicRouteData::decode(answer.body())?)
    }

    async fn brokers_of_route(&self, namesrv: &str) -> anyhow::Result<Vec<Broker>> {
        let route = self.route(namesrv).await?;
        let readable = |perm: i32| perm as u32 & topic::PERM_READ != 0;
        let mut brokers = Vec::new();
        for queues in route.queue_datas.iter().filter(|queues| readable(queues.perm)) {
            let name = &queues.broker_name;
            let broker = route.broker_datas.iter().find(|broker| broker.broker_name == *name);
            let master = broker.and_then(|broker| broker.broker_addrs.get(&0));
            let master = master.with_context(|| format!("the route names no master of broker {name}"))?;
            brokers.push(Broker::new(Some(name), master, &self.topic, queues.read_queue_nums.max(0) as u32));
        }
        ensure!(!brokers.is_empty(), "no broker has readable queues of topic {}", self.topic);
        Ok(brokers)
    }

    async fn create_topic(&self, addr: &str, queues: u32) -> anyhow::Result<()> {
        let client = self.connect(addr).await?;
        let fields = CreateTopic {
            topic: self.topic.as_str().into(),
            default_topic: topic::AUTO_CREATE.into(),
            read_queue_nums: queues as i32,
            write_queue_nums: queues as i32,
            perm: (topic::PERM_READ | topic::PERM_WRITE) as i32,
            topic_filter_type: "SINGLE_TAG".into(),
            topic_sys_flag: Some(0),
            ..CreateTopic::default()
        };
        self.ask(&client, request::UPDATE_AND_CREATE_TOPIC, |ext| fields.encode(ext)).await?;
        Ok(())
    }

    /// All queues from their first message to their last.
    pub(super) async fn contents(&self) -> anyhow::Result<Vec<Range>> {
        let mut ranges = Vec::new();
        for (number, broker) in self.brokers.iter().enumerate() {
            let client = self.connect(&broker.addr).await?;
            for queue in 0..broker.queues.len() as u32 {
                let from = self.min_offset(&client, queue).await?;
                let to = Some(self.max_offset(&client, queue).await?);
                ranges.push(Range { broker: number, queue, from, to });
            }
        }
        Ok(ranges)
    }

    /// The queue of a range, as the audit names it.
    pub(super) fn queue(&self, range: &Range) -> &Queue {
        &self.brokers[range.broker].queues[range.queue as usize]
    }

    /// What will be appended to the queues from now on.
    pub(super) async fn tails(&self) -> anyhow::Result<Vec<Range>> {
        let ends = self.contents().await?;
        Ok(ends.iter().map(|range| Range { from: range.to.unwrap_or(0), to: None, ..*range }).collect())
    }

    async fn min_offset(&self, client: &Client, queue: u32) -> anyhow::Result<u64> {
        let fields = GetMinOffset { topic: self.topic.as_str().into(), queue_id: queue as i32 };
        offset(self.ask(client, request::GET_MIN_OFFSET, |ext| fields.encode(ext))).await
    }

    async fn max_offset(&self, client: &Client, queue: u32) -> anyhow::Result<u64> {
        let topic = self.topic.as_str().into();
        let fields = GetMaxOffset { topic, queue_id: queue as i32, ..GetMaxOffset::default() };
        offset(self.ask(client, request::GET_MAX_OFFSET, |ext| fields.encode(ext))).await
    }
}

async fn offset(answer: impl Future<Output = anyhow::Result<Response>>) -> anyhow::Result<u64> {
    let offset = OffsetResponse::decode(&answer.await?.header()?.ext)?.offset;
    // RocketMQ answers -1 for a queue that never held a message.
    Ok(u64::try_from(offset).unwrap_or(0))
}

/// A response code with its name.
pub(super) fn response_name(code: i32) -> String {
    format!("{code} ({})", response::name(code))
}
