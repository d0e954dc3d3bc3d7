//! What consumers say of themselves: the broker relays the question to each.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use steadfast_wire::body::{ConsumerRunningInfo, MessageQueue, ProcessQueueInfo, QueueMap};
use steadfast_wire::code::request;
use steadfast_wire::headers::ConsumerClient;
use steadfast_wire::version;

use super::cluster::{AskError, Broker, Cluster, Request};
use super::connections;
use super::output::Out;
use super::time;

/// A member that has messages and processed none for this long may be stuck.
const STUCK_MS: i64 = 60_000;

/// Ask the members of a consumer group for their inner state: queues, rates, subscriptions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  steadfast admin consumerStatus -n 127.0.0.1:9876 -g coupons                    (all members, one file each)
  steadfast admin consumerStatus -n 127.0.0.1:9876 -g coupons -i 10.0.0.7@4711   (one, printed)
  steadfast admin consumerStatus -n 127.0.0.1:9876 -g coupons -i 10.0.0.7@4711 -s   (with its threads)

The files go to a directory below the current one that is named by the time (ms since 1970); with --json nothing is \
written. Below the list stands whether all members subscribe to the same (they must), and of which queues a member has \
messages and processed none for a minute.")]
pub(super) struct Status {
    /// Consumer group
    #[arg(short, long = "consumerGroup", value_name = "GROUP")]
    group: String,
    /// Only this member
    #[arg(short = 'i', long = "clientId", value_name = "ID")]
    client: Option<String>,
    /// Ask through this broker only, by its address
    #[arg(short, long = "brokerAddr", value_name = "HOST:PORT")]
    broker: Option<String>,
    /// With the stacks of its threads
    #[arg(short = 's', long)]
    jstack: bool,
}

/// One member.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    client_id: String,
    version: String,
    running_info: ConsumerRunningInfo,
}

/// The whole state of a member.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = &self.running_info;
        writeln!(f, "#Consumer Properties#")?;
        for (key, value) in &info.properties {
            writeln!(f, "{key:<40}: {}", plain(value))?;
        }
        writeln!(f, "\n\n#Consumer Subscription#")?;
        for (number, subscription) in (1..).zip(&info.subscription_set) {
            let (topic, class, expression) =
                (&subscription.topic, subscription.class_filter_mode, &subscription.sub_string);
            writeln!(
                f,
                "{number:03} Topic: {topic:<40} ClassFilter: {class:<8} SubExpression: {expression}"
            )?;
        }
        queues(f, "#Consumer Offset#", "#Consumer Offset", &info.mq_table, |queue| {
            queue.commit_offset.to_string()
        })?;
        queues(f, "#Consumer MQ Detail#", "#ProcessQueueInfo", &info.mq_table, process_queue)?;
        queues(f, "#Consumer Pop Detail#", "#ProcessQueueInfo", &info.mq_pop_table, popped)?;
        self.rates(f)?;
        writeln!(f, "\n\n#User Consume Info#")?;
        info.user_consumer_info.iter().try_for_each(|(key, value)| writeln!(f, "{key:<40}: {value}"))?;
        match &info.jstack {
            Some(stacks) => writeln!(f, "\n\n#Consumer jstack#\n{stacks}"),
            None => Ok(()),
        }
    }
}

impl Member {
    fn rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = ["#Pull RT", "#Pull TPS", "#Consume RT", "#ConsumeOK TPS"];
        let (failed, hour) = ("#ConsumeFailed TPS", "#ConsumeFailedMsgsInHour");
        writeln!(f, "\n\n#Consumer RT&TPS#")?;
        writeln!(f, "{:<64}  {a:>14} {b:>14} {c:>14} {d:>14} {failed:>18} {hour:>25}", "#Topic")?;
        for (topic, rates) in &self.running_info.status_table {
            let (a, b, c, d) = (rates.pull_rt, rates.pull_tps, rates.consume_rt, rates.consume_ok_tps);
            let (failed, hour) = (rates.consume_failed_tps, rates.consume_failed_msgs);
            writeln!(f, "{topic:<64}  {a:>14.2} {b:>14.2} {c:>14.2} {d:>14.2} {failed:>18.2} {hour:>25}")?;
        }
        Ok(())
    }

    /// Queues in which nothing moves.
    fn stuck(&self, now: i64) -> impl Iterator<Item = String> {
        let orderly = self.property("PROP_CONSUMEORDERLY") == "true";
        let push = self.property("PROP_CONSUME_TYPE") == "CONSUME_PASSIVELY";
        let queues = self.running_info.mq_table.iter().filter(move |_| push);
        queues.filter_map(move |(queue, info)| {
            let why = match orderly {
                true if !info.locked => {
                    format!("can't lock for a while, {}ms", now - info.last_lock_timestamp)
                }
                true if info.droped && info.try_unlock_times > 0 => {
                    format!("unlock {} times, still failed", info.try_unlock_times)
                }
                false if info.cached_msg_count > 0 && now - info.last_consume_timestamp > STUCK_MS => {
                    let idle = now - info.last_consume_timestamp;
                    format!("can't consume for a while, maybe blocked, {idle}ms")
                }
                _ => return None,
            };
            let MessageQueue { broker_name, queue_id, topic } = queue;
            let queue = format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]");
            Some(format!("{} {queue} {why}", self.client_id))
        })
    }

    fn property(&self, key: &str) -> String {
        self.running_info.properties.get(key).map(plain).unwrap_or_default()
    }

    /// Topics and expressions, to compare with other members.
    fn subscriptions(&self) -> Vec<(&str, &str)> {
        let set = self.running_info.subscription_set.iter();
        let mut set: Vec<_> = set.map(|one| (one.topic.as_str(), one.sub_string.as_str())).collect();
        set.sort_unstable();
        set
    }
}

/// A value without the quotes of a text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn process_queue(info: &ProcessQueueInfo) -> String {
    format!(
        "ProcessQueueInfo [commitOffset={}, cachedMsgMinOffset={}, cachedMsgMaxOffset={}, cachedMsgCount={}, \
         cachedMsgSizeInMiB={}, transactionMsgMinOffset={}, transactionMsgMaxOffset={}, transactionMsgCount={}, \
         locked={}, tryUnlockTimes={}, lastLockTimestamp={}, droped={}, lastPullTimestamp={}, \
         lastConsumeTimestamp={}]",
        info.commit_offset,
        info.cached_msg_min_offset,
        info.cached_msg_max_offset,
        info.cached_msg_count,
        info.cached_msg_size_in_mi_b,
        info.transaction_msg_min_offset,
        info.transaction_msg_max_offset,
        info.transaction_msg_count,
        info.locked,
        info.try_unlock_times,
        time::compact(info.last_lock_timestamp),
        info.droped,
        time::compact(info.last_pull_timestamp),
        time::compact(info.last_consume_timestamp)
    )
}

/// What a member holds of a queue that it reads by POP.
fn popped(info: &Value) -> String {
    let field = |name| info.get(name).map_or_else(|| "0".to_owned(), plain);
    let (waiting, droped, last) = (field("waitAckCount"), field("droped"), field("lastPopTimestamp"));
    format!("PopProcessQueueInfo [waitAckCount:{waiting}, droped:{droped}, lastPopTimestamp:{last}]")
}

/// A section of queues, one a line.
fn queues<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    column: &str,
    table: &QueueMap<T>,
    value: impl Fn(&T) -> String,
) -> fmt::Result {
    writeln!(f, "\n\n{title}")?;
    writeln!(f, "{:<64}  {:<32}  {:<4}  {column:<20}", "#Topic", "#Broker Name", "#QID")?;
    for (MessageQueue { broker_name, queue_id, topic }, info) in table.iter() {
        writeln!(f, "{topic:<64}  {broker_name:<32}  {queue_id:<4}  {:<20}", value(info))?;
    }
    Ok(())
}

/// All members.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    members: Vec<Member>,
    same_subscription: bool,
    stuck: Vec<String>,
    /// Where each one's state was written.
    #[serde(skip)]
    files: Vec<PathBuf>,
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10} {:<40} {:<20} #ConsumerRunningInfoFile", "#Index", "#ClientId", "#Version")?;
        for (index, (Member { client_id, version, .. }, file)) in
            (1..).zip(self.members.iter().zip(&self.files))
        {
            writeln!(f, "{index:<10} {client_id:<40} {version:<20} {}", file.display())?;
        }
        if !self.same_subscription {
            return writeln!(f, "\n\nWARN: Different subscription in the same group of consumer!!!");
        }
        writeln!(f, "\n\nSame subscription in the same group of consumer\n\nRebalance OK")?;
        self.stuck.iter().try_for_each(|stuck| writeln!(f, "{stuck}"))
    }
}

impl Status {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        let brokers = match &self.broker {
            Some(addr) => vec![Broker { name: String::new(), addr: addr.clone() }],
            None => cluster.brokers().await?,
        };
        let group = self.group.trim();
        let Some(connection) = connections::members(cluster, &brokers, group).await? else {
            return Err(connections::not_online(&brokers, group).into());
        };
        let (mut members, mut failures) = (Vec::new(), Vec::new());
        let wanted = |id: &str| self.client.as_deref().is_none_or(|wanted| wanted.trim() == id);
        for client in connection.connection_set.iter().filter(|client| wanted(&client.client_id)) {
            match running(cluster, &brokers, group, &client.client_id, self.jstack).await {
                Ok(running_info) => members.push(Member {
                    client_id: client.client_id.clone(),
                    version: version::name(client.version),
                    running_info,
                }),
                Err(error) => failures.push(format!("{}: {error}", client.client_id)),
            }
        }
        if failures.is_empty() && members.is_empty() {
            let known: Vec<&str> =
                connection.connection_set.iter().map(|one| one.client_id.as_str()).collect();
            let wanted = self.client.as_deref().unwrap_or_default();
            bail!("not found: group {group} has no member {wanted}; it has {}", known.join(", "));
        }
        if !members.is_empty() {
            self.show(members, out)?;
        }
        if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("; ")) }
    }

    fn show(&self, mut members: Vec<Member>, out: Out) -> anyhow::Result<()> {
        if self.client.is_some()
            && let Some(member) = members.pop()
        {
            return out.show(&member);
        }
        let (now, mut files) = (time::now(), Vec::new());
        if !out.json {
            let directory = PathBuf::from(now.to_string());
            for member in &members {
                files.push(write(&directory, member).with_context(|| {
                    format!("writing the state of {} below {}", member.client_id, directory.display())
                })?);
            }
        }
        let same_subscription =
            members.windows(2).all(|two| two[0].subscriptions() == two[1].subscriptions());
        let stuck = members.iter().flat_map(|member| member.stuck(now)).collect();
        out.show(&Members { members, same_subscription, stuck, files })
    }
}

/// Asks a member through the first of the brokers that it is connected to; with `jstack` for its threads too.
pub(super) async fn running(
    cluster: &Cluster,
    brokers: &[Broker],
    group: &str,
    client: &str,
    jstack: bool,
) -> Result<ConsumerRunningInfo, AskError> {
    let mut last = None;
    for broker in brokers {
        let client_id = Some(client.into());
        let fields =
            ConsumerClient { consumer_group: group.into(), client_id, jstack, ..ConsumerClient::default() };
        let request = Request::with(request::GET_CONSUMER_RUNNING_INFO, |ext| fields.encode(ext));
        match cluster.read(&broker.addr, request).await {
            Err(error) => last = Some(error),
            info => return info,
        }
    }
    Err(last.unwrap_or_else(|| connections::not_online(brokers, group)))
}

/// Writes a member's state to a file that has its id as name.
fn write(directory: &Path, member: &Member) -> std::io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    // The id comes from the client, and must not lead elsewhere.
    let path = directory.join(member.client_id.replace('/', "_"));
    fs::write(&path, member.to_string())?;
    Ok(path)
}
