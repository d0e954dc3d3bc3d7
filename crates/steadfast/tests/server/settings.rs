//! Configuration files, RocketMQ's above all, on the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::process::{Server, refusal};

/// The settings of the `broker.conf` that RocketMQ's distribution has, in its spelling.
const SHIPPED: &str = "\
# conf/broker.conf
brokerClusterName = DefaultCluster
brokerName = broker-a
brokerId = 0
deleteWhen = 04
fileReservedTime = 48
brokerRole = ASYNC_MASTER
flushDiskType = ASYNC_FLUSH
";

/// Keys that RocketMQ's guides set, with usual values.
const GUIDE: &str = "\
autoCreateTopicEnable=true
autoCreateSubscriptionGroup=true
defaultTopicQueueNums=4
clusterTopicEnable=true
mapedFileSizeCommitLog=16777216
mapedFileSizeConsumeQueue=300000
destroyMapedFileIntervalForcibly=120000
redeleteHangedFileInterval=120000
storePathCommitLog=/var/store/commitlog
storePathConsumeQueue=/var/store/consumequeue
maxMessageSize=65536
flushCommitLogLeastPages=4
flushConsumeQueueLeastPages=2
flushCommitLogThoroughInterval=10000
checkTransactionMessageEnable=false
sendMessageThreadPoolNums=128
pullMessageThreadPoolNums=128
brokerPermission=6
longPollingEnable=true
haMasterAddress=
useEpollNativeSelector=true
messageIndexEnable=true
transientStorePoolEnable=false
";

/// The binary with a configuration file and nothing else that a test would set.
fn with_file(dir: &Path, name: &str, text: &str) -> Command {
    let file = dir.join(name);
    fs::write(&file, text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("server").arg("-c").arg(file).env_remove("NAMESRV_ADDR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Settings that keep a test to itself.
fn alone(dir: &Path) -> (PathBuf, String) {
    let data = dir.join("store");
    let text = format!(
        "storePathRootDir={}\nbindAddress=127.0.0.1\nlistenPort=0\nnamesrvPort=0\nmetricsPromExporterPort=0\n",
        data.display()
    );
    (data, text)
}

#[test]
fn the_file_that_rocketmq_ships_works_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (data, alone) = alone(dir.path());
    let server = Server::spawn(with_file(dir.path(), "broker.conf", &format!("{SHIPPED}{alone}")));
    assert!(server.banner.contains("broker-a in DefaultCluster on 127.0.0.1:"), "{}", server.banner);
    assert!(server.banner.contains("ASYNC_FLUSH"), "{}", server.banner);
    assert_eq!(Client::connect(server.broker()).send("t", b"hello").code(), 0);
    assert!(data.join("log").is_dir());
    let log = server.log();
    assert_eq!(log.matches("has no effect").count(), 0, "{log}");
}

#[test]
fn flushing_is_synchronous_unless_the_file_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (_, alone) = alone(dir.path());
    let server = Server::spawn(with_file(dir.path(), "broker.conf", &format!("brokerName=b\n{alone}")));
    assert!(server.banner.contains("SYNC_FLUSH: acknowledged means on stable storage"), "{}", server.banner);
}

#[test]
fn keys_of_rocketmqs_guides_are_taken_or_warned_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_, alone) = alone(dir.path());
    let server = Server::spawn(with_file(dir.path(), "b.properties", &format!("{GUIDE}{alone}")));
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", &[0; 65_536]).code(), 0);
    let too_large = client.send("t", &[0; 65_537]);
    assert!(too_large.remark().contains("maxMessageSize"), "{too_large:?}");
    let log = server.log();
    for line in GUIDE.lines() {
        let (key, _) = line.split_once('=').unwrap();
        let warnings = log.lines().filter(|line| line.contains(&format!(": {key} "))).count();
        let taken = [
            "autoCreateTopicEnable",
            "autoCreateSubscriptionGroup",
            "defaultTopicQueueNums",
            "mapedFileSizeCommitLog",
        ];
        let taken = taken.contains(&key)
            || ["maxMessageSize", "brokerPermission", "longPollingEnable"].contains(&key);
        assert_eq!(warnings, usize::from(!taken), "{key} in:\n{log}");
    }
    assert!(log.contains("checkTransactionMessageEnable is no setting and was skipped"), "{log}");
}

#[test]
fn a_name_servers_file_works_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = with_file(dir.path(), "namesrv.conf", "listenPort=0\nkvConfigPath=/nowhere/kv.json\n");
    command.args(["--role", "namesrv", "--set", "bindAddress=127.0.0.1"]);
    let namesrv = Server::spawn(command);
    assert!(namesrv.log().contains("kvConfigPath has no effect"), "{}", namesrv.log());

    // RocketMQ's way to say it: -n, or the environment.
    for by_environment in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (_, alone) = alone(dir.path());
        let mut command = with_file(dir.path(), "broker.conf", &format!("role=broker\n{alone}"));
        let addr = namesrv.namesrv().to_string();
        match by_environment {
            true => _ = command.env("NAMESRV_ADDR", addr),
            false => _ = command.args(["-n", &addr]),
        }
        let broker = Server::spawn(command);
        let mut client = Client::connect(namesrv.namesrv());
        crate::process::until("the broker has registered", || client.route("TBW102").is_some());
        broker.kill();
        crate::process::until("it is gone", || client.route("TBW102").is_none());
    }
}

#[test]
fn wrong_values_name_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    for (text, part) in [
        ("\nlistenPort=ten", "broker.conf, line 2: listenPort takes a number from 0 to 65535, not \"ten\""),
        ("brokerPermission=7", "brokerPermission takes 6 (read and write)"),
        ("brokerRole=SLAVE", "line 1: brokerRole must be ASYNC_MASTER: masters with slaves"),
        ("brokerRole=SYNC_MASTER", "line 1: brokerRole must be ASYNC_MASTER: masters with slaves"),
        ("allAckInSyncStateSet=true", "must be false: masters with slaves"),
        ("enableDLegerCommitLog=true", "enableDLegerCommitLog=true needs dLegerPeers"),
        ("aclEnable=true", "must be false: users and permissions are not there yet"),
        ("maxMessageSize=0", "maxMessageSize must be at least 1"),
    ] {
        let (_, alone) = alone(dir.path());
        let message = refusal(&mut with_file(dir.path(), "broker.conf", &format!("{text}\n{alone}")));
        assert!(message.contains(part), "{part} not in:\n{message}");
    }
    assert!(!dir.path().join("store").exists(), "nothing was made");
}

#[test]
fn a_directory_of_rocketmq_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, alone) = alone(dir.path());
    fs::create_dir_all(data.join("commitlog")).unwrap();
    let message = refusal(&mut with_file(dir.path(), "broker.conf", &alone));
    assert!(message.contains("store/commitlog belongs to a broker of RocketMQ"), "{message}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing was added");
}

#[test]
fn another_size_of_log_files_is_warned_of_and_the_directory_keeps_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["mappedFileSizeCommitLog=16MiB"]);
    assert_eq!(Client::connect(server.broker()).send("t", b"hello").code(), 0);
    assert!(!server.log().contains("mappedFileSizeCommitLog"), "{}", server.log());
    server.kill();
    let server = Server::start(dir.path(), &["mappedFileSizeCommitLog=32MiB"]);
    let warning = "WARN mappedFileSizeCommitLog is 33554432, and this data directory was made with 16777216 and keeps it";
    assert!(server.log().contains(warning), "{}", server.log());
    assert_eq!(Client::connect(server.broker()).max_offset("t"), 1);
}
