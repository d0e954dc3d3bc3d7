//! Brokers: which there are, how they are, and their settings.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use clap::Args;
use serde::Serialize;
use steadfast_wire::body::KVTable;
use steadfast_wire::code::request;

use super::cluster::{self, AskError, Broker, Cluster, MASTER, NO_BROKER, Request};
use super::output::{self, Out};
use super::place::{Place, boolean};
use super::time;

/// List clusters and brokers, with version, load and disk space
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin clusterList -n 127.0.0.1:9876

Columns:
  #BID              broker id; 0 is the master
  #InTPS(LOAD)      messages in a second (waiting sends, age of the oldest)
  #OutTPS(LOAD)     messages out a second (waiting pulls, age of the oldest | the same of acknowledgements)
  #Timer(Progress)  delayed messages: how far behind (how many are due, in and out a second)
  #PCWait(ms)       longest wait for the page cache
  #Hour             age of the oldest message
  #SPACE            part of the disk that is used
  #ACTIVATED        whether it serves
With -m: messages in and out, yesterday and since midnight.")]
pub(super) struct List {
    /// Totals of yesterday and today, rather than the load
    #[arg(short, long = "moreStats")]
    more: bool,
    /// Print again every so many seconds, until interrupted
    #[arg(short, long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    interval: Option<u64>,
    /// Only this cluster
    #[arg(short, long = "clusterName", value_name = "CLUSTER")]
    cluster: Option<String>,
}

/// Show all figures of a broker
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin brokerStatus -n 127.0.0.1:9876 -b 127.0.0.1:10911

Worth a look: brokerActive and state (whether it serves, and why not), commitLogMinOffset and commitLogMaxOffset \
(what the log holds, in bytes), earliestMessageTimeStamp (the oldest message, ms since 1970), and msgPutTotalTodayNow \
(messages taken).")]
pub(super) struct Status {
    #[command(flatten)]
    place: Place,
}

/// Show a broker's settings
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin getBrokerConfig -n 127.0.0.1:9876 -b 127.0.0.1:10911")]
pub(super) struct GetConfig {
    #[command(flatten)]
    place: Place,
}

/// Change a setting of a running broker
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin updateBrokerConfig -n 127.0.0.1:9876 -b 127.0.0.1:10911 -k autoCreateTopicEnable -v false

A setting that takes effect at start only is refused, with the reason; getBrokerConfig shows what holds now.")]
pub(super) struct UpdateConfig {
    #[command(flatten)]
    place: Place,
    /// With -c: slaves too
    #[arg(short = 'a', long = "updateAllBroker", value_name = "BOOL", num_args = 0..=1,
          default_missing_value = "true", default_value_t = false, value_parser = boolean, action = clap::ArgAction::Set)]
    all: bool,
    /// Setting
    #[arg(short, long)]
    key: String,
    /// Its new value
    #[arg(short, long, allow_hyphen_values = true)]
    value: String,
}

async fn figures(cluster: &Cluster, addr: &str) -> Result<BTreeMap<String, String>, AskError> {
    let table: KVTable = cluster.read(addr, Request::new(request::GET_BROKER_RUNTIME_INFO)).await?;
    Ok(table.table)
}

/// Fails if brokers could not be asked.
fn all_answered(failures: &[AskError]) -> anyhow::Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let causes: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(anyhow!("{}", causes.join("; ")))
}

/// Brokers with their figures.
#[derive(Debug, Serialize)]
struct Listed {
    brokers: Vec<ListedBroker>,
    #[serde(skip)]
    more: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedBroker {
    cluster: String,
    broker_name: String,
    broker_id: i64,
    addr: String,
    /// Empty if it does not answer.
    runtime: BTreeMap<String, String>,
}

impl ListedBroker {
    fn text(&self, key: &str) -> &str {
        self.runtime.get(key).map_or("", String::as_str)
    }

    /// The first number of a figure, 0 if there is none.
    fn number(&self, key: &str) -> f64 {
        self.text(key).split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    fn increase(&self, from: &str, to: &str) -> i64 {
        (self.number(to) - self.number(from)) as i64
    }

    /// Messages waiting in a queue, and for how long the first of them.
    fn load(&self, queue: &str, unknown: &str) -> String {
        let figure = |what| {
            let key = format!("{queue}ThreadPoolQueue{what}");
            self.runtime.get(&key).map_or_else(|| unknown.to_owned(), Clone::clone)
        };
        format!("{},{}ms", figure("Size"), figure("HeadWaitTimeMills"))
    }

    fn hours(&self) -> f64 {
        let earliest = self.number("earliestMessageTimeStamp") as i64;
        if earliest > 0 { (time::now() - earliest) as f64 / 3_600_000.0 } else { 0.0 }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.more { self.totals(f) } else { self.loads(f) }
    }
}

impl Listed {
    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = ["#InTotalYest", "#OutTotalYest", "#InTotalToday", "#OutTotalToday"];
        writeln!(f, "{:<16}  {:<32} {a:>14} {b:>14} {c:>14} {d:>14}", "#Cluster Name", "#Broker Name")?;
        for broker in &self.brokers {
            let (cluster, name) = (&broker.cluster, &broker.broker_name);
            let a = broker.increase("msgPutTotalYesterdayMorning", "msgPutTotalTodayMorning");
            let b = broker.increase("msgGetTotalYesterdayMorning", "msgGetTotalTodayMorning");
            let c = broker.increase("msgPutTotalTodayMorning", "msgPutTotalTodayNow");
            let d = broker.increase("msgGetTotalTodayMorning", "msgGetTotalTodayNow");
            writeln!(f, "{cluster:<16}  {name:<32} {a:>14} {b:>14} {c:>14} {d:>14}")?;
        }
        Ok(())
    }

    fn loads(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:<11}  {:<12}  {:<8}  {:<10}",
            "#Cluster Name",
            "#Broker Name",
            "#BID",
            "#Addr",
            "#Version",
            "#InTPS(LOAD)",
            "#OutTPS(LOAD)",
            "#Timer(Progress)",
            "#PCWait(ms)",
            "#Hour",
            "#SPACE",
            "#ACTIVATED"
        )?;
        for broker in &self.brokers {
            let timer = format!(
                "{}-{}({:.1}w, {:.1}, {:.1})",
                broker.number("timerReadBehind"),
                broker.number("timerOffsetBehind"),
                broker.number("timerCongestNum") / 10_000.0,
                broker.number("timerEnqueueTps"),
                broker.number("timerDequeueTps")
            );
            let (pull, ack) = (broker.load("pull", ""), broker.load("ack", "N"));
            writeln!(
                f,
                "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {timer:<22}  {:>11}  {:<12}  {:<8}  {:>10}",
                broker.cluster,
                broker.broker_name,
                broker.broker_id,
                broker.addr,
                broker.text("brokerVersionDesc"),
                format!("{:9.2}({})", broker.number("putTps"), broker.load("send", "")),
                format!("{:9.2}({pull}|{ack})", broker.number("getTransferredTps")),
                broker.text("pageCacheLockTimeMills"),
                format!("{:.2}", broker.hours()),
                format!("{:.4}", broker.number("commitLogDiskRatio")),
                broker.text("brokerActive") == "true",
            )?;
        }
        Ok(())
    }
}

impl List {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        loop {
            let (listed, failures) = self.list(cluster).await?;
            out.show(&listed)?;
            let Some(seconds) = self.interval else { return all_answered(&failures) };
            for failure in failures {
                output::warn(failure);
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    async fn list(&self, cluster: &Cluster) -> anyhow::Result<(Listed, Vec<AskError>)> {
        let info = cluster.info().await?;
        let names: Vec<&str> = match &self.cluster {
            Some(name) => vec![name],
            None => info.cluster_addr_table.keys().map(String::as_str).collect(),
        };
        ensure!(!names.is_empty(), "{NO_BROKER}");
        let (mut brokers, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            for (broker_id, Broker { name: broker_name, addr }) in cluster::replicas(&info, name)? {
                let runtime = figures(cluster, &addr).await.unwrap_or_else(|error| {
                    failures.push(error);
                    BTreeMap::new()
                });
                brokers.push(ListedBroker {
                    cluster: name.to_owned(),
                    broker_name,
                    broker_id,
                    addr,
                    runtime,
                });
            }
        }
        Ok((Listed { brokers, more: self.more }, failures))
    }
}

/// All figures of brokers.
#[derive(Debug, Serialize)]
struct Statuses {
    brokers: Vec<BrokerStatus>,
    #[serde(skip)]
    with_address: bool,
}

#[derive(Debug, Serialize)]
struct BrokerStatus {
    addr: String,
    runtime: BTreeMap<String, String>,
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for BrokerStatus { addr, runtime } in &self.brokers {
            for (key, value) in runtime {
                if self.with_address {
                    write!(f, "{addr:<24} ")?;
                }
                writeln!(f, "{key:<32}: {value}")?;
            }
        }
        Ok(())
    }
}

impl Status {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let (mut brokers, mut failures) = (Vec::new(), Vec::new());
        for Broker { addr, .. } in self.place.replicas(cluster).await? {
            match figures(cluster, &addr).await {
                Ok(runtime) => brokers.push(BrokerStatus { addr, runtime }),
                Err(error) => failures.push(error),
            }
        }
        if !brokers.is_empty() {
            out.show(&Statuses { brokers, with_address: self.place.whole_cluster().is_some() })?;
        }
        all_answered(&failures)
    }
}

/// Settings of brokers.
#[derive(Debug, Serialize)]
struct Configs {
    brokers: Vec<BrokerConfig>,
    #[serde(skip)]
    of_cluster: bool,
}

#[derive(Debug, Serialize)]
struct BrokerConfig {
    addr: String,
    /// The address of the master, of a slave.
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<String>,
    config: BTreeMap<String, String>,
}

impl fmt::Display for Configs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for BrokerConfig { addr, master, config } in &self.brokers {
            match master {
                Some(master) => writeln!(f, "============My Master: {master}=====Slave: {addr}============")?,
                None if self.of_cluster => writeln!(f, "============Master: {addr}============")?,
                None => writeln!(f, "============{addr}============")?,
            }
            for (key, value) in config {
                writeln!(f, "{key:<50}=  {value}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl GetConfig {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let mut brokers: Vec<BrokerConfig> = Vec::new();
        for (master, addr) in self.addresses(cluster).await? {
            let response = cluster.ask(&addr, Request::new(request::GET_BROKER_CONFIG)).await?;
            let config = properties(&String::from_utf8_lossy(response.body()));
            brokers.push(BrokerConfig { addr, master, config });
        }
        out.show(&Configs { brokers, of_cluster: self.place.whole_cluster().is_some() })
    }

    /// Each address, a slave's with its master's.
    async fn addresses(&self, cluster: &Cluster) -> anyhow::Result<Vec<(Option<String>, String)>> {
        let Some(name) = self.place.whole_cluster() else {
            let brokers = self.place.masters(cluster).await?;
            return Ok(brokers.into_iter().map(|broker| (None, broker.addr)).collect());
        };
        let replicas = cluster::replicas(&cluster.info().await?, name)?;
        let master_of = |name: &str| {
            let mut masters = replicas.iter().filter(|(id, _)| *id == MASTER);
            masters.find(|(_, broker)| broker.name == name).map(|(_, broker)| broker.addr.clone())
        };
        let slave = |id: i64, broker: &Broker| if id == MASTER { None } else { master_of(&broker.name) };
        Ok(replicas.iter().map(|(id, broker)| (slave(*id, broker), broker.addr.clone())).collect())
    }
}

/// The entries of a properties text.
fn properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entries = lines.filter_map(|line| line.split_once('='));
    entries.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// Brokers that took a setting.
#[derive(Debug, Serialize)]
struct Updated {
    brokers: Vec<String>,
    key: String,
    value: String,
}

impl fmt::Display for Updated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.brokers.iter().try_for_each(|addr| writeln!(f, "update broker config success, {addr}"))
    }
}

impl UpdateConfig {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let (key, value) = (self.key.trim(), self.value.trim());
        let targets =
            if self.all { self.place.replicas(cluster).await? } else { self.place.masters(cluster).await? };
        let (mut brokers, mut failures) = (Vec::new(), Vec::new());
        for Broker { addr, .. } in targets {
            let request =
                Request::new(request::UPDATE_BROKER_CONFIG).body(format!("{key}={value}\n").into_bytes());
            match cluster.ask(&addr, request).await {
                Ok(_) => brokers.push(addr),
                Err(error) => failures.push(error),
            }
        }
        if !brokers.is_empty() {
            out.show(&Updated { brokers, key: key.to_owned(), value: value.to_owned() })?;
        }
        all_answered(&failures)
    }
}
