//! Fails on purpose at every stage between socket and log, by an error and by a panic: a sender gets an error or a
//! closed connection, never an acknowledgement for what is not there. Needs the feature `failpoints`; see
//! `crates/server/src/failpoint.rs` for the stages.

#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "server/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
mod load;
#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "server/process.rs"]
mod process;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use steadfast_sim::rng::Rng;
use steadfast_wire::code::response;

use crate::client::Client;
use crate::load::{Clients, Outcome};
use crate::process::{Server, command, set, until};

const SMALL: [&str; 2] = ["mappedFileSizeCommitLog=16MiB", "checkpointBytes=4MiB"];

/// What an error does to the server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// One connection is closed.
    ClosesOne,
    /// One request is refused.
    RefusesOne,
    /// Nobody notices.
    GoesOn,
    /// No more writes; reads go on (promise P3).
    TakesNoMore,
}

/// Stage, how often it is reached before it fails, what an error there does. The load is under way by then.
const STAGES: [(&str, u32, Then); 10] = [
    ("FrameRead", 200, Then::ClosesOne),
    ("Decode", 500, Then::RefusesOne),
    ("Inbox", 200, Then::ClosesOne),
    ("Step", 300, Then::TakesNoMore),
    ("BeforeWrite", 100, Then::TakesNoMore),
    ("AfterWrite", 100, Then::TakesNoMore),
    ("Reply", 500, Then::ClosesOne),
    ("SocketWrite", 200, Then::ClosesOne),
    // 80 MiB are filled at once, the 90th when 16 MiB of them are used.
    ("Fill", 90, Then::TakesNoMore),
    ("Checkpoint", 2, Then::GoesOn),
];

/// A server that will fail, and load on it.
fn start(data: &Path, stage: &str, action: &str, hits: u32) -> (Server, Clients) {
    let mut command = command(data);
    set(&mut command, &SMALL);
    command.env("STEADFAST_FAILPOINT", format!("{stage}:{action}:{hits}"));
    let server = Server::spawn(command);
    let mut clients = Clients::new();
    clients.produce(&mut Rng::new(hits.into()), 3, 16);
    clients.follow(Some(server.broker()));
    (server, clients)
}

/// A server without the fail point has everything that was acknowledged, and nothing else.
fn judge_after_restart(data: &Path, stage: &str, clients: &mut Clients) {
    let server = Server::start(data, &SMALL);
    clients.follow(Some(server.broker()));
    let verdict = clients.judge();
    assert!(verdict.is_clean() && verdict.books.acked > 0, "{stage}: {verdict}");
}

#[test]
fn a_panic_anywhere_ends_the_process_and_loses_nothing() {
    for (stage, hits, _) in STAGES {
        let dir = tempfile::tempdir().unwrap();
        let (mut server, mut clients) = start(dir.path(), stage, "panic", hits);
        until("the process ends", || !server.is_running());
        let log = server.log();
        assert!(log.contains(&format!("fail point {stage}")) && log.contains("the process ends"), "{log}");
        until("senders know", || clients.journal.cut_off.load(Relaxed) > 0);
        judge_after_restart(dir.path(), stage, &mut clients);
    }
}

#[test]
fn an_error_anywhere_is_told_and_loses_nothing() {
    for (stage, hits, then) in STAGES {
        let dir = tempfile::tempdir().unwrap();
        let (mut server, mut clients) = start(dir.path(), stage, "error", hits);
        until("the fail point is hit", || server.log().contains(&format!("fail point {stage} is hit")));
        let ended = clients.journal.ended();
        until("every request still ends", || clients.journal.ended() > ended + 300);
        check_clients(stage, then, &clients);
        check_probes(stage, then, &server);

        // What the server serves now is what it acknowledged.
        let verdict = clients.judge();
        assert!(verdict.is_clean(), "{stage}: {verdict}");
        assert!(server.is_running(), "{stage}: {}", server.log());
        clients.follow(None);
        server.kill();
        judge_after_restart(dir.path(), stage, &mut clients);
    }
}

fn check_clients(stage: &str, then: Then, clients: &Clients) {
    let count = |which: &std::sync::atomic::AtomicU64| which.load(Relaxed);
    let journal = &clients.journal;
    if then == Then::TakesNoMore {
        until("senders are refused", || count(&journal.refused) > 0);
        for i in 0..50 {
            assert_eq!(clients.send_once(format!("late-{i}")), Outcome::Refused, "{stage}: a later send");
        }
        assert_eq!(count(&journal.cut_off), 0, "{stage}: nobody is cut off");
        let answer = clients.move_position(0);
        assert_eq!(answer.code, response::SERVICE_NOT_AVAILABLE, "{stage}: {}", answer.remark());
        assert!(answer.remark().starts_with("stored=no"), "{stage}: {}", answer.remark());
        return;
    }
    let acked = count(&journal.acked);
    until("service goes on", || count(&journal.acked) > acked + 200);
    let told = (count(&journal.refused), count(&journal.cut_off) > 0, count(&journal.answered_unknown));
    let expected = (u64::from(then == Then::RefusesOne), then == Then::ClosesOne, 0);
    assert_eq!(told, expected, "{stage}: refused, cut off, told that nobody knows");
}

/// Whoever looks after the process is told that a restart would help, and clients are sent elsewhere.
fn check_probes(stage: &str, then: Then, server: &Server) {
    let expected =
        if then == Then::TakesNoMore { "HTTP/1.1 503 Service Unavailable" } else { "HTTP/1.1 200 OK" };
    for path in ["/healthz", "/readyz"] {
        let (status, body) = server.page(path);
        assert_eq!(status, expected, "{stage}: {path}: {body}");
    }
    let (_, metrics) = server.page("/metrics");
    let poisoned = u8::from(then == Then::TakesNoMore);
    let sample = format!(
        "steadfast_poisoned{{cluster=\"DefaultCluster\",node_type=\"broker\",node_id=\"broker-a\"}} {poisoned}"
    );
    assert!(metrics.contains(&sample), "{stage}: {metrics}");
}

#[test]
fn a_disk_that_stands_still_stops_neither_reads_nor_the_time_out_of_a_send() {
    let dir = tempfile::tempdir().unwrap();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let mut command = command(dir.path());
    set(&mut command, &["syncFlushTimeout=1000"]);
    // The entry that opens the term and the topic come first.
    command.env("STEADFAST_FAILPOINT", "BeforeWrite:stall:4").env("STEADFAST_FAILPOINT_GATE", gate.path());
    let server = Server::spawn(command);
    let (mut sender, mut reader) = (Client::connect(server.broker()), Client::connect(server.broker()));
    assert_eq!(sender.send("t", b"first").code(), 0);
    let begun = Instant::now();
    sender.post_send("t", b"second");
    until("the write stands still", || server.log().contains("BeforeWrite is hit"));
    // All of this is answered while the write stands still: nobody lets it go before.
    assert_eq!(reader.max_offset("t"), 1, "what is not durable is not visible");
    assert_eq!(reader.pull("t", 0).code(), 0);
    let told = sender.answer().unwrap();
    assert!(told.remark().starts_with("stored=unknown"), "{told:?}");
    // The server counts whole milliseconds.
    assert!(begun.elapsed() > Duration::from_millis(999), "told after {:?}", begun.elapsed());
    gate.close().unwrap();
    until("the write is done after all", || reader.max_offset("t") == 2);
    assert_eq!(sender.send("t", b"third").code(), 0);
}
