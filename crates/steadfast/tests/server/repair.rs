//! A damaged message: found, named, and given up only when somebody says so.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use steadfast_wire::code::response;

use crate::client::Client;
use crate::process::{Server, command, refusal, run, until};

const NEEDLE: &[u8] = b"the body that will be damaged";
const ID: &str = "7F000001000018B4AAC2000000000001";

fn repair(data: &Path, apply: bool) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("repair").arg("--data").arg(data).args(apply.then_some("--apply"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, stdout, stderr) = run(&mut command);
    (status.success(), stdout, stderr)
}

/// The file and the byte where the body of the message begins, and the file's content.
fn stored(data: &Path) -> (PathBuf, usize, Vec<u8>) {
    let log = fs::read_dir(data.join("log")).unwrap().map(|file| file.unwrap().path());
    log.filter_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(NEEDLE.len()).position(|window| window == NEEDLE)?;
        Some((path, at, bytes))
    })
    .next()
    .expect("it is in the log")
}

fn flip(path: &Path, at: usize, was: u8) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[was ^ 0x20], at as u64).unwrap();
}

/// Flips a bit in the stored body of the message.
fn damage(data: &Path) {
    let (path, at, bytes) = stored(data);
    flip(&path, at, bytes[at]);
}

/// Flips a bit in the table of the entry that has the message.
fn damage_table(data: &Path) {
    let (path, at, bytes) = stored(data);
    let frame = bytes[..at].windows(4).rposition(|window| window == b"SFEN").expect("its frame");
    let table = frame + 64 + 24;
    flip(&path, table, bytes[table]);
}

/// Flips a bit in the header of the entry that has the message.
fn damage_header(data: &Path) {
    let (path, at, bytes) = stored(data);
    let frame = bytes[..at].windows(4).rposition(|window| window == b"SFEN").expect("its frame");
    flip(&path, frame + 10, bytes[frame + 10]);
}

fn filled_log(settings: &[&str]) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), settings);
    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", b"first").code(), response::SUCCESS);
    let properties = format!("UNIQ_KEY\u{1}{ID}\u{2}KEYS\u{1}order-7 customer-3\u{2}");
    assert_eq!(client.send_with("t", NEEDLE, &properties).code(), response::SUCCESS);
    assert_eq!(client.send("t", b"third").code(), response::SUCCESS);
    (dir, server)
}

fn damaged_log(settings: &[&str]) -> tempfile::TempDir {
    let (dir, server) = filled_log(settings);
    let (status, _) = server.stop();
    assert!(status.success());
    damage(dir.path());
    dir
}

/// Every file of a data directory with its content, but for the lock, which names its last holder.
fn content(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let dirs = ["", "log", "snapshot", "index"].map(|dir| data.join(dir));
    let files = dirs.iter().flat_map(|dir| fs::read_dir(dir).unwrap()).map(|file| file.unwrap().path());
    files
        .filter(|path| path.is_file() && !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

fn next(answer: &crate::client::Answer) -> i64 {
    answer.header.ext.get("nextBeginOffset").unwrap().parse().unwrap()
}

#[test]
fn a_damaged_message_stops_its_consumers_until_it_is_given_up() {
    let dir = damaged_log(&[]);
    let (found, listed, log) = repair(dir.path(), false);
    assert!(found, "{log}");
    assert!(listed.contains("queue t/0 offset 1: damaged"), "{listed}");
    assert!(listed.contains(" in log/00000000000000000000; ids"), "the file to restore: {listed}");
    assert!(listed.contains("Nothing was changed") && listed.contains("--apply"), "{listed}");
    // Its producer, or a backup, can be asked for it by these.
    let line = listed.lines().find(|line| line.contains("offset 1: damaged")).unwrap();
    let (_, keys) = line.split_once("ids and keys (unverified): ").expect("the keys");
    assert_eq!(keys.split(' ').collect::<Vec<_>>(), [ID, "order-7", "customer-3"], "{line}");

    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    assert_eq!(next(&client.pull("t", 0)), 1, "up to the damage");
    let stopped = client.pull("t", 1);
    assert_eq!(stopped.code(), response::SYSTEM_ERROR);
    assert!(stopped.remark().contains("damaged"), "{stopped:?}");
    let (refused, _, message) = repair(dir.path(), true);
    assert!(!refused && message.contains("is in use"), "{message}");
    server.stop();

    let (done, said, log) = repair(dir.path(), true);
    assert!(done && said.contains("1 messages are recorded as holes"), "{said}{log}");
    let (_, said, _) = repair(dir.path(), false);
    assert!(said.contains("nothing to repair"), "{said}");
    for _ in 0..2 {
        let server = Server::start(dir.path(), &[]);
        let mut client = Client::connect(server.broker());
        let all = client.pull("t", 0);
        assert_eq!((all.code(), next(&all)), (response::SUCCESS, 3));
        assert_eq!(client.max_offset("t"), 3, "its offset is not given to another message");
        server.kill();
    }
}

/// Whoever looks for a message that was given up is told so, however he looks.
#[test]
fn the_tool_says_that_messages_were_given_up() {
    let dir = damaged_log(&[]);
    let (done, _, log) = repair(dir.path(), true);
    assert!(done, "{log}");
    let server = Server::start(dir.path(), &[]);
    let by_offset = ["queryMsgByOffset", "-t", "t", "-b", "broker-a", "-i", "0", "-o", "1"];
    let by_key = "1 damaged messages of the topic were given up";
    for (args, said) in [
        (&["queryMsgByKey", "-t", "t", "-k", "order-7"][..], by_key),
        (&["queryMsgByUniqueKey", "-t", "t", "-i", ID], by_key),
        (&["queryMsgById", "-t", "t", "-i", ID], by_key),
        (&by_offset, "offset 1 of queue t/0, was damaged and given up"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.arg("admin").args(args).args(["-n", &server.namesrv().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (status, _, stderr) = run(&mut command);
        assert!(!status.success() && stderr.contains(said), "{args:?}: {stderr}");
    }
}

/// Damage in what no snapshot covers, and that loses track of which messages were there: the server does not guess.
#[test]
fn a_damaged_table_keeps_the_server_from_starting_until_it_is_repaired() {
    let (dir, server) = filled_log(&[]);
    server.kill();
    damage_table(dir.path());
    let refused = refusal(&mut command(dir.path()));
    assert!(refused.contains("were acknowledged") && refused.contains("steadfast repair"), "{refused}");
    let (found, listed, log) = repair(dir.path(), false);
    assert!(found && listed.contains("queue t/0 offset 1: damaged"), "{listed}{log}");
    let refused = refusal(&mut command(dir.path()));
    assert!(refused.contains("were acknowledged"), "nothing was changed: {refused}");
    let (done, said, log) = repair(dir.path(), true);
    assert!(done && said.contains("1 messages are recorded as holes"), "{said}{log}");
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    let all = client.pull("t", 0);
    assert_eq!((all.code(), next(&all)), (response::SUCCESS, 3));
    assert_eq!(client.send("t", b"fourth").code(), response::SUCCESS);
    assert_eq!(client.max_offset("t"), 4);
}

/// The next entry's chain value proves what the header was: nothing is lost.
#[test]
fn a_damaged_header_keeps_the_server_from_starting_until_it_is_repaired() {
    let (dir, server) = filled_log(&[]);
    server.kill();
    damage_header(dir.path());
    let refused = refusal(&mut command(dir.path()));
    assert!(refused.contains("were acknowledged") && refused.contains("steadfast repair"), "{refused}");
    let (found, listed, log) = repair(dir.path(), false);
    assert!(
        found && listed.contains("the headers of 1 entries") && listed.contains("Nothing was changed"),
        "{listed}{log}"
    );
    let (done, said, log) = repair(dir.path(), true);
    assert!(done && said.contains("0 messages are recorded as holes"), "{said}{log}");
    let (_, said, _) = repair(dir.path(), false);
    assert!(said.contains("nothing to repair"), "{said}");
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    let all = client.pull("t", 0);
    assert_eq!((all.code(), next(&all)), (response::SUCCESS, 3));
    assert!(all.body.windows(NEEDLE.len()).any(|window| window == NEEDLE));
}

/// Not even the end of a log that a copy has cut in the middle of an entry.
#[test]
fn without_apply_a_repair_changes_no_byte() {
    let (dir, server) = filled_log(&[]);
    server.kill();
    let (path, at, _) = stored(dir.path());
    File::options().write(true).open(&path).unwrap().set_len(at as u64 + 5).unwrap();
    fs::write(dir.path().join("snapshot/00000000000000000009.tmp"), "left by a crash").unwrap();
    let before = content(dir.path());
    let (done, said, log) = repair(dir.path(), false);
    assert!(done, "{said}{log}");
    assert!(content(dir.path()) == before, "a dry run changes nothing");
    repair(dir.path(), true);
    assert!(content(dir.path()) != before, "what is compared is what a repair changes");
}

/// The newest file of the log without its end: there is nothing to tell what was in it, only that it was.
#[test]
fn a_log_file_that_has_lost_its_end_keeps_the_server_from_starting_until_it_is_repaired() {
    let (dir, server) = filled_log(&[]);
    until("the next file is begun", || dir.path().join("log/00000000000016777216").exists());
    server.kill();
    let (path, at, _) = stored(dir.path());
    File::options().write(true).open(&path).unwrap().set_len(at as u64 + 5).unwrap();
    let refused = refusal(&mut command(dir.path()));
    for part in ["log/00000000000000000000 has lost its end", "from a copy", "steadfast repair"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let before = content(dir.path());
    let (found, listed, log) = repair(dir.path(), false);
    assert!(found && listed.contains("has lost its end") && listed.contains("--apply"), "{listed}{log}");
    assert!(content(dir.path()) == before, "a dry run changes nothing");
    let (done, said, log) = repair(dir.path(), true);
    assert!(done, "{said}{log}");
    let (_, said, _) = repair(dir.path(), false);
    assert!(said.contains("nothing to repair"), "{said}");
    let server = Server::start(dir.path(), &[]);
    let mut client = Client::connect(server.broker());
    assert_eq!(client.max_offset("t"), 1);
    assert_eq!(client.send("t", b"again").code(), response::SUCCESS);
}

/// It may have been acknowledged, or not: nobody can tell, so everybody is told.
#[test]
fn damage_in_the_last_entry_is_not_cut_off_without_a_word() {
    let (dir, server) = filled_log(&[]);
    server.kill();
    let (path, at, bytes) = stored(dir.path());
    let last = at + bytes[at..].windows(4).position(|window| window == b"SFEN").expect("the third message's");
    flip(&path, last + 10, bytes[last + 10]);
    let told = format!("at log offset {last} in log/00000000000000000000");
    let (_, said, _) = repair(dir.path(), false);
    assert!(said.contains(&told) && said.contains("are cut off"), "{said}");
    let server = Server::start(dir.path(), &[]);
    until("it is told", || server.log().contains(&told));
    assert_eq!(Client::connect(server.broker()).max_offset("t"), 2);
}

/// What cannot be repaired is said to be, by the server and by the repair: nobody is sent from the one to the other.
fn assert_beyond_repair(data: &Path) {
    let messages = [false, true].map(|apply| repair(data, apply)).map(|(done, _, message)| {
        assert!(!done, "{message}");
        message
    });
    for message in messages.into_iter().chain([refusal(&mut command(data))]) {
        for part in ["log/00000000000000000000", "this cannot be repaired", "from a copy"] {
            assert!(message.contains(part), "{part} not in:\n{message}");
        }
        assert!(!message.contains("steadfast repair"), "{message}");
    }
}

#[test]
fn an_entry_without_header_and_table_cannot_be_repaired() {
    let (dir, server) = filled_log(&[]);
    server.kill();
    damage_header(dir.path());
    damage_table(dir.path());
    assert_beyond_repair(dir.path());
}

#[test]
fn a_file_that_ends_before_what_the_snapshot_covers_cannot_be_repaired() {
    let (dir, server) = filled_log(&[]);
    server.stop();
    let (path, at, _) = stored(dir.path());
    File::options().write(true).open(&path).unwrap().set_len(at as u64 + 5).unwrap();
    assert_beyond_repair(dir.path());
}

/// A file that is no snapshot says nothing of the log, whatever its name is.
#[test]
fn a_file_in_the_place_of_a_snapshot_is_passed_over() {
    let (dir, server) = filled_log(&[]);
    server.kill();
    fs::write(dir.path().join("snapshot/00000000000000999999"), [7; 700]).unwrap();
    let server = Server::start(dir.path(), &[]);
    until("it is named", || server.log().contains("snapshot/00000000000000999999 is damaged"));
    assert_eq!(Client::connect(server.broker()).max_offset("t"), 3);
}

#[test]
fn the_scrub_finds_damage_before_a_consumer_does() {
    let dir = damaged_log(&["checkpointBytes=1MiB"]);
    let server = Server::start(dir.path(), &["scrubPeriod=1"]);
    until("it is found", || server.log().contains("the message at offset 1 of queue t/0"));
    let (_, page) = server.page("/metrics");
    let damaged = page.lines().find(|line| line.starts_with("steadfast_damaged_messages{")).unwrap();
    assert!(damaged.ends_with(" 1"), "{damaged}");
}

#[test]
fn a_directory_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (done, _, message) = repair(dir.path(), true);
    assert!(!done && message.contains("is no data directory"), "{message}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}
