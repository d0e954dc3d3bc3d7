//! Orderly consumption: a queue is one client's at a time, whatever happens to the server in between.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use bytes::Bytes;
use node::{Answer, Node};
use steadfast_broker::io::Input;
use steadfast_wire::body::{Body, LockBatchRequest, LockBatchResponse, MessageQueue};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::{ExtFields, Header};

const NONE: [i32; 0] = [];

/// A node whose topic T has queues.
fn filled() -> Node {
    let mut node = Node::new();
    node.send("T", 0, "x", "");
    node
}

fn post(node: &mut Node, code: i32, client: &str, queues: &[i32]) -> i32 {
    let queue = |id: &i32| MessageQueue { broker_name: "b".into(), queue_id: *id, topic: "T".into() };
    let lock = LockBatchRequest {
        client_id: client.into(),
        consumer_group: "g".into(),
        mq_set: queues.iter().map(queue).collect(),
        only_this_broker: false,
    };
    node.request(1, Header::request(code, 0), lock.encode())
}

fn granted(answer: &Answer) -> Vec<i32> {
    assert_eq!(answer.code, response::SUCCESS, "{}", answer.remark);
    let queues = LockBatchResponse::decode(&answer.body).unwrap().lock_ok_mq_set;
    assert!(queues.iter().all(|queue| queue.broker_name == "b"), "as the client named them");
    queues.into_iter().map(|queue| queue.queue_id).collect()
}

/// The queues that the client holds after it asked for these.
fn lock(node: &mut Node, client: &str, queues: &[i32]) -> Vec<i32> {
    let opaque = post(node, request::LOCK_BATCH_MQ, client, queues);
    granted(&node.answer_to(opaque).unwrap())
}

fn unlock(node: &mut Node, client: &str, queues: &[i32]) {
    let opaque = post(node, request::UNLOCK_BATCH_MQ, client, queues);
    assert_eq!(node.answer_to(opaque).unwrap().code, response::SUCCESS);
}

#[test]
fn a_queue_is_one_clients_until_it_gives_it_back() {
    let mut node = filled();
    assert_eq!(lock(&mut node, "a", &[0, 1]), [0, 1]);
    assert_eq!(lock(&mut node, "b", &[0, 1, 2]), [2]);
    unlock(&mut node, "b", &[0]);
    assert_eq!(lock(&mut node, "b", &[0]), NONE, "it was not b's to give");
    unlock(&mut node, "a", &[0]);
    assert_eq!(lock(&mut node, "b", &[0, 1]), [0]);
    assert_eq!(lock(&mut node, "a", &[77]), NONE, "there is no such queue");
}

#[test]
fn a_lock_that_is_not_renewed_is_anyones_after_a_minute() {
    let mut node = filled();
    assert_eq!(lock(&mut node, "a", &[0, 1]), [0, 1]);
    node.ticks += 40_000;
    assert_eq!(lock(&mut node, "a", &[0]), [0], "renewed");
    node.ticks += 20_000;
    assert_eq!(lock(&mut node, "b", &[0, 1]), [1]);
    node.ticks += 40_000;
    assert_eq!(lock(&mut node, "b", &[0]), [0]);
}

/// P5: the lock is in the log before its holder starts, so that a restart gives it to nobody else. RocketMQ's broker
/// forgets it.
#[test]
fn a_restart_gives_no_lock_away() {
    let mut node = filled();
    node.hold_writes = true;
    let asked = post(&mut node, request::LOCK_BATCH_MQ, "a", &[0]);
    let other = post(&mut node, request::LOCK_BATCH_MQ, "b", &[0]);
    assert!(node.answer_to(asked).is_none(), "not granted before it is durable");
    assert_eq!(granted(&node.answer_to(other).unwrap()), NONE);
    node.release_writes();
    assert_eq!(granted(&node.answer_to(asked).unwrap()), [0]);

    let mut node = node.restart();
    assert_eq!(lock(&mut node, "b", &[0]), NONE);
    // From a snapshot too.
    (0..50).for_each(|_| _ = node.send("T", 0, "x", ""));
    let mut node = node.restart();
    assert_eq!(lock(&mut node, "b", &[0]), NONE);
    node.ticks += 60_000;
    assert_eq!(lock(&mut node, "b", &[0]), [0], "nobody renewed it");
    let mut node = node.restart();
    assert_eq!(lock(&mut node, "a", &[0]), NONE);
}

/// Giving a queue back and taking it again at once: the log has both, in this order.
#[test]
fn a_lock_that_is_taken_again_while_it_is_given_back_is_held() {
    let mut node = filled();
    assert_eq!(lock(&mut node, "a", &[0]), [0]);
    node.hold_writes = true;
    post(&mut node, request::UNLOCK_BATCH_MQ, "a", &[0]);
    let again = post(&mut node, request::LOCK_BATCH_MQ, "a", &[0]);
    assert!(node.answer_to(again).is_none());
    node.release_writes();
    node.release_writes();
    assert_eq!(granted(&node.answer_to(again).unwrap()), [0]);
    let mut node = node.restart();
    assert_eq!(lock(&mut node, "b", &[0]), NONE);
}

/// What is held can be consumed to its end on a disk that takes nothing more, but nothing new is granted.
#[test]
fn locks_are_renewed_after_a_failed_write() {
    let mut node = filled();
    assert_eq!(lock(&mut node, "a", &[0]), [0]);
    node.input(Input::WriteFailed("the disk is gone".to_owned()));
    assert_eq!(lock(&mut node, "a", &[0]), [0]);
    let refused = post(&mut node, request::LOCK_BATCH_MQ, "a", &[1]);
    assert_eq!(node.answer_to(refused).unwrap().code, response::SERVICE_NOT_AVAILABLE);
}

#[test]
fn a_deleted_topic_leaves_no_lock() {
    let mut node = filled();
    assert_eq!(lock(&mut node, "a", &[0]), [0]);
    let ext: ExtFields<'_> = [("topic", "T")].into_iter().collect();
    node.ask(Header { ext, ..Header::request(request::DELETE_TOPIC_IN_BROKER, 0) }, Bytes::new());
    assert_eq!(lock(&mut node, "a", &[0]), NONE);
    node.send("T", 0, "x", "");
    let mut node = node.restart();
    assert_eq!(lock(&mut node, "b", &[0]), [0]);
}
