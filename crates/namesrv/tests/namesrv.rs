//! The name server as its peers see it: requests in, answers out.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use steadfast_namesrv::{
    Gone, Keeper, Namesrv, ORDER_TOPIC_CONFIG, Registration, Rejected, Response, Settings, Source,
};
use steadfast_wire::body::{
    Body, ClusterInfo, DataVersion, KVTable, RegisterBrokerBody, TopicConfig, TopicList, TopicRouteData,
};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::{ExtFields, Header};

const CONN: u64 = 7;

fn ask(server: &mut Namesrv, code: i32, fields: &[(&'static str, &'static str)]) -> Response {
    send(server, 0, CONN, code, fields, &[])
}

fn send(
    server: &mut Namesrv,
    now: u64,
    conn: u64,
    code: i32,
    fields: &[(&'static str, &'static str)],
    body: &[u8],
) -> Response {
    let header =
        Header { ext: fields.iter().copied().collect::<ExtFields<'_>>(), ..Header::request(code, 42) };
    let answer = server.handle(now, conn, &header, body);
    assert_eq!(answer.header.opaque, 42);
    assert!(answer.header.is_response());
    answer
}

fn remark(answer: &Response) -> &str {
    answer.header.remark.as_deref().unwrap_or_default()
}

fn topics(names: &[&str]) -> BTreeMap<String, TopicConfig> {
    let config = |name: &&str| TopicConfig { topic_name: (*name).to_owned(), ..TopicConfig::default() };
    names.iter().map(|name| ((*name).to_owned(), config(name))).collect()
}

fn body(names: &[&str], state_version: i64) -> Vec<u8> {
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.topic_config_table = topics(names);
    body.topic_config_serialize_wrapper.data_version.state_version = state_version;
    body.encode()
}

const BROKER: [(&str, &str); 5] = [
    ("brokerName", "broker-a"),
    ("brokerAddr", "10.0.0.1:10911"),
    ("clusterName", "DefaultCluster"),
    ("haServerAddr", "10.0.0.1:10912"),
    ("brokerId", "0"),
];

fn fields(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&BROKER, changes].concat()
}

fn register(
    server: &mut Namesrv,
    now: u64,
    conn: u64,
    changes: &[(&'static str, &'static str)],
    body: &[u8],
) -> Response {
    send(server, now, conn, request::REGISTER_BROKER, &fields(changes), body)
}

fn route(server: &mut Namesrv, topic: &'static str) -> Option<TopicRouteData> {
    let answer = ask(server, request::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)]);
    (answer.header.code == response::SUCCESS).then(|| TopicRouteData::decode(&answer.body).expect("a route"))
}

#[test]
fn a_registered_broker_is_found_by_topic_and_cluster() {
    let mut server = Namesrv::new();
    let answer = register(&mut server, 0, CONN, &[], &body(&["orders", "TBW102"], 0));
    assert_eq!(answer.header.code, response::SUCCESS);

    let answer = ask(
        &mut server,
        request::GET_ROUTEINFO_BY_TOPIC,
        &[("topic", "orders"), ("acceptStandardJsonOnly", "true")],
    );
    let expected = r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":16,"topicSysFlag":0,"writeQueueNums":16}]}"#;
    assert_eq!(std::str::from_utf8(&answer.body).unwrap(), expected);

    let answer = ask(&mut server, request::GET_BROKER_CLUSTER_INFO, &[]);
    let info = ClusterInfo::decode(&answer.body).unwrap();
    assert_eq!(info.cluster_addr_table["DefaultCluster"], ["broker-a"]);
    assert_eq!(info.broker_addr_table["broker-a"].broker_addrs[&0], "10.0.0.1:10911");

    for (code, fields) in [
        (request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[][..]),
        (request::GET_TOPICS_BY_CLUSTER, &[("cluster", "DefaultCluster")]),
    ] {
        let answer = ask(&mut server, code, fields);
        assert_eq!(TopicList::decode(&answer.body).unwrap().topic_list, ["TBW102", "orders"]);
    }
}

#[test]
fn the_refusal_of_an_unknown_topic_tells_cause_and_cure() {
    let mut server = Namesrv::new();
    let fields = [("topic", "orders")];
    let answer = ask(&mut server, request::GET_ROUTEINFO_BY_TOPIC, &fields);
    assert_eq!(answer.header.code, response::TOPIC_NOT_EXIST);
    assert!(remark(&answer).contains("orders: no broker is registered"), "{answer:?}");
    register(&mut server, 0, CONN, &[], &body(&["a", "b"], 0));
    let answer = ask(&mut server, request::GET_ROUTEINFO_BY_TOPIC, &fields);
    assert_eq!(answer.header.code, response::TOPIC_NOT_EXIST);
    assert!(remark(&answer).contains("updateTopic"), "{answer:?}");
}

#[test]
fn a_damaged_or_compressed_body_is_refused() {
    let mut server = Namesrv::new();
    let body = body(&["a", "b"], 0);
    let answer = register(&mut server, 0, CONN, &[("bodyCrc32", "1")], &body);
    assert_eq!(answer.header.code, response::SYSTEM_ERROR);
    assert!(remark(&answer).contains("crc32 not match"), "{answer:?}");

    let crc32: &'static str = (crc32fast::hash(&body) & 0x7FFF_FFFF).to_string().leak();
    let answer = register(&mut server, 0, CONN, &[("bodyCrc32", crc32), ("compressed", "true")], &body);
    assert!(remark(&answer).contains("compressedRegister=false"), "{answer:?}");
    let answer = register(&mut server, 0, CONN, &[("bodyCrc32", crc32)], &body);
    assert_eq!(answer.header.code, response::SUCCESS);

    let answer = register(&mut server, 0, CONN, &[], b"{not json");
    assert_eq!(answer.header.code, response::SYSTEM_ERROR);
    let answer = ask(&mut server, request::REGISTER_BROKER, &[("brokerName", "b")]);
    assert!(remark(&answer).contains("is missing"), "{answer:?}");
}

#[test]
fn silent_and_disconnected_brokers_are_forgotten() {
    let mut server = Namesrv::new();
    register(&mut server, 0, 1, &[], &body(&["a", "b"], 0));
    let short =
        [("brokerName", "broker-b"), ("brokerAddr", "10.0.0.2:10911"), ("heartbeatTimeoutMillis", "10000")];
    register(&mut server, 0, 2, &short, &body(&["a", "c"], 0));
    assert!(server.expire(10_000).is_empty());
    let gone = server.expire(10_001);
    let expected =
        Gone { broker_name: "broker-b".to_owned(), broker_id: 0, addr: "10.0.0.2:10911".to_owned() };
    assert_eq!(gone, [expected]);
    assert!(route(&mut server, "c").is_none() && route(&mut server, "a").is_some());

    register(&mut server, 100_000, 1, &[], &body(&["a", "b"], 0));
    assert!(server.expire(220_000).is_empty(), "120 s are counted from the last registration");
    assert!(server.disconnected(2).is_empty(), "its broker has expired");
    assert_eq!(server.disconnected(1).len(), 1);
    assert!(route(&mut server, "a").is_none());
}

#[test]
fn a_reconnected_broker_outlives_its_old_connection() {
    let mut server = Namesrv::new();
    register(&mut server, 0, 1, &[], &body(&["a", "b"], 0));
    register(&mut server, 10, 2, &[], &body(&["a", "b"], 0));
    assert!(server.disconnected(1).is_empty());
    assert!(route(&mut server, "a").is_some());
}

#[test]
fn a_lower_state_version_never_replaces_a_higher_one() {
    let mut server = Namesrv::new();
    let other = [("brokerAddr", "10.0.0.2:10911")];
    register(&mut server, 0, 1, &[], &body(&["a", "b"], 5));
    let answer = register(&mut server, 0, 2, &other, &body(&["a", "b"], 4));
    assert_eq!(answer.header.code, response::SYSTEM_ERROR);
    assert!(remark(&answer).contains("10.0.0.1:10911"), "{answer:?}");
    assert_eq!(route(&mut server, "a").unwrap().broker_datas[0].broker_addrs[&0], "10.0.0.1:10911");

    register(&mut server, 0, 2, &other, &body(&["a", "b"], 6));
    assert_eq!(route(&mut server, "a").unwrap().broker_datas[0].broker_addrs[&0], "10.0.0.2:10911");
    assert!(server.disconnected(1).is_empty(), "the replaced replica has nothing left");
}

#[test]
fn a_slave_learns_its_master_and_brings_no_topics() {
    let mut server = Namesrv::new();
    register(&mut server, 0, 1, &[], &body(&["a", "b"], 0));
    let slave = [("brokerAddr", "10.0.0.2:10911"), ("brokerId", "1")];
    let answer = register(&mut server, 0, 2, &slave, &body(&["x", "y"], 0));
    assert_eq!(answer.header.ext.get("masterAddr"), Some("10.0.0.1:10911"));
    assert_eq!(answer.header.ext.get("haServerAddr"), Some("10.0.0.1:10912"));
    assert!(route(&mut server, "x").is_none());
    assert_eq!(route(&mut server, "a").unwrap().broker_datas[0].broker_addrs.len(), 2);

    // It becomes the master: one address is listed under one id.
    server.disconnected(1);
    register(&mut server, 0, 2, &[("brokerAddr", "10.0.0.2:10911")], &body(&["x", "y"], 0));
    let addrs = &route(&mut server, "x").unwrap().broker_datas[0].broker_addrs;
    assert_eq!(addrs.iter().collect::<Vec<_>>(), [(&0, &"10.0.0.2:10911".to_owned())]);
}

#[test]
fn a_changed_topic_alone_is_merged_but_is_no_first_registration() {
    let mut server = Namesrv::new();
    let answer = register(&mut server, 0, 1, &[], &body(&["new"], 0));
    assert!(remark(&answer).contains("has not registered"), "{answer:?}");
    register(&mut server, 0, 1, &[], &body(&["a", "b"], 0));
    register(&mut server, 0, 1, &[], &body(&["new"], 1));
    assert!(route(&mut server, "new").is_some() && route(&mut server, "a").is_some());
}

fn local(names: &[&str]) -> Registration {
    Registration {
        cluster: "DefaultCluster".to_owned(),
        broker_name: "broker-a".to_owned(),
        broker_id: 0,
        addr: "127.0.0.1:10911".to_owned(),
        ha_addr: "127.0.0.1:10912".to_owned(),
        enable_acting_master: false,
        topics: topics(names),
        version: DataVersion { state_version: 3, ..DataVersion::default() },
        source: Source::Local,
    }
}

#[test]
fn a_local_broker_is_complete_and_never_expires() {
    let mut server = Namesrv::new();
    server.register(0, local(&["a"])).unwrap();
    let mut newer = local(&["b"]);
    newer.version.counter = 1;
    server.register(0, newer).unwrap();
    assert!(server.expire(u64::MAX).is_empty());
    assert!(route(&mut server, "a").is_none() && route(&mut server, "b").is_some());
    let mut older = local(&["a"]);
    older.addr = "10.0.0.9:1".to_owned();
    older.version.state_version = 2;
    assert!(matches!(server.register(0, older), Err(Rejected::Outdated { held: 3, offered: 2, .. })));
}

/// Replicas of a group: the leader's term is its state version. Who led before and does not know is refused; who does is
/// listed under its own id again. Nobody is warned of that.
#[test]
fn routes_follow_the_leader_of_a_group() {
    let mut server = Namesrv::new();
    let replica = |number: u8, id, term| Registration {
        broker_id: id,
        addr: format!("10.0.0.{number}:10911"),
        version: DataVersion { state_version: term, ..DataVersion::default() },
        source: Source::Remote { conn: number.into(), lifetime_ms: 1_000 },
        ..local(&["a", "b"])
    };
    let listed = |server: &mut Namesrv| {
        let addrs = route(server, "a").map(|route| route.broker_datas[0].broker_addrs.clone());
        let last = |addr: String| addr.as_bytes()[7] - b'0';
        addrs.unwrap_or_default().into_iter().map(|(id, addr)| (id, last(addr))).collect::<Vec<_>>()
    };
    for registration in [replica(1, 0, 4), replica(2, 2, 4), replica(3, 3, 4)] {
        server.register(0, registration).unwrap();
    }
    assert_eq!(listed(&mut server), [(0, 1), (2, 2), (3, 3)]);
    // The second one is elected; the first one has not noticed.
    server.register(0, replica(2, 0, 5)).unwrap();
    assert_eq!(server.routes.take_displaced(), None);
    assert!(matches!(
        server.register(0, replica(1, 0, 4)),
        Err(Rejected::Outdated { held: 5, offered: 4, .. })
    ));
    assert_eq!(listed(&mut server), [(0, 2), (3, 3)]);
    server.register(0, replica(1, 1, 5)).unwrap();
    assert_eq!(listed(&mut server), [(0, 2), (1, 1), (3, 3)]);
    // It goes without a word: nobody is taken for the leader until there is one.
    server.disconnected(2);
    assert_eq!(listed(&mut server), [(1, 1), (3, 3)]);
    server.register(0, replica(3, 0, 6)).unwrap();
    assert_eq!(listed(&mut server), [(0, 3), (1, 1)]);
}

/// Two servers of one name take the routes from each other: every change is told, once, and whoever registers again
/// after the other one left has its topics back.
#[test]
fn a_replica_that_takes_the_place_of_another_one_is_told() {
    let mut server = Namesrv::new();
    server.register(0, local(&["a"])).unwrap();
    server.register(0, local(&["a"])).unwrap();
    assert_eq!(server.routes.take_displaced(), None, "it is the same one");
    register(&mut server, 0, 9, &[], &body(&["b", "c"], 3));
    let told = server.routes.take_displaced().unwrap();
    assert_eq!((&*told.gone.addr, &*told.by), ("127.0.0.1:10911", "10.0.0.1:10911"));
    assert!(told.to_string().contains("give them different names"), "{told}");
    register(&mut server, 0, 9, &[], &body(&["b", "c"], 3));
    assert_eq!(server.routes.take_displaced(), None, "told once");
    server.disconnected(9);
    assert!(route(&mut server, "a").is_none());
    server.register(0, local(&["a"])).unwrap();
    assert!(route(&mut server, "a").is_some() && route(&mut server, "b").is_none());
    assert_eq!(server.routes.take_displaced(), None, "the other one was gone");
}

#[test]
fn unregistered_and_deleted() {
    let mut server = Namesrv::new();
    register(&mut server, 0, CONN, &[], &body(&["a", "b"], 0));
    ask(&mut server, request::DELETE_TOPIC_IN_NAMESRV, &[("topic", "a"), ("clusterName", "Other")]);
    assert!(route(&mut server, "a").is_some());
    ask(&mut server, request::DELETE_TOPIC_IN_NAMESRV, &[("topic", "a"), ("clusterName", "DefaultCluster")]);
    ask(&mut server, request::DELETE_TOPIC_IN_NAMESRV, &[("topic", "b")]);
    assert!(route(&mut server, "a").is_none() && route(&mut server, "b").is_none());
    assert!(!server.routes.is_empty());
    ask(&mut server, request::UNREGISTER_BROKER, &fields(&[("brokerAddr", "10.0.0.3:1")]));
    assert!(!server.routes.is_empty(), "another address is not this broker");
    ask(&mut server, request::UNREGISTER_BROKER, &BROKER);
    assert!(server.routes.is_empty());
}

#[test]
fn settings_and_the_order_of_a_topic() {
    let mut server = Namesrv::new();
    let key = [("namespace", ORDER_TOPIC_CONFIG), ("key", "a")];
    assert_eq!(ask(&mut server, request::GET_KV_CONFIG, &key).header.code, response::QUERY_NOT_FOUND);
    let put = [&key[..], &[("value", "broker-a:4")]].concat();
    assert_eq!(ask(&mut server, request::PUT_KV_CONFIG, &put).header.code, response::SUCCESS);
    let answer = ask(&mut server, request::GET_KV_CONFIG, &key);
    assert_eq!(answer.header.ext.get("value"), Some("broker-a:4"));

    let answer = register(&mut server, 0, CONN, &[], &body(&["a", "b"], 0));
    assert_eq!(KVTable::decode(&answer.body).unwrap().table["a"], "broker-a:4");
    assert_eq!(route(&mut server, "a").unwrap().order_topic_conf.as_deref(), Some("broker-a:4"));
    assert_eq!(route(&mut server, "b").unwrap().order_topic_conf, None);
    let namespace = [("namespace", ORDER_TOPIC_CONFIG)];
    let answer = ask(&mut server, request::GET_KVLIST_BY_NAMESPACE, &namespace);
    assert_eq!(KVTable::decode(&answer.body).unwrap().table["a"], "broker-a:4");

    ask(&mut server, request::DELETE_KV_CONFIG, &key);
    let answer = ask(&mut server, request::GET_KVLIST_BY_NAMESPACE, &namespace);
    assert_eq!(answer.header.code, response::QUERY_NOT_FOUND);
}

/// Keeps the documents in memory, or refuses to.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<(Option<Vec<u8>>, bool)>>);

impl Keeper for Memory {
    fn keep(&mut self, document: &[u8]) -> Result<(), String> {
        let mut memory = self.0.lock().unwrap();
        if memory.1 {
            return Err("the disk is full".to_owned());
        }
        memory.0 = Some(document.to_vec());
        Ok(())
    }
}

fn kept(memory: &Memory) -> Namesrv {
    let document = memory.0.lock().unwrap().0.clone();
    let settings = Settings::new(document.as_deref(), Box::new(memory.clone())).unwrap();
    Namesrv::with(settings, vec![("namesrvPort".to_owned(), "9876".to_owned())])
}

#[test]
fn settings_are_kept_before_they_are_acknowledged() {
    let memory = Memory::default();
    let mut server = kept(&memory);
    let key = [("namespace", "n"), ("key", "k")];
    let put = [&key[..], &[("value", "v")]].concat();
    ask(&mut server, request::PUT_KV_CONFIG, &put);
    let document = memory.0.lock().unwrap().0.clone().unwrap();
    assert_eq!(String::from_utf8(document).unwrap(), r#"{"configTable":{"n":{"k":"v"}}}"#, "RocketMQ's form");
    let mut server = kept(&memory);
    assert_eq!(ask(&mut server, request::GET_KV_CONFIG, &key).header.ext.get("value"), Some("v"));

    memory.0.lock().unwrap().1 = true;
    let refused = ask(&mut server, request::DELETE_KV_CONFIG, &key);
    assert_eq!(refused.header.code, response::SYSTEM_ERROR);
    assert!(remark(&refused).contains("nothing was changed: the disk is full"), "{refused:?}");
    assert_eq!(ask(&mut server, request::GET_KV_CONFIG, &key).header.ext.get("value"), Some("v"));
    memory.0.lock().unwrap().1 = false;
    ask(&mut server, request::DELETE_KV_CONFIG, &key);
    let answer = ask(&mut kept(&memory), request::GET_KVLIST_BY_NAMESPACE, &[("namespace", "n")]);
    assert_eq!(answer.header.code, response::QUERY_NOT_FOUND);
}

#[test]
fn a_broker_without_write_permission_is_left_by_producers_until_its_topics_change() {
    let mut server = Namesrv::new();
    register(&mut server, 0, CONN, &[], &body(&["a", "b"], 0));
    let broker = [("brokerName", "broker-a")];
    let wiped = ask(&mut server, request::WIPE_WRITE_PERM_OF_BROKER, &broker);
    assert_eq!(wiped.header.ext.get("wipeTopicCount"), Some("2"));
    let perm = |server: &mut Namesrv| route(server, "a").unwrap().queue_datas[0].perm;
    assert_eq!(perm(&mut server), 4);
    register(&mut server, 0, CONN, &[], &body(&["a", "b"], 0));
    assert_eq!(perm(&mut server), 4, "a sign of life changes nothing");
    let added = ask(&mut server, request::ADD_WRITE_PERM_OF_BROKER, &broker);
    assert_eq!(added.header.ext.get("addTopicCount"), Some("2"));
    assert_eq!(perm(&mut server), 6);
    ask(&mut server, request::WIPE_WRITE_PERM_OF_BROKER, &broker);
    register(&mut server, 0, CONN, &[], &body(&["a", "b"], 1));
    assert_eq!(perm(&mut server), 6);
    let unknown = ask(&mut server, request::WIPE_WRITE_PERM_OF_BROKER, &[("brokerName", "x")]);
    assert_eq!(unknown.header.ext.get("wipeTopicCount"), Some("0"));
}

#[test]
fn clusters_and_brokers_are_system_topics() {
    let mut server = Namesrv::new();
    register(&mut server, 0, CONN, &[], &body(&["a", "b"], 0));
    let list =
        TopicList::decode(&ask(&mut server, request::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[]).body).unwrap();
    assert_eq!(list.topic_list, ["DefaultCluster", "broker-a"]);
    assert_eq!(list.broker_addr.as_deref(), Some("10.0.0.1:10911"), "which knows the others");
}

#[test]
fn the_configuration_is_shown_and_fixed() {
    let mut server = kept(&Memory::default());
    assert_eq!(&ask(&mut server, request::GET_NAMESRV_CONFIG, &[]).body[..], b"namesrvPort=9876");
    let mut update =
        |text: &str| send(&mut server, 0, CONN, request::UPDATE_NAMESRV_CONFIG, &[], text.as_bytes());
    assert_eq!(update("namesrvPort=9876\n").header.code, response::SUCCESS);
    let refused = update("namesrvPort=1");
    assert_eq!(refused.header.code, response::SYSTEM_ERROR);
    assert!(remark(&refused).contains("configuration file and restart"), "{refused:?}");
    assert_eq!(update("kvConfigPath=/x").header.code, response::NO_PERMISSION);
}

#[test]
fn a_broker_asks_whether_its_topics_are_known() {
    let mut server = Namesrv::new();
    let version = DataVersion { counter: 1, state_version: 2, timestamp: 3 };
    let ask = |server: &mut Namesrv, version: DataVersion| {
        send(server, 100_000, CONN, request::QUERY_DATA_VERSION, &BROKER, &version.encode())
    };
    assert_eq!(ask(&mut server, version).header.ext.get("changed"), Some("true"));
    register(&mut server, 0, CONN, &[], &body(&["a", "b"], 2));
    let answer = ask(&mut server, version);
    assert_eq!(answer.header.ext.get("changed"), Some("true"));
    let held = DataVersion::decode(&answer.body).unwrap();
    assert_eq!(ask(&mut server, held).header.ext.get("changed"), Some("false"));
    assert!(server.expire(200_000).is_empty(), "the question was a sign of life");
}

#[test]
fn an_unknown_code_is_not_supported() {
    let answer = ask(&mut Namesrv::new(), 4711, &[]);
    assert_eq!(answer.header.code, response::REQUEST_CODE_NOT_SUPPORTED);
    assert!(remark(&answer).contains("request type 4711"), "{answer:?}");
}

/// Anybody may register brokers and put settings: what a name server keeps of them is bounded.
#[test]
fn strangers_cannot_fill_its_memory() {
    let mut server = Namesrv::new();
    assert_eq!(register(&mut server, 0, CONN, &[], &body(&["orders", "TBW102"], 0)).header.code, 0);

    let of_broker = |number: usize, count: usize| {
        let names: Vec<String> = (0..count).map(|topic| format!("{topic}-{number}")).collect();
        body(&names.iter().map(String::as_str).collect::<Vec<_>>(), 0)
    };
    let as_broker = |server: &mut Namesrv, name: &str, body: &[u8]| {
        let mut header = Header::request(request::REGISTER_BROKER, 42);
        header.ext = fields(&[("brokerName", "")]).into_iter().collect();
        header.ext.push("brokerName", name.to_owned());
        header.ext.push("brokerAddr", name.to_owned());
        server.handle(0, CONN, &header.into_owned(), body)
    };
    let full = (0..100).find_map(|number| {
        let answer = as_broker(&mut server, &format!("topics-{number}"), &of_broker(number, 50_000));
        (answer.header.code != response::SUCCESS).then_some((number, answer))
    });
    let (brokers, refused) = full.expect("topics are bounded");
    assert_eq!(brokers, 19);
    assert!(remark(&refused).contains("topics, the limit is 1000000"), "{refused:?}");

    let refused = (0..10_000).find_map(|number| {
        let answer = as_broker(&mut server, &format!("b{number}"), &body(&[], 0));
        (answer.header.code != response::SUCCESS).then_some(answer)
    });
    assert!(remark(&refused.expect("brokers are bounded")).contains("brokers, the limit is 4096"));
    let refused = as_broker(&mut server, &"n".repeat(1_025), &body(&[], 0));
    assert!(remark(&refused).contains("1025 bytes is no name"), "{refused:?}");

    let value: &'static str = "v".repeat(1 << 20).leak();
    let mut put = |key, value| {
        let fields = [("namespace", ORDER_TOPIC_CONFIG), ("key", key), ("value", value)];
        ask(&mut server, request::PUT_KV_CONFIG, &fields)
    };
    for key in ["a", "b", "c"] {
        assert_eq!(put(key, value).header.code, response::SUCCESS);
    }
    let refused = put("d", value);
    assert_eq!(refused.header.code, response::SYSTEM_ERROR);
    assert!(remark(&refused).contains("delete some first"), "{refused:?}");
    assert_eq!(put("c", "short").header.code, response::SUCCESS);
    assert_eq!(put("d", value).header.code, response::SUCCESS);

    // Those that are known go on.
    assert_eq!(register(&mut server, 1, CONN, &[], &body(&["orders", "TBW102"], 0)).header.code, 0);
    assert!(route(&mut server, "orders").is_some());
}
