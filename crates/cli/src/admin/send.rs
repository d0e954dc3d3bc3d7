//! Sending a message, and sending a stored one again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;
use steadfast_types::message_id::unique_key;
use steadfast_types::properties::{KEYS, NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR, TAGS, UNIQ_KEY, WAIT};
use steadfast_types::{Timestamp, topic};
use steadfast_wire::body::TopicRouteData;
use steadfast_wire::code::{request, response};
use steadfast_wire::headers::{SendMessage as SendHeader, SendMessageResponse};

use super::cluster::{self, AskError, Broker, Cluster, Request};
use super::output::{self, Out};
use super::place::boolean;
use super::time;
use super::topics::has_code;

/// Producer group of RocketMQ's own producers.
const GROUP: &str = "CLIENT_INNER_PRODUCER";
/// Queues of a topic that the message creates.
const DEFAULT_QUEUES: i32 = 4;

/// Send one message
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  steadfast admin sendMessage -n 127.0.0.1:9876 -t SCANRECORD -p 'red packet' -k orderId -c paid

Columns: the broker and queue that took it, SEND_OK, and the id to find it by (queryMsgByUniqueKey). It is sent once:
when no answer comes, the error names the id, since the message may be stored.")]
pub(super) struct SendMessage {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Body, as text
    #[arg(short = 'p', long, value_name = "TEXT", allow_hyphen_values = true)]
    body: String,
    /// Keys to find it by, separated by spaces
    #[arg(short, long, value_name = "KEYS")]
    key: Option<String>,
    /// Tag
    #[arg(short = 'c', long, value_name = "TAG")]
    tags: Option<String>,
    /// Name of the broker to send to (not its address)
    #[arg(short, long, value_name = "NAME")]
    broker: Option<String>,
    /// Queue to send to
    #[arg(short = 'i', long, value_name = "QUEUE", requires = "broker")]
    qid: Option<i32>,
    /// Whether to record a trace of the send; accepted for RocketMQ's scripts, this tool records none
    #[arg(short = 'm', long = "msgTraceEnable", value_name = "BOOL", default_value_t = false, value_parser = boolean,
          action = clap::ArgAction::Set)]
    trace: bool,
}

/// A message that was stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    pub(super) broker_name: String,
    pub(super) queue_id: i32,
    pub(super) queue_offset: i64,
    pub(super) send_status: &'static str,
    pub(super) msg_id: String,
    pub(super) offset_msg_id: String,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32}  {:<4}  {:<20}    #MsgId", "#Broker Name", "#QID", "#Send Result")?;
        let (broker, queue, status) = (&self.broker_name, self.queue_id, self.send_status);
        writeln!(f, "{broker:<32}  {queue:<4}  {status:<20}    {}", self.msg_id)
    }
}

/// A message to send.
pub(super) struct Draft<'a> {
    pub(super) topic: &'a str,
    /// Name and value; a unique key is made if there is none.
    pub(super) properties: Vec<(&'a str, &'a str)>,
    pub(super) flag: i32,
    pub(super) body: &'a [u8],
}

impl SendMessage {
    pub(super) async fn run(self, cluster: &Cluster, out: Out) -> anyhow::Result<()> {
        if self.trace {
            output::warn(
                "-m has no effect: this tool records no trace; look for the message by its #MsgId instead",
            );
        }
        let mut properties = Vec::new();
        properties.extend(self.key.as_deref().map(|keys| (KEYS, keys.trim())));
        properties.extend(self.tags.as_deref().map(|tags| (TAGS, tags.trim())));
        let draft = Draft { topic: self.topic.trim(), properties, flag: 0, body: self.body.as_bytes() };
        out.show(&send(cluster, draft, self.broker.as_deref(), self.qid).await?)
    }
}

/// Sends a message once.
pub(super) async fn send(
    cluster: &Cluster,
    draft: Draft<'_>,
    broker: Option<&str>,
    queue: Option<i32>,
) -> anyhow::Result<Sent> {
    let (broker, queue_id) = target(cluster, draft.topic, broker, queue).await?;
    let made;
    let id = match draft.properties.iter().find(|(name, _)| *name == UNIQ_KEY) {
        Some((_, id)) => *id,
        None => {
            made = new_id(&broker.addr);
            &made
        }
    };
    let mut properties: Vec<(&str, &str)> =
        draft.properties.iter().copied().filter(|(name, _)| *name != UNIQ_KEY && *name != WAIT).collect();
    properties.extend([(UNIQ_KEY, id), (WAIT, "true")]);
    let fields = SendHeader {
        producer_group: GROUP.into(),
        topic: draft.topic.into(),
        default_topic: topic::AUTO_CREATE.into(),
        default_topic_queue_nums: DEFAULT_QUEUES,
        queue_id,
        born_timestamp: time::now(),
        flag: draft.flag,
        properties: Some(encode(&properties)?.into()),
        reconsume_times: Some(0),
        broker_name: Some(broker.name.as_str().into()),
        ..SendHeader::default()
    };
    let request =
        Request::with(request::SEND_MESSAGE_V2, |ext| fields.encode_v2(ext)).body(draft.body.to_vec());
    let answer =
        cluster.answer(&broker.addr, request).await.map_err(|error| no_answer(error, draft.topic, id))?;
    let send_status = match answer.code {
        response::SUCCESS => "SEND_OK",
        response::FLUSH_DISK_TIMEOUT => "FLUSH_DISK_TIMEOUT",
        response::SLAVE_NOT_AVAILABLE => "SLAVE_NOT_AVAILABLE",
        response::FLUSH_SLAVE_TIMEOUT => "FLUSH_SLAVE_TIMEOUT",
        _ => return Err(cluster::refusal(&broker.addr, request::SEND_MESSAGE_V2, &answer).into()),
    };
    let header = answer.header()?;
    let stored = SendMessageResponse::decode(&header.ext)?;
    Ok(Sent {
        broker_name: broker.name,
        queue_id: stored.queue_id,
        queue_offset: stored.queue_offset,
        send_status,
        msg_id: id.to_owned(),
        offset_msg_id: stored.msg_id.into_owned(),
    })
}

/// A message that was sent and not answered may be stored; one that could not be sent is not.
fn no_answer(error: AskError, topic: &str, id: &str) -> anyhow::Error {
    let sent = matches!(&error, AskError::NoAnswer { error } if !error.is_before_sending());
    let error = anyhow::Error::new(error);
    if !sent {
        return error;
    }
    error.context(format!(
        "whether the message is stored is not known; before you send it again, ask for it: \
         queryMsgByUniqueKey -t {topic} -i {id}"
    ))
}

fn encode(properties: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut text = String::new();
    for (name, value) in properties.iter().filter(|(_, value)| !value.is_empty()) {
        let separators = [NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR];
        ensure!(!value.contains(separators), "{name} has a control character that separates properties");
        text.extend([name, "\u{1}", value, "\u{2}"]);
    }
    Ok(text)
}

/// An id as producers make them, with this machine's address as the broker sees it.
fn new_id(broker: &str) -> String {
    static COUNTER: AtomicU16 = AtomicU16::new(0);
    // Connecting a datagram socket sends nothing; it only tells which address would be used.
    let local = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
        .and_then(|socket| socket.connect(broker).and_then(|()| socket.local_addr()));
    let host = local.unwrap_or_else(|_| SocketAddr::new(IpAddr::from(Ipv4Addr::LOCALHOST), 0));
    let now = Timestamp::new(time::now() as u64);
    unique_key(host, std::process::id(), now, COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// The broker and queue to send to. A topic that is nowhere is created by the message, where brokers allow that.
async fn target(
    cluster: &Cluster,
    topic: &str,
    broker: Option<&str>,
    queue: Option<i32>,
) -> anyhow::Result<(Broker, i32)> {
    let route = match cluster.route(topic).await {
        Err(error) if has_code(&error, response::TOPIC_NOT_EXIST) => {
            let template = cluster.route(topic::AUTO_CREATE).await;
            let mut template =
                template.map_err(|_| error.context("no broker creates topics when they are sent to"))?;
            for queues in &mut template.queue_datas {
                queues.write_queue_nums = queues.write_queue_nums.min(DEFAULT_QUEUES);
            }
            template
        }
        route => route?,
    };
    let places = writable(&route, broker);
    let total: i32 = places.iter().map(|(_, queues)| queues).sum();
    if total == 0 {
        let of_broker = broker.map(|name| format!(" on broker {name}")).unwrap_or_default();
        bail!(
            "topic {topic} has no queue that can be written to{of_broker}; topicRoute -t {topic} shows its queues"
        );
    }
    let Some(queue) = queue else {
        // Any queue will do; the clock's last digits spread calls over all of them.
        let mut chosen = (time::now() % i64::from(total)) as i32;
        for (broker, queues) in places {
            if chosen < queues {
                return Ok((broker, chosen));
            }
            chosen -= queues;
        }
        bail!("topic {topic} has no queue that can be written to");
    };
    let (broker, queues) = places.into_iter().next().context("no such broker")?;
    ensure!(
        (0..queues).contains(&queue),
        "broker {} has queues 0 to {} of topic {topic}",
        broker.name,
        queues - 1
    );
    Ok((broker, queue))
}

/// Brokers with the number of queues that can be written to.
fn writable(route: &TopicRouteData, name: Option<&str>) -> Vec<(Broker, i32)> {
    let queues = route.queue_datas.iter().filter(|queues| queues.perm as u32 & topic::PERM_WRITE != 0);
    let queues = queues.filter(|queues| name.is_none_or(|name| queues.broker_name == name));
    queues
        .filter_map(|queues| {
            let mut brokers = route.broker_datas.iter();
            let broker = brokers.find(|broker| broker.broker_name == queues.broker_name)?;
            Some((Broker::any_replica(broker)?, queues.write_queue_nums))
        })
        .collect()
}
