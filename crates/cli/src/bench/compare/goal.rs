//! What a comparison should show: `SCENARIO METRIC OPERATOR NUMBER`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};

/// A bound on the ratio of two systems, or on the first system alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    pub(super) scenario: String,
    pub(super) metric: String,
    /// The bound is on the first system's own figure (`first:METRIC`), not on the ratio.
    pub(super) of_first: bool,
    operator: Operator,
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    AtLeast,
    More,
}

impl Goal {
    /// Whether the ratio, or the first system's figure, is within the bound.
    pub(super) fn is_met(&self, value: f64) -> bool {
        match self.operator {
            Operator::Less => value < self.bound,
            Operator::AtMost => value <= self.bound,
            Operator::AtLeast => value >= self.bound,
            Operator::More => value > self.bound,
        }
    }
}

impl FromStr for Goal {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let [scenario, metric, operator, bound] = parts[..] else {
            bail!("{text:?} is no goal: write 'SCENARIO METRIC >= NUMBER'");
        };
        let operator = match operator {
            "<" => Operator::Less,
            "<=" => Operator::AtMost,
            ">=" => Operator::AtLeast,
            ">" => Operator::More,
            other => bail!("{other:?} in {text:?} is none of <, <=, >=, >"),
        };
        let (of_first, metric) = match metric.strip_prefix("first:") {
            Some(metric) => (true, metric),
            None => (false, metric),
        };
        let bound = bound.parse().with_context(|| format!("{bound:?} in {text:?} is no number"))?;
        Ok(Self { scenario: scenario.to_owned(), metric: metric.to_owned(), of_first, operator, bound })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.of_first { "first" } else { "ratio" };
        let operator = match self.operator {
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::AtLeast => ">=",
            Operator::More => ">",
        };
        write!(f, "{of} {operator} {}", self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals() {
        let goal: Goal = "sync-16x32 cpu <= 0.167".parse().unwrap();
        assert!(goal.is_met(0.1) && goal.is_met(0.167) && !goal.is_met(0.2));
        assert_eq!(goal.to_string(), "ratio <= 0.167");
        let goal: Goal = "load first:memory < 300".parse().unwrap();
        assert!(goal.of_first && goal.metric == "memory" && !goal.is_met(300.0));
        for text in ["", "a b c", "a b = 1", "a b < x", "a b < 1 2"] {
            assert!(text.parse::<Goal>().is_err(), "{text:?}");
        }
    }
}
