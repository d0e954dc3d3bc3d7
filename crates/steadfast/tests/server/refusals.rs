//! Refusing to start: one message with cause and next step, and nothing left behind.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::client::Client;
use crate::process::{Server, command, refusal, set};

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part} not in:\n{message}");
    }
}

fn assert_empty(dir: &Path) {
    assert_eq!(
        fs::read_dir(dir).expect("a directory").count(),
        0,
        "nothing may be left in {}",
        dir.display()
    );
}

#[test]
fn a_directory_in_use_names_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let message = refusal(&mut command(dir.path()));
    assert_says(&message, &[&format!("in use by process {}, started", server.pid()), "another directory"]);
    assert!(server.is_running());
    server.kill();
    Server::start(dir.path(), &[]);
}

#[test]
fn a_port_in_use_names_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for key in ["listenPort", "namesrvPort", "metricsPromExporterPort"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path());
        set(&mut command, &[&format!("{key}={port}")]);
        let message = refusal(&mut command);
        assert_says(&message, &[&format!("127.0.0.1:{port} is in use"), &format!("--set {key}=PORT")]);
        assert_empty(dir.path());
    }
}

#[test]
fn a_host_that_is_not_found_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    set(&mut command, &["brokerIP1=broker.invalid"]);
    assert_says(&refusal(&mut command), &["brokerIP1", "\"broker.invalid\""]);
    assert_empty(dir.path());
}

#[test]
fn an_unknown_setting_names_the_nearest_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut misspelt = command(dir.path());
    set(&mut misspelt, &["brokerNmae=b"]);
    assert_says(&refusal(&mut misspelt), &["\"brokerNmae\"; did you mean brokerName?", "--help-config"]);
    let mut unknown = command(dir.path());
    set(&mut unknown, &["foo=1"]);
    let message = refusal(&mut unknown);
    assert_says(&message, &["unknown setting \"foo\"", "--help-config"]);
    assert!(!message.contains("did you mean"), "nothing is near: {message}");
    assert_empty(dir.path());

    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("s.toml");
    fs::write(&file, "brokerName = \"b\"\nflushDiskTyp = \"SYNC_FLUSH\"\n").unwrap();
    let message = refusal(command(dir.path()).arg("--config").arg(&file));
    assert_says(&message, &["s.toml, line 2", "did you mean flushDiskType?"]);
    let message = refusal(command(dir.path()).arg("--config").arg(files.path().join("none")));
    assert_says(&message, &["reading the configuration", "none", "No such file"]);
    assert_empty(dir.path());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
    for data in [dir.path().to_owned(), dir.path().join("new")] {
        let mut command = command(&data);
        if rustix::process::getuid().is_root() {
            // Permissions do not bind root, so become somebody else.
            command.uid(65534).gid(65534);
        }
        let message = refusal(&mut command);
        assert_says(&message, &[&*data.to_string_lossy(), "denied", "must be writable", "--data DIR"]);
    }
    assert_empty(dir.path());
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
    for (data, in_the_way) in [(file.clone(), &file), (file.join("below"), &file), (link.clone(), &link)] {
        let message = refusal(&mut command(&data));
        assert_says(&message, &[&*in_the_way.to_string_lossy(), "in the way", "--data DIR"]);
        assert_eq!(message.matches("os error").count(), 1, "said once: {message}");
    }
}

#[test]
fn a_link_to_a_directory_is_as_good_as_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("data"), &link).unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    let mut server = Server::start(&link, &[]);
    assert_says(&refusal(&mut command(&dir.path().join("data"))), &["in use by process"]);
    assert!(server.is_running());
}

#[test]
fn a_file_of_the_log_behind_a_link_is_refused_and_served_again_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let other_disk = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(Client::connect(server.broker()).send("t", b"hello").code(), 0);
    assert_eq!(server.stop().0.code(), Some(0));
    let segment = dir.path().join("log/00000000000000000000");
    let moved = other_disk.path().join("segment");
    fs::copy(&segment, &moved).unwrap();
    // Mounted, and not mounted.
    for target in [&moved, &other_disk.path().join("nothing")] {
        fs::remove_file(&segment).unwrap();
        std::os::unix::fs::symlink(target, &segment).unwrap();
        let message = refusal(&mut command(dir.path()));
        assert_says(&message, &[&*segment.to_string_lossy(), "is a symbolic link", "--data DIR"]);
        let repair =
            Command::new(env!("CARGO_BIN_EXE_steadfast")).args(["repair", "--data"]).arg(dir.path()).output();
        let repair = repair.unwrap();
        assert_says(&String::from_utf8_lossy(&repair.stderr), &["is a symbolic link"]);
        assert!(!repair.status.success() && fs::symlink_metadata(&segment).unwrap().is_symlink());
    }
    fs::remove_file(&segment).unwrap();
    fs::copy(&moved, &segment).unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(Client::connect(server.broker()).max_offset("t"), 1);
}

#[test]
fn data_without_its_meta_file_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Server::start(dir.path(), &[]).stop().0.code(), Some(0));
    let meta = dir.path().join("meta");
    let whole = fs::read(&meta).unwrap();
    fs::remove_file(&meta).unwrap();
    assert_says(&refusal(&mut command(dir.path())), &["meta is missing", "restore it from a copy"]);
    fs::write(&meta, vec![0; whole.len()]).unwrap();
    assert_says(&refusal(&mut command(dir.path())), &["both slots", "damaged", "restore it from a copy"]);
    fs::write(&meta, whole).unwrap();
    Server::start(dir.path(), &[]);
}

#[test]
fn data_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Server::start(dir.path(), &[]).stop().0.code(), Some(0));
    let path = dir.path().join("meta");
    let mut meta = fs::read(&path).unwrap();
    // Both slots: version at 8, checksum at 4 of the bytes from 8 on; see the crate `store`.
    for slot in meta.chunks_mut(4096) {
        slot[8..12].copy_from_slice(&99_u32.to_be_bytes());
        let crc = crc32c::crc32c(&slot[8..]);
        slot[4..8].copy_from_slice(&crc.to_be_bytes());
    }
    fs::write(&path, &meta).unwrap();
    assert_says(&refusal(&mut command(dir.path())), &["format version 99", "newer server"]);
    assert_eq!(fs::read(&path).unwrap(), meta);
}
