//! Old log files go, and come back as new ones.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use steadfast_wire::body::{Body, RetentionReport};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;

use crate::client::Client;
use crate::process::{Server, command, command_on_small_disk, set, until};

const SETTINGS: &[&str] = &["retentionBytes=48MiB", "checkpointBytes=1MiB"];

fn files(data: &Path, suffix: &str) -> usize {
    let names =
        fs::read_dir(data.join("log")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(suffix)).count()
}

fn send(client: &mut Client, messages: usize) {
    for i in 0..messages {
        let answer = client.send("t", &[i as u8; 1_000_000]);
        assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
    }
}

fn report(client: &mut Client) -> RetentionReport {
    let answer = client.ask(request::GET_RETENTION, ExtFields::default(), &[]);
    assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
    RetentionReport::decode(&answer.body).unwrap()
}

/// Offset of the oldest message that is left, now that the first ones are gone.
fn first(client: &mut Client) -> i64 {
    let moved = client.pull("t", 0);
    assert_eq!(moved.code(), response::PULL_OFFSET_MOVED, "{moved:?}");
    moved.header.ext.get("nextBeginOffset").unwrap().parse().unwrap()
}

#[test]
fn the_log_stays_below_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), SETTINGS);
    let mut client = Client::connect(server.broker());
    send(&mut client, 100);
    assert_eq!(report(&mut client).retention_head, 0, "it is not the time to look");
    until("old files go", || report(&mut client).retention_head >= 64 << 20);
    until("their space is kept for new ones", || files(dir.path(), ".free") == 2);
    let begins = first(&mut client);
    assert!(begins > 50, "{begins}");
    assert_eq!(client.pull("t", begins).code(), response::SUCCESS);
    until("it is told", || server.log().contains("old log files freed"));

    // Killed, and again while reused files are written.
    server.kill();
    for round in 1..3 {
        let server = Server::start(dir.path(), SETTINGS);
        let mut client = Client::connect(server.broker());
        assert_eq!(client.max_offset("t"), 60 + 40 * round);
        // More may go at any time.
        until("what is left is read", || {
            let first = first(&mut client);
            client.pull("t", first).code() == response::SUCCESS
        });
        send(&mut client, 40);
        server.kill();
    }
}

#[test]
fn without_force_a_full_disk_refuses_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command_on_small_disk(dir.path(), "size=320m");
    set(&mut command, &["cleanResourceInterval=50", "checkpointBytes=1MiB", "diskFreeMin=1MiB"]);
    let server = Server::spawn(command);
    let mut client = Client::connect(server.broker());
    let force = |client: &mut Client, enable: bool| {
        let change = format!("cleanFileForciblyEnable={enable}\n");
        let answer = client.ask(request::UPDATE_BROKER_CONFIG, ExtFields::default(), change.as_bytes());
        assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
    };
    force(&mut client, false);
    until("the disk is too full", || client.send("t", &[7; 1_000_000]).code() != response::SUCCESS);
    let refused = client.send("t", &[7; 1_000_000]);
    assert!(refused.remark().contains("diskSpaceWarningLevelRatio"), "{refused:?}");
    assert_eq!(report(&mut client).retention_head, 0, "no message is old");
    force(&mut client, true);
    until("the oldest go", || report(&mut client).retention_head > 0);
    until("messages are taken again", || client.send("t", &[7; 1_000]).code() == response::SUCCESS);
}

/// An hour that it is not in UTC, now or soon.
#[test]
fn the_hour_of_removal_is_local() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("TZ", "XST-5");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3_600;
    let hours = format!("deleteWhen={};{}", (now + 5) % 24, (now + 6) % 24);
    let settings = ["checkpointBytes=1MiB", "cleanResourceInterval=50", "fileReservedTime=0", &hours];
    set(&mut command, &settings);
    let server = Server::spawn(command);
    let mut client = Client::connect(server.broker());
    send(&mut client, 60);
    until("old files go", || report(&mut client).retention_head > 0);
}
