//! The subcommand `sim`: its arguments, and what its end means.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use steadfast_sim::campaign::{self, Campaign, Running};
use steadfast_sim::cli::{self, Options};
use steadfast_sim::{Aim, ClusterAim, Scenario};

const EXAMPLES: &str = "\
Examples:
  steadfast sim --seeds 100          run so many seeds
  steadfast sim --seeds 2000 --jobs 2    more of them, two at a time
  steadfast sim --aim snapshots --seeds 300    worlds whose snapshots are damaged again and again
  steadfast sim --cluster --seeds 300    groups of three and five replicas
  steadfast sim --brokers --seeds 300    the same with whole brokers and their clients
  steadfast sim --seed 17            run one seed again and tell its story if it fails
  steadfast sim --campaign runs.txt --minutes 60
                                     all worlds, in turn, on all cores; goes on where runs.txt ends, and adds up
  steadfast sim --campaign runs.txt --minutes 0    what it came to so far";

/// Try to break a simulated server: crashes, disk faults and clients, all decided by a seed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SimArgs {
    /// Run one seed, and tell its story if it fails
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print every event, whether the seed fails or not
    #[arg(long)]
    trace: bool,
    /// Run these seeds: from A up to B, B excluded, or so many of them
    #[arg(long, value_name = "A..B|COUNT", default_value = "100", value_parser = seeds)]
    seeds: Range<u64>,
    /// First seed, with a COUNT
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Seeds that run at the same time; 1, in a campaign as many as there are cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Run groups of three or five replicas instead of a server: their consensus and their logs
    #[arg(long)]
    cluster: bool,
    /// Run groups of three or five whole brokers with their clients
    #[arg(long, conflicts_with = "cluster")]
    brokers: bool,
    /// What the worlds are about: anything, damage, forgery, retention or snapshots; of groups: anything, elections,
    /// replacement, reads, damage, wipe, restore or space
    #[arg(long, value_name = "AIM", default_value = "anything")]
    aim: String,
    /// Events to print of a seed that fails
    #[arg(long, value_name = "N", default_value_t = 60)]
    lines: usize,
    /// Run all worlds in turn until stopped, and keep what they come to in this file; it can be stopped at any moment,
    /// goes on where it was, and counts the seeds of this code only
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "trace", "seeds", "from", "cluster", "brokers", "aim"])]
    campaign: Option<PathBuf>,
    /// End the campaign after so long
    #[arg(long, value_name = "N", requires = "campaign")]
    minutes: Option<u64>,
    /// What the code is called whose seeds count, such as a commit; without it, what the executable's bytes say
    #[arg(long, value_name = "NAME", requires = "campaign")]
    code: Option<String>,
}

impl SimArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(journal) = &self.campaign {
            return self.campaign(journal);
        }
        let seeds = match self.seed {
            Some(seed) => after(seed, 0..1)?,
            None => after(self.from, self.seeds)?,
        };
        let scenario = match (self.cluster, self.brokers) {
            (true, _) => self.aim.parse::<ClusterAim>().map(Scenario::Cluster),
            (_, true) => self.aim.parse::<ClusterAim>().map(Scenario::Brokers),
            _ => self.aim.parse::<Aim>().map(Scenario::Server),
        };
        let scenario = scenario.map_err(|cause| anyhow!("--aim {}: {cause}", self.aim))?;
        let (jobs, trace, lines) = (self.jobs.unwrap_or(1).into(), self.trace, self.lines);
        let options = Options { seeds, scenario, jobs, trace, lines };
        let start = Instant::now();
        let all_well = cli::run(&options, &|| start.elapsed(), &mut std::io::stdout())?;
        ensure!(all_well, "a seed failed; its story and the command that replays it are above");
        Ok(())
    }

    fn campaign(&self, path: &Path) -> anyhow::Result<()> {
        let start = Instant::now();
        let cores = available_parallelism().map_or(1, NonZero::get);
        let code = match &self.code {
            Some(code) => code.replace(['\t', '\n'], " "),
            None => format!("{} {:08x}", env!("CARGO_PKG_VERSION"), executable()?),
        };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("reading {} failed", path.display()))?,
        };
        let writing = || format!("writing {} failed", path.display());
        let mut journal = File::options().create(true).append(true).open(path).with_context(writing)?;
        journal.write_all(campaign::opening(&text).as_bytes()).with_context(writing)?;
        let mut campaign = Campaign::resume(&code, &text);
        let end = self.minutes.map(|minutes| Duration::from_secs(60 * minutes));
        let goes_on = || end.is_none_or(|end| start.elapsed() < end);
        let running =
            Running { jobs: self.jobs.map_or(cores, usize::from), lines: self.lines, goes_on: &goes_on };
        campaign::run(&mut campaign, &running, &mut journal, &mut io::stdout()).with_context(writing)?;
        println!("{campaign}");
        ensure!(campaign.sum().failed.is_empty(), "a seed failed; the command that replays it is above");
        Ok(())
    }
}

/// A checksum of this executable.
fn executable() -> anyhow::Result<u32> {
    let path = std::env::current_exe().context("finding the executable failed; name the code with --code")?;
    let bytes = fs::read(&path).with_context(|| format!("reading {} failed", path.display()))?;
    Ok(crc32c::crc32c(&bytes))
}

fn after(from: u64, seeds: Range<u64>) -> anyhow::Result<Range<u64>> {
    let moved = from.checked_add(seeds.start).zip(from.checked_add(seeds.end));
    moved.map(|(start, end)| start..end).ok_or_else(|| anyhow!("the last seed is {}", u64::MAX - 1))
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
    let seeds = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 0..number(text)?,
    };
    if seeds.is_empty() {
        Err("there is no such seed; write a COUNT or A..B, such as 100 or 5..9".into())
    } else {
        Ok(seeds)
    }
}
