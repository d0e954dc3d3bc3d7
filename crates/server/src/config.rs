//! The settings of a server: one table gives each its key, type, default and meaning; the file, `--set` and the
//! help text all come from it. Keys are RocketMQ's where it has the setting.

mod value;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use steadfast_store::disk::BLOCK;
use steadfast_store::log::SEGMENT_SIZE_MIN;
use steadfast_types::{limits, topic};
use toml::de::{DeTable, DeValue};

use self::value::Value;
pub use self::value::{Bytes, FlushDiskType, NameServers, Role};

/// Largest `maxMessageSize`: the message, its properties and the entry around it must fit one log entry.
const MAX_MESSAGE_SIZE: u64 = 7 * 1024 * 1024;

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $key:literal => $field:ident: $type:ty = $default:expr;)+) => {
        /// The settings of a server, each under the key its documentation begins with.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $(#[doc = concat!("`", $key, "`:")] $(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($field: $default),+ }
            }
        }

        /// The keys of all settings.
        const KEYS: &[&str] = &[$($key),+];

        impl Config {
            /// Sets one setting from its text; None if there is no such setting.
            fn set(&mut self, key: &str, text: &str) -> Option<Result<(), String>> {
                match key {
                    $($key => Some(Value::parse(text).map(|value| self.$field = value)),)+
                    _ => None,
                }
            }

            /// Every setting with its value.
            pub fn settings(&self) -> Vec<Setting> {
                vec![$(Setting {
                    key: $key,
                    kind: <$type as Value>::KIND,
                    value: self.$field.text(),
                    meaning: concat!($($doc),+).trim(),
                }),+]
            }
        }
    };
}

settings! {
    /// What this process does: all, namesrv or broker.
    "role" => role: Role = Role::All;
    /// Directory of all data; made if missing.
    "storePathRootDir" => data: PathBuf = PathBuf::from("data");
    /// Address to listen on; 0.0.0.0 is every interface.
    "bindAddress" => bind_address: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    /// Port of the broker; 0 lets the system choose.
    "listenPort" => listen_port: u16 = 10911;
    /// Port of the name server; 0 lets the system choose.
    "namesrvPort" => namesrv_port: u16 = 9876;
    /// Address that clients are told to reach the broker at. Empty: bindAddress if it is one address, else 127.0.0.1.
    "brokerIP1" => broker_ip: Option<IpAddr> = None;
    /// Further name servers to register with, as host:port;host:port.
    "namesrvAddr" => namesrv_addr: NameServers = NameServers::default();
    /// Name of the cluster.
    "brokerClusterName" => cluster: String = "DefaultCluster".to_owned();
    /// Name of the broker, shared by its replicas.
    "brokerName" => broker_name: String = "broker-a".to_owned();
    /// Which replica this is; 0 takes writes.
    "brokerId" => broker_id: u32 = 0;
    /// Region that messages carry.
    "regionId" => region: String = "DefaultRegion".to_owned();
    /// SYNC_FLUSH: a send is acknowledged once it is on stable storage. ASYNC_FLUSH: once the operating system has
    /// it, so that a power cut may lose the last half second.
    "flushDiskType" => flush: FlushDiskType = FlushDiskType::SyncFlush;
    /// Milliseconds until a sender whose message is not yet on stable storage is told so.
    "syncFlushTimeout" => sync_flush_timeout: u32 = 5_000;
    /// Milliseconds between two syncs under ASYNC_FLUSH.
    "flushIntervalCommitLog" => flush_interval: u32 = 500;
    /// Bytes of a log file; fixed when the directory is made.
    "mappedFileSizeCommitLog" => segment_size: Bytes = Bytes(1 << 30);
    /// Whether the first message to a topic makes it.
    "autoCreateTopicEnable" => auto_create_topic: bool = true;
    /// Queues of such a topic at most.
    "defaultTopicQueueNums" => default_topic_queues: u32 = 8;
    /// Most bytes in the body of a message.
    "maxMessageSize" => max_message_size: Bytes = Bytes(limits::BODY_LEN as u64);
    /// Bytes of disk that the log leaves free.
    "diskFreeMin" => disk_free_min: Bytes = Bytes(64 << 20);
    /// Bytes of log after which a checkpoint is written: about the most that a start has to read again.
    "checkpointBytes" => checkpoint_bytes: Bytes = Bytes(256 << 20);
    /// Milliseconds between two registrations with the name servers of namesrvAddr.
    "registerNameServerPeriod" => register_period: u32 = 30_000;
    /// Seconds after which a connection that sends nothing is closed.
    "serverChannelMaxIdleTimeSeconds" => max_idle_seconds: u32 = 120;
    /// Most connections of a port.
    "maxConnections" => max_connections: u32 = 16_384;
    /// Threads that read and decode requests; 0 is one for each processor, at most 4.
    "serverWorkerThreads" => worker_threads: u32 = 0;
}

/// One row of the table, with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key in the file and for `--set`.
    pub key: &'static str,
    /// What values it takes.
    pub kind: &'static str,
    /// The value, as it would be written.
    pub value: String,
    /// What it does.
    pub meaning: &'static str,
}

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

/// The text of a configuration file and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its path, for messages.
    pub path: &'a Path,
    /// Its contents.
    pub text: &'a str,
}

impl Config {
    /// Reads the file, if any, then the overrides (`key=value`), and checks the result as a whole.
    pub fn load(file: Option<File<'_>>, overrides: &[String]) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let mut problems = Vec::new();
        if let Some(file) = file {
            config.read(file, &mut problems);
        }
        for item in overrides {
            let origin = format!("--set {item}");
            match item.split_once('=') {
                Some((key, text)) => config.put(&origin, key.trim(), text.trim(), &mut problems),
                None => problems.push(format!("{origin}: expected key=value")),
            }
        }
        if problems.is_empty() {
            config.check(&mut problems);
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    fn read(&mut self, file: File<'_>, problems: &mut Vec<String>) {
        let path = file.path.display();
        let table = match DeTable::parse(file.text) {
            Ok(table) => table,
            Err(error) => return problems.push(format!("{path}: {}", error.to_string().trim_end())),
        };
        for (key, value) in table.get_ref() {
            let line = file.text[..key.span().start].matches('\n').count() + 1;
            let origin = format!("{path}, line {line}");
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Boolean(yes) => yes.to_string(),
                _ => {
                    problems
                        .push(format!("{origin}: {} takes a text, a number, true or false", key.get_ref()));
                    continue;
                }
            };
            self.put(&origin, key.get_ref(), &text, problems);
        }
    }

    fn put(&mut self, origin: &str, key: &str, text: &str, problems: &mut Vec<String>) {
        match self.set(key, text) {
            Some(Ok(())) => {}
            Some(Err(problem)) => problems.push(format!("{origin}: {key} {problem}")),
            None => {
                problems.push(format!("{origin}: unknown setting {key:?}; did you mean {:?}?", nearest(key)));
            }
        }
    }

    fn check(&self, problems: &mut Vec<String>) {
        let mut require = |holds: bool, text: &str| {
            if !holds {
                problems.push(text.to_owned());
            }
        };
        let Bytes(segment) = self.segment_size;
        require(
            segment >= SEGMENT_SIZE_MIN && segment.is_multiple_of(BLOCK as u64) && segment <= 1 << 40,
            "mappedFileSizeCommitLog must be 16MiB to 1TiB and a multiple of 4KiB",
        );
        require(self.checkpoint_bytes.0 >= 1 << 20, "checkpointBytes must be at least 1MiB");
        let Bytes(message) = self.max_message_size;
        require((1..=MAX_MESSAGE_SIZE).contains(&message), "maxMessageSize must be 1 to 7MiB");
        let queues = 1..=limits::QUEUES;
        require(queues.contains(&self.default_topic_queues), "defaultTopicQueueNums must be 1 to 1024");
        require(
            self.role != Role::All || self.listen_port != self.namesrv_port || self.listen_port == 0,
            "listenPort and namesrvPort must differ",
        );
        require(
            self.role != Role::Broker || !self.namesrv_addr.0.is_empty(),
            "role=broker needs namesrvAddr: without a name server no client finds the broker",
        );
        require(self.broker_id == 0, "brokerId must be 0: replicas are not there yet");
        require(self.sync_flush_timeout > 0, "syncFlushTimeout must be at least 1");
        require(self.flush_interval > 0, "flushIntervalCommitLog must be at least 1");
        let period = 1_000..=60_000;
        require(period.contains(&self.register_period), "registerNameServerPeriod must be 1000 to 60000");
        require(self.max_idle_seconds > 0, "serverChannelMaxIdleTimeSeconds must be at least 1");
        require(self.max_connections > 0, "maxConnections must be at least 1");
        require(self.worker_threads <= 64, "serverWorkerThreads must be at most 64");
        let told = self.broker_ip.unwrap_or(self.bind_address);
        require(
            self.broker_ip.is_none() || !told.is_unspecified(),
            "brokerIP1 must be an address that clients can reach",
        );
        for (key, name) in [("brokerClusterName", &self.cluster), ("brokerName", &self.broker_name)] {
            // Both are names of topics too.
            if let Err(error) = topic::check_topic(name) {
                problems.push(format!("{key}: {error}"));
            }
        }
    }

    /// The address that clients are told to reach the broker at.
    pub fn advertised_ip(&self) -> IpAddr {
        match (self.broker_ip, self.bind_address) {
            (Some(ip), _) => ip,
            (None, ip) if !ip.is_unspecified() => ip,
            (None, _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// The table for people.
pub fn help() -> String {
    use fmt::Write as _;
    let mut out = String::from(
        "Settings, for a TOML file (steadfast server --config FILE) or the command line (--set key=value):\n",
    );
    for setting in Config::default().settings() {
        let Setting { key, kind, value, meaning } = setting;
        let value = if value.is_empty() { "empty".to_owned() } else { value };
        let _ = write!(out, "\n{key}  ({kind}; default {value})\n");
        for line in wrap(meaning, 96) {
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn nearest(key: &str) -> &'static str {
    let key = key.to_lowercase();
    let distance = |known: &&&str| strsim::damerau_levenshtein(&key, &known.to_lowercase());
    KEYS.iter().min_by_key(distance).expect("there are settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overrides: &[&str]) -> Result<Config, String> {
        let overrides: Vec<_> = overrides.iter().map(|item| (*item).to_owned()).collect();
        let file = File { path: Path::new("s.toml"), text };
        Config::load(Some(file), &overrides).map_err(|error| error.to_string())
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
        assert_eq!(config.advertised_ip(), IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_one() {
        let error =
            load("role = \"all\"\n\nbrokerNmae = \"b\"\n", &["flushdisktype=SYNC_FLUSH"]).unwrap_err();
        assert!(
            error.contains("s.toml, line 3: unknown setting \"brokerNmae\"; did you mean \"brokerName\"?")
        );
        assert!(error.contains("did you mean \"flushDiskType\"?"), "{error}");
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
    }

    #[test]
    fn settings_are_checked_together() {
        for (overrides, part) in [
            (&["listenPort=9876"][..], "must differ"),
            (&["role=broker"], "needs namesrvAddr"),
            (&["mappedFileSizeCommitLog=16000000"], "16MiB"),
            (&["checkpointBytes=1023KiB"], "at least 1MiB"),
            (&["brokerName=a b"], "brokerName: the name has the character"),
            (&["brokerIP1=0.0.0.0"], "clients can reach"),
            (&["defaultTopicQueueNums=0"], "1 to 1024"),
        ] {
            let error = load("", overrides).unwrap_err();
            assert!(error.contains(part), "{part} not in:\n{error}");
        }
        assert!(load("", &["listenPort=0", "namesrvPort=0"]).is_ok());
    }

    #[test]
    fn the_defaults_are_valid_and_written_as_they_are_read() {
        let defaults = Config::load(None, &[]).unwrap();
        let written: Vec<_> = defaults.settings().iter().map(|s| format!("{}={}", s.key, s.value)).collect();
        assert_eq!(Config::load(None, &written), Ok(defaults));
        assert!(KEYS.iter().all(|key| help().contains(key)));
    }

    #[test]
    fn clients_are_told_an_address_they_can_use() {
        assert_eq!(load("", &[]).unwrap().advertised_ip(), IpAddr::from([127, 0, 0, 1]));
        let config = load("", &["bindAddress=10.1.2.3"]).unwrap();
        assert_eq!(config.advertised_ip(), IpAddr::from([10, 1, 2, 3]));
    }
}
