//! Groups whose members are at odds leave messages unprocessed; the operator learns of it, once, and when it is over.
#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

use node::Node;
use steadfast_broker::io::Input;
use steadfast_wire::body::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use steadfast_wire::code::request;

/// A heartbeat of a client that subscribes to these topics.
fn heartbeat(node: &mut Node, conn: u64, client: &str, topics: &[(&str, &str)]) {
    let subscription = |&(topic, tags): &(&str, &str)| SubscriptionData {
        topic: topic.into(),
        sub_string: tags.into(),
        ..Default::default()
    };
    let data = HeartbeatData {
        client_id: client.into(),
        consumer_data_set: vec![ConsumerData {
            consume_from_where: ConsumeFromWhere::FirstOffset,
            consume_type: ConsumeType::Passively,
            group_name: "g".into(),
            message_model: MessageModel::Clustering,
            subscription_data_set: topics.iter().map(subscription).collect(),
            unit_mode: false,
        }],
        ..HeartbeatData::default()
    };
    node.json(conn, request::HEART_BEAT, &data);
}

fn conflicts(node: &mut Node) -> Vec<(String, &'static str)> {
    node.measure().conflicts
}

#[test]
fn members_that_want_other_messages_are_told_of() {
    let mut node = Node::new();
    heartbeat(&mut node, 1, "a", &[("T", "paid || lost"), ("%RETRY%g", "*")]);
    // In another order, and without the retries: the same.
    heartbeat(&mut node, 2, "b", &[("T", "lost||paid")]);
    assert!(node.warnings.is_empty() && conflicts(&mut node).is_empty());
    heartbeat(&mut node, 3, "c", &[("T", "paid"), ("%RETRY%g", "*")]);
    let [warning] = &node.warnings[..] else { panic!("{:?}", node.warnings) };
    assert!(warning.contains("group g: client a subscribes to T by \"lost || paid\""), "{warning}");
    assert!(warning.contains("client c subscribes to T by \"paid\""), "{warning}");
    assert_eq!(conflicts(&mut node), [("g".to_owned(), "subscriptions")]);
    // Once, however many heartbeats there are.
    heartbeat(&mut node, 3, "c", &[("T", "paid")]);
    assert_eq!(node.warnings.len(), 1);
    node.input(Input::Disconnected(3));
    assert!(conflicts(&mut node).is_empty());
    heartbeat(&mut node, 4, "d", &[("U", "*")]);
    assert!(node.warnings[1].contains("client d does not subscribe to T"), "{:?}", node.warnings);
    heartbeat(&mut node, 4, "d", &[("T", "paid || lost")]);
    assert!(conflicts(&mut node).is_empty(), "it was changed");
}

#[test]
fn clients_that_share_an_id_are_told_of() {
    let mut node = Node::new();
    heartbeat(&mut node, 1, "a", &[("T", "*")]);
    // It came back on another connection, before the old one was known to be gone.
    heartbeat(&mut node, 2, "a", &[("T", "*")]);
    assert!(node.warnings.is_empty() && conflicts(&mut node).is_empty());
    // Not so: both are there.
    heartbeat(&mut node, 1, "a", &[("T", "*")]);
    heartbeat(&mut node, 2, "a", &[("T", "*")]);
    heartbeat(&mut node, 1, "a", &[("T", "*")]);
    let [warning] = &node.warnings[..] else { panic!("{:?}", node.warnings) };
    assert!(warning.contains("are both called a"), "{warning}");
    assert_eq!(conflicts(&mut node), [("g".to_owned(), "client_id")]);
    node.input(Input::Disconnected(1));
    assert!(conflicts(&mut node).is_empty());
}
