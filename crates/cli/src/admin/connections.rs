//! Who is connected.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use steadfast_wire::body::{Connection, ConsumerConnection, ProducerConnection};
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{GetConsumerConnectionList, GetProducerConnectionList};
use steadfast_wire::version;

use super::cluster::{AskError, Broker, Cluster, Request};
use super::output::Out;

/// Show the members of a consumer group and what they subscribe to
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin consumerConnection -n 127.0.0.1:9876 -g coupons

All members of a group must have the same subscriptions: what one of them subscribed last holds for all.")]
pub(super) struct Consumers {
    /// Consumer group
    #[arg(short, long = "consumerGroup", value_name = "GROUP")]
    group: String,
    /// Ask this broker only, by its address
    #[arg(short, long = "brokerAddr", value_name = "HOST:PORT")]
    broker: Option<String>,
}

/// Show the connected producers of a group
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin producerConnection -n 127.0.0.1:9876 -g orders -t SCANRECORD

Columns: number, client id, address, language and version of each producer. A producer is known to a broker once it sent \
something or its heartbeat came, at most 30 seconds after its start.")]
pub(super) struct Producers {
    /// Producer group
    #[arg(short, long = "producerGroup", value_name = "GROUP")]
    group: String,
    /// A topic it sends to, whose brokers are asked
    #[arg(short, long)]
    topic: String,
}

/// The members of a consumer group.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Members(ConsumerConnection);

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = &self.0;
        writeln!(f, "{:<36} {:<22} {:<10} #Version", "#ClientId", "#ClientAddr", "#Language")?;
        for Connection { client_id, client_addr, language, version } in &connection.connection_set {
            writeln!(f, "{client_id:<36} {client_addr:<22} {language:<10} {}", version::name(*version))?;
        }
        writeln!(f, "\nBelow is subscription:\n{:<20} #SubExpression", "#Topic")?;
        for subscription in connection.subscription_table.values() {
            writeln!(f, "{:<20} {}", subscription.topic, subscription.sub_string)?;
        }
        writeln!(f, "\nConsumeType: {}", connection.consume_type.name())?;
        writeln!(f, "MessageModel: {}", connection.message_model.name())?;
        writeln!(f, "ConsumeFromWhere: {}", connection.consume_from_where.name())
    }
}

impl Consumers {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let brokers = match self.broker {
            Some(addr) => vec![Broker { name: String::new(), addr }],
            None => cluster.brokers().await?,
        };
        match members(cluster, &brokers, self.group.trim()).await? {
            Some(connection) => out.show(&Members(connection)),
            None => Err(not_online(&brokers, self.group.trim()).into()),
        }
    }
}

/// What brokers answer of a group that nobody is connected for.
pub(super) fn not_online(brokers: &[Broker], group: &str) -> AskError {
    AskError::Refused {
        addr: brokers.iter().map(|broker| broker.addr.as_str()).collect::<Vec<_>>().join(", "),
        request: request::GET_CONSUMER_CONNECTION_LIST,
        code: response::CONSUMER_NOT_ONLINE,
        remark: format!("no consumer of group {group} is connected"),
    }
}

/// The members of a group over all brokers; None if there are none. A consumer is connected to each broker of its
/// topics, and counts once.
pub(super) async fn members(
    cluster: &Cluster,
    brokers: &[Broker],
    group: &str,
) -> Result<Option<ConsumerConnection>, AskError> {
    let mut all: Option<ConsumerConnection> = None;
    let mut members: BTreeMap<String, Connection> = BTreeMap::new();
    for broker in brokers {
        let fields = GetConsumerConnectionList { consumer_group: group.into() };
        let request = Request::with(request::GET_CONSUMER_CONNECTION_LIST, |ext| fields.encode(ext));
        let connection: ConsumerConnection = match cluster.read(&broker.addr, request).await {
            Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => continue,
            connection => connection?,
        };
        let connections = connection.connection_set.iter().cloned();
        members.extend(connections.map(|member| (member.client_id.clone(), member)));
        all.get_or_insert(connection);
    }
    Ok(all.map(|connection| ConsumerConnection {
        connection_set: members.into_values().collect(),
        ..connection
    }))
}

/// The members of a producer group.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ProducerRows(ProducerConnection);

impl fmt::Display for ProducerRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, member) in (1..).zip(&self.0.connection_set) {
            let Connection { client_id, client_addr, language, version } = member;
            let version = version::name(*version);
            writeln!(f, "{number:04}  {client_id:<32} {client_addr:<22} {language:<8} {version}")?;
        }
        Ok(())
    }
}

impl Producers {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let (mut members, mut refusals) = (BTreeMap::new(), Vec::new());
        for broker in cluster.brokers_of(&self.topic, None).await? {
            let fields = GetProducerConnectionList { producer_group: self.group.trim().into() };
            let request = Request::with(request::GET_PRODUCER_CONNECTION_LIST, |ext| fields.encode(ext));
            match cluster.read::<ProducerConnection>(&broker.addr, request).await {
                Ok(connection) => members.extend(
                    connection.connection_set.into_iter().map(|member| (member.client_id.clone(), member)),
                ),
                // So RocketMQ answers for a group that is not connected to this broker.
                Err(error) if error.code() == Some(response::SYSTEM_ERROR) => {
                    refusals.push(error.to_string())
                }
                Err(error) => return Err(error.into()),
            }
        }
        if members.is_empty() {
            bail!(
                "not found: group {} has no connected producer: {}",
                self.group.trim(),
                refusals.join("; ")
            );
        }
        out.show(&ProducerRows(ProducerConnection { connection_set: members.into_values().collect() }))
    }
}
