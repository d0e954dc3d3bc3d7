//! Changing settings at run time.

use std::collections::BTreeMap;
use std::path::Path;

use super::known::{self, Known};
use super::properties;
use super::table::Config;
use super::{ConfigError, MAX_MESSAGE_SIZE, did_you_mean};

/// Keys that RocketMQ refuses to change (`configBlackList`).
const BLACK_LIST: [&str; 2] = ["configBlackList", "brokerConfigPath"];

/// A setting that is to have another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub key: &'static str,
    /// Its value so far.
    pub before: String,
    /// Its new value.
    pub value: String,
}

/// Why settings cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unchangeable {
    /// Nobody may change it.
    Forbidden(String),
    /// The change makes no sense, or needs a restart.
    Invalid(String),
}

impl Config {
    /// What the properties in `text` change, if all of them can be changed at run time. The values are of their type;
    /// whether they fit together is for [`Config::load`] to say.
    ///
    /// # Errors
    /// For the first setting that cannot be changed; it says why, and what to do.
    pub fn changes(&self, text: &str) -> Result<Vec<Change>, Unchangeable> {
        let mut changed = self.clone();
        for property in properties::parse(text) {
            let key = known::canonical(&property.key);
            if BLACK_LIST.contains(&key) {
                return Err(Unchangeable::Forbidden(format!("{key} cannot be changed")));
            }
            match changed.set(key, &property.value) {
                Some(Ok(())) => {}
                Some(Err(problem)) => return Err(Unchangeable::Invalid(format!("{key} {problem}"))),
                None => return Err(Unchangeable::Invalid(no_setting(key))),
            }
        }
        if changed.max_message_size.0 > MAX_MESSAGE_SIZE {
            let problem = format!("maxMessageSize can be {MAX_MESSAGE_SIZE} (7MiB) at most");
            return Err(Unchangeable::Invalid(problem));
        }
        let mut changes = Vec::new();
        for (before, after) in self.settings().zip(changed.settings()) {
            if before.value == after.value {
                continue;
            }
            let (key, value) = (after.key, after.value);
            if !after.live {
                let advice = "write it to the configuration file and restart the server";
                return Err(Unchangeable::Invalid(format!("{key} cannot be changed at run time; {advice}")));
            }
            changes.push(Change { key, before: before.value, value });
        }
        Ok(changes)
    }
}

fn no_setting(key: &str) -> String {
    match known::find(key) {
        Some(Known::Ignored(reason)) => format!("{key} has no effect: {reason}"),
        Some(Known::Fixed(fixed)) => format!("{key} must be {}: {}", fixed.value, fixed.reason),
        None => format!("{key} is no setting{}", did_you_mean(key)),
    }
}

/// Reads what was changed at run time from its file.
///
/// # Errors
/// If the file has something that cannot be changed at run time.
pub fn read_changes(path: &Path, text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let live = |key: &str| Config::default().settings().any(|setting| setting.live && setting.key == key);
    let (mut changed, mut problems) = (BTreeMap::new(), Vec::new());
    for property in properties::parse(text) {
        let (line, key) = (property.line, property.key);
        if live(&key) {
            changed.insert(key, property.value);
        } else {
            let path = path.display();
            problems.push(format!("{path}, line {line}: {key} is not changed at run time; remove the line"));
        }
    }
    if problems.is_empty() { Ok(changed) } else { Err(ConfigError { problems }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Result<Vec<(&'static str, String, String)>, Unchangeable> {
        let changes = Config::default().changes(text)?;
        Ok(changes.into_iter().map(|change| (change.key, change.before, change.value)).collect())
    }

    #[test]
    fn what_differs_is_a_change() {
        let text =
            "brokerPermission=4\nautoCreateTopicEnable=true\nlistenPort=10911\nmaxMessageSize = 1MiB\n";
        let expected = [("maxMessageSize", "4194304", "1048576"), ("brokerPermission", "6", "4")];
        let expected: Vec<_> = expected.map(|(k, b, v)| (k, b.to_owned(), v.to_owned())).into();
        assert_eq!(changes(text), Ok(expected));
        assert_eq!(changes(""), Ok(Vec::new()));
    }

    #[test]
    fn one_that_cannot_be_changed_keeps_all_from_being_changed() {
        for (line, part) in [
            ("listenPort=1", "listenPort cannot be changed at run time; write it to the configuration file"),
            ("brokerPermission=5", "brokerPermission takes 6"),
            ("brokerPermision=4", "brokerPermision is no setting; did you mean brokerPermission?"),
            ("haListenPort=1", "haListenPort has no effect: it is of masters with slaves"),
            ("aclEnable=true", "aclEnable must be false"),
            ("maxMessageSize=8MiB", "maxMessageSize can be 7340032 (7MiB) at most"),
        ] {
            let text = format!("autoCreateTopicEnable=false\n{line}\n");
            let Err(Unchangeable::Invalid(cause)) = changes(&text) else { panic!("{line} was taken") };
            assert!(cause.contains(part), "{part} not in {cause}");
        }
        assert!(matches!(changes("brokerConfigPath=/etc/x"), Err(Unchangeable::Forbidden(_))));
    }
}
