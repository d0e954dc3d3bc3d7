//! Settings from text to values, and what is wrong with them.

use std::net::IpAddr;

use super::*;

fn sources(name: &str, text: &str, arguments: &[&str]) -> Sources {
    let arguments = arguments.iter().map(|item| (*item).to_owned()).collect();
    let files = vec![File { path: name.into(), text: text.to_owned() }];
    Sources { files, arguments, ..Sources::default() }
}

fn load(text: &str, arguments: &[&str]) -> Result<Config, String> {
    let loaded = Config::load(&sources("s.toml", text, arguments)).map_err(|error| error.to_string())?;
    assert_eq!(loaded.warnings, [""; 0]);
    Ok(loaded.config)
}

#[test]
fn a_file_and_overrides() {
    let text = "brokerName = \"b1\"\nlistenPort = 1234\nautoCreateTopicEnable = false\n\
                mappedFileSizeCommitLog = \"64MiB\"\nnamesrvAddr = \"a:1;b:2\"\n";
    let config = load(text, &["listenPort=1235", "flushDiskType=async_flush", "brokerIP1=10.0.0.1"]).unwrap();
    assert_eq!(config.broker_name, "b1");
    assert_eq!(config.listen_port, 1235);
    assert!(!config.auto_create_topic);
    assert_eq!(config.segment_size, Bytes(64 << 20));
    assert_eq!(config.namesrv_addr.0, ["a:1", "b:2"]);
    assert_eq!(config.flush, FlushDiskType::AsyncFlush);
    assert_eq!(config.broker_ip, Some(Host::Ip(IpAddr::from([10, 0, 0, 1]))));
}

#[test]
fn rocketmqs_files_are_read_as_they_are() {
    let text = "# a broker of RocketMQ\nbrokerClusterName = C1\nbrokerName=b-1\nbrokerId = 0\n\
                deleteWhen = 04\nfileReservedTime=48\nbrokerRole = ASYNC_MASTER\nautoCreateTopicEnable=True \n\
                mapedFileSizeCommitLog=67108864\nnamesrvAddr=a:9876;\\\n  b:9876\nmaxMesageSize=1\n\
                haListenPort=10912\nhaListenPort=10913\nbrokerPermission=4\n";
    for name in ["broker.conf", "2m-2s-sync/broker-a.properties", "no-extension"] {
        let Loaded { config, warnings } = Config::load(&sources(name, text, &[])).unwrap();
        assert_eq!((config.cluster.as_str(), config.broker_name.as_str()), ("C1", "b-1"));
        assert_eq!(config.segment_size, Bytes(64 << 20));
        assert_eq!(config.namesrv_addr.0, ["a:9876", "b:9876"]);
        assert_eq!(config.permission, Permission(4));
        // Flushing is synchronous unless the file says otherwise.
        assert_eq!(config.flush, FlushDiskType::SyncFlush);
        let all = warnings.join("\n");
        assert_eq!((config.file_reserved_time, &config.delete_when.0[..]), (Hours(48), &[4][..]));
        assert_eq!(warnings.len(), 2, "{all}");
        for part in [
            "line 12: maxMesageSize is no setting and was skipped; did you mean maxMessageSize?",
            "line 13: haListenPort has no effect: it is of masters with slaves",
        ] {
            assert!(all.contains(part), "{part} not in:\n{all}");
        }
    }
}

#[test]
fn a_name_servers_file_sets_its_port() {
    let text = "listenPort=19876\nkvConfigPath=/tmp/kv.json\nscanNotActiveBrokerInterval=1000\n";
    for sources in [
        sources("namesrv.conf", text, &[]),
        sources("mine.properties", text, &["role=namesrv"]),
        sources("mine.conf", &format!("{text}role=namesrv\n"), &[]),
    ] {
        let Loaded { config, warnings } = Config::load(&sources).unwrap();
        assert_eq!((config.namesrv_port, config.listen_port), (19876, 10911));
        assert_eq!(config.scan_interval, Millis(1000));
        assert_eq!(warnings.len(), 1);
    }
    let two = Sources {
        files: vec![
            File { path: "broker.conf".into(), text: "listenPort=1\n".to_owned() },
            File { path: "namesrv.conf".into(), text: "listenPort=2\n".to_owned() },
        ],
        ..Sources::default()
    };
    let config = Config::load(&two).unwrap().config;
    assert_eq!((config.listen_port, config.namesrv_port), (1, 2));
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    for (name, text) in [
        ("broker.conf", "listenPort=1\n"),
        ("namesrv.conf", "listenPort=1\n"),
        ("s.toml", "namesrvPort = 1\nlistenPort = 1\n"),
        ("none", "listenPort=1\n"),
    ] {
        let read = |text: &str| Config::load(&sources(name, text, &["fastListenPort=0", "namesrvPort=2"]));
        assert_eq!(read(&format!("\u{feff}{text}")), read(text), "{name}");
        assert!(read(text).is_ok(), "{name}");
    }
    let error = load("\u{feff}listenPort = 1\nlistenPrt = 1\n", &[]).unwrap_err();
    assert!(error.contains("s.toml, line 2: unknown setting"), "{error}");
}

#[test]
fn protection_that_is_not_there_is_refused() {
    for (line, part) in [
        ("enableDLegerCommitLog=true", "enableDLegerCommitLog=true needs dLegerPeers"),
        ("inSyncReplicas=2", "inSyncReplicas must be 1: masters with slaves"),
        ("aclEnable=TRUE", "aclEnable must be false: users and permissions"),
        ("allAckInSyncStateSet=true", "allAckInSyncStateSet must be false: masters with slaves"),
        ("brokerRole=SLAVE", "brokerRole must be ASYNC_MASTER: masters with slaves"),
        ("brokerRole=sync_master", "replicas are a group of 3 or 5 (enableDLegerCommitLog=true"),
        ("brokerId=1", "brokerId must be 0"),
    ] {
        let error = Config::load(&sources("broker.conf", line, &[])).unwrap_err().to_string();
        assert!(error.contains(part), "{part} not in:\n{error}");
    }
    let fine = "enableDLegerCommitLog=false\nallAckInSyncStateSet=false\nbrokerRole=async_master\ntotalReplicas=1\naclEnable=False\n";
    assert_eq!(Config::load(&sources("broker.conf", fine, &[])).unwrap().warnings, [""; 0]);
}

/// As RocketMQ's distribution has it in conf/dledger.
const OF_A_GROUP: &str = "brokerClusterName = RaftCluster\nbrokerName=RaftNode00\nlistenPort=30911\n\
    namesrvAddr=127.0.0.1:9876\nstorePathRootDir=/tmp/rmqstore/node00\nenableDLegerCommitLog=true\n\
    dLegerGroup=RaftNode00\n## must be unique\ndLegerSelfId=n0\nsendMessageThreadPoolNums=16\n\
    dLegerPeers=n0-127.0.0.1:40911;n1-127.0.0.1:40912;n2-127.0.0.1:40913\n";

#[test]
fn rocketmqs_files_of_a_group_are_read_as_they_are() {
    let Loaded { config, warnings } = Config::load(&sources("broker-n0.conf", OF_A_GROUP, &[])).unwrap();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("sendMessageThreadPoolNums has no effect"), "{warning}");
    assert!(config.is_replica());
    assert_eq!((config.self_id.0, config.replication_port()), (Some(1), Some(40911)));
    let others: Vec<_> = config.replicas.0.iter().map(|(id, addr)| format!("{id} {addr}")).collect();
    assert_eq!(others, ["1 127.0.0.1:40911", "2 127.0.0.1:40912", "3 127.0.0.1:40913"]);

    let with_ids = format!("{OF_A_GROUP}brokerRole=ASYNC_MASTER\nbrokerId=2\npreferredLeaderId=n1\n");
    let Loaded { config, warnings } = Config::load(&sources("broker-n0.conf", &with_ids, &[])).unwrap();
    let warnings = warnings.join("\n");
    assert!(warnings.contains("brokerId has no effect on a replica"), "{warnings}");
    assert_eq!((config.preferred_leader.0, warnings.contains("preferredLeaderId")), (Some(2), false));
}

#[test]
fn a_group_that_cannot_be_is_refused_with_what_to_do() {
    let far = "dLegerPeers=n0-10.0.0.1:1;n1-10.0.0.2:1;n2-b.example:1";
    for (line, part) in [
        ("dLegerSelfId=n3", "dLegerSelfId, and preferredLeaderId if it is set, must be ids in dLegerPeers"),
        ("preferredLeaderId=n3", "preferredLeaderId if it is set, must be ids in dLegerPeers"),
        ("dLegerSelfId=", "needs dLegerPeers, all replicas of the group (n0-HOST:PORT"),
        ("dLegerSelfId=0", "dLegerSelfId takes an id such as n0"),
        ("dLegerPeers=", "needs dLegerPeers, all replicas"),
        ("dLegerPeers=n0-a:1;n1-b:1", "2 replicas: a group has 3 or 5"),
        ("dLegerPeers=n0-a:1;n1-b:1;n2-c:1;n3-d:1", "4 replicas: a group has 3 or 5"),
        ("dLegerPeers=n0-a:1", "1 replica: a group has 3 or 5"),
        ("dLegerPeers=n0-a:1;n1-b:1;n1-c:1", "n1 twice"),
        ("dLegerPeers=n0-a:1;n1-b:1;n2-a:1", "a:1 twice"),
        ("dLegerPeers=n0-a:1;n1-b:1;n2-c", "not \"n2-c\""),
        ("dLegerPeers=n0-a:1;n1-b:1;n2-c:0", "not \"n2-c:0\""),
        ("dLegerPeers=n0-a:1;n1-b:1;c:1", "not \"c:1\""),
        ("listenPort=40911", "this replica's port in dLegerPeers must differ"),
        (far, "need replicationSecretFile"),
        ("brokerName=\ndLegerGroup=", "needs brokerName or dLegerGroup"),
    ] {
        let text = format!("{OF_A_GROUP}{line}\n");
        let error = Config::load(&sources("broker-n0.conf", &text, &[])).unwrap_err().to_string();
        assert!(error.contains(part), "{part} not in:\n{error}");
    }
    for line in ["replicationSecretFile=/etc/secret", "replicationUnprotected=true"] {
        let text = format!("{OF_A_GROUP}{far}\n{line}\n");
        assert!(Config::load(&sources("broker-n0.conf", &text, &[])).is_ok(), "{line}");
    }
    let text = "dLegerPeers=n0-a:1;n1-b:1;n2-c:1\ndLegerSelfId=n0\n";
    let warnings = Config::load(&sources("broker.conf", text, &[])).unwrap().warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("without effect: dLegerPeers, dLegerSelfId. enableDLegerCommitLog is false"));
}

#[test]
fn a_change_at_run_time_wins_over_files_and_the_command_line_over_it() {
    let mut sources = sources("broker.conf", "brokerPermission=2\ndefaultTopicQueueNums=3\n", &[]);
    sources.changed.insert("brokerPermission".to_owned(), "4".to_owned());
    let config = Config::load(&sources).unwrap().config;
    assert_eq!((config.permission, config.default_topic_queues), (Permission(4), 3));
    assert!(!sources.is_pinned("brokerPermission"));
    sources.arguments.push("brokerPermission = 6".to_owned());
    assert_eq!(Config::load(&sources).unwrap().config.permission, Permission(6));
    assert!(sources.is_pinned("brokerPermission"));
    sources.changed.insert("brokerPermission".to_owned(), "9".to_owned());
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.contains("changed at run time: brokerPermission takes"), "{error}");
}

#[test]
fn a_setting_that_is_served_in_part_says_how_far() {
    for (line, bound) in [("8MiB", MAX_MESSAGE_SIZE), ("7MiB", MAX_MESSAGE_SIZE), ("1MiB", 1 << 20)] {
        let text = format!("maxMessageSize={line}\n");
        let Loaded { config, warnings } = Config::load(&sources("broker.conf", &text, &[])).unwrap();
        assert_eq!(config.max_message_size, Bytes(bound));
        let warned = "maxMessageSize is 8388608 bytes, and 7340032 (7MiB) are taken at most";
        assert_eq!(warnings.iter().any(|w| w.contains(warned)), line == "8MiB", "{warnings:?}");
    }
    let text = "storePathCommitLog=/fast/commitlog\nstorePathRootDir=/data/mq\n";
    let warnings = Config::load(&sources("broker.conf", text, &[])).unwrap().warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("storePathCommitLog has no effect: all data lies in the one directory of"));
    assert!(warning.ends_with("; now it is /data/mq"), "{warning}");
}

#[test]
fn the_environment_is_a_default() {
    let mut sources = sources("broker.conf", "", &[]);
    sources.environment = Some("a:1".to_owned());
    assert_eq!(Config::load(&sources).unwrap().config.namesrv_addr.0, ["a:1"]);
    sources.files[0].text = "namesrvAddr=b:1".to_owned();
    assert_eq!(Config::load(&sources).unwrap().config.namesrv_addr.0, ["b:1"]);
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_one() {
    let error = load("role = \"all\"\n\nbrokerNmae = \"b\"\n", &["flushdisktype=SYNC_FLUSH"]).unwrap_err();
    assert!(error.contains("s.toml, line 3: unknown setting \"brokerNmae\"; did you mean brokerName?"));
    assert!(error.contains("did you mean flushDiskType?"), "{error}");
    assert!(error.contains("--help-config"));
}

#[test]
fn wrong_values_are_all_reported_with_what_is_right() {
    let text = "listenPort = 70000\nrole = \"proxy\"\nautoCreateTopicEnable = 1\nbrokerName = []\n";
    let error = load(text, &["mappedFileSizeCommitLog=1 TB", "brokerIP1"]).unwrap_err();
    for part in [
        "line 1: listenPort takes",
        "line 2: role takes all, namesrv or broker",
        "line 3: autoCreateTopicEnable takes true or false",
        "line 4: brokerName takes a text",
        "--set mappedFileSizeCommitLog=1 TB: mappedFileSizeCommitLog takes",
        "--set brokerIP1: expected key=value",
    ] {
        assert!(error.contains(part), "{part} not in:\n{error}");
    }
    assert!(load("x = = 1", &[]).unwrap_err().contains("line 1"));
    let error = Config::load(&sources("b.conf", "\nlistenPort=x\n", &[])).unwrap_err().to_string();
    assert!(error.contains("b.conf, line 2: listenPort takes"), "{error}");
}

#[test]
fn settings_are_checked_together() {
    for (overrides, part) in [
        (&["listenPort=9876"][..], "must differ"),
        (&["role=broker"], "needs namesrvAddr"),
        (&["mappedFileSizeCommitLog=16000000"], "16MiB"),
        (&["checkpointBytes=1023KiB"], "at least 1MiB"),
        (&["listenPort=9878"], "listenPort - 2 if it is not set"),
        (&["diskMaxUsedSpaceRatio=86"], "must not descend"),
        (
            &["diskSpaceWarningLevelRatio=101"],
            "--set diskSpaceWarningLevelRatio=101: diskSpaceWarningLevelRatio must be 1 to 100",
        ),
        (&["registerNameServerPeriod=999"], "must be 1000 to 60000"),
        (&["brokerId=1"], "brokerId must be 0 without enableDLegerCommitLog=true"),
        (&["retentionBytes=1GiB"], "at least twice mappedFileSizeCommitLog"),
        (&["mappedFileSizeCommitLog=1025GiB"], "must be 16MiB to 1024GiB, a multiple of 4KiB"),
        (&["brokerName=a b"], "brokerName is refused: the name has the character"),
        (&["brokerIP1=0.0.0.0"], "clients can reach"),
        (&["brokerIP1=10.0.0"], "brokerIP1 takes an IP address, a host name or nothing, not \"10.0.0\""),
        (&["defaultTopicQueueNums=0"], "1 to 1024"),
        (&["maxMessageSize=0"], "maxMessageSize must be at least 1"),
    ] {
        let error = load("", overrides).unwrap_err();
        assert!(error.contains(part), "{part} not in:\n{error}");
    }
    assert!(load("", &["listenPort=0", "namesrvPort=0"]).is_ok());
}

/// What the documentation says of limits is what is checked: the numbers at the limits are taken, those beyond are not.
#[test]
fn limits_are_told_as_they_are_checked() {
    let takes = |key: &str| Config::default().settings().find(|s| s.key == key).map(|s| s.takes).unwrap();
    for (key, told, within, beyond) in [
        ("maxConnections", "a number from 1 to 4294967295", ["1", "4294967295"], ["0", "4294967296"]),
        ("defaultTopicQueueNums", "a number from 1 to 1024", ["1", "1024"], ["0", "1025"]),
        ("serverWorkerThreads", "a number from 0 to 64", ["0", "64"], ["-1", "65"]),
        ("listenPort", "a number from 0 to 65535", ["0", "65535"], ["-1", "65536"]),
        ("diskMaxUsedSpaceRatio", "percent from 1 to 100", ["1", "85"], ["0", "101"]),
        ("fileReservedTime", "hours from 0 to 4294967295", ["0", "4294967295"], ["-1", "4294967296"]),
        ("syncFlushTimeout", "milliseconds from 1 to 4294967295", ["1", "4294967295"], ["0", "4294967296"]),
        (
            "checkpointBytes",
            "bytes (such as 65536 or 64MiB), at least 1MiB",
            ["1MiB", "1GiB"],
            ["1048575", "x"],
        ),
    ] {
        assert_eq!(takes(key), told);
        for value in within {
            assert!(load("", &["namesrvPort=0", &format!("{key}={value}")]).is_ok(), "{key}={value}");
        }
        for value in beyond {
            assert!(load("", &[&format!("{key}={value}")]).is_err(), "{key}={value}");
        }
    }
    assert_eq!(takes("brokerName"), "1 to 127 letters, digits, and % | _ -; or nothing");
    assert!(takes("messageDelayLevel").ends_with("1 to 1024 of them, each at most 365d"));
}

#[test]
fn the_defaults_are_valid_and_written_as_they_are_read() {
    let defaults = Config::load(&Sources::default()).unwrap();
    let arguments = defaults.config.settings().map(|s| format!("{}={}", s.key, s.value)).collect();
    assert_eq!(Config::load(&Sources { arguments, ..Sources::default() }), Ok(defaults));
    assert!(KEYS.iter().all(|key| help().contains(key)));
}
