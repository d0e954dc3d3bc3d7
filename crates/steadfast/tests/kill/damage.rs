//! Tests of the test: a medium that loses what it had confirmed. Either the server notices, or the ledger does.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use steadfast_audit::{Invariant, Verdict};
use steadfast_sim::rng::Rng;

use crate::load::Clients;
use crate::process::{Server, command, refusal, until};

/// Load on a directory until so many more requests are acknowledged.
fn load(clients: &Clients, data: &Path, acks: u64) -> Server {
    let server = Server::start(data, &[]);
    let acked = || clients.journal.acked.load(Relaxed);
    let goal = acked() + acks;
    clients.follow(Some(server.broker()));
    until("there is load", || acked() >= goal);
    server
}

fn kill(clients: &Clients, server: Server) {
    clients.follow(None);
    server.kill();
}

fn clients() -> Clients {
    let mut clients = Clients::new();
    clients.produce(&mut Rng::new(1), 2, 8);
    clients
}

/// What the ledger says about a server that starts on the directory as it is.
fn judge(mut clients: Clients, data: &Path) -> Verdict {
    let server = Server::start(data, &[]);
    clients.follow(Some(server.broker()));
    clients.judge()
}

/// The segment that the log ends in, and where in it the last frame's bytes end.
fn tail(data: &Path) -> (PathBuf, u64) {
    let files = fs::read_dir(data.join("log")).expect("the log");
    let mut segments: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    segments.sort();
    for path in segments.into_iter().rev() {
        let bytes = fs::read(&path).expect("a segment");
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return (path, last as u64 + 1);
        }
    }
    panic!("the log is empty");
}

fn overwrite_with_zeroes(path: &Path, range: std::ops::Range<u64>) {
    let file = File::options().write(true).open(path).expect("a segment");
    file.write_all_at(&vec![0; (range.end - range.start) as usize], range.start).expect("a write");
}

#[test]
fn an_old_log_in_place_of_the_new_one_is_noticed() {
    let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = |from: &Path, to: &Path| {
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    let clients = clients();
    kill(&clients, load(&clients, dir.path(), 300));
    copy(&dir.path().join("log"), old.path());
    kill(&clients, load(&clients, dir.path(), 300));
    // Newer files beside it would tell that its last one was longer.
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    copy(old.path(), &dir.path().join("log"));
    // To the server this is a log whose last writes never happened. Those who were told otherwise know better.
    let verdict = judge(clients, dir.path());
    let lost = verdict.of(Invariant::Acked).count();
    assert!(lost >= 300, "{lost} lost:\n{verdict}");
}

#[test]
fn a_lost_end_of_the_log_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut clients = clients();
    let server = load(&clients, dir.path(), 300);
    // What is last in the log is then acknowledged.
    clients.stop_producing();
    kill(&clients, server);
    let (path, end) = tail(dir.path());
    overwrite_with_zeroes(&path, end - 64..end);
    let verdict = judge(clients, dir.path());
    assert!(verdict.of(Invariant::Acked).next().is_some(), "{verdict}");
}

#[test]
fn a_hole_in_the_log_is_refused_by_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let clients = clients();
    kill(&clients, load(&clients, dir.path(), 300));
    let (path, end) = tail(dir.path());
    let whole = fs::read(&path).unwrap();
    overwrite_with_zeroes(&path, end / 4..end / 2);
    let message = refusal(&mut command(dir.path()));
    assert!(message.contains("were acknowledged"), "{message}");
    // The refusal changed nothing: with the bytes back, everything is.
    fs::write(&path, whole).unwrap();
    let verdict = judge(clients, dir.path());
    assert!(verdict.is_clean() && verdict.books.acked > 0, "{verdict}");
}
