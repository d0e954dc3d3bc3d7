//! Standard streams that take nothing: a full disk under the log, a reader that went away.

use std::fs::{File, OpenOptions};
use std::process::{Command, Stdio};

use steadfast_wire::code::response;

use crate::client::Client;
use crate::process::{Server, command, set};

/// Fails every write with ENOSPC.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("a device")
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    std::io::pipe().expect("a pipe").1.into()
}

#[test]
fn a_server_outlives_the_loss_of_its_log() {
    for stderr in [full().into(), closed()] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path());
        // A setting that is warned of at start.
        set(&mut command, &["haListenPort=1"]);
        let mut server = Server::spawn_logging_to(command, stderr);
        let mut client = Client::connect(server.broker());
        assert_eq!(client.send("t", b"1").code(), response::SUCCESS);
        // A connection that is closed for what it sent is warned of, too.
        for addr in [server.broker(), server.namesrv()] {
            let mut garbage = Client::connect(addr);
            garbage.raw(&[0xFF; 64]);
            garbage.until_closed();
        }
        assert_eq!(client.send("t", b"2").code(), response::SUCCESS);
        assert!(server.is_running());
        let (status, _) = server.stop();
        assert_eq!(status.code(), Some(0), "the end is logged, too");
    }
}

fn steadfast(args: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_steadfast")).args(args).stdout(stdout).output().expect("an end");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn what_is_printed_may_have_no_reader() {
    for args in [
        &["server", "--help-config"][..],
        &["server", "--help-config=markdown"],
        &["bench", "--compare", "/dev/null"],
        &["admin", "manual"],
    ] {
        assert_eq!(steadfast(args, closed()), (Some(0), String::new()), "{args:?}");
        let (code, said) = steadfast(args, full().into());
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{args:?}: {said}");
        assert!(said.contains("No space left on device"), "{args:?}: {said}");
    }
}

/// A failure that cannot be told is a failure all the same, and no crash.
#[test]
fn an_error_that_nobody_reads_is_in_the_exit_code() {
    for stderr in [full().into(), closed()] {
        let status = Command::new(env!("CARGO_BIN_EXE_steadfast"))
            .args(["server", "--data", "/dev/null/nowhere", "--set", "brokerRole=NONSENSE"])
            .stderr(stderr)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1));
    }
}
