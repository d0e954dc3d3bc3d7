//! A byte of a replica's log flips while it runs: it is fetched from another replica, and served again.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use steadfast_types::record::{Record, StoredMessage, records};
use steadfast_wire::code::response;

use crate::cluster::Cluster;
use crate::process::until;

const MESSAGES: u8 = 40;
const BODY: usize = 1 << 20;

/// Flips a bit in the stored body of a message that lies in a file that is full.
fn damage(cluster: &Cluster, i: usize, body: u8) {
    let path = cluster.data(i).join("log/00000000000000000000");
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(1_000).position(|window| window == [body; 1_000]).expect("it is there") + 500_000;
    assert_eq!(bytes[at], body);
    File::options().write(true).open(&path).unwrap().write_all_at(&[body ^ 0x20], at as u64).unwrap();
}

/// Reads all messages from a replica that leads; None if one is damaged.
fn read(cluster: &Cluster, leader: usize) -> Option<u8> {
    let mut client = cluster.client(leader);
    let mut next = 0;
    while next < MESSAGES {
        let answer = client.pull("t", i64::from(next));
        if answer.code() == response::SYSTEM_ERROR {
            assert!(answer.remark().contains("damaged"), "{answer:?}");
            return None;
        }
        assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
        for record in records(&answer.body) {
            let (_, Record::Message(bytes)) = record.unwrap() else { panic!("no message") };
            assert!(StoredMessage::decode(bytes).unwrap().body == vec![next + 1; BODY], "message {next}");
            next += 1;
        }
    }
    Some(next)
}

fn written(cluster: &Cluster) {
    let mut client = cluster.client(cluster.leader());
    for i in 0..MESSAGES {
        assert_eq!(client.send("t", &vec![i + 1; BODY]).code(), response::SUCCESS);
    }
    cluster.until_equal();
}

#[test]
fn a_damaged_message_is_fetched_from_another_replica_while_it_is_read() {
    let cluster = Cluster::running(&["mappedFileSizeCommitLog=16MiB", "checkpointBytes=4MiB"]);
    written(&cluster);
    let leader = cluster.leader();
    damage(&cluster, leader, 3);
    damage(&cluster, leader, 7);
    // Whoever reads it is told, or it was in memory; the whole file is repaired then.
    until("all can be read", || read(&cluster, leader) == Some(MESSAGES));
    until("it is told", || cluster.figure(leader, "steadfast_replica_repaired_entries_total") == ["2"]);
    assert_eq!(cluster.figure(leader, "steadfast_replica_damaged_segments"), ["0"]);
    let log = cluster.server(leader).log();
    assert!(log.contains("2 damaged entries (") && log.contains("were fetched from n"), "{log}");
    let files = |i: usize| fs::read(cluster.data(i).join("log/00000000000000000000")).unwrap();
    for other in cluster.others(leader) {
        assert!(files(leader) == files(other), "the files are the same");
    }
}

#[test]
fn a_file_of_the_log_that_is_gone_is_fetched_at_the_start() {
    let mut cluster = Cluster::running(&["mappedFileSizeCommitLog=16MiB", "checkpointBytes=4MiB"]);
    written(&cluster);
    let lost = cluster.others(cluster.leader())[0];
    let (status, _) = cluster.take(lost).stop();
    assert!(status.success());
    let log = cluster.data(lost).join("log");
    let whole = |i: usize| {
        let path = cluster.data(i).join("log");
        ["00000000000000000000", "00000000000016777216"]
            .map(|name| fs::read(path.join(name)).unwrap_or_default())
    };
    let before = whole(lost);
    fs::remove_file(log.join("00000000000000000000")).unwrap();
    File::options().write(true).open(log.join("00000000000016777216")).unwrap().set_len(5_000_000).unwrap();
    cluster.start(&[lost]);
    until("both are repaired", || cluster.figure(lost, "steadfast_replica_damaged_segments") == ["0"]);
    let after = [0, 1 << 24].map(|base| fs::read(log.join(format!("{base:020}"))).unwrap());
    assert!(before == after, "as they were");
    assert!(cluster.server(lost).log().contains("are missing"), "{}", cluster.server(lost).log());
}
