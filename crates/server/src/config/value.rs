//! How a setting's value is read from text and written back.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use steadfast_broker::DelayLevels;

use super::known::NO_REPLICAS;

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// What texts it takes, for people.
    const KIND: &'static str;

    /// Reads a value; the error says what is taken instead.
    fn parse(text: &str) -> Result<Self, String>;

    /// Writes a value so that [`Value::parse`] reads it.
    fn text(&self) -> String;

    /// The error for a text that is no value.
    fn refuse(text: &str) -> String {
        format!("takes {}, not {text:?}", Self::KIND)
    }
}

macro_rules! parsed {
    ($($type:ty => $kind:literal;)+) => {
        $(impl Value for $type {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| Self::refuse(text))
            }

            fn text(&self) -> String {
                self.to_string()
            }
        })+
    };
}

parsed! {
    u16 => "a number from 0 to 65535";
    u32 => "a number";
    IpAddr => "an IP address";
    String => "a text";
}

impl Value for bool {
    const KIND: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, String> {
        // Java takes any case.
        text.to_ascii_lowercase().parse().map_err(|_| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Value for DelayLevels {
    const KIND: &'static str = "delays such as 1s 5m 2h 1d";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("takes {}: {error}", Self::KIND))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

macro_rules! durations {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:literal = $from:path;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name(pub u32);

            impl Value for $name {
                const KIND: &'static str = $kind;

                fn parse(text: &str) -> Result<Self, String> {
                    text.parse().map($name).map_err(|_| Self::refuse(text))
                }

                fn text(&self) -> String {
                    self.0.to_string()
                }
            }

            impl From<$name> for Duration {
                fn from(value: $name) -> Duration {
                    $from(value.0.into())
                }
            }
        )+
    };
}

durations! {
    /// A time in milliseconds.
    Millis: "milliseconds" = Duration::from_millis;
    /// A time in seconds.
    Seconds: "seconds" = Duration::from_secs;
}

/// RocketMQ's permission bits of a topic or a broker: 4 to read and 2 to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission(pub u32);

impl Value for Permission {
    const KIND: &'static str = "6 (read and write), 4 (read), 2 (write) or 0";

    fn parse(text: &str) -> Result<Self, String> {
        let bits = text.parse().ok().filter(|bits| matches!(bits, 0 | 2 | 4 | 6));
        bits.map(Permission).ok_or_else(|| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err(Self::refuse(text)) } else { Ok(PathBuf::from(text)) }
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Option<u16> {
    const KIND: &'static str = "a number from 0 to 65535 or nothing";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| Self::refuse(text)) }
    }

    fn text(&self) -> String {
        self.map(|number| number.to_string()).unwrap_or_default()
    }
}

impl Value for Option<IpAddr> {
    const KIND: &'static str = "an IP address or nothing";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| Self::refuse(text)) }
    }

    fn text(&self) -> String {
        self.map_or_else(String::new, |ip| ip.to_string())
    }
}

/// A number of bytes; texts may end in KiB, MiB or GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Value for Bytes {
    const KIND: &'static str = "bytes, such as 65536 or 64MiB";

    fn parse(text: &str) -> Result<Self, String> {
        let with_unit = UNITS.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
        let (number, bits) = with_unit.unwrap_or((text, 0));
        let number: Option<u64> = number.trim().parse().ok();
        number.and_then(|number| number.checked_mul(1 << bits)).map(Bytes).ok_or_else(|| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// Addresses of name servers, `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameServers(pub Vec<String>);

impl Value for NameServers {
    const KIND: &'static str = "host:port;host:port";

    fn parse(text: &str) -> Result<Self, String> {
        let servers: Vec<_> =
            text.split(';').map(str::trim).filter(|addr| !addr.is_empty()).map(str::to_owned).collect();
        let is_addr = |addr: &String| {
            addr.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if servers.iter().all(is_addr) { Ok(NameServers(servers)) } else { Err(Self::refuse(text)) }
    }

    fn text(&self) -> String {
        self.0.join(";")
    }
}

/// Hours of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours(pub Vec<u8>);

impl Value for Hours {
    const KIND: &'static str = "hours of the day, such as 04 or 04;16";

    fn parse(text: &str) -> Result<Self, String> {
        let hours: Option<Vec<u8>> =
            text.split(';').map(|hour| hour.trim().parse().ok().filter(|hour| *hour < 24)).collect();
        hours.map(Hours).ok_or_else(|| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.0.iter().map(|hour| format!("{hour:02}")).collect::<Vec<_>>().join(";")
    }
}

/// What a broker is to its replicas. There are none, so that there is one role: the others promise a second copy, or are
/// one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokerRole;

impl Value for BrokerRole {
    const KIND: &'static str = "ASYNC_MASTER";

    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case(Self::KIND) {
            return Ok(BrokerRole);
        }
        Err(format!("must be {}: {NO_REPLICAS}", Self::KIND))
    }

    fn text(&self) -> String {
        Self::KIND.to_owned()
    }
}

macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:literal {
        $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal,)+
    })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

            impl Value for $name {
                const KIND: &'static str = $kind;

                fn parse(text: &str) -> Result<Self, String> {
                    $(if text.eq_ignore_ascii_case($text) {
                        return Ok($name::$variant);
                    })+
                    Err(Self::refuse(text))
                }

                fn text(&self) -> String {
                    match self { $($name::$variant => $text),+ }.to_owned()
                }
            }
        )+
    };
}

choices! {
    /// What a process does.
    Role: "all, namesrv or broker" {
        /// Broker and name server.
        All = "all",
        /// Name server alone.
        Namesrv = "namesrv",
        /// Broker alone.
        Broker = "broker",
    }

    /// How metrics are told.
    MetricsExporter: "PROM or DISABLE" {
        /// To whoever asks over HTTP.
        Prom = "PROM",
        /// Not at all.
        Disable = "DISABLE",
    }

    /// When a send is acknowledged.
    FlushDiskType: "SYNC_FLUSH or ASYNC_FLUSH" {
        /// Once it is on stable storage.
        SyncFlush = "SYNC_FLUSH",
        /// Once the operating system has it.
        AsyncFlush = "ASYNC_FLUSH",
    }
}
