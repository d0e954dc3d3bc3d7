//! Disks without space, on a small file system in a mount namespace of the server's own.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_wire::code::response;

use crate::client::Client;
use crate::process::{Server, command_on_small_disk, refusal, set, until};

/// A path as the server sees it.
fn inside(server: &Server, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/{}/root", server.pid())).join(path.strip_prefix("/").expect("absolute"))
}

#[test]
fn a_full_disk_is_named_at_start() {
    let dir = tempfile::tempdir().unwrap();
    for size in ["size=4k", "size=12k", "nr_inodes=3", "size=64m"] {
        let message = refusal(&mut command_on_small_disk(dir.path(), size));
        for part in ["the disk", "--data DIR"] {
            assert!(message.contains(part), "{size}: {part} not in:\n{message}");
        }
    }
}

#[test]
fn a_disk_that_fills_up_refuses_messages_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command_on_small_disk(dir.path(), "size=160m");
    // To the last byte.
    set(
        &mut command,
        &["diskFreeMin=1MiB", "diskSpaceWarningLevelRatio=100", "diskSpaceCleanForciblyRatio=100"],
    );
    let mut server = Server::spawn(command);
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", b"first").code(), 0);
    let ballast = inside(&server, &dir.path().join("ballast"));
    fs::write(&ballast, vec![1; 64 << 20]).unwrap();
    // What is filled ahead is still used, then messages are refused; none of them was stored.
    let mut acked = 1;
    let refused = loop {
        let answer = client.send("t", &[7; 500_000]);
        if answer.code() != response::SUCCESS {
            break answer;
        }
        acked += 1;
        assert!(acked < 1000, "the disk never filled up");
    };
    assert_eq!(refused.code(), response::SERVICE_NOT_AVAILABLE, "{refused:?}");
    assert!(refused.remark().contains("the disk is full"), "{refused:?}");
    assert_eq!(client.max_offset("t"), acked);
    assert_eq!(client.pull("t", 0).code(), response::SUCCESS, "reading goes on");

    fs::remove_file(&ballast).unwrap();
    until("messages are taken again", || client.send("t", &[7; 500_000]).code() == response::SUCCESS);
    assert!(server.log().contains("the disk is full") && server.log().contains("has space again"));
    assert!(server.is_running());
}
