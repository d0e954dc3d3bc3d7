//! The settings of a server: `table` has them, `sources` says where they come from, `known` is what RocketMQ has
//! besides.

mod changes;
mod host;
mod known;
mod limit;
mod properties;
mod render;
mod rules;
mod sources;
mod table;
mod value;

use std::collections::BTreeSet;
use std::fmt;

pub use self::changes::{Change, Unchangeable, read_changes};
pub use self::host::Host;
use self::known::Known;
pub use self::properties::escape;
pub use self::render::{help, markdown};
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
        loading.bound_message_size();
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
    /// Keys that were warned of.
    warned: BTreeSet<String>,
}

impl Loading {
    fn put(&mut self, assignment: &Assignment) {
        let Assignment { origin, key: written, value, dialect } = assignment;
        let key = assignment.canonical_key();
        match self.config.set(key, value) {
            Some(Ok(())) => return,
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn sources(name: &str, text: &str, arguments: &[&str]) -> Sources {
        let arguments = arguments.iter().map(|item| (*item).to_owned()).collect();
        let files = vec![File { path: name.into(), text: text.to_owned() }];
        Sources { files, arguments, ..Sources::default() }
    }

    fn load(text: &str, arguments: &[&str]) -> Result<Config, String> {
        let loaded = Config::load(&sources("s.toml", text, arguments)).map_err(|error| error.to_string())?;
        assert_eq!(loaded.warnings, [""; 0]);
        Ok(loaded.config)
    }

    #[test]
    fn a_file_and_overrides() {
        let text = "brokerName = \"b1\"\nlistenPort = 1234\nautoCreateTopicEnable = false\n\
                    mappedFileSizeCommitLog = \"64MiB\"\nnamesrvAddr = \"a:1;b:2\"\n";
        let config =
            load(text, &["listenPort=1235", "flushDiskType=async_flush", "brokerIP1=10.0.0.1"]).unwrap();
        assert_eq!(config.broker_name, "b1");
        assert_eq!(config.listen_port, 1235);
        assert!(!config.auto_create_topic);
        assert_eq!(config.segment_size, Bytes(64 << 20));
        assert_eq!(config.namesrv_addr.0, ["a:1", "b:2"]);
        assert_eq!(config.flush, FlushDiskType::AsyncFlush);
        assert_eq!(config.broker_ip, Some(Host::Ip(IpAddr::from([10, 0, 0, 1]))));
    }

    #[test]
    fn rocketmqs_files_are_read_as_they_are() {
        let text = "# a broker of RocketMQ\nbrokerClusterName = C1\nbrokerName=b-1\nbrokerId = 0\n\
                    deleteWhen = 04\nfileReservedTime=48\nbrokerRole = ASYNC_MASTER\nautoCreateTopicEnable=True \n\
                    mapedFileSizeCommitLog=67108864\nnamesrvAddr=a:9876;\\\n  b:9876\nmaxMesageSize=1\n\
                    haListenPort=10912\nhaListenPort=10913\nbrokerPermission=4\n";
        for name in ["broker.conf", "2m-2s-sync/broker-a.properties", "no-extension"] {
            let Loaded { config, warnings } = Config::load(&sources(name, text, &[])).unwrap();
            assert_eq!((config.cluster.as_str(), config.broker_name.as_str()), ("C1", "b-1"));
            assert_eq!(config.segment_size, Bytes(64 << 20));
            assert_eq!(config.namesrv_addr.0, ["a:9876", "b:9876"]);
            assert_eq!(config.permission, Permission(4));
            // Flushing is synchronous unless the file says otherwise.
            assert_eq!(config.flush, FlushDiskType::SyncFlush);
            let all = warnings.join("\n");
            assert_eq!((config.file_reserved_time, &config.delete_when.0[..]), (Hours(48), &[4][..]));
            assert_eq!(warnings.len(), 2, "{all}");
            for part in [
                "line 12: maxMesageSize is no setting and was skipped; did you mean maxMessageSize?",
                "line 13: haListenPort has no effect: there is one copy",
            ] {
                assert!(all.contains(part), "{part} not in:\n{all}");
            }
        }
    }

    #[test]
    fn a_name_servers_file_sets_its_port() {
        let text = "listenPort=19876\nkvConfigPath=/tmp/kv.json\nscanNotActiveBrokerInterval=1000\n";
        for sources in [
            sources("namesrv.conf", text, &[]),
            sources("mine.properties", text, &["role=namesrv"]),
            sources("mine.conf", &format!("{text}role=namesrv\n"), &[]),
        ] {
            let Loaded { config, warnings } = Config::load(&sources).unwrap();
            assert_eq!((config.namesrv_port, config.listen_port), (19876, 10911));
            assert_eq!(config.scan_interval, Millis(1000));
            assert_eq!(warnings.len(), 1);
        }
        let two = Sources {
            files: vec![
                File { path: "broker.conf".into(), text: "listenPort=1\n".to_owned() },
                File { path: "namesrv.conf".into(), text: "listenPort=2\n".to_owned() },
            ],
            ..Sources::default()
        };
        let config = Config::load(&two).unwrap().config;
        assert_eq!((config.listen_port, config.namesrv_port), (1, 2));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_file() {
        for (name, text) in [
            ("broker.conf", "listenPort=1\n"),
            ("namesrv.conf", "listenPort=1\n"),
            ("s.toml", "namesrvPort = 1\nlistenPort = 1\n"),
            ("none", "listenPort=1\n"),
        ] {
            let read =
                |text: &str| Config::load(&sources(name, text, &["fastListenPort=0", "namesrvPort=2"]));
            assert_eq!(read(&format!("\u{feff}{text}")), read(text), "{name}");
            assert!(read(text).is_ok(), "{name}");
        }
        let error = load("\u{feff}listenPort = 1\nlistenPrt = 1\n", &[]).unwrap_err();
        assert!(error.contains("s.toml, line 2: unknown setting"), "{error}");
    }

    #[test]
    fn protection_that_is_not_there_is_refused() {
        for (line, part) in [
            ("enableDLegerCommitLog=true", "line 1: enableDLegerCommitLog must be false: replication"),
            ("inSyncReplicas=2", "inSyncReplicas must be 1"),
            ("aclEnable=TRUE", "aclEnable must be false: users and permissions"),
            ("allAckInSyncStateSet=true", "allAckInSyncStateSet must be false: replication"),
            ("brokerRole=SLAVE", "brokerRole must be ASYNC_MASTER: replication"),
            ("brokerRole=sync_master", "brokerRole must be ASYNC_MASTER: replication is not there yet"),
            ("brokerId=1", "brokerId must be 0"),
        ] {
            let error = Config::load(&sources("broker.conf", line, &[])).unwrap_err().to_string();
            assert!(error.contains(part), "{part} not in:\n{error}");
        }
        let fine = "enableDLegerCommitLog=false\nallAckInSyncStateSet=false\nbrokerRole=async_master\ntotalReplicas=1\naclEnable=False\n";
        assert_eq!(Config::load(&sources("broker.conf", fine, &[])).unwrap().warnings, [""; 0]);
    }

    #[test]
    fn a_change_at_run_time_wins_over_files_and_the_command_line_over_it() {
        let mut sources = sources("broker.conf", "brokerPermission=2\ndefaultTopicQueueNums=3\n", &[]);
        sources.changed.insert("brokerPermission".to_owned(), "4".to_owned());
        let config = Config::load(&sources).unwrap().config;
        assert_eq!((config.permission, config.default_topic_queues), (Permission(4), 3));
        assert!(!sources.is_pinned("brokerPermission"));
        sources.arguments.push("brokerPermission = 6".to_owned());
        assert_eq!(Config::load(&sources).unwrap().config.permission, Permission(6));
        assert!(sources.is_pinned("brokerPermission"));
        sources.changed.insert("brokerPermission".to_owned(), "9".to_owned());
        let error = Config::load(&sources).unwrap_err().to_string();
        assert!(error.contains("changed at run time: brokerPermission takes"), "{error}");
    }

    #[test]
    fn a_setting_that_is_served_in_part_says_how_far() {
        for (line, bound) in [("8MiB", MAX_MESSAGE_SIZE), ("7MiB", MAX_MESSAGE_SIZE), ("1MiB", 1 << 20)] {
            let text = format!("maxMessageSize={line}\n");
            let Loaded { config, warnings } = Config::load(&sources("broker.conf", &text, &[])).unwrap();
            assert_eq!(config.max_message_size, Bytes(bound));
            let warned = "maxMessageSize is 8388608 bytes, and 7340032 (7MiB) are taken at most";
            assert_eq!(warnings.iter().any(|w| w.contains(warned)), line == "8MiB", "{warnings:?}");
        }
        let text = "storePathCommitLog=/fast/commitlog\nstorePathRootDir=/data/mq\n";
        let warnings = Config::load(&sources("broker.conf", text, &[])).unwrap().warnings;
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.contains("storePathCommitLog has no effect: all data lies in the one directory of"));
        assert!(warning.ends_with("; now it is /data/mq"), "{warning}");
    }

    #[test]
    fn the_environment_is_a_default() {
        let mut sources = sources("broker.conf", "", &[]);
        sources.environment = Some("a:1".to_owned());
        assert_eq!(Config::load(&sources).unwrap().config.namesrv_addr.0, ["a:1"]);
        sources.files[0].text = "namesrvAddr=b:1".to_owned();
        assert_eq!(Config::load(&sources).unwrap().config.namesrv_addr.0, ["b:1"]);
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_one() {
        let error =
            load("role = \"all\"\n\nbrokerNmae = \"b\"\n", &["flushdisktype=SYNC_FLUSH"]).unwrap_err();
        assert!(error.contains("s.toml, line 3: unknown setting \"brokerNmae\"; did you mean brokerName?"));
        assert!(error.contains("did you mean flushDiskType?"), "{error}");
        assert!(error.contains("--help-config"));
    }

    #[test]
    fn wrong_values_are_all_reported_with_what_is_right() {
        let text = "listenPort = 70000\nrole = \"proxy\"\nautoCreateTopicEnable = 1\nbrokerName = []\n";
        let error = load(text, &["mappedFileSizeCommitLog=1 TB", "brokerIP1"]).unwrap_err();
        for part in [
            "line 1: listenPort takes",
            "line 2: role takes all, namesrv or broker",
            "line 3: autoCreateTopicEnable takes true or false",
            "line 4: brokerName takes a text",
            "--set mappedFileSizeCommitLog=1 TB: mappedFileSizeCommitLog takes",
            "--set brokerIP1: expected key=value",
        ] {
            assert!(error.contains(part), "{part} not in:\n{error}");
        }
        assert!(load("x = = 1", &[]).unwrap_err().contains("line 1"));
        let error = Config::load(&sources("b.conf", "\nlistenPort=x\n", &[])).unwrap_err().to_string();
        assert!(error.contains("b.conf, line 2: listenPort takes"), "{error}");
    }

    #[test]
    fn settings_are_checked_together() {
        for (overrides, part) in [
            (&["listenPort=9876"][..], "must differ"),
            (&["role=broker"], "needs namesrvAddr"),
            (&["mappedFileSizeCommitLog=16000000"], "16MiB"),
            (&["checkpointBytes=1023KiB"], "at least 1MiB"),
            (&["listenPort=9878"], "listenPort - 2 if it is not set"),
            (&["diskMaxUsedSpaceRatio=86"], "must not descend"),
            (
                &["diskSpaceWarningLevelRatio=101"],
                "--set diskSpaceWarningLevelRatio=101: diskSpaceWarningLevelRatio must be 1 to 100",
            ),
            (&["registerNameServerPeriod=999"], "must be 1000 to 60000"),
            (&["brokerId=1"], "brokerId must be 0: replication is not there yet"),
            (&["retentionBytes=1GiB"], "at least twice mappedFileSizeCommitLog"),
            (&["mappedFileSizeCommitLog=1025GiB"], "must be 16MiB to 1024GiB, a multiple of 4KiB"),
            (&["brokerName=a b"], "brokerName is refused: the name has the character"),
            (&["brokerIP1=0.0.0.0"], "clients can reach"),
            (&["brokerIP1=10.0.0"], "brokerIP1 takes an IP address, a host name or nothing, not \"10.0.0\""),
            (&["defaultTopicQueueNums=0"], "1 to 1024"),
            (&["maxMessageSize=0"], "maxMessageSize must be at least 1"),
        ] {
            let error = load("", overrides).unwrap_err();
            assert!(error.contains(part), "{part} not in:\n{error}");
        }
        assert!(load("", &["listenPort=0", "namesrvPort=0"]).is_ok());
    }

    /// What the documentation says of limits is what is checked: the numbers at the limits are taken, those beyond are not.
    #[test]
    fn limits_are_told_as_they_are_checked() {
        let takes = |key: &str| Config::default().settings().find(|s| s.key == key).map(|s| s.takes).unwrap();
        for (key, told, within, beyond) in [
            ("maxConnections", "a number from 1 to 4294967295", ["1", "4294967295"], ["0", "4294967296"]),
            ("defaultTopicQueueNums", "a number from 1 to 1024", ["1", "1024"], ["0", "1025"]),
            ("serverWorkerThreads", "a number from 0 to 64", ["0", "64"], ["-1", "65"]),
            ("listenPort", "a number from 0 to 65535", ["0", "65535"], ["-1", "65536"]),
            ("diskMaxUsedSpaceRatio", "percent from 1 to 100", ["1", "85"], ["0", "101"]),
            ("fileReservedTime", "hours from 0 to 4294967295", ["0", "4294967295"], ["-1", "4294967296"]),
            (
                "syncFlushTimeout",
                "milliseconds from 1 to 4294967295",
                ["1", "4294967295"],
                ["0", "4294967296"],
            ),
            (
                "checkpointBytes",
                "bytes (such as 65536 or 64MiB), at least 1MiB",
                ["1MiB", "1GiB"],
                ["1048575", "x"],
            ),
            ("brokerId", "0", ["0", "0"], ["1", "4294967295"]),
        ] {
            assert_eq!(takes(key), told);
            for value in within {
                assert!(load("", &["namesrvPort=0", &format!("{key}={value}")]).is_ok(), "{key}={value}");
            }
            for value in beyond {
                assert!(load("", &[&format!("{key}={value}")]).is_err(), "{key}={value}");
            }
        }
        assert_eq!(takes("brokerName"), "1 to 127 letters, digits, and % | _ -; or nothing");
        assert!(takes("messageDelayLevel").ends_with("1 to 1024 of them, each at most 365d"));
    }

    #[test]
    fn the_defaults_are_valid_and_written_as_they_are_read() {
        let defaults = Config::load(&Sources::default()).unwrap();
        let arguments = defaults.config.settings().map(|s| format!("{}={}", s.key, s.value)).collect();
        assert_eq!(Config::load(&Sources { arguments, ..Sources::default() }), Ok(defaults));
        assert!(KEYS.iter().all(|key| help().contains(key)));
    }
}
