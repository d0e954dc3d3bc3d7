//! Rounds of SIGKILL under load: `STEADFAST_KILL_ROUNDS` (30) of them, planned by `STEADFAST_KILL_SEED`. The seed decides
//! when is killed and what is sent; what the two processes then do at the same time, it does not.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use steadfast_sim::rng::Rng;

use crate::load::{Clients, SMALL, rounds, say, seed};
use crate::process::{Server, command, set};

const ROUNDS: &str = "STEADFAST_KILL_ROUNDS";
const SEED: &str = "STEADFAST_KILL_SEED";
/// Milliseconds from the moment a server serves to its end.
const LIFE: std::ops::Range<u64> = 20..401;

/// What happened besides.
#[derive(Default)]
struct Figures {
    /// How long each restart took until the server served.
    restarts: Vec<Duration>,
    /// Servers that were killed before they served.
    stillborn: u32,
}

#[test]
fn nothing_acknowledged_is_lost() {
    let rounds = rounds(ROUNDS, 30);
    let seed = seed(SEED);
    let begun = Instant::now();
    say(&format!("kill: {rounds} rounds, {SEED}={seed}"));
    let mut rng = Rng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut clients = Clients::new();
    clients.produce(&mut rng, 4, 24);
    clients.consume(&mut rng);
    let mut figures = Figures::default();

    let mut server = start(dir.path(), &mut rng);
    for _ in 0..rounds {
        clients.follow(Some(server.broker()));
        sleep(Duration::from_millis(rng.within(LIFE)));
        clients.follow(None);
        server.kill();
        if rng.one_in(4) {
            kill_while_starting(dir.path(), &mut rng);
            figures.stillborn += 1;
        }
        server = start(dir.path(), &mut rng);
        figures.restarts.push(server.started_in);
    }
    clients.follow(Some(server.broker()));
    let (cut_off, refused) = (clients.journal.cut_off.load(Relaxed), clients.journal.refused.load(Relaxed));
    let verdict = clients.judge();
    assert!(verdict.is_clean(), "{SEED}={seed}\n{verdict}");
    assert!(verdict.books.acked > rounds * 10, "so little load proves nothing: {}", verdict.books);

    figures.restarts.sort();
    let median = figures.restarts.get(figures.restarts.len() / 2).copied().unwrap_or_default();
    let longest = figures.restarts.last().copied().unwrap_or_default();
    say(&format!(
        "kill: {rounds} rounds and {} during a start, {} violations; {}; send requests cut off {cut_off}, refused \
         {refused}; restart median {} ms, longest {} ms; {:.1} s, log {} MiB",
        figures.stillborn,
        verdict.violations.len(),
        verdict.books,
        median.as_millis(),
        longest.as_millis(),
        begun.elapsed().as_secs_f64(),
        log_bytes(dir.path()) >> 20,
    ));
}

/// Both kinds of flushing must survive SIGKILL: what the operating system has, it keeps.
fn settings(rng: &mut Rng) -> Vec<&'static str> {
    let flush = if rng.one_in(3) { "flushDiskType=ASYNC_FLUSH" } else { "flushDiskType=SYNC_FLUSH" };
    [&SMALL[..], &[flush]].concat()
}

fn start(data: &Path, rng: &mut Rng) -> Server {
    Server::start(data, &settings(rng))
}

/// A start takes some tens of milliseconds: recovery, the vote, the entry that opens the term, the filler at work.
fn kill_while_starting(data: &Path, rng: &mut Rng) {
    let mut command = command(data);
    set(&mut command, &settings(rng));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    sleep(Duration::from_micros(rng.within(1_000..60_000)));
    child.kill().expect("a signal");
    child.wait().expect("a status");
}

fn log_bytes(data: &Path) -> u64 {
    let files = std::fs::read_dir(data.join("log")).expect("the log");
    files.map(|file| file.expect("a file").metadata().expect("its size").len()).sum()
}
