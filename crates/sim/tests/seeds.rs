//! The simulator's seeds that continuous integration runs, and the proof that a seed is one run.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use steadfast_sim::run::{self, Outcome};
use steadfast_sim::trace::Keep;
use steadfast_sim::{Aim, ClusterAim, Scenario};

/// Seeds of every run of the tests.
const SEEDS: Range<u64> = 0..2_000;
/// Seeds of each aim.
const AIMED: Range<u64> = 0..100;
/// Seeds of groups of replicas, and of each aim of theirs.
const CLUSTERS: Range<u64> = 0..300;
const CLUSTERS_AIMED: Range<u64> = 0..40;
/// Seeds of groups of whole brokers, and of each aim of theirs.
const BROKERS: Range<u64> = 0..40;
const BROKERS_AIMED: Range<u64> = 0..8;
/// Seeds that failed once, each with what was wrong. They may lie outside of [`SEEDS`].
const ONCE_FAILED: &[(u64, &str)] = &[
    (71, "a message damaged after the last snapshot was looked up by its key and said never to have been"),
    (272, "the ledger's: a jump over a message that was given up begins there, not where the position was"),
    (
        2221,
        "the simulator's: a file was restored under a running process, which wrote the damaged block once more",
    ),
];
/// Events to print of a seed that fails.
const STORY: usize = 60;
/// Seeds to print of, if many fail.
const SHOWN: usize = 3;

fn tell(outcome: &Outcome) {
    eprintln!("--- seed {} ---\n{}", outcome.seed, outcome.plan);
    outcome.story.iter().for_each(|line| eprintln!("{line}"));
    outcome.findings.iter().for_each(|finding| eprintln!("seed {}: {finding}", outcome.seed));
    eprintln!("to run it again: {}\n", outcome.replay());
}

/// Runs seeds on two threads; returns those that failed.
fn failures(scenario: Scenario, seeds: &[u64]) -> Vec<Outcome> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Relaxed) as usize) {
            let outcome = run::explained(*seed, scenario, STORY);
            if !outcome.findings.is_empty() {
                failed.push(outcome);
            }
        }
        failed
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut failed = work();
        failed.extend(other.join().expect("a seed's panic is a finding"));
        failed
    })
}

fn expect_well(scenario: impl Into<Scenario>, seeds: &[u64]) {
    let scenario = scenario.into();
    let failed = failures(scenario, seeds);
    failed.iter().take(SHOWN).for_each(tell);
    let numbers: Vec<u64> = failed.iter().map(|outcome| outcome.seed).collect();
    assert!(
        numbers.is_empty(),
        "{} of {} seeds of {scenario:?} failed: {numbers:?}",
        numbers.len(),
        seeds.len()
    );
}

#[test]
fn all_is_well_in_two_thousand_worlds() {
    expect_well(Aim::Anything, &SEEDS.collect::<Vec<_>>());
}

#[test]
fn all_is_well_in_worlds_with_an_aim() {
    let aims = Aim::ALL.into_iter().filter(|aim| *aim != Aim::Anything);
    aims.for_each(|aim| expect_well(aim, &AIMED.collect::<Vec<_>>()));
}

#[test]
fn all_is_well_in_groups_of_replicas() {
    for aim in ClusterAim::ALL {
        let seeds = if aim == ClusterAim::Anything { CLUSTERS } else { CLUSTERS_AIMED };
        expect_well(aim, &seeds.collect::<Vec<_>>());
    }
}

#[test]
fn all_is_well_in_groups_of_brokers() {
    for aim in ClusterAim::ALL {
        let seeds = if aim == ClusterAim::Anything { BROKERS } else { BROKERS_AIMED };
        expect_well(Scenario::Brokers(aim), &seeds.collect::<Vec<_>>());
    }
}

#[test]
fn what_once_failed_is_well() {
    expect_well(Aim::Anything, &ONCE_FAILED.iter().map(|(seed, _)| *seed).collect::<Vec<_>>());
}

#[test]
fn a_seed_is_one_run() {
    let servers = (100_000..100_020).map(|seed| (seed, Scenario::Server(Aim::Anything)));
    let clusters = (100_000..100_010).map(|seed| (seed, Scenario::Cluster(ClusterAim::Anything)));
    let brokers = (100_000..100_003).map(|seed| (seed, Scenario::Brokers(ClusterAim::Anything)));
    for (seed, scenario) in servers.chain(clusters).chain(brokers) {
        let (one, other) = (run::seed(seed, scenario, Keep::Nothing), run::seed(seed, scenario, Keep::All));
        assert_eq!(
            (one.hash, one.events, one.lasted),
            (other.hash, other.events, other.lasted),
            "seed {seed}"
        );
        assert!(one.events > 100, "seed {seed} does something");
    }
}

#[test]
fn seeds_differ() {
    let hashes = (100_000..100_010).map(|seed| run::seed(seed, Aim::Anything, Keep::Nothing).hash);
    assert_eq!(hashes.collect::<std::collections::BTreeSet<_>>().len(), 10);
}
