//! The mode `probe`: how long until a server, which may be just starting, acknowledges a message.

use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use steadfast_net::client::Client;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::Header;
use steadfast_wire::headers::SendMessage;

use super::args::BenchArgs;
use super::report::{self, Report};
use super::template::GROUP;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);
/// A server that took the request and is still recovering may not answer; the next attempt may be answered at once.
const ANSWER: Duration = Duration::from_secs(1);

/// Runs the mode. `--seconds` bounds the wait (default 10 s); the topic must exist.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let addr = args.broker.clone();
    ensure!(addr.is_some(), "probe needs --broker ADDR: a name server may come up before the broker does");
    let addr = addr.unwrap_or_default();
    let start = Instant::now();
    let limit = args.duration().unwrap_or(Duration::MAX);
    super::runtime()?.block_on(async {
        let mut last = String::from("nothing was tried");
        while start.elapsed() < limit {
            match attempt(args, &addr).await {
                Ok(()) => return report::print(&Report::of_probe(args, start.elapsed()), args.json),
                Err(error) => last = format!("{error:#}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::bail!(
            "no message was acknowledged within {} s; the last attempt: {last}",
            limit.as_secs_f64()
        )
    })
}

async fn attempt(args: &BenchArgs, addr: &str) -> anyhow::Result<()> {
    let client = Client::connect(addr, args.encoding.into(), ANSWER).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let fields = SendMessage {
        producer_group: GROUP.into(),
        topic: args.topic.as_str().into(),
        default_topic: steadfast_types::topic::AUTO_CREATE.into(),
        default_topic_queue_nums: args.queues as i32,
        born_timestamp: now.as_millis() as i64,
        properties: Some("WAIT\u{1}true\u{2}".into()),
        ..SendMessage::default()
    };
    let mut header = Header::request(request::SEND_MESSAGE_V2, 0);
    fields.encode_v2(&mut header.ext);
    let answer = client.request(header, b"probe", ANSWER).await?;
    ensure!(answer.code == response::SUCCESS, "{} {}", answer.code, answer.remark());
    Ok(())
}
