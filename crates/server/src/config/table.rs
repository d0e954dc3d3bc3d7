//! The table of settings: each with its key, type, default and meaning. Files, `--set`, the help text,
//! GET_BROKER_CONFIG and docs/settings.md all come from it. Keys are RocketMQ's where it has the setting.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use steadfast_broker::DelayLevels;
use steadfast_store::disk::BLOCK;
use steadfast_store::log::SEGMENT_SIZE_MIN;
use steadfast_types::limits;

use super::host::Host;
use super::layout::{GROUPS_MAX, Peers};
use super::limit::Limit;
use super::replicas::{Replicas, SelfId};
use super::value::{
    BrokerRole, Bytes, DayHours, FlushDiskType, Hours, MetricsExporter, Millis, NameServers, Percent,
    Permission, Role, Seconds, Value,
};

/// `"KEY" => FIELD: TYPE [LIMIT] = DEFAULT;`, without `[LIMIT]` if every value of the type will do, and with
/// `= DEFAULT, live;` for a setting that can be changed at run time.
macro_rules! settings {
    ($($section:literal {
        $($(#[doc = $doc:literal])+ $key:literal => $field:ident: $type:ty $([$limit:expr])? = $default:expr $(, $live:ident)?;)+
    })+) => {
        /// The settings of a server, each under the key its documentation begins with.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = concat!("`", $key, "`:")] $(#[doc = $doc])+ pub $field: $type,)+)+
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($($field: $default),+),+ }
            }
        }

        /// The keys of all settings.
        pub(super) const KEYS: &[&str] = &[$($($key),+),+];

        impl Config {
            /// Sets one setting from its text; None if there is no such setting.
            pub(super) fn set(&mut self, key: &str, text: &str) -> Option<Result<(), String>> {
                match key {
                    $($($key => {
                        let value = <$type as Value>::parse(text);
                        $(let value = value.and_then(|value| Limit::from($limit).check(value));)?
                        Some(value.map(|value| self.$field = value))
                    })+)+
                    _ => None,
                }
            }

            /// Every setting with its value, in sections.
            pub fn sections(&self) -> Vec<Section> {
                vec![$(Section {
                    title: $section,
                    settings: vec![$(Setting {
                        key: $key,
                        takes: {
                            let limits: &[Limit] = &[$(Limit::from($limit))?];
                            Limit::takes::<$type>(limits.first().copied())
                        },
                        value: self.$field.text(),
                        live: { let marks: &[&str] = &[$(stringify!($live))?]; !marks.is_empty() },
                        meaning: concat!($($doc),+).trim(),
                    }),+],
                }),+]
            }
        }
    };
}

settings! {
    "Role and addresses" {
        /// What this process does: all, namesrv or broker.
        "role" => role: Role = Role::All;
        /// Address to listen on; 0.0.0.0 is every interface.
        "bindAddress" => bind_address: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        /// Port of the broker; 0 lets the system choose. In a file of RocketMQ's name server: namesrvPort.
        "listenPort" => listen_port: u16 = 10911;
        /// Port for clients with a VIP channel, which use it for everything but pulls. Empty: listenPort - 2, where
        /// these clients look for it, and none if listenPort is 0. 0: none.
        "fastListenPort" => fast_listen_port: Option<u16> = None;
        /// Port of the name server; 0 lets the system choose.
        "namesrvPort" => namesrv_port: u16 = 9876;
        /// Address that clients are told to reach the broker at; a host name is looked up at start. Empty: bindAddress if
        /// it is one address, else the address from which this machine reaches its name server or the rest of the network, else 127.0.0.1.
        "brokerIP1" => broker_ip: Option<Host> = None;
        /// Further name servers to register with. Empty: the environment variable NAMESRV_ADDR.
        "namesrvAddr" => namesrv_addr: NameServers = NameServers::default();
        /// Milliseconds between two registrations with the name servers, the one in this process and those of namesrvAddr.
        "registerNameServerPeriod" => register_period: Millis [1_000..=60_000] = Millis(30_000);
        /// Milliseconds between two looks of the name server for brokers that are silent.
        "scanNotActiveBrokerInterval" => scan_interval: Millis [1..] = Millis(5_000);
        /// Name of the cluster.
        "brokerClusterName" => cluster: String [Limit::Name] = "DefaultCluster".to_owned();
        /// Name of the broker, shared by its replicas. Empty: the host's name.
        "brokerName" => broker_name: String [Limit::NameOrEmpty] = String::new();
        /// Id under which clients are told of it. Without effect on a replica: the leader is 0, replica nK is K + 1 otherwise.
        "brokerId" => broker_id: u32 = 0;
        /// SYNC_MASTER and SLAVE are refused: there are no slaves, and a group of replicas elects its leader.
        "brokerRole" => broker_role: BrokerRole = BrokerRole;
        /// Region that messages carry.
        "regionId" => region: String = "DefaultRegion".to_owned();
    }
    "Layout of a cluster" {
        /// The processes of a cluster, the same list in the same order on each. Every one is a name server and has a replica of each
        /// broker group, broker-a, broker-b and so on; the first one leads the first group, the second one the second. All names
        /// and ports follow (docs/replication.md).
        "peers" => peers: Peers = Peers::default();
        /// Which of peers this process is, as it is written there. Empty: the one whose host is this machine.
        "peersSelf" => peers_self: String = String::new();
        /// Broker groups that peers lays out. There may be more with a later start, and never less.
        "brokerGroups" => broker_groups: u32 [1..=GROUPS_MAX] = 2;
    }
    "Storage" {
        /// Directory of all data; made if missing. RocketMQ's default is ~/store, where its own data may lie.
        "storePathRootDir" => data: PathBuf = PathBuf::from("data");
        /// SYNC_FLUSH: a send is acknowledged once it is on stable storage. ASYNC_FLUSH: once the operating system
        /// has it, so that a power cut may lose the last half second. RocketMQ's default is ASYNC_FLUSH.
        "flushDiskType" => flush: FlushDiskType = FlushDiskType::SyncFlush;
        /// Milliseconds until a sender whose message is not yet on stable storage is told so.
        "syncFlushTimeout" => sync_flush_timeout: Millis [1..] = Millis(5_000), live;
        /// Milliseconds between two syncs under ASYNC_FLUSH.
        "flushIntervalCommitLog" => flush_interval: Millis [1..] = Millis(500);
        /// Bytes of a log file. A data directory keeps the size that it was made with, and a start with another one says so.
        "mappedFileSizeCommitLog" => segment_size: Bytes [Limit::multiples(SEGMENT_SIZE_MIN..=1 << 40, BLOCK as u64)] = Bytes(1 << 30);
        /// Bytes of disk that the log leaves free.
        "diskFreeMin" => disk_free_min: Bytes = Bytes(64 << 20);
        /// Bytes of log after which a checkpoint is written: about the most that a start has to read again.
        "checkpointBytes" => checkpoint_bytes: Bytes [1 << 20..] = Bytes(256 << 20);
        /// Bytes a second that are read to verify old log files in the background; 0 turns it off.
        "scrubBytesPerSecond" => scrub_rate: Bytes = Bytes(8 << 20);
        /// Seconds between two rounds over all of them, at least.
        "scrubPeriod" => scrub_period: Seconds = Seconds(86_400);
    }
    "Replication" {
        /// Whether this server is one replica of a group of 3 or 5, which acknowledges what more than half of them have
        /// (docs/replication.md). RocketMQ's keys of DLedger are read as they are.
        "enableDLegerCommitLog" => replicated: bool = false;
        /// Name of the group, the same on all replicas. Empty: brokerName.
        "dLegerGroup" => group: String [Limit::NameOrEmpty] = String::new();
        /// All replicas of the group, the same list on each: id, host and port for replication. This one listens on its own port.
        "dLegerPeers" => replicas: Replicas = Replicas::default();
        /// Which of them this is.
        "dLegerSelfId" => self_id: SelfId = SelfId::default();
        /// The replica that leads whenever it can: once it has kept up for five seconds, the leader of the moment hands over
        /// to it. Empty: whoever is elected goes on.
        "preferredLeaderId" => preferred_leader: SelfId = SelfId::default();
        /// File with the secret that all replicas of the group have and nobody else, at least 16 bytes; replicas prove to each
        /// other that they know it. To make one: head -c 32 /dev/urandom | base64 > FILE.
        "replicationSecretFile" => replication_secret: Option<PathBuf> = None;
        /// Whether replicas on other machines may be without a secret, so that whoever reaches the port can write anything
        /// into the log.
        "replicationUnprotected" => replication_unprotected: bool = false;
    }
    "Retention" {
        /// Hours after which messages may be removed. RocketMQ's broker.conf says 48.
        "fileReservedTime" => file_reserved_time: Hours = Hours(72), live;
        /// Hours of the day in which they are, in the machine's time zone.
        "deleteWhen" => delete_when: DayHours = DayHours(vec![4]), live;
        /// Bytes of log above which the oldest messages are removed whatever their age, but for those of protected topics
        /// that wait for a group; 0 is no limit.
        "retentionBytes" => retention_bytes: Bytes = Bytes(0), live;
        /// Percent of the disk in use above which messages older than fileReservedTime are removed at any hour.
        "diskMaxUsedSpaceRatio" => disk_max_used: Percent [1..=100] = Percent(75), live;
        /// Percent of the disk in use above which the oldest messages that no group still has to process are removed whatever
        /// their age.
        "diskSpaceCleanForciblyRatio" => disk_clean_forcibly: Percent [1..=100] = Percent(85), live;
        /// Whether they are; false: nothing goes before fileReservedTime, and a full disk refuses messages instead.
        "cleanFileForciblyEnable" => clean_file_forcibly: bool = true, live;
        /// Percent of the disk in use above which messages are refused.
        "diskSpaceWarningLevelRatio" => disk_warning_level: Percent [1..=100] = Percent(90), live;
        /// Milliseconds between two looks whether files should go.
        "cleanResourceInterval" => clean_resource_interval: Millis [1..] = Millis(10_000), live;
    }
    "Messages and topics" {
        /// Most bytes in the body of a message, 7 MiB at most; more in a file means 7 MiB, with a warning.
        "maxMessageSize" => max_message_size: Bytes [1..] = Bytes(limits::BODY_LEN as u64), live;
        /// Whether the first message to a topic makes it.
        "autoCreateTopicEnable" => auto_create_topic: bool = true, live;
        /// Queues of such a topic at most.
        "defaultTopicQueueNums" => default_topic_queues: u32 [1..=limits::QUEUES.into()] = 8, live;
        /// Whether a consumer group's first consumer makes its settings and its retry topic.
        "autoCreateSubscriptionGroup" => auto_create_group: bool = true, live;
        /// Delays of delayed messages and of retries; the first is level 1. Messages that wait already go by it too.
        "messageDelayLevel" => delay_levels: DelayLevels = DelayLevels::default();
        /// What clients may do with the whole broker.
        "brokerPermission" => permission: Permission = Permission(6), live;
        /// Whether a pull of a consumer that has everything waits as long as the consumer asks for.
        "longPollingEnable" => long_polling: bool = true, live;
        /// Milliseconds that it waits instead.
        "shortPollingTimeMills" => short_polling: Millis = Millis(1_000), live;
        /// Whether consumers are told at once when their group changes; else they find out by asking.
        "notifyConsumerIdsChangedEnable" => notify_consumers: bool = true, live;
    }
    "Consumers" {
        /// Clients learn of a reset of their group's position from their next pull. false: they are told at once as
        /// well, and drop what they have read; the position itself is always set in the server.
        "useServerSideResetOffset" => server_side_reset: bool = true, live;
    }
    "Probes and metrics" {
        /// PROM: /metrics for Prometheus, /healthz and /readyz are served over HTTP; DISABLE: nothing is. RocketMQ's
        /// default is DISABLE, and it can push to other systems.
        "metricsExporterType" => metrics_exporter: MetricsExporter = MetricsExporter::Prom;
        /// Port of these; 0 lets the system choose.
        "metricsPromExporterPort" => metrics_port: u16 = 5557;
        /// Address to serve them at. Empty: bindAddress.
        "metricsPromExporterHost" => metrics_host: Option<IpAddr> = None;
    }
    "Connections and threads" {
        /// Seconds after which a connection that sends nothing is closed.
        "serverChannelMaxIdleTimeSeconds" => max_idle: Seconds [1..] = Seconds(120);
        /// Most connections of a port; fewer if the process may not open that many files, which a start says.
        "maxConnections" => max_connections: u32 [1..] = 16_384;
        /// Threads that read and decode requests; 0 is one for each processor, at most 4.
        "serverWorkerThreads" => worker_threads: u32 [0..=64] = 0;
    }
}

/// Settings that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The settings.
    pub settings: Vec<Setting>,
}

/// One row of the table, with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key in the file and for `--set`.
    pub key: &'static str,
    /// What values it takes: kind or unit, and limits.
    pub takes: String,
    /// The value, as it would be written.
    pub value: String,
    /// Whether UPDATE_BROKER_CONFIG can change it.
    pub live: bool,
    /// What it does.
    pub meaning: &'static str,
}

impl Config {
    /// Every setting with its value.
    pub fn settings(&self) -> impl Iterator<Item = Setting> {
        self.sections().into_iter().flat_map(|section| section.settings)
    }
}
