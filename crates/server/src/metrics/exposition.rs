//! Prometheus' text format, version 0.0.4, and the histogram that it shows.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Value of the header Content-Type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value.
pub(crate) type Label<'a> = (&'static str, &'a str);

/// What a family of samples is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A page of metrics on its way. The samples of a family stand together, whichever node they are of.
#[derive(Debug, Default)]
pub(crate) struct Page {
    families: Vec<Text>,
    /// The family whose samples are being written.
    current: usize,
    /// Labels of every sample of the node.
    common: String,
}

/// A family as text.
#[derive(Debug)]
struct Text {
    name: &'static str,
    out: String,
}

impl Page {
    /// Samples that follow are of this node.
    pub(crate) fn begin_node(&mut self, labels: &[Label<'_>]) {
        self.common.clear();
        append(&mut self.common, labels);
    }

    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.begin(name, kind, help);
        Family { page: self, name }
    }

    /// A family of one sample without labels of its own.
    pub(crate) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// A family of histograms; `unit` is the duration of 1.
    pub(crate) fn histograms<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        unit: Duration,
        all: impl IntoIterator<Item = (Vec<Label<'a>>, &'a Histogram)>,
    ) {
        self.begin(name, "histogram", help);
        let in_units = |micros: u64| micros as f64 / unit.as_micros() as f64;
        for (labels, histogram) in all {
            let mut below = 0;
            for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
                below += count.load(Relaxed);
                let bound = in_units(*bound).to_string();
                let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
                self.sample(name, "_bucket", &labels, below);
            }
            below += histogram.counts.last().map_or(0, |count| count.load(Relaxed));
            let all: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
            self.sample(name, "_bucket", &all, below);
            self.sample(name, "_sum", &labels, in_units(histogram.sum.load(Relaxed)));
            self.sample(name, "_count", &labels, below);
        }
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.families.into_iter().map(|family| family.out).collect()
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        // Nodes have the same families in the same order, but for those that one alone has.
        let known = self.families.iter().position(|family| family.name == name);
        self.current = known.unwrap_or_else(|| {
            let out = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            self.families.push(Text { name, out });
            self.families.len() - 1
        });
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        let Some(Text { out, .. }) = self.families.get_mut(self.current) else { return };
        out.push_str(name);
        out.push_str(suffix);
        out.push('{');
        out.push_str(&self.common);
        append(out, labels);
        out.push('}');
        // Writing to a string cannot fail.
        let _ = writeln!(out, " {value}");
    }
}

/// A family whose samples are being written.
pub(crate) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Family<'_> {
    pub(crate) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.page.sample(self.name, "", labels, value);
    }
}

/// Appends labels, each after a comma unless it is the first.
fn append(out: &mut String, labels: &[Label<'_>]) {
    for (name, value) in labels {
        if !out.ends_with('{') && !out.is_empty() {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
}

/// Counts durations in buckets; can be read while it is written.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Upper bounds in microseconds, ascending.
    bounds: &'static [u64],
    /// One more than bounds: the last one has no bound.
    counts: Vec<AtomicU64>,
    /// Microseconds.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        let bucket = self.bounds.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format() {
        let mut page = Page::default();
        page.begin_node(&[("cluster", "c")]);
        page.single("up", Kind::Gauge, "Whether it is up.", 1);
        let mut family = page.family("in_total", Kind::Counter, "Messages.");
        family.sample(&[("topic", "a\"b\\c\nd")], 7);
        let histogram = Histogram::new(&[1_000, 3_000]);
        for micros in [0, 1_000, 1_001, 5_000] {
            histogram.record(Duration::from_micros(micros));
        }
        page.histograms("took", "Time.", Duration::from_millis(1), [(vec![("code", "10")], &histogram)]);
        let expected = "\
# HELP up Whether it is up.
# TYPE up gauge
up{cluster=\"c\"} 1
# HELP in_total Messages.
# TYPE in_total counter
in_total{cluster=\"c\",topic=\"a\\\"b\\\\c\\nd\"} 7
# HELP took Time.
# TYPE took histogram
took_bucket{cluster=\"c\",code=\"10\",le=\"1\"} 2
took_bucket{cluster=\"c\",code=\"10\",le=\"3\"} 3
took_bucket{cluster=\"c\",code=\"10\",le=\"+Inf\"} 4
took_sum{cluster=\"c\",code=\"10\"} 7.001
took_count{cluster=\"c\",code=\"10\"} 4
";
        assert_eq!(page.finish(), expected);
    }

    /// Prometheus refuses a page that names a family twice.
    #[test]
    fn a_family_of_several_nodes_stands_together() {
        let mut page = Page::default();
        for node in ["a", "b"] {
            page.begin_node(&[("node", node)]);
            page.single("up", Kind::Gauge, "Whether it is up.", 1);
            page.single("in_total", Kind::Counter, "Messages.", 7);
        }
        let expected = "\
# HELP up Whether it is up.
# TYPE up gauge
up{node=\"a\"} 1
up{node=\"b\"} 1
# HELP in_total Messages.
# TYPE in_total counter
in_total{node=\"a\"} 7
in_total{node=\"b\"} 7
";
        assert_eq!(page.finish(), expected);
    }
}
