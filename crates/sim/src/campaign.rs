//! Campaigns: seeds of all worlds, one stretch after the other, for as long as somebody lets them run. What they came to is
//! in a journal that only grows, so that a campaign can be stopped at any moment, goes on where it was, and adds up.
//!
//! The journal is text, a line for each stretch that was run to its end, its fields separated by tabs:
//!
//! ```text
//! code    world           seeds   events  micros   starts  sent  acked  failed  faults
//! 1a2b3c  sim --brokers   0..4    310551  3700000  91      6100  5800   -       crash=12,disk error=3
//! ```
//!
//! Seeds count for the code that they ran on only. A line that was cut off, the last one of a process that was killed,
//! counts for nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Mutex;

use crate::cli::{Summary, report};
use crate::cluster::ClusterAim;
use crate::plan::Aim;
use crate::run;
use crate::scenario::Scenario;

/// Names the columns.
const HEAD: &str = "# code\tworld\tseeds\tevents\tmicros\tstarts\tsent\tacked\tfailed\tfaults\n";

/// All kinds of worlds, each with the seeds that one stretch has of it: these take about as long as each other.
fn worlds() -> Vec<(Scenario, u64)> {
    let servers = Aim::ALL.map(|aim| (Scenario::Server(aim), if aim == Aim::Anything { 100 } else { 25 }));
    let clusters = ClusterAim::ALL
        .map(|aim| (Scenario::Cluster(aim), if aim == ClusterAim::Anything { 40 } else { 10 }));
    let brokers =
        ClusterAim::ALL.map(|aim| (Scenario::Brokers(aim), if aim == ClusterAim::Anything { 16 } else { 4 }));
    servers.into_iter().chain(clusters).chain(brokers).collect()
}

/// The name of a world's kind: the command that runs it.
fn name(world: Scenario) -> String {
    format!("sim{world}")
}

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Campaign {
    code: String,
    worlds: Vec<Progress>,
    /// Whose turn it is.
    turn: usize,
}

/// How far a campaign is with one kind of world.
#[derive(Debug, Clone)]
struct Progress {
    scenario: Scenario,
    stretch: u64,
    /// Seeds that were run or are being run: first seed, end.
    taken: BTreeMap<u64, u64>,
    sum: Summary,
}

/// Seeds of one kind of world, to be run one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The kind of world.
    pub scenario: Scenario,
    /// The seeds.
    pub seeds: Range<u64>,
}

impl Campaign {
    /// A campaign of this code, which goes on behind what a journal says.
    pub fn resume(code: &str, journal: &str) -> Self {
        let progress = |(scenario, stretch)| Progress {
            scenario,
            stretch,
            taken: BTreeMap::new(),
            sum: Summary::default(),
        };
        let worlds = worlds().into_iter().map(progress).collect();
        let mut campaign = Self { code: code.to_owned(), worlds, turn: 0 };
        let whole = journal.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        for (stretch, summary) in whole.filter_map(|line| parse(code, line)) {
            let world = campaign.worlds.iter_mut().find(|world| world.scenario == stretch.scenario);
            if let Some(world) = world.filter(|world| !world.taken.contains_key(&stretch.seeds.start)) {
                world.taken.insert(stretch.seeds.start, stretch.seeds.end);
                world.sum.merge(&summary);
            }
        }
        campaign
    }

    /// What comes next: the first seeds that nobody has run, of the world that was least in turn.
    pub fn take(&mut self) -> Stretch {
        let world = &mut self.worlds[self.turn];
        self.turn = (self.turn + 1) % worlds().len();
        let mut start = 0;
        while let Some(end) = world.taken.get(&start) {
            start = *end;
        }
        let next = world.taken.range(start..).next().map_or(u64::MAX, |(next, _)| *next);
        let seeds = start..next.min(start + world.stretch);
        world.taken.insert(seeds.start, seeds.end);
        Stretch { scenario: world.scenario, seeds }
    }

    /// A stretch came to this: it counts. Returns its line of the journal.
    pub fn record(&mut self, stretch: &Stretch, summary: &Summary) -> String {
        if let Some(world) = self.worlds.iter_mut().find(|world| world.scenario == stretch.scenario) {
            world.sum.merge(summary);
        }
        line(&self.code, stretch, summary)
    }

    /// What all worlds came to.
    pub fn sum(&self) -> Summary {
        let mut sum = Summary::default();
        self.worlds.iter().for_each(|world| sum.merge(&world.sum));
        sum
    }
}

fn line(code: &str, stretch: &Stretch, summary: &Summary) -> String {
    let Summary { events, micros, starts, messages: (sent, acked), .. } = summary;
    let failed: Vec<String> = summary.failed.iter().map(u64::to_string).collect();
    let failed = if failed.is_empty() { "-".to_owned() } else { failed.join(",") };
    let faults: Vec<String> = summary.faults.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    let (world, Range { start, end }, faults) = (name(stretch.scenario), &stretch.seeds, faults.join(","));
    format!(
        "{code}\t{world}\t{start}..{end}\t{events}\t{micros}\t{starts}\t{sent}\t{acked}\t{failed}\t{faults}\n"
    )
}

/// What a line says, if it is whole and of this code.
fn parse(code: &str, line: &str) -> Option<(Stretch, Summary)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [of, world, seeds, events, micros, starts, sent, acked, failed, faults] = fields[..] else {
        return None;
    };
    let scenario =
        worlds().into_iter().map(|(scenario, _)| scenario).find(|scenario| name(*scenario) == world);
    let (start, end) = seeds.split_once("..")?;
    let seeds: Range<u64> = start.parse().ok()?..end.parse().ok()?;
    let faults = faults.split(',').filter(|text| !text.is_empty());
    let fault = |text: &str| {
        let (kind, count) = text.split_once('=')?;
        Some((kind.to_owned(), count.parse().ok()?))
    };
    let summary = Summary {
        seeds: seeds.end.checked_sub(seeds.start)?,
        failed: match failed {
            "-" => Vec::new(),
            failed => failed.split(',').map(|seed| seed.parse().ok()).collect::<Option<_>>()?,
        },
        events: events.parse().ok()?,
        micros: micros.parse().ok()?,
        starts: starts.parse().ok()?,
        messages: (sent.parse().ok()?, acked.parse().ok()?),
        faults: faults.map(fault).collect::<Option<_>>()?,
    };
    (of == code).then_some((Stretch { scenario: scenario?, seeds }, summary))
}

/// A table for docs/testing.md, the faults that struck, and how to run again what failed.
impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Code: {}\n", self.code)?;
        writeln!(f, "| worlds | seeds | virtual hours | events | acknowledged | starts | faults | failed |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        let worlds = self.worlds.iter().map(|world| (format!("`{}`", name(world.scenario)), &world.sum));
        let sum = self.sum();
        for (name, sum) in worlds.chain([("all".to_owned(), &sum)]) {
            let (hours, faults) = (sum.micros as f64 / 3.6e9, sum.faults.values().sum());
            let [seeds, events, acked] = [sum.seeds, sum.events, sum.messages.1].map(grouped);
            let (starts, faults, failed) = (grouped(sum.starts), grouped(faults), sum.failed.len());
            writeln!(
                f,
                "| {name} | {seeds} | {hours:.1} | {events} | {acked} | {starts} | {faults} | {failed} |"
            )?;
        }
        let kinds: Vec<String> =
            sum.faults.iter().map(|(kind, count)| format!("{kind} {}", grouped(*count))).collect();
        writeln!(f, "\nFaults: {}.", kinds.join(", "))?;
        for world in &self.worlds {
            for seed in &world.sum.failed {
                writeln!(f, "Failed: steadfast {} --seed {seed}", name(world.scenario))?;
            }
        }
        Ok(())
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a campaign runs.
pub struct Running<'a> {
    /// Seeds that run at the same time.
    pub jobs: usize,
    /// Events to print of a seed that fails.
    pub lines: usize,
    /// Whether it shall begin with another stretch.
    pub goes_on: &'a (dyn Fn() -> bool + Sync),
}

/// Runs a campaign. Each stretch that is done becomes a line of the journal, written at once; `out` is told of seeds
/// that fail.
pub fn run(
    campaign: &mut Campaign,
    running: &Running<'_>,
    journal: &mut (dyn Write + Send),
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let shared = Mutex::new((campaign, journal, out, Ok(())));
    let work = || {
        while (running.goes_on)() {
            let Ok(mut held) = shared.lock() else { return };
            if held.3.is_err() {
                return;
            }
            let stretch = held.0.take();
            drop(held);
            let mut summary = Summary::default();
            let mut stories = Vec::new();
            for seed in stretch.seeds.clone() {
                let outcome = run::explained(seed, stretch.scenario, running.lines);
                summary.add(&outcome);
                if !outcome.findings.is_empty() {
                    stories.push(outcome);
                }
            }
            let Ok(mut held) = shared.lock() else { return };
            let (campaign, journal, out, result) = &mut *held;
            let line = campaign.record(&stretch, &summary);
            let told = stories.iter().try_for_each(|outcome| report(outcome, *out));
            let written = journal.write_all(line.as_bytes()).and_then(|()| journal.flush());
            if let Err(error) = told.and(written) {
                *result = Err(error);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..running.jobs {
            scope.spawn(work);
        }
        work();
    });
    shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).3
}

/// What must be written before a campaign writes on: names of columns into a new journal, the end of a line that was cut
/// off.
pub fn opening(journal: &str) -> &'static str {
    match journal {
        "" => HEAD,
        whole if whole.ends_with('\n') => "",
        _ => "\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_summary() -> Summary {
        Summary {
            seeds: 100,
            failed: vec![7, 31],
            events: 1_234_567,
            micros: 7_200_000_000,
            starts: 12,
            messages: (500, 400),
            faults: [("crash".to_owned(), 3), ("disk error".to_owned(), 4)].into(),
        }
    }

    #[test]
    fn a_journal_adds_up_and_its_campaign_goes_on_behind_it() {
        let mut first = Campaign::resume("abc", "");
        let stretch = first.take();
        assert_eq!(stretch, Stretch { scenario: Scenario::default(), seeds: 0..100 });
        let line = first.record(&stretch, &some_summary());
        let journal = format!("{HEAD}{line}{}", &line[..line.len() - 1]);
        let mut second = Campaign::resume("abc", &journal);
        assert_eq!(second.to_string(), first.to_string());
        assert!(second.to_string().contains("| `sim` | 100 | 2.0 | 1,234,567 | 400 | 12 | 7 | 2 |"));
        assert!(second.to_string().contains("Failed: steadfast sim --seed 31"));
        assert_eq!(second.take().seeds, 100..200);
        assert_eq!(opening(&journal), "\n");
        assert_eq!(Campaign::resume("other code", &journal).sum().seeds, 0);
    }

    #[test]
    fn what_was_left_out_by_a_process_that_was_killed_is_run_later() {
        let mut first = Campaign::resume("abc", "");
        let stretch = Stretch { scenario: Scenario::default(), seeds: 100..200 };
        let journal = first.record(&stretch, &some_summary());
        let mut second = Campaign::resume("abc", &journal);
        assert_eq!(second.take().seeds, 0..100);
        let rest: Vec<Stretch> = (0..worlds().len()).map(|_| second.take()).collect();
        assert_eq!(rest.last().map(|stretch| stretch.seeds.clone()), Some(200..300));
    }

    #[test]
    fn garbage_counts_for_nothing() {
        for text in
            ["abc", "abc\tsim\t0..5\n", "\n\n\t\t\t\t\t\t\t\t\t\n", "abc\tsim\t9..5\t1\t1\t1\t1\t1\t-\t\n"]
        {
            assert_eq!(Campaign::resume("abc", text).sum().seeds, 0, "{text:?}");
        }
    }

    #[test]
    fn a_campaign_runs_until_it_is_told_to_stop_and_its_journal_tells_the_same() {
        let mut campaign = Campaign::resume("abc", "");
        // Only small worlds, so that the test is short.
        campaign.worlds.iter_mut().for_each(|world| world.stretch = 1);
        let left = std::sync::atomic::AtomicU32::new(2);
        let goes_on = || left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0;
        let running = Running { jobs: 1, lines: 0, goes_on: &goes_on };
        let (mut journal, mut out) = (Vec::new(), Vec::new());
        run(&mut campaign, &running, &mut journal, &mut out).unwrap();
        let journal = String::from_utf8(journal).unwrap();
        assert_eq!(journal.lines().count(), 2);
        assert_eq!(Campaign::resume("abc", &journal).to_string(), campaign.to_string());
        assert!(campaign.sum().events > 100);
    }
}
