//! Starting and stopping.

use std::time::Duration;

use crate::client::Client;
use crate::process::{Server, command, run};
use std::process::Command;

/// The shortest of three times: a machine that is busy with other tests takes its time now and then.
fn shortest(time: impl FnMut() -> Duration) -> Duration {
    std::iter::repeat_with(time).take(3).min().expect("three times")
}

#[test]
fn an_empty_directory_is_served_within_a_second() {
    let took = shortest(|| Server::start(tempfile::tempdir().unwrap().path(), &[]).started_in);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn an_empty_directory_is_served_and_what_is_served_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("a/b"), &[]);
    let banner = server.banner.clone();
    for part in [
        "is serving",
        "broker-a in DefaultCluster on 127.0.0.1:",
        "name server",
        "new data directory",
        "SYNC_FLUSH",
        "a dead disk loses everything",
        "queryMsgByKey",
        "steadfast bench",
    ] {
        assert!(banner.contains(part), "{part} not in:\n{banner}");
    }
    let route = Client::connect(server.namesrv()).route("TBW102").unwrap();
    assert_eq!(route.broker_datas[0].broker_addrs[&0], server.broker().to_string());
    // Idle memory, after a message.
    assert_eq!(Client::connect(server.broker()).send("t", b"hello").code(), 0);
    assert!(server.memory() < 40 << 20, "{} bytes", server.memory());
}

/// The files of container set-ups have a host's name where RocketMQ's clients are told an address.
#[test]
fn a_host_name_is_told_to_clients_as_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["brokerIP1=localhost"]);
    let route = Client::connect(server.namesrv()).route("TBW102").unwrap();
    assert!(route.broker_datas[0].broker_addrs[&0].starts_with("127.0.0.1:"), "{}", server.banner);
}

#[test]
fn the_choice_of_async_flush_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["flushDiskType=ASYNC_FLUSH", "brokerIP1=10.1.2.3"]);
    assert!(server.banner.contains("power cut loses the last half second"), "{}", server.banner);
    let route = Client::connect(server.namesrv()).route("TBW102").unwrap();
    assert!(route.broker_datas[0].broker_addrs[&0].starts_with("10.1.2.3:"));
    assert_eq!(Client::connect(server.broker()).send("t", b"hello").code(), 0);
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    let server = Server::start(dir.path(), &[]);
    assert_eq!(Client::connect(server.broker()).max_offset("t"), 1);
}

#[test]
fn sigterm_ends_it_cleanly_within_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    for role in ["role=all", "role=namesrv"] {
        let took = shortest(|| {
            let server = Server::start(dir.path(), &[role]);
            let addr = server.broker.or(server.namesrv).unwrap();
            let idle = Client::connect(addr);
            let (status, took) = server.stop();
            assert_eq!(status.code(), Some(0));
            idle.until_closed();
            took
        });
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

/// RocketMQ's Java client 4.9 does not notice that a connection was closed before its pull times out.
#[test]
fn sigterm_answers_pulls_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", b"first").code(), 0);
    let held = client.post_pull("t", 1, 20_000);
    assert_eq!(client.max_offset("t"), 1, "requests of a connection are taken in order");
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.header.opaque, answer.code()), (held, 14), "{answer:?}");
    client.until_closed();
}

#[test]
fn sigterm_under_load_loses_no_acknowledged_message() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", b"first").code(), 0);
    (0..2000).for_each(|_| _ = client.post_send("t", &[7; 1000]));
    let stopping = std::thread::spawn(move || server.stop());
    let mut acked = 1;
    while let Some(answer) = client.answer() {
        acked += i64::from(answer.code() == 0);
    }
    let (status, _) = stopping.join().unwrap();
    assert_eq!(status.code(), Some(0));
    let server = Server::start(dir.path(), &[]);
    let stored = Client::connect(server.broker()).max_offset("t");
    assert!(stored >= acked, "{stored} stored, {acked} acknowledged");
}

#[test]
fn logs_can_be_read_by_machines() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--log-format", "json", "--set", "haListenPort=1"]);
    let server = Server::spawn(command);
    let log = server.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
    }
    let warning = log.lines().find(|line| line.contains("haListenPort has no effect")).unwrap();
    assert!(warning.contains("\"level\":\"WARN\""), "{warning}");
}

#[test]
fn the_help_teaches() {
    let steadfast = || Command::new(env!("CARGO_BIN_EXE_steadfast"));
    for (args, part) in [
        (&["--help"][..], "Examples:"),
        (&["server", "--help"], "--set <KEY=VALUE>"),
        (
            &["server", "--help-config=markdown"],
            "| `flushDiskType` | SYNC_FLUSH or ASYNC_FLUSH | `SYNC_FLUSH` |",
        ),
        (&["server", "--help-config"], "flushDiskType  (SYNC_FLUSH or ASYNC_FLUSH; default SYNC_FLUSH)"),
        (&["--version"], "steadfast 0."),
    ] {
        let output = steadfast().args(args).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && stdout.contains(part), "{args:?}: {stdout}");
    }
    // A misspelt command is a usage error.
    assert_eq!(steadfast().arg("serve").output().unwrap().status.code(), Some(2));
    let dir = tempfile::tempdir().unwrap();
    let (status, _, _) = run(command(dir.path()).arg("--help-config"));
    assert!(status.success());
}
