//! The full read of a server at the end of a run: all queues from end to end, keys and positions.

use std::collections::BTreeMap;
use std::sync::Arc;

use steadfast_audit::{FinalState, Lookup, Name, Position, Queue, QueueContent};
use steadfast_types::sys_flag::PULL_SUBSCRIPTION;
use steadfast_types::{QueueOffset, limits};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{GetMinOffset, OffsetResponse, PullMessage, QueryConsumerOffset, QueryMessage};
use tokio::task::JoinSet;

use super::link::Link;
use super::producer::passing_topic;
use super::{Journal, PASSING_TOPICS, QUEUES, TOPICS, message};

/// Questions under way at a time.
const AT_ONCE: usize = 32;

/// Reads everything that the ledger needs to know.
pub(crate) async fn read_back(link: Link, journal: &Journal, state: &mut FinalState) {
    let link = Arc::new(link);
    let read = |link: Arc<Link>, queue| async move {
        let content = read_queue(&link, &queue).await;
        (queue, content)
    };
    let contents = side_by_side(&link, queues(), read).await;
    state.queues = contents.into_iter().filter_map(|(queue, content)| Some((queue, content?))).collect();

    let keys = journal.ledger().keys();
    let look_up = |link: Arc<Link>, (topic, key): (Name, Name)| async move {
        let lookup = look_up(&link, &topic, &key).await;
        ((topic, key), lookup)
    };
    state.lookups = Some(side_by_side(&link, keys, look_up).await.into_iter().collect());

    let known: Vec<Position> = journal.ledger().known_positions().cloned().collect();
    let positions = state.positions.insert(BTreeMap::new());
    for position in known {
        if let Some(offset) = read_position(&link, &position).await {
            positions.insert(position, offset);
        }
    }
}

/// Asks about many things, some at the same time.
async fn side_by_side<I, T, F>(
    link: &Arc<Link>,
    items: impl IntoIterator<Item = I>,
    ask: impl Fn(Arc<Link>, I) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut answers = Vec::new();
    let mut asking = JoinSet::new();
    for item in items {
        if asking.len() == AT_ONCE {
            answers.extend(asking.join_next().await);
        }
        asking.spawn(ask(Arc::clone(link), item));
    }
    while let Some(answer) = asking.join_next().await {
        answers.push(answer);
    }
    answers.into_iter().map(|answer| answer.expect("an answer")).collect()
}

/// All queues that anything may have been sent to.
fn queues() -> impl Iterator<Item = Queue> {
    let passing = (0..PASSING_TOPICS).map(passing_topic);
    let topics = TOPICS.into_iter().map(Name::from).chain(passing);
    topics.flat_map(|topic| (0..QUEUES).map(move |id| message::queue(Name::clone(&topic), id)))
}

/// A queue from end to end; None if it does not exist.
async fn read_queue(link: &Link, queue: &Queue) -> Option<QueueContent> {
    let min = bound(link, request::GET_MIN_OFFSET, queue).await?;
    let max = bound(link, request::GET_MAX_OFFSET, queue).await?;
    let mut content = QueueContent { min, max, messages: Vec::new() };
    let mut next = min.get();
    while next < max.get() {
        let mut ext = ExtFields::default();
        PullMessage {
            consumer_group: "audit".into(),
            topic: queue.topic.to_string().into(),
            queue_id: queue.id.get() as i32,
            queue_offset: next as i64,
            max_msg_nums: limits::PULL_MESSAGES as i32,
            sys_flag: PULL_SUBSCRIPTION,
            subscription: Some("*".into()),
            ..PullMessage::default()
        }
        .encode(&mut ext);
        let answer = link.ask(request::PULL_MESSAGE, ext).await;
        assert_eq!(answer.code, response::SUCCESS, "{queue}@{next}: {}", answer.remark());
        let found = message::found(answer.body());
        assert!(found.iter().all(|(place, _)| place == queue), "{queue}@{next}");
        next += found.len() as u64;
        content.messages.extend(found.into_iter().map(|(_, found)| found));
    }
    Some(content)
}

async fn bound(link: &Link, code: i32, queue: &Queue) -> Option<QueueOffset> {
    let mut ext = ExtFields::default();
    GetMinOffset { topic: queue.topic.to_string().into(), queue_id: queue.id.get() as i32 }.encode(&mut ext);
    let answer = link.ask(code, ext).await;
    if answer.code == response::TOPIC_NOT_EXIST {
        return None;
    }
    assert_eq!(answer.code, response::SUCCESS, "{queue}: {}", answer.remark());
    let header = answer.header().expect("a header");
    let offset = OffsetResponse::decode(&header.ext).expect("an offset").offset;
    Some(QueueOffset::new(offset as u64))
}

async fn look_up(link: &Link, topic: &Name, key: &Name) -> Lookup {
    let mut ext = ExtFields::default();
    QueryMessage {
        topic: topic.to_string().into(),
        key: key.to_string().into(),
        max_num: limits::QUERY_RESULTS as i32,
        end_timestamp: i64::MAX,
        ..QueryMessage::default()
    }
    .encode(&mut ext);
    let answer = link.ask(request::QUERY_MESSAGE, ext).await;
    if matches!(answer.code, response::QUERY_NOT_FOUND | response::TOPIC_NOT_EXIST) {
        return Lookup::default();
    }
    assert_eq!(answer.code, response::SUCCESS, "key {key} of {topic}: {}", answer.remark());
    let found = message::found(answer.body());
    let limited = found.len() == limits::QUERY_RESULTS;
    Lookup { found: found.into_iter().map(|(_, found)| found.id).collect(), limited }
}

async fn read_position(link: &Link, position: &Position) -> Option<QueueOffset> {
    let mut ext = ExtFields::default();
    QueryConsumerOffset {
        consumer_group: position.group.to_string().into(),
        topic: position.queue.topic.to_string().into(),
        queue_id: position.queue.id.get() as i32,
        set_zero_if_not_found: Some(false),
    }
    .encode(&mut ext);
    let answer = link.ask(request::QUERY_CONSUMER_OFFSET, ext).await;
    let header = answer.header().expect("a header");
    (answer.code == response::SUCCESS).then(|| {
        let offset = OffsetResponse::decode(&header.ext).expect("an offset").offset;
        QueueOffset::new(offset as u64)
    })
}
