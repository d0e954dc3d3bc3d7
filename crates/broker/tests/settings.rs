//! Settings that decide what the broker does with requests.

mod node;

use bytes::Bytes;
use node::{MemDisk, Node, options, pull_header};
use steadfast_broker::Options;
use steadfast_broker::io::Input;
use steadfast_wire::code::response;

fn node(change: impl FnOnce(&mut Options)) -> Node {
    let mut options = options();
    change(&mut options);
    Node::open(MemDisk::default(), options)
}

#[test]
fn broker_permission_stops_sends_or_pulls() {
    let mut both = Node::new();
    assert_eq!(both.send("t", 0, "hello", "").code, response::SUCCESS);
    let disk = both.disk;

    let mut read_only = Node::open(disk.clone(), Options { permission: 4, ..options() });
    let refused = read_only.send("t", 0, "hello", "");
    assert_eq!(refused.code, response::NO_PERMISSION);
    assert!(refused.remark.contains("stored=no") && refused.remark.contains("brokerPermission=4"));
    assert_eq!(read_only.pull("t", 0, 0).bodies(), ["hello"]);

    let mut write_only = Node::open(read_only.disk, Options { permission: 2, ..options() });
    assert_eq!(write_only.send("t", 0, "more", "").code, response::SUCCESS);
    let refused = write_only.pull("t", 0, 0);
    assert_eq!(refused.code, response::NO_PERMISSION);
    assert!(refused.remark.contains("brokerPermission=2"));
}

#[test]
fn without_long_polling_a_pull_waits_a_short_time() {
    for (long_polling, short_polling, held_for) in
        [(true, 10, 15_000), (false, 10, 10), (false, 60_000, 15_000)]
    {
        let mut node = node(|options| {
            options.long_polling = long_polling;
            options.short_polling = short_polling;
        });
        node.send("t", 0, "hello", "");
        let pull = node.request(1, pull_header("t", 0, 1, 15_000), Bytes::new());
        node.ticks += held_for - 1;
        node.input(Input::Disconnected(99));
        assert!(node.answer_to(pull).is_none(), "answered after {} ms", held_for - 1);
        node.ticks += 1;
        node.input(Input::Disconnected(99));
        assert_eq!(node.answer_to(pull).unwrap().code, response::PULL_NOT_FOUND);
    }
}
