//! `--compare`: medians and ratios of earlier results, as a Markdown table.
//!
//! Results are grouped by label, SCENARIO/SYSTEM. The ratio is that of the medians, first system to second.

mod goal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use self::goal::Goal;
use super::report::Report;
use crate::print;

/// Something that can be compared.
struct Metric {
    name: &'static str,
    unit: &'static str,
    /// None if this kind of run does not measure it.
    of: fn(&Report) -> Option<f64>,
}

const METRICS: [Metric; 11] = [
    Metric { name: "throughput", unit: "msg/s", of: |r| (r.throughput > 0.0).then_some(r.throughput) },
    Metric { name: "p50", unit: "us", of: |r| r.latency.as_ref().map(|latency| latency.p50_us) },
    Metric { name: "p99", unit: "us", of: |r| r.latency.as_ref().map(|latency| latency.p99_us) },
    Metric { name: "p99.9", unit: "us", of: |r| r.latency.as_ref().map(|latency| latency.p999_us) },
    Metric { name: "max", unit: "us", of: |r| r.latency.as_ref().map(|latency| latency.max_us) },
    Metric { name: "delay-p50", unit: "us", of: |r| r.delivery.as_ref().map(|d| d.delay.p50_us) },
    Metric { name: "outage-p50", unit: "ms", of: |r| outages(r).map(|outages| outages.median) },
    Metric { name: "outage-max", unit: "ms", of: |r| outages(r).map(|outages| outages.greatest) },
    Metric { name: "cpu", unit: "us/msg", of: |r| r.server.as_ref().map(|s| s.cpu_us_per_message) },
    Metric { name: "memory", unit: "MiB", of: |r| r.server.as_ref().map(|s| s.resident_mib) },
    Metric { name: "time", unit: "s", of: |r| (r.mode == "probe").then_some(r.seconds) },
];

/// How long the fail-overs of a run took; None if there were none.
fn outages(report: &Report) -> Option<Spread> {
    let failovers = report.outages.iter().filter(|outage| outage.from != outage.to);
    Spread::of(failovers.map(|outage| outage.millis).collect())
}

/// The results of one scenario by system; the systems in the order of their first results.
struct Scenario {
    name: String,
    systems: Vec<(String, Vec<Report>)>,
}

/// Prints the table, and how many goals are met.
pub(super) fn run(files: &[PathBuf], goals: &[String]) -> anyhow::Result<()> {
    let goals: Vec<Goal> = goals.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let mut scenarios = Vec::new();
    for file in files {
        read(file, &mut scenarios)?;
    }
    for goal in &goals {
        let known = scenarios.iter().any(|scenario: &Scenario| scenario.name == goal.scenario);
        ensure!(known, "there is no result of the scenario {}", goal.scenario);
        let known = METRICS.iter().any(|metric| metric.name == goal.metric);
        ensure!(
            known,
            "there is no metric {}; there are {}",
            goal.metric,
            METRICS.map(|m| m.name).join(", ")
        );
    }
    print::result(&table(&scenarios, &goals))
}

fn read(file: &Path, scenarios: &mut Vec<Scenario>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = || format!("{}:{}", file.display(), number + 1);
        let report: Report = serde_json::from_str(line).with_context(at)?;
        let label = report.label.clone().with_context(|| format!("{}: the result has no label", at()))?;
        let (scenario, system) =
            label.rsplit_once('/').with_context(|| format!("{}: {label} is no SCENARIO/SYSTEM", at()))?;
        let scenario = entry(
            scenarios,
            |s| s.name == scenario,
            || Scenario { name: scenario.to_owned(), systems: Vec::new() },
        );
        let results = entry(&mut scenario.systems, |s| s.0 == system, || (system.to_owned(), Vec::new()));
        results.1.push(report);
    }
    Ok(())
}

/// The element that `is` accepts; the one of `new`, appended, if there is none.
fn entry<T>(list: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let at = list.iter().position(is).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[at]
}

fn table(scenarios: &[Scenario], goals: &[Goal]) -> String {
    let mut out = String::from(
        "| scenario | metric | system: median (least - greatest) | compared with | ratio | wanted | |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for scenario in scenarios {
        for metric in &METRICS {
            if let Some(row) = row(scenario, metric, goals) {
                out.push_str(&row);
            }
        }
    }
    let runs: BTreeMap<usize, ()> =
        scenarios.iter().flat_map(|s| s.systems.iter().map(|(_, results)| (results.len(), ()))).collect();
    let runs: Vec<String> = runs.keys().map(usize::to_string).collect();
    out.push_str(&format!("\nRuns of each system: {}.\n", runs.join(" or ")));
    out
}

/// The row of a metric; None if nothing measured it.
fn row(scenario: &Scenario, metric: &Metric, goals: &[Goal]) -> Option<String> {
    let mut measured = scenario.systems.iter().filter_map(|(system, results)| {
        let values: Vec<f64> = results.iter().filter_map(metric.of).collect();
        Some((system, Spread::of(values)?))
    });
    let (first_system, first) = measured.next()?;
    let second = measured.next();
    let ratio = second.as_ref().map(|(_, second)| first.median / second.median);
    let cell = |system: &str, spread: &Spread| format!("{system}: {}", spread.text());
    let of_row = goals.iter().filter(|goal| goal.scenario == scenario.name && goal.metric == metric.name);
    let judged = of_row.map(|goal| {
        let value = if goal.of_first { Some(first.median) } else { ratio };
        let verdict = match value {
            Some(value) if goal.is_met(value) => "met",
            Some(_) => "**missed**",
            None => "",
        };
        (goal.to_string(), verdict)
    });
    let (wanted, verdicts): (Vec<String>, Vec<&str>) = judged.unzip();
    Some(format!(
        "| {} | {}, {} | {} | {} | {} | {} | {} |\n",
        scenario.name,
        metric.name,
        metric.unit,
        cell(first_system, &first),
        second.as_ref().map_or(String::new(), |(system, spread)| cell(system, spread)),
        ratio.map_or(String::new(), significant),
        wanted.join("; "),
        verdicts.join("; "),
    ))
}

/// Some figures of the same kind.
pub(super) struct Spread {
    least: f64,
    pub(super) median: f64,
    greatest: f64,
}

impl Spread {
    /// None if there are none.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { least, median, greatest })
    }

    fn text(&self) -> String {
        let [least, median, greatest] = [self.least, self.median, self.greatest].map(significant);
        format!("{median} ({least} - {greatest})")
    }
}

/// Three digits are more than such figures deserve.
pub(super) fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => {
            let unit = 10f64.powf(size.log10().floor() - 2.0);
            format!("{:.0}", (value / unit).round() * unit)
        }
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let spread = Spread::of(vec![30.0, 10.0, 20.0]).unwrap();
        assert_eq!(spread.text(), "20.0 (10.0 - 30.0)");
        assert_eq!(Spread::of(vec![1.0, 2.0]).unwrap().median, 1.5);
        assert!(Spread::of(vec![]).is_none());
    }

    #[test]
    fn three_digits() {
        let texts = [0.0, 0.123456, 1.23456, 12.3456, 123.456, 36_123.4, 1_234_567.0].map(significant);
        assert_eq!(texts, ["0", "0.123", "1.23", "12.3", "123", "36100", "1230000"]);
    }

    #[test]
    fn a_table() {
        let line = |label: &str, throughput: f64| {
            let report = serde_json::json!({
                "label": label, "mode": "send", "seconds": 1.0, "messages": 1, "throughput": throughput,
                "mb_per_second": 1.0, "client_cpu_us_per_message": 1.0, "failed": {"refused": 0, "unknown": 0,
                "unsent": 0}, "verified": {"messages": 1, "seconds": 1.0}, "foreign": 0, "settings": {"topic": "t",
                "connections": 1, "in_flight": 1, "size": 1, "batch": 1, "rate": null, "keys": 0, "consumers": 0}
            });
            format!("{report}\n")
        };
        let dir = tempdir();
        let file = dir.join("results.json");
        let lines =
            [line("sync/a", 400.0), line("sync/b", 100.0), line("sync/a", 500.0), line("sync/a", 450.0)];
        std::fs::write(&file, lines.concat()).unwrap();
        let mut scenarios = Vec::new();
        read(&file, &mut scenarios).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        let goals = ["sync throughput >= 4", "sync first:throughput < 9"].map(|text| text.parse().unwrap());
        assert!(table(&scenarios, &goals).contains(
            "| sync | throughput, msg/s | a: 450 (400 - 500) | b: 100 (100 - 100) | 4.50 | ratio >= 4; first < 9 | met; **missed** |"
        ), "{}", table(&scenarios, &goals));
    }

    fn tempdir() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("steadfast-compare-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}
