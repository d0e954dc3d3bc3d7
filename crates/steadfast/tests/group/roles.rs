//! What the replicas of a group are to each other, and what clients, name servers, probes and operators see of it.

use std::collections::BTreeMap;

use steadfast_wire::code::response;

use crate::client::Client;
use crate::cluster::{COUNT, Cluster};
use crate::process::{PATIENCE, Server, http_get, set, until};

/// The ids under which a name server lists the broker, each with its port.
fn listed(namesrv: &mut Client, topic: &'static str) -> BTreeMap<i64, u16> {
    let Some(route) = namesrv.route(topic) else { return BTreeMap::new() };
    let port = |addr: &str| addr.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    route.broker_datas[0].broker_addrs.iter().map(|(id, addr)| (*id, port(addr))).collect()
}

/// What the name server lists if this replica leads and all run.
fn expected(cluster: &Cluster, leader: usize) -> BTreeMap<i64, u16> {
    let id = |i: usize| if i == leader { 0 } else { i as i64 + 1 };
    (0..COUNT).map(|i| (id(i), cluster.server(i).broker().port())).collect()
}

#[test]
fn three_servers_elect_a_leader_and_the_others_name_it() {
    let cluster = Cluster::running(&[]);
    let leader = cluster.leader();
    assert_eq!(cluster.client(leader).send("t", b"first").code(), response::SUCCESS);
    for other in cluster.others(leader) {
        let mut client = cluster.client(other);
        let refused = client.send("t", b"x");
        assert_eq!(refused.code(), response::SERVICE_NOT_AVAILABLE);
        assert!(refused.remark().starts_with("stored=no; retry=safe"), "{refused:?}");
        assert!(refused.remark().contains(&format!("follows n{leader}")), "{refused:?}");
        assert_eq!(client.setting("brokerId"), (other + 1).to_string());
        assert!(cluster.server(other).banner.contains("follows n"), "{}", cluster.server(other).banner);
    }
    assert_eq!(cluster.client(leader).setting("brokerId"), "0");
    for i in 0..COUNT {
        let server = cluster.server(i);
        let banner = &server.banner;
        assert!(banner.contains(&format!("n{i} of broker-a: n0-127.0.0.1:")), "{banner}");
        assert!(banner.contains("SYNC_FLUSH: acknowledged after 2 of 3 replicas have it"), "{banner}");
        until("it is ready", || server.page("/readyz").0.contains("200"));
        let role = |name| format!("steadfast_replica_role{{role=\"{name}\"}}");
        let (is, is_not) = if i == leader { ("leader", "follower") } else { ("follower", "leader") };
        assert_eq!(cluster.figure(i, &labelled(&role(is))), ["1"]);
        assert_eq!(cluster.figure(i, &labelled(&role(is_not))), ["0"]);
        until("all are connected", || cluster.figure(i, "steadfast_replica_connected{") == ["1", "1"]);
    }
    let dashboard = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/grafana-dashboard.json");
    let dashboard = std::fs::read_to_string(dashboard).expect("the dashboard");
    let (_, page) = cluster.server(leader).page("/metrics");
    let words = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in words.filter(|word| word.starts_with("steadfast_replica_")) {
        assert!(page.contains(&format!("\n{name}{{")), "the dashboard shows {name}, which is not served");
    }
    let mut namesrv = Client::connect(cluster.namesrv.namesrv());
    until("all are registered", || listed(&mut namesrv, "t") == expected(&cluster, leader));
}

/// A name of a metric as the page begins it: the node's own labels come first.
fn labelled(name: &str) -> String {
    let own = "{cluster=\"DefaultCluster\",node_type=\"broker\",node_id=\"broker-a\",";
    name.replacen('{', own, 1)
}

#[test]
fn a_leader_that_is_stopped_hands_over() {
    let mut cluster = Cluster::running(&[]);
    let first = cluster.leader();
    assert_eq!(cluster.client(first).send("t", b"before").code(), response::SUCCESS);
    let (status, log) = cluster.take(first).stop_and_log();
    assert!(status.success(), "{log}");
    assert!(log.contains(&format!("leadership handed over; n{first} of broker-a follows n")), "{log}");
    let second = cluster.leader();
    assert_ne!(first, second);
    let mut client = cluster.client(second);
    assert_eq!(client.send("t", b"after").code(), response::SUCCESS);
    assert_eq!(client.max_offset("t"), 2);

    cluster.start(&[first]);
    let leader = cluster.leader();
    let mut namesrv = Client::connect(cluster.namesrv.namesrv());
    until("the routes follow", || listed(&mut namesrv, "t") == expected(&cluster, leader));
    assert!(!cluster.namesrv.log().contains("different names"), "{}", cluster.namesrv.log());
    cluster.until_equal();
}

/// RocketMQ's preferredLeaderId.
#[test]
fn the_preferred_replica_leads_and_leads_again_when_it_is_back() {
    let mut cluster = Cluster::running(&["preferredLeaderId=n1"]);
    until("n1 leads", || cluster.leader() == 1);
    cluster.take(1).kill();
    let other = cluster.leader();
    assert_eq!(cluster.client(other).send("t", b"while it was away").code(), response::SUCCESS);
    cluster.start(&[1]);
    until("n1 leads again", || cluster.leader() == 1);
    let mut client = cluster.client(1);
    assert_eq!(client.send("t", b"when it is back").code(), response::SUCCESS);
    assert_eq!(client.max_offset("t"), 2);
}

/// The first election of a group takes all its replicas; who waits says for whom.
#[test]
fn a_replica_that_waits_says_for_whom() {
    let mut cluster = Cluster::new(&[]);
    let pages =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr()).expect("a port");
    let mut waiting = cluster.command(0);
    set(&mut waiting, &[&format!("metricsPromExporterPort={}", pages.port())]);
    let first = std::thread::spawn(|| Server::spawn(waiting));
    let mut text = String::new();
    until("it says what is missing", || {
        if std::net::TcpStream::connect_timeout(&pages, PATIENCE).is_ok() {
            let (status, body) = http_get(pages, "/readyz");
            assert!(status.contains("503"), "{status} {body}");
            text = body;
        }
        text.contains("n1 at 127.0.0.1:")
    });
    assert!(text.contains("n0 of broker-a knows no leader: 1 of 3 replicas are there"), "{text}");
    assert!(text.contains("2 of 3, the first one of a new group all of them"), "{text}");
    assert!(text.contains("n1 at 127.0.0.1:") && text.contains("n2 at 127.0.0.1:"), "{text}");
    cluster.start(&[1, 2]);
    assert!(first.join().expect("a server").banner.contains("n0 of broker-a"));
}
