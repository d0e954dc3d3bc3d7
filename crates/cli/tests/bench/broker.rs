//! A broker in memory, which may be told to misbehave: the bench must notice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::{Bytes, BytesMut};
use steadfast_types::record::{Draft, Stamp, stamp};
use steadfast_types::{LogOffset, QueueId, QueueOffset, Timestamp, properties, topic};
use steadfast_wire::batch;
use steadfast_wire::body::{Body, BrokerData, ClusterInfo, QueueData, TopicRouteData};
use steadfast_wire::code::{request, response};
use steadfast_wire::frame::{self, Frame};
use steadfast_wire::header::Header;
use steadfast_wire::headers::{
    ConsumerSendMsgBack, GetMaxOffset, GetMinOffset, OffsetResponse, PullMessage, PullMessageResponse,
    SendMessage, SendMessageResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const QUEUES: usize = 4;
/// The message with this number, counted over all queues, meets the fault.
const VICTIM: u64 = 100;

/// What happens to one message, or to all from it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Acknowledged and not stored.
    Lose,
    /// Stored twice.
    Double,
    /// Stored with another body and its right checksum.
    Alter,
    /// Stored with another body and the old checksum.
    Flip,
    /// Acknowledged with the offset of the message before.
    SameOffset,
    /// Refused and stored.
    RefuseAndStore,
    /// Refused, rightly.
    Refuse,
    /// The connection is closed instead of an answer; the message is stored.
    Hang,
    /// Everything is refused from here on.
    RefuseAll,
    /// Delivered at once, although it was to come later.
    Early,
    /// Removed by retention, as is all that its queue held before.
    Expire,
    /// The same, and the message after it is lost.
    ExpireAndLose,
}

/// Records of a topic by queue; None where a message was lost.
type Queues = [Vec<Option<Bytes>>; QUEUES];

#[derive(Default)]
struct Log {
    topics: BTreeMap<String, Queues>,
    /// What a consumer may send back, by log offset.
    sent: Vec<Sent>,
    sends: u64,
    sent_back: u64,
    /// Where a queue of a topic begins that retention has removed messages of.
    begin: Option<(String, usize, i64)>,
}

#[derive(Clone)]
struct Sent {
    topic: String,
    queue: usize,
    born_time: u64,
    body: Bytes,
    properties: String,
}

/// Milliseconds that a delayed message and one that was sent back have to wait.
const DELAY: u64 = 1_000;

struct Broker {
    fault: Fault,
    /// The victim is among the messages that are sent back.
    in_retries: bool,
    addr: SocketAddr,
    log: Mutex<Log>,
}

/// Starts a broker that is its own name server and never ends; returns its address.
pub(crate) fn start(fault: Fault) -> String {
    listen(fault, false)
}

/// The same, but the message that meets the fault is one that a consumer sends back.
pub(crate) fn start_for_retries(fault: Fault) -> String {
    listen(fault, true)
}

fn listen(fault: Fault, in_retries: bool) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let broker = Arc::new(Broker { fault, in_retries, addr, log: Mutex::default() });
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&broker)));
            }
        });
    });
    addr.to_string()
}

async fn serve(mut stream: TcpStream, broker: Arc<Broker>) {
    let mut input = BytesMut::new();
    let mut out = BytesMut::new();
    loop {
        while let Some(frame) = frame::split(&mut input).unwrap() {
            let Some((header, body)) = broker.answer(&frame) else { return };
            frame::encode(frame.serialize, &header, body.len(), &mut out);
            out.extend_from_slice(&body);
        }
        let written = stream.write_all(&out).await;
        out.clear();
        if written.is_err() || !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            return;
        }
    }
}

impl Broker {
    /// None: close the connection.
    fn answer(&self, frame: &Frame) -> Option<(Header<'static>, Vec<u8>)> {
        let asked = Header::decode(frame.serialize, &frame.header).unwrap();
        let mut header = Header::response(response::SUCCESS, asked.opaque);
        let mut log = self.log.lock().unwrap();
        let body = match asked.code {
            request::UPDATE_AND_CREATE_TOPIC => vec![],
            request::GET_BROKER_CLUSTER_INFO => self.cluster().encode(),
            request::GET_ROUTEINFO_BY_TOPIC => self.route().encode(),
            request::GET_MIN_OFFSET => {
                let asked = GetMinOffset::decode(&asked.ext).unwrap();
                let is_asked =
                    |topic: &str, queue: usize| *asked.topic == *topic && asked.queue_id as usize == queue;
                let begin = log.begin.as_ref().filter(|(topic, queue, _)| is_asked(topic, *queue));
                OffsetResponse { offset: begin.map_or(0, |(_, _, begin)| *begin) }.encode(&mut header.ext);
                vec![]
            }
            request::GET_MAX_OFFSET => {
                let asked = GetMaxOffset::decode(&asked.ext).unwrap();
                let queue = &log.queues(&asked.topic)[asked.queue_id as usize];
                OffsetResponse { offset: queue.len() as i64 }.encode(&mut header.ext);
                vec![]
            }
            request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
                let fields = SendMessage::decode_v2(&asked.ext).unwrap();
                self.send(&mut log, &fields, &frame.body, &mut header)?;
                vec![]
            }
            request::CONSUMER_SEND_MSG_BACK => {
                self.send_back(&mut log, &ConsumerSendMsgBack::decode(&asked.ext).unwrap());
                vec![]
            }
            request::PULL_MESSAGE => pull(&mut log, &PullMessage::decode(&asked.ext).unwrap(), &mut header),
            other => panic!("the bench sent {}", request::name(other)),
        };
        Some((header, body))
    }

    fn send(
        &self,
        log: &mut Log,
        fields: &SendMessage<'_>,
        body: &Bytes,
        header: &mut Header<'_>,
    ) -> Option<()> {
        log.sends += 1;
        let fault = match self.fault {
            Fault::RefuseAll if log.sends >= VICTIM => Fault::Refuse,
            fault if log.sends == VICTIM && !self.in_retries => fault,
            Fault::ExpireAndLose if log.sends == VICTIM + 1 => Fault::Lose,
            _ => Fault::None,
        };
        let (queue, place) = (fields.queue_id as usize, log.sent.len());
        let mut first = log.queues(&fields.topic)[queue].len() as i64;
        let sent = |body: &[u8], properties: &str| Sent {
            topic: fields.topic.clone().into_owned(),
            queue,
            born_time: fields.born_timestamp as u64,
            body: Bytes::copy_from_slice(body),
            properties: properties.to_owned(),
        };
        if fields.batch {
            for message in batch::records(body) {
                let message = message.unwrap();
                log.store(sent(&message.body, message.properties), fault);
            }
        } else {
            log.store(sent(body, fields.properties.as_deref().unwrap()), fault);
        }
        match fault {
            Fault::Expire | Fault::ExpireAndLose => log.expire(&fields.topic, queue),
            Fault::Hang => return None,
            Fault::Refuse | Fault::RefuseAndStore => {
                header.code = response::SYSTEM_BUSY;
                header.remark = Some("busy, says the test".into());
            }
            Fault::SameOffset => first -= 1,
            _ => {}
        }
        let answer = SendMessageResponse {
            msg_id: format!("{place:032X}").into(),
            queue_id: fields.queue_id,
            queue_offset: first,
            ..SendMessageResponse::default()
        };
        answer.encode(&mut header.ext);
        Some(())
    }

    fn send_back(&self, log: &mut Log, fields: &ConsumerSendMsgBack<'_>) {
        log.sent_back += 1;
        let fault = if log.sent_back == VICTIM && self.in_retries { self.fault } else { Fault::None };
        let mut again = log.sent[fields.offset as usize].clone();
        again.topic = topic::retry_topic(&fields.group);
        again.queue = 0;
        properties::push(&mut again.properties, properties::DELAY, &fields.delay_level.to_string());
        log.store(again, fault);
    }

    fn cluster(&self) -> ClusterInfo {
        ClusterInfo { broker_addr_table: [("b".to_owned(), self.data())].into(), ..ClusterInfo::default() }
    }

    fn route(&self) -> TopicRouteData {
        let queues = QueueData {
            broker_name: "b".to_owned(),
            perm: 6,
            read_queue_nums: QUEUES as i32,
            write_queue_nums: QUEUES as i32,
            topic_sys_flag: 0,
        };
        TopicRouteData {
            broker_datas: vec![self.data()],
            queue_datas: vec![queues],
            ..TopicRouteData::default()
        }
    }

    fn data(&self) -> BrokerData {
        BrokerData {
            broker_addrs: BTreeMap::from([(0, self.addr.to_string())]),
            broker_name: "b".to_owned(),
            cluster: "c".to_owned(),
            ..BrokerData::default()
        }
    }
}

impl Log {
    fn queues(&mut self, topic: &str) -> &mut Queues {
        self.topics.entry(topic.to_owned()).or_default()
    }

    /// Retention removes all that a queue holds.
    fn expire(&mut self, topic: &str, queue: usize) {
        let held = &mut self.queues(topic)[queue];
        held.fill(None);
        self.begin = Some((topic.to_owned(), queue, held.len() as i64));
    }

    fn store(&mut self, sent: Sent, fault: Fault) {
        self.sent.push(sent.clone());
        let Sent { topic, queue, born_time, body, properties } = sent;
        let is_later = properties::get(&properties, properties::DELAY).is_some() && fault != Fault::Early;
        let store_time = born_time + if is_later { DELAY } else { 0 };
        let queue_id = QueueId::new(queue as u32);
        let queue = &mut self.queues(&topic)[queue];
        let mut body = body.to_vec();
        if fault == Fault::Alter {
            body[5] ^= 1;
        }
        let host = "127.0.0.1:1".parse().unwrap();
        let draft = Draft {
            topic: &topic,
            flag: 0,
            sys_flag: 0,
            born_time,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: &properties,
        };
        let copies = match fault {
            Fault::Refuse => 0,
            Fault::Double => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let mut record = BytesMut::new();
            draft.encode(&mut record);
            stamp(
                &mut record,
                Stamp {
                    queue_id,
                    queue_offset: QueueOffset::new(queue.len() as u64),
                    log_offset: LogOffset::ZERO,
                    store_time: Timestamp::new(store_time),
                },
            );
            if fault == Fault::Flip {
                let at = record.windows(8).position(|window| window == &body[..8]).unwrap();
                record[at] ^= 1;
            }
            queue.push((fault != Fault::Lose).then(|| record.freeze()));
        }
    }
}

fn pull(log: &mut Log, fields: &PullMessage<'_>, header: &mut Header<'_>) -> Vec<u8> {
    let (queue, from) = (&log.queues(&fields.topic)[fields.queue_id as usize], fields.queue_offset as usize);
    let to = queue.len().min(from + fields.max_msg_nums as usize);
    let found: Vec<&Bytes> = queue[from..to].iter().flatten().collect();
    if found.is_empty() {
        header.code = response::PULL_NOT_FOUND;
    }
    let answer = PullMessageResponse {
        next_begin_offset: to as i64,
        max_offset: queue.len() as i64,
        ..PullMessageResponse::default()
    };
    answer.encode(&mut header.ext);
    found.iter().flat_map(|record| record.iter().copied()).collect()
}
