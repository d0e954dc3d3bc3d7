//! The settings of a server: `table` has them, `sources` says where they come from, `known` is what RocketMQ has
//! besides.

mod changes;
mod host;
mod known;
mod layout;
mod limit;
mod properties;
mod render;
mod replicas;
mod rules;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeSet;
use std::fmt;

pub use self::changes::{Change, Unchangeable, read_changes};
pub use self::host::Host;
use self::known::Known;
pub use self::layout::Peers;
pub use self::properties::escape;
pub use self::render::{help, markdown};
pub use self::replicas::{Replicas, SelfId};
use self::sources::{Assignment, Dialect};
pub use self::sources::{File, Sources};
use self::table::KEYS;
pub use self::table::{Config, Section, Setting};
pub use self::value::{
    Bytes, FlushDiskType, Hours, MetricsExporter, Millis, NameServers, Percent, Permission, Role, Seconds,
};

/// Largest `maxMessageSize`: the message, its properties and the entry around it must fit one log entry.
const MAX_MESSAGE_SIZE: u64 = 7 * 1024 * 1024;

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))?;
        f.write_str("\nAll settings: steadfast server --help-config")
    }
}

/// Settings that are valid, and what was noticed on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Lines for the operator: keys without effect.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads all sources and checks the result as a whole.
    ///
    /// # Errors
    /// All that is wrong, each with where it is written and what is right.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let assignments = sources.assignments(&mut problems);
        let mut loading = Loading { problems, ..Loading::default() };
        for assignment in assignments.below.iter().chain(&assignments.arguments) {
            loading.put(assignment);
        }
        loading.lay_out();
        loading.bound_message_size();
        loading.name_idle_replication();
        loading.name_directory();
        let Loading { config, warnings, mut problems, .. } = loading;
        if problems.is_empty() {
            problems.extend(config.broken_rules());
        }
        if problems.is_empty() { Ok(Loaded { config, warnings }) } else { Err(ConfigError { problems }) }
    }
}

/// Settings on their way from text to values.
#[derive(Debug, Default)]
struct Loading {
    config: Config,
    warnings: Vec<String>,
    problems: Vec<String>,
    /// Settings that somebody wrote down; the environment is not about this server alone.
    written: BTreeSet<String>,
    /// Keys that were warned of.
    warned: BTreeSet<String>,
}

impl Loading {
    fn put(&mut self, assignment: &Assignment) {
        let Assignment { origin, key: written, value, dialect } = assignment;
        let key = assignment.canonical_key();
        match self.config.set(key, value) {
            Some(Ok(())) => {
                if !assignment.is_of_environment() {
                    self.written.insert(key.to_owned());
                }
                return;
            }
            Some(Err(problem)) => return self.problems.push(format!("{origin}: {written} {problem}")),
            None => {}
        }
        match known::find(key) {
            Some(Known::Fixed(fixed)) if fixed.value.eq_ignore_ascii_case(value) => {}
            Some(Known::Fixed(fixed)) => {
                let known::Fixed { value: right, reason, .. } = fixed;
                self.problems.push(format!("{origin}: {written} must be {right}: {reason}"));
            }
            Some(Known::Ignored(reason)) => self.warn(origin, written, &format!("has no effect: {reason}")),
            None if *dialect == Dialect::Own => {
                self.problems.push(format!("{origin}: unknown setting {written:?}{}", did_you_mean(key)));
            }
            None => {
                self.warn(origin, written, &format!("is no setting and was skipped{}", did_you_mean(key)));
            }
        }
    }

    fn lay_out(&mut self) {
        if self.problems.is_empty() {
            self.problems.extend(self.config.lay_out(&self.written).err());
        }
    }

    /// A file of RocketMQ may allow more than is stored here: senders of such messages are told, and all others served.
    fn bound_message_size(&mut self) {
        let Bytes(asked) = self.config.max_message_size;
        if asked > MAX_MESSAGE_SIZE {
            self.config.max_message_size = Bytes(MAX_MESSAGE_SIZE);
            let warning = format!(
                "maxMessageSize is {asked} bytes, and {MAX_MESSAGE_SIZE} (7MiB) are taken at most: larger messages are \
                 refused"
            );
            self.warnings.push(warning);
        }
    }

    /// Who writes down replicas without wanting any has one copy of everything, and is told so.
    fn name_idle_replication(&mut self) {
        let Config { group, replicas, self_id, preferred_leader, replication_secret, .. } = &self.config;
        let written = [
            ("dLegerGroup", !group.is_empty()),
            ("dLegerPeers", !replicas.0.is_empty()),
            ("dLegerSelfId", self_id.0.is_some()),
            ("preferredLeaderId", preferred_leader.0.is_some()),
            ("replicationSecretFile", replication_secret.is_some()),
        ];
        let written: Vec<_> = written.into_iter().filter_map(|(key, is)| is.then_some(key)).collect();
        if !self.config.replicated && !written.is_empty() {
            let keys = written.join(", ");
            self.warnings.push(format!(
                "without effect: {keys}. enableDLegerCommitLog is false, so that this server has no replicas and there is one \
                 copy of its data"
            ));
        }
        if self.config.is_replica() && self.config.broker_id > 0 {
            let text = "brokerId has no effect on a replica: the leader of the moment is 0, replica nK is K + 1 otherwise";
            self.warnings.push(text.to_owned());
        }
    }

    /// Who named another directory for data is told which one it is.
    fn name_directory(&mut self) {
        let data = &self.config.data;
        let directory = std::path::absolute(data).unwrap_or_else(|_| data.clone());
        for warning in self.warnings.iter_mut().filter(|warning| warning.ends_with(known::ONE_DIRECTORY)) {
            warning.push_str(&format!("; now it is {}", directory.display()));
        }
    }

    fn warn(&mut self, origin: &str, key: &str, text: &str) {
        if self.warned.insert(key.to_owned()) {
            self.warnings.push(format!("{origin}: {key} {text}"));
        }
    }
}

/// A question for the setting that was meant; empty if none is near.
fn did_you_mean(key: &str) -> String {
    nearest(key).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// The setting that a key is a misspelling of: at most a third of its letters are wrong.
fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&key, &known.to_lowercase());
    let (distance, near) = KEYS.iter().map(|known| (distance(known), *known)).min()?;
    (distance <= key.len() / 3).then_some(near)
}
