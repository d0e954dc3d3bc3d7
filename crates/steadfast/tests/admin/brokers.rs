//! Brokers as operators look at them.

use crate::tool::World;

#[test]
fn brokers_are_listed_with_their_load() {
    let world = World::start(&[]);
    let (addr, listed) = (world.broker(), world.admin("clusterList", &[]).ok());
    let mut lines = listed.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let columns = "#Cluster Name #Broker Name #BID #Addr #Version #InTPS(LOAD) #OutTPS(LOAD) #Timer(Progress) \
                   #PCWait(ms) #Hour #SPACE #ACTIVATED";
    assert_eq!(head.join(" "), columns);
    let row: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..5], ["DefaultCluster", "broker-a", "0", &addr, "V5_5_0"], "{listed}");
    assert_eq!(row.last(), Some(&"true"), "{listed}");
    assert_eq!(lines.next(), None);

    let more = world.admin("clusterList", &["-m", "-c", "DefaultCluster"]).ok();
    let row: Vec<&str> = more.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row, ["DefaultCluster", "broker-a", "0", "0", "0", "0"], "{more}");
    let json = world.admin("clusterList", &["--json"]).json();
    assert_eq!(json["brokers"][0]["runtime"]["brokerActive"], "true", "{json}");
    let refused = world.admin("clusterList", &["-c", "other"]).refused();
    assert!(refused.contains("no cluster is called other"), "{refused}");
}

#[test]
fn the_figures_and_settings_of_a_broker_are_shown() {
    let world = World::start(&[]);
    let addr = world.broker();
    let status = world.admin("brokerStatus", &["-b", &addr]).ok();
    assert!(status.lines().any(|line| line == format!("{:<32}: true", "brokerActive")), "{status}");
    let status = world.admin("brokerStatus", &["-c", "DefaultCluster"]).ok();
    assert!(
        status.lines().any(|line| line == format!("{addr:<24} {:<32}: true", "brokerActive")),
        "{status}"
    );

    let config = world.masked("getBrokerConfig", &["-b", &addr]);
    assert!(config.starts_with("============{broker}============\n"), "{config}");
    assert!(config.contains(&format!("\n{:<50}=  SYNC_FLUSH\n", "flushDiskType")), "{config}");
    let config = world.masked("getBrokerConfig", &["-c", "DefaultCluster"]);
    assert!(config.starts_with("============Master: {broker}============\n"), "{config}");
    let json = world.admin("getBrokerConfig", &["-b", &addr, "--json"]).json();
    assert_eq!(json["brokers"][0]["config"]["brokerName"], "broker-a", "{json}");
}

#[test]
fn a_setting_is_changed_while_the_broker_runs() {
    let world = World::start(&[]);
    let addr = world.broker();
    let set = ["-b", &addr, "-k", "autoCreateTopicEnable", "-v", "false"];
    assert_eq!(world.masked("updateBrokerConfig", &set), "update broker config success, {broker}\n");
    let shown = world.admin("getBrokerConfig", &["-b", &addr, "--json"]).json();
    assert_eq!(shown["brokers"][0]["config"]["autoCreateTopicEnable"], "false");
    let refused =
        world.admin("updateBrokerConfig", &["-c", "DefaultCluster", "-k", "listenPort", "-v", "1"]).refused();
    assert!(refused.contains("refused UPDATE_BROKER_CONFIG") && refused.contains("listenPort"), "{refused}");
}

#[test]
fn what_keeps_the_log_is_shown() {
    let world = World::start(&[]);
    let addr = world.broker();
    world.admin("updateTopic", &["-b", &addr, "-t", "P", "-a", "+steadfast.protected=true"]).ok();
    world.admin("sendMessage", &["-t", "P", "-p", "needed"]).ok();
    let shown = world.admin("retention", &["-b", &addr]).ok();
    assert!(shown.contains("log from 0 to ") && shown.contains("newer than the newest snapshot"), "{shown}");
    assert!(shown.contains("no group has processed queue P/"), "{shown}");
    assert!(shown.contains("updateTopic -t P -a -steadfast.protected"), "{shown}");
    let json = world.admin("retention", &["-c", "DefaultCluster", "--json"]).json();
    assert_eq!(json["brokers"][0]["retention"]["pins"][0]["messages"], 1, "{json}");
}
