//! The mode `send`: load, then the audit, then the result.

use std::hash::{BuildHasher, RandomState};

use anyhow::ensure;

use super::args::BenchArgs;
use super::content::Content;
use super::follow::Followers;
use super::load;
use super::report::{self, Latency, Report};
use super::stats::Stats;
use super::target::Target;
use super::verify::{self, Verified};
use crate::print;

/// Runs the mode.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    let (target, tails) = runtime.block_on(async {
        let target = Target::create(args).await?;
        let tails = target.tails().await?;
        anyhow::Ok((target, tails))
    })?;
    // The standard library's only source of randomness; it seeds nothing but the run's number.
    let run = RandomState::new().hash_one(0);
    let content = Content { run, size: args.size, keys: args.keys };
    let followers = Followers::start(args, &target, &tails);
    let outcome = load::run(args, &target, content);
    let delivery = followers.map(Followers::finish).transpose()?;
    let outcome = outcome?;
    report_errors(&outcome.stats);
    print::note(format_args!("reading back {} acknowledged messages", messages(&outcome.stats)));
    let verified = runtime.block_on(verify::run(&target, &tails, content, &outcome.stats))?;
    judge(&outcome.stats, &verified)?;
    let mut report = Report::new(args, &outcome);
    report.set_verified(messages(&outcome.stats), verified.took);
    report.latency = Some(Latency::new(&outcome.stats.latencies));
    report.foreign = verified.foreign;
    report.delivery = delivery;
    report::print(&report, args.json)
}

pub(super) fn messages(stats: &Stats) -> u64 {
    stats.acks.iter().map(|ack| u64::from(ack.count)).sum()
}

pub(super) fn report_errors(stats: &Stats) {
    for (what, messages) in &stats.errors {
        print::note(format_args!("{messages} messages failed: {what}"));
    }
}

/// Nothing that was acknowledged may be missing, doubled or damaged, and there must be something to judge.
pub(super) fn judge(stats: &Stats, verified: &Verified) -> anyhow::Result<()> {
    let (removed, violations) = (verified.removed(), verified.verdict.violations.len());
    let begins: Vec<String> = verified.begins.iter().map(|(queue, at)| format!("{queue} at {at}")).collect();
    ensure!(
        removed == 0 || removed < violations,
        "NO RESULT, because retention removed {removed} messages of this run before they were read back: queues begin later \
         now, {}. Nothing else is missing. Let the server keep more (retentionBytes, or space on its disk; `steadfast admin \
         retention` shows what it keeps), or send less: --messages, --seconds",
        begins.join(", ")
    );
    ensure!(
        violations == 0,
        "NO RESULT, because messages are not as acknowledged; retention removed {removed} of them:\n{}",
        verified.verdict
    );
    ensure!(stats.measured > 0, "NO RESULT, because no message was acknowledged in the measured time");
    Ok(())
}
