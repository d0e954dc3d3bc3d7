//! Rounds of SIGKILL of the leader under load, and a stop of the last one: `STEADFAST_GROUP_ROUNDS` (5) of them, planned by
//! `STEADFAST_GROUP_SEED`.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use steadfast_sim::rng::Rng;

use crate::cluster::Cluster;
use crate::load::{Clients, SMALL, rounds, say, seed};
use crate::process::until;

const ROUNDS: &str = "STEADFAST_GROUP_ROUNDS";
const SEED: &str = "STEADFAST_GROUP_SEED";
/// Milliseconds from the moment a leader serves the load to its end.
const LIFE: std::ops::Range<u64> = 20..301;
/// Messages that are acknowledged before that, and after a leader is gone before its replica is started again.
const SERVED: u64 = 50;

#[test]
fn nothing_acknowledged_is_lost_with_a_leader() {
    let rounds = rounds(ROUNDS, 5);
    let seed = seed(SEED);
    let begun = Instant::now();
    say(&format!("group: {rounds} rounds, {SEED}={seed}"));
    let mut rng = Rng::new(seed);
    let mut cluster = Cluster::running(&SMALL);
    let mut clients = Clients::new();
    cluster.guide(&clients);
    clients.produce(&mut rng, 4, 8);
    clients.consume(&mut rng);
    let serves = |clients: &Clients| {
        let enough = clients.journal.acked.load(Relaxed) + SERVED;
        until("the group takes messages", || clients.journal.acked.load(Relaxed) >= enough);
    };
    let mut outages = Vec::new();
    for _ in 0..rounds {
        serves(&clients);
        sleep(Duration::from_millis(rng.within(LIFE)));
        let leader = cluster.leader();
        let killed = Instant::now();
        cluster.take(leader).kill();
        assert_ne!(cluster.leader(), leader);
        outages.push(killed.elapsed());
        serves(&clients);
        cluster.start(&[leader]);
    }
    clients.stop_producing();
    cluster.until_equal();
    let verdict = clients.judge();
    assert!(verdict.is_clean(), "{SEED}={seed}\n{verdict}");
    assert!(verdict.books.acked > rounds * 2 * SERVED, "too little load: {}", verdict.books);
    // Another replica has all of it as well.
    let leader = cluster.leader();
    let (status, log) = cluster.take(leader).stop_and_log();
    assert!(status.success(), "{log}");
    cluster.leader();
    let again = clients.judge();
    assert!(again.is_clean(), "{SEED}={seed}, read from another replica\n{again}");

    outages.sort();
    let longest = outages.last().copied().unwrap_or_default();
    let (cut_off, refused) = (clients.journal.cut_off.load(Relaxed), clients.journal.refused.load(Relaxed));
    let unknown = clients.journal.answered_unknown.load(Relaxed);
    say(&format!(
        "group: {rounds} leaders killed, {} violations; {}; send requests cut off {cut_off}, refused {refused}, answered \
         unknown {unknown}; without a leader median {} ms, longest {} ms; {:.1} s",
        verdict.violations.len() + again.violations.len(),
        verdict.books,
        outages.get(outages.len() / 2).copied().unwrap_or_default().as_millis(),
        longest.as_millis(),
        begun.elapsed().as_secs_f64(),
    ));
}
