//! How the tool is called, and what it says when that does not work.

use crate::tool::{World, named, steadfast};

#[test]
fn wrong_usage_is_told_from_refusals() {
    let output = steadfast(&["admin", "queryMsgByKey", "-t", "SCANRECORD"]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(output.stderr.contains("--msgKey <KEY>"), "{}", output.stderr);
    let output = steadfast(&["admin", "queryMsgByKye"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("queryMsgByKey"), "the nearest command: {}", output.stderr);
    let output = steadfast(&["admin", "updateTopic", "-t", "SCANRECORD"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("--brokerAddr <HOST:PORT>|--clusterName <CLUSTER>"), "{}", output.stderr);
    let output = steadfast(&["admin", "queryMsgByKey", "-t", "SCANRECORD", "-k", "x", "-b", "soon"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("yyyy-MM-dd#HH:mm:ss:SSS"), "{}", output.stderr);
}

#[test]
fn every_subcommand_has_a_page_of_help() {
    for command in ["server", "admin", "bench", "sim"] {
        let page = steadfast(&[command, "--help"]).ok();
        assert!(page.contains(&format!("Usage: steadfast {command}")), "{page}");
        assert!(!page.contains("\\\""), "text as it is meant to be read: {page}");
        // `help` prints the short form of the same page.
        assert!(steadfast(&["help", command]).ok().contains("Options:"), "{command}");
    }
}

#[test]
fn the_simulator_tells_wrong_arguments_from_seeds_that_fail() {
    for wrong in [
        &["--what"][..],
        &["--seed"],
        &["--seed", "x"],
        &["--seed", "-1"],
        &["--seeds", "5..1"],
        &["--seeds", "0"],
        &["--jobs", "0"],
        &["--seed", "1", "--seeds", "2"],
        &["17"],
    ] {
        let output = steadfast(&[&["sim"], wrong].concat());
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{wrong:?}: {}", output.stderr);
        assert!(output.stderr.starts_with("error: "), "{wrong:?}: {}", output.stderr);
    }
    let last = u64::MAX.to_string();
    for beyond in [&["--seed", &last][..], &["--from", &last, "--seeds", "5"]] {
        let refused = steadfast(&[&["sim"], beyond].concat()).refused();
        assert!(refused.contains("the last seed is"), "{refused}");
    }
    let one = steadfast(&["sim", "--seeds", "3..4"]).ok();
    assert!(one.contains("no seed failed"), "{one}");
}

#[test]
fn a_measurement_without_a_server_says_how_to_start_one() {
    let refused = steadfast(&["bench", "--broker", "127.0.0.1:1"]).refused();
    for part in ["127.0.0.1:1", "refused", "`steadfast server`", "--broker"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    let refused = steadfast(&["bench", "--namesrv", "localhost"]).refused();
    assert!(refused.contains("not HOST:PORT"), "{refused}");
}

#[test]
fn a_name_server_that_is_not_there_is_named() {
    let refused = steadfast(&["admin", "topicList", "-n", "127.0.0.1:1"]).refused();
    for part in ["127.0.0.1:1", "refused", "is it running?", "`steadfast server`", "NAMESRV_ADDR"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
}

#[test]
fn a_cluster_that_is_not_there_is_told_from_those_that_are() {
    let world = World::start(&[]);
    let refused = world.admin("deleteTopic", &["-c", "Defaultcluster", "-t", "SCANRECORD"]).refused();
    assert!(
        refused.contains("no cluster is called Defaultcluster; the name server knows: DefaultCluster"),
        "{refused}"
    );
}

#[test]
fn one_name_server_of_several_is_enough() {
    let world = World::start(&[]);
    let list = format!("127.0.0.1:1;{}", world.namesrv());
    assert_eq!(steadfast(&["admin", "topicList", "-n", &list]).ok(), world.admin("topicList", &[]).ok());
}

/// As operators have it in their scripts: RocketMQ's name, and the name server in the environment.
#[test]
fn the_binary_is_mqadmin_under_that_name() {
    let world = World::start(&[]);
    let dir = tempfile::tempdir().expect("a directory");
    let output = named(&dir.path().join("mqadmin"), &world.namesrv(), &["topicList"]);
    assert_eq!(output.ok(), world.admin("topicList", &[]).ok());
}

#[test]
fn options_in_the_style_of_rocketmq_are_understood() {
    let world = World::start(&[]);
    let broker = world.broker();
    let made = steadfast(&[
        "admin",
        "updatetopic",
        "-namesrvAddr",
        &world.namesrv(),
        "-brokerAddr",
        &broker,
        "-tTOPIC",
    ]);
    assert!(made.ok().contains("topicName=TOPIC"));
}

/// Commands and options of RocketMQ 5.5.0's mqadmin, as `mqadmin help COMMAND` tells them: short and long name. (The long
/// name of printMsgByQueue's -p has a blank there.)
const MQADMIN: &[(&str, &str)] = &[
    (
        "queryMsgByKey",
        "b,beginTimestamp c,cluster e,endTimestamp k,msgKey l,lastKey m,maxNum p,keyType t,topic",
    ),
    (
        "queryMsgById",
        "c,cluster d,clientId f,bodyFormat g,consumerGroup i,msgId s,sendMessage t,topic u,unitName",
    ),
    (
        "queryMsgByUniqueKey",
        "a,showAll c,cluster d,clientId e,endTime g,consumerGroup i,msgId s,startTime t,topic",
    ),
    ("queryMsgByOffset", "b,brokerName f,bodyFormat i,queueId o,offset r,routeTopic t,topic"),
    (
        "updateTopic",
        "a,attributes b,brokerAddr c,clusterName o,order p,perm r,readQueueNums s,hasUnitSub t,topic u,unit w,writeQueueNums",
    ),
    ("deleteTopic", "c,clusterName t,topic"),
    ("topicList", "c,clusterModel"),
    ("topicRoute", "l,list t,topic"),
    ("topicStatus", "c,cluster t,topic"),
    ("topicClusterList", "t,topic"),
    ("clusterList", "c,clusterName i,interval m,moreStats"),
    ("brokerStatus", "b,brokerAddr c,clusterName"),
    ("getBrokerConfig", "b,brokerAddr c,clusterName"),
    ("updateBrokerConfig", "a,updateAllBroker b,brokerAddr c,clusterName k,key v,value"),
    ("consumerProgress", "c,cluster g,groupName s,showClientIP t,topicName"),
    ("consumerStatus", "b,brokerAddr g,consumerGroup i,clientId s,jstack"),
    ("producerConnection", "g,producerGroup t,topic"),
    ("consumerConnection", "b,brokerAddr g,consumerGroup"),
    (
        "updateSubGroup",
        "a,notifyConsumerIdsChanged attributes b,brokerAddr c,clusterName d,consumeBroadcastEnable g,groupName i,brokerId m,consumeFromMinEnable o,consumeMessageOrderly p,groupRetryPolicy q,retryQueueNums r,retryMaxTimes s,consumeEnable w,whichBrokerWhenConsumeSlowly",
    ),
    ("deleteSubGroup", "b,brokerAddr c,clusterName g,groupName r,removeOffset"),
    ("resetOffsetByTime", "b,broker c,cluster f,force g,group o,offset q,queue s,timestamp t,topic"),
    ("sendMessage", "b,broker c,tags i,qid k,key m,msgTraceEnable p,body t,topic"),
    (
        "consumeMessage",
        "b,brokerName c,MessageNumber e,endTimestamp g,consumerGroup i,queueId o,offset s,beginTimestamp t,topic",
    ),
    (
        "printMsg",
        "b,beginTimestamp c,charsetName d,printBody e,endTimestamp l,lmqParentTopic s,subExpression t,topic",
    ),
    (
        "printMsgByQueue",
        "a,brokerName b,beginTimestamp c,charsetName d,printBody e,endTimestamp f,calculate i,queueId p,printMsg s,subExpression t,topic",
    ),
    ("queryCq", "b,broker c,count g,consumer i,index q,queue t,topic"),
];

#[test]
fn every_option_of_mqadmin_is_taken() {
    for (command, options) in MQADMIN {
        let help = steadfast(&["admin", command, "--help"]).ok();
        let lines: Vec<&str> = help.lines().map(str::trim_start).collect();
        for option in options.split(' ') {
            let head = match option.split_once(',') {
                Some((short, long)) => format!("-{short}, --{long}"),
                None => format!("--{option}"),
            };
            let taken = |line: &&str| {
                line.strip_prefix(&head).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            };
            assert!(lines.iter().any(taken), "{command} {head}: {help}");
        }
    }
}

/// mqadmin takes true and false in any case, and of a broker and a cluster the broker.
#[test]
fn values_are_read_as_mqadmin_reads_them() {
    let world = World::start(&[]);
    let broker = world.broker();
    let both = ["-b", &broker, "-c", "nowhere"];
    let made = world.admin("updateTopic", &[&both[..], &["-t", "SCANRECORD", "-o", "FALSE"]].concat()).ok();
    assert!(made.contains("order=false"), "{made}");
    world.admin("updateSubGroup", &[&both[..], &["-g", "coupons", "-s", "True"]].concat()).ok();
    world
        .admin("updateBrokerConfig", &[&both[..], &["-k", "autoCreateTopicEnable", "-v", "false"]].concat())
        .ok();
    let deleted = world.masked("deleteSubGroup", &[&both[..], &["-g", "coupons", "-r", "TRUE"]].concat());
    assert_eq!(deleted, "delete subscription group [coupons] from broker [{broker}] success.\n");
    let wrong = world.admin("updateSubGroup", &["-b", &broker, "-g", "coupons", "-s", "yes"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("it must be true or false"), "{}", wrong.stderr);
}

#[test]
fn shells_complete_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = steadfast(&["admin", "completion", shell]).ok();
        assert!(script.contains("queryMsgByKey") && script.contains("steadfast"), "{script}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let script = named(&dir.path().join("mqadmin"), "", &["completion", "bash"]).ok();
    assert!(script.contains("_mqadmin"), "{script}");
}

/// `steadfast admin manual > docs/admin.md` brings the page up to date.
#[test]
fn the_manual_in_the_repository_is_the_manual() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/admin.md");
    let page = std::fs::read_to_string(page).expect("the page");
    assert!(page == steadfast(&["admin", "manual"]).ok(), "run: steadfast admin manual > docs/admin.md");
}

#[test]
fn help_teaches_by_example() {
    let help = steadfast(&["admin", "queryMsgByKey", "--help"]).ok();
    assert!(
        help.contains("steadfast admin queryMsgByKey -n 127.0.0.1:9876 -t SCANRECORD -k orderId"),
        "{help}"
    );
    let help = steadfast(&["sim", "--help"]).ok();
    assert!(help.contains("steadfast sim --seed 17"), "{help}");
}
