//! The test of the tests: each guard of the server is left out once, and the simulator must notice. Run it with
//! `cargo test --release -p steadfast-sim --features sabotage`.
#![cfg(feature = "sabotage")]

use steadfast_sim::run::{self, Outcome};
use steadfast_sim::trace::Keep;
use steadfast_sim::{Aim, ClusterAim, Gist, Scenario};
use steadfast_store::sabotage::{self, Sabotage};

/// Seeds in which a defect must show.
const SEEDS: u64 = 300;

/// Runs seeds until the defect shows in a world of everything; these are the gists that tell it for what it is.
fn caught(defect: Sabotage, telling: &[Gist]) {
    caught_by(Aim::Anything, defect, telling);
}

/// Runs seeds with an aim until the defect shows.
fn caught_by(scenario: impl Into<Scenario>, defect: Sabotage, telling: &[Gist]) {
    let scenario = scenario.into();
    sabotage::set(Some(defect));
    let found = (0..SEEDS)
        .map(|seed| run::seed(seed, scenario, Keep::Nothing))
        .find(|outcome| tells(outcome, telling));
    sabotage::set(None);
    let Some(outcome) = found else { panic!("{defect:?} was not caught in {SEEDS} seeds") };
    let finding = outcome.findings.iter().find(|finding| telling.contains(&finding.gist));
    println!(
        "{defect:?} is caught by seed {}: {}",
        outcome.seed,
        finding.map(ToString::to_string).unwrap_or_default()
    );
    // The same seed is fine with the guard in its place.
    let sane = run::seed(outcome.seed, scenario, Keep::Nothing);
    assert!(sane.findings.is_empty(), "seed {} fails without a defect: {:?}", sane.seed, sane.findings);
}

fn tells(outcome: &Outcome, telling: &[Gist]) -> bool {
    outcome.findings.iter().any(|finding| telling.contains(&finding.gist))
}

#[test]
fn ack_before_sync() {
    caught(Sabotage::AckBeforeSync, &[Gist::Ledger('L')]);
}

#[test]
fn readable_before_commit() {
    caught(Sabotage::ReadableBeforeCommit, &[Gist::Ledger('V'), Gist::Ledger('O')]);
}

#[test]
fn chain_not_checked() {
    caught_by(Aim::Forgery, Sabotage::ChainNotChecked, &[Gist::Ledger('N'), Gist::Ledger('O'), Gist::Start]);
}

#[test]
fn tail_cut_below_the_commit_index() {
    caught_by(Aim::Damage, Sabotage::TailCutBelowCommit, &[Gist::Ledger('L')]);
}

#[test]
fn snapshot_not_verified() {
    // Most of what is wrong does not decode, and the older snapshot serves; what is left is a wrong number.
    caught_by(
        Aim::Snapshots,
        Sabotage::SnapshotNotVerified,
        &[Gist::Start, Gist::Stuck, Gist::Ledger('L'), Gist::Ledger('O'), Gist::Ledger('P')],
    );
}

#[test]
fn delivery_and_progress_are_two_entries() {
    caught(Sabotage::DeliveredWithoutPosition, &[Gist::Delay, Gist::Ledger('L')]);
}

#[test]
fn queue_offset_from_the_tail_alone() {
    caught(Sabotage::QueueOffsetFromTail, &[Gist::Ledger('L'), Gist::Ledger('O'), Gist::Bounds]);
}

#[test]
fn jump_not_recorded() {
    caught(Sabotage::JumpNotRecorded, &[Gist::Ledger('J')]);
}

#[test]
fn new_queue_starts_at_its_end() {
    caught(Sabotage::NewQueueStartsAtEnd, &[Gist::Ledger('C')]);
}

#[test]
fn freed_before_a_snapshot_covers_it() {
    caught_by(
        Aim::Retention,
        Sabotage::FreedBeforeSnapshot,
        &[Gist::Start, Gist::Stuck, Gist::Skip, Gist::Lookup, Gist::Ledger('L'), Gist::Ledger('O')],
    );
}

#[test]
fn a_pin_ignored() {
    caught_by(Aim::Retention, Sabotage::PinIgnored, &[Gist::Removed]);
}

#[test]
fn given_up_messages_are_not_in_the_snapshot() {
    caught(Sabotage::HolesForgotten, &[Gist::Hole]);
}

#[test]
fn a_hole_is_passed_in_silence() {
    caught(Sabotage::HolePassedInSilence, &[Gist::Ledger('C')]);
}

#[test]
fn lock_not_recorded() {
    caught(Sabotage::LockNotRecorded, &[Gist::Lock]);
}

#[test]
fn vote_not_persisted() {
    caught_by(ClusterAim::Elections, Sabotage::VoteNotPersisted, &[Gist::Vote, Gist::Leaders]);
}

#[test]
fn replacement_told_before_it_is_durable() {
    caught_by(ClusterAim::Replacement, Sabotage::TruncationNotPersisted, &[Gist::Quorum, Gist::Lost]);
}

#[test]
fn ack_before_quorum() {
    caught_by(ClusterAim::Anything, Sabotage::AckBeforeQuorum, &[Gist::Quorum, Gist::Lost, Gist::Committed]);
}

#[test]
fn stale_leader_reads() {
    caught_by(ClusterAim::Reads, Sabotage::StaleLeaderRead, &[Gist::Stale]);
}

#[test]
fn a_new_leader_takes_messages_too_early() {
    let world = Scenario::Brokers(ClusterAim::Anything);
    caught_by(world, Sabotage::LeadsBeforeItHasApplied, &[Gist::Panic, Gist::Ledger('L'), Gist::Ledger('O')]);
}

#[test]
fn a_deposed_leader_answers_ok() {
    let world = Scenario::Brokers(ClusterAim::Reads);
    caught_by(world, Sabotage::DeposedLeaderAnswersOk, &[Gist::Ledger('L'), Gist::Ledger('O')]);
}

#[test]
fn a_deposed_leader_answers_failed() {
    let world = Scenario::Brokers(ClusterAim::Reads);
    caught_by(world, Sabotage::DeposedLeaderAnswersFailed, &[Gist::Ledger('N')]);
}

#[test]
fn a_stale_leader_serves_reads_as_current() {
    let world = Scenario::Brokers(ClusterAim::Reads);
    caught_by(world, Sabotage::StaleLeaderRead, &[Gist::Bounds, Gist::Skip, Gist::Lookup, Gist::Ledger('P')]);
}

#[test]
fn nobody_makes_space_for_a_write_that_waits() {
    caught_by(Scenario::Brokers(ClusterAim::Space), Sabotage::HeldWriteNotFilled, &[Gist::Stuck]);
}

#[test]
fn ambiguous_replicas_vote() {
    caught_by(ClusterAim::Damage, Sabotage::AmbiguousVotes, &[Gist::Quorum, Gist::Lost, Gist::Committed]);
}

#[test]
fn new_disks_vote() {
    caught_by(ClusterAim::Wipe, Sabotage::NewDiskVotes, &[Gist::Quorum, Gist::Lost, Gist::Committed]);
}

#[test]
fn what_another_replica_gives_is_taken_without_a_look() {
    let world = Scenario::Brokers(ClusterAim::Damage);
    caught_by(world, Sabotage::RepairNotChecked, &[Gist::Repair]);
}

#[test]
fn older_copies_of_disks_vote() {
    caught_by(ClusterAim::Restore, Sabotage::OldCopyVotes, &[Gist::Quorum, Gist::Lost, Gist::Committed]);
}
