//! Broker and name server in processes of their own.

use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;

use crate::client::Client;
use crate::process::{Server, command, refusal, set, until};

#[test]
fn a_broker_registers_with_a_name_server_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let namesrv = Server::start(dir.path(), &["role=namesrv"]);
    assert!(namesrv.broker.is_none());
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing to keep yet");
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

/// It need not wait for its next registration to notice, as RocketMQ's brokers do.
#[test]
fn a_name_server_that_was_restarted_has_the_routes_again_at_once() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let namesrv = Server::start(dirs[0].path(), &["role=namesrv"]);
    let addr = namesrv.namesrv();
    let names = format!("namesrvAddr={addr}");
    let settings = ["role=broker", &names, "registerNameServerPeriod=60000"];
    let _broker = Server::start(dirs[1].path(), &settings);
    until("the broker has registered", || Client::connect(addr).route("TBW102").is_some());
    namesrv.kill();
    let port = format!("namesrvPort={}", addr.port());
    let namesrv = Server::start(dirs[2].path(), &["role=namesrv", &port]);
    let mut client = Client::connect(namesrv.namesrv());
    until("the broker has registered again", || client.route("TBW102").is_some());
}

/// Registered with all name servers of the list and the one in its own process; each is on its own.
#[test]
fn a_broker_registers_with_every_name_server_and_outlives_the_loss_of_one() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = Server::start(dirs[0].path(), &["role=namesrv"]);
    let second = Server::start(dirs[1].path(), &["role=namesrv"]);
    let (addr, list) = (first.namesrv(), format!("namesrvAddr={};{}", first.namesrv(), second.namesrv()));
    let broker = Server::start(dirs[2].path(), &[&list, "registerNameServerPeriod=1000"]);
    for namesrv in [first.namesrv(), second.namesrv(), broker.namesrv()] {
        let mut client = Client::connect(namesrv);
        until("every name server has the broker", || client.route("TBW102").is_some());
    }
    first.kill();
    until("the loss is logged", || broker.log().contains("trying again"));
    assert_eq!(Client::connect(broker.broker()).send("made-meanwhile", b"x").code(), 0);
    let mut other = Client::connect(second.namesrv());
    until("the other one goes on", || other.route("made-meanwhile").is_some());

    let port = format!("namesrvPort={}", addr.port());
    let first = Server::start(dirs[0].path(), &["role=namesrv", &port]);
    let mut client = Client::connect(first.namesrv());
    until("it comes back and learns everything", || client.route("made-meanwhile").is_some());
    let log = broker.log();
    assert_eq!(log.matches(&format!("registered with name server {addr}")).count(), 2, "{log}");
}

/// Two brokers of one name: the second takes the first one's routes, even at the name server in the first one's own
/// process. They come back, and the log tells why they went.
#[test]
fn a_broker_takes_its_routes_back_from_another_one_of_its_name() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = Server::start(dirs[0].path(), &["registerNameServerPeriod=1000"]);
    assert_eq!(Client::connect(first.broker()).send("of-the-first", b"x").code(), 0);
    let mut client = Client::connect(first.namesrv());
    let mut master = |topic| {
        let route = client.route(topic)?;
        Some(route.broker_datas[0].broker_addrs[&0].clone())
    };
    assert_eq!(master("of-the-first"), Some(first.broker().to_string()));
    let registry = format!("namesrvAddr={}", first.namesrv());
    let second = Server::start(dirs[1].path(), &["role=broker", &registry, "registerNameServerPeriod=60000"]);
    let (old, new) = (first.broker(), second.broker());
    let told = format!("broker broker-a id 0 is at {new} now, and was at {old}");
    until("the second one is known, and that is told", || first.log().contains(&told));
    second.kill();
    until("the first one is back", || master("of-the-first") == Some(old.to_string()));
}

/// A name server takes a registration of one topic for a part of what it missed.
#[test]
fn a_broker_without_topics_registers_at_once() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let namesrv = Server::start(dirs[0].path(), &["role=namesrv"]);
    let registry = format!("namesrvAddr={}", namesrv.namesrv());
    let broker = Server::start(dirs[1].path(), &["role=broker", &registry, "autoCreateTopicEnable=false"]);
    let mut log = String::new();
    until("the name server answered", || {
        log = broker.log();
        log.contains("name server")
    });
    assert!(log.contains("registered with name server") && !log.contains("refused"), "{log}");
}

#[test]
fn settings_of_a_name_server_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let fields = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T"), ("value", "broker-a:4")];
    let server = Server::start(dir.path(), &["role=namesrv"]);
    let put =
        Client::connect(server.namesrv()).ask(request::PUT_KV_CONFIG, fields.into_iter().collect(), &[]);
    assert_eq!(put.code(), response::SUCCESS, "{put:?}");
    server.kill();
    let server = Server::start(dir.path(), &["role=namesrv"]);
    let key: ExtFields<'static> = fields[..2].iter().copied().collect();
    let got = Client::connect(server.namesrv()).ask(request::GET_KV_CONFIG, key, &[]);
    assert_eq!(got.header.ext.get("value"), Some("broker-a:4"));
    server.kill();
    std::fs::write(dir.path().join("namesrv/kvConfig.json"), b"{").unwrap();
    let mut command = command(dir.path());
    set(&mut command, &["role=namesrv"]);
    let refused = refusal(&mut command);
    assert!(refused.contains("kvConfig.json is damaged; restore it"), "{refused}");
}

/// A client with a VIP channel talks to listenPort - 2, but pulls from listenPort.
#[test]
fn the_fast_port_takes_everything_but_pulls() {
    let dir = tempfile::tempdir().unwrap();
    // Whatever is free is told by the server; of a port below nobody knows.
    let server = Server::start(dir.path(), &[]);
    assert!(!server.banner.contains("fast port"), "{}", server.banner);
    let (port, free) = (server.broker().port(), server.namesrv().port());
    server.stop();
    let settings = [format!("listenPort={port}"), format!("fastListenPort={free}")];
    let server = Server::start(dir.path(), &[&settings[0], &settings[1]]);
    assert!(server.banner.contains("fast port"), "{}", server.banner);
    let mut fast = Client::connect(([127, 0, 0, 1], free).into());
    assert_eq!(fast.send("T", b"x").code(), response::SUCCESS);
    assert_eq!(fast.max_offset("T"), 1);
    let pulled = fast.pull("T", 0);
    assert_eq!(pulled.code(), response::REQUEST_CODE_NOT_SUPPORTED);
    assert!(pulled.remark().contains("use listenPort"), "{pulled:?}");
    assert_eq!(Client::connect(server.broker()).pull("T", 0).code(), response::SUCCESS);
}
