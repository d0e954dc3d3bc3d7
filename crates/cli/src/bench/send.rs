//! The mode `send`: load, then the audit, then the result.

use anyhow::ensure;

use super::args::BenchArgs;
use super::content::Content;
use super::follow::Followers;
use super::load;
use super::report::{self, Latency, Report};
use super::stats::Stats;
use super::target::{Range, Target};
use super::verify::{self, Verified};
use crate::print;

/// Runs the mode.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    report::print(&measure(args)?, args.json)
}

/// Sends, and reads back what was acknowledged.
pub(super) fn measure(args: &BenchArgs) -> anyhow::Result<Report> {
    let runtime = super::runtime()?;
    let (target, tails) = runtime.block_on(async {
        let target = Target::create(args).await?;
        let tails = target.tails().await?;
        anyhow::Ok((target, tails))
    })?;
    let content = Content::of_new_run(args.size, args.keys);
    let followers = Followers::start(args, &target, &tails);
    let outcome = load::run(args, &target, content);
    let delivery = followers.map(Followers::finish).transpose()?;
    let outcome = outcome?;
    report_errors(&outcome.stats);
    let mut report = runtime.block_on(verified(args, &target, &tails, content, &outcome))?;
    report.delivery = delivery;
    Ok(report)
}

/// Reads back what was acknowledged; only then is there a result.
pub(super) async fn verified(
    args: &BenchArgs,
    target: &Target,
    tails: &[Range],
    content: Content,
    outcome: &load::Outcome,
) -> anyhow::Result<Report> {
    let stats = &outcome.stats;
    let acked = stats.acks.iter().map(|ack| u64::from(ack.count)).sum();
    print::note(format_args!("reading back {acked} acknowledged messages"));
    let verified = verify::run(target, tails, content, stats).await?;
    judge(stats, &verified)?;
    let mut report = Report::new(args, outcome);
    report.set_verified(acked, verified.took);
    report.latency = Some(Latency::new(&stats.latencies));
    report.foreign = verified.foreign;
    Ok(report)
}

pub(super) fn report_errors(stats: &Stats) {
    for (what, messages) in &stats.errors {
        print::note(format_args!("{messages} messages failed: {what}"));
    }
}

/// Nothing that was acknowledged may be missing, doubled or damaged, and there must be something to judge.
fn judge(stats: &Stats, verified: &Verified) -> anyhow::Result<()> {
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
