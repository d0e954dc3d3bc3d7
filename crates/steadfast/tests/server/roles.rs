//! Broker and name server in processes of their own.

use crate::client::Client;
use crate::process::{Server, until};

#[test]
fn a_broker_registers_with_a_name_server_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let namesrv = Server::start(dir.path(), &["role=namesrv"]);
    assert!(namesrv.broker.is_none());
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "a name server keeps nothing");
    let registry = format!("namesrvAddr={}", namesrv.namesrv());
    let broker = Server::start(dir.path(), &["role=broker", &registry]);
    assert!(broker.namesrv.is_none());

    let mut client = Client::connect(namesrv.namesrv());
    until("the template topic has a route", || client.route("TBW102").is_some());
    assert_eq!(Client::connect(broker.broker()).send("made-by-a-message", b"x").code(), 0);
    until("a new topic is registered at once", || client.route("made-by-a-message").is_some());
    broker.kill();
    until("a dead broker has no route", || client.route("TBW102").is_none());
}

#[test]
fn a_broker_finds_a_name_server_that_starts_later() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(dir.path(), &["role=namesrv"]);
    let addr = first.namesrv();
    first.kill();
    let broker = Server::start(dir.path(), &["role=broker", &format!("namesrvAddr={addr}")]);
    until("the failure is logged", || broker.log().contains("trying again"));
    let other = tempfile::tempdir().unwrap();
    let port = format!("namesrvPort={}", addr.port());
    let namesrv = Server::start(other.path(), &["role=namesrv", &port]);
    let mut client = Client::connect(namesrv.namesrv());
    until("the broker has registered", || client.route("TBW102").is_some());
}
