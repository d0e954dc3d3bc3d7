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
