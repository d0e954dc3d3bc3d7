//! How a setting's value is read from text and written back.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use steadfast_broker::DelayLevels;

use super::known::NO_SLAVES;
use super::limit::Limit;

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// The largest one, for types of numbers, whose limits are told and checked beyond the kind.
    const MAX: Option<u64> = None;

    /// What texts it takes, for people.
    const KIND: &'static str;

    /// Reads a value; the error says what is taken instead.
    fn parse(text: &str) -> Result<Self, String>;

    /// Writes a value so that [`Value::parse`] reads it.
    fn text(&self) -> String;

    /// [`Value::KIND`], with limits that the type knows.
    fn kind() -> String {
        Self::KIND.to_owned()
    }

    /// The value as a number of the type's unit, for types of numbers.
    fn number(&self) -> Option<u64> {
        None
    }

    /// A number of the type's unit as people write it.
    fn show(number: u64) -> String {
        number.to_string()
    }

    /// The error for a text that is no value.
    fn refuse(text: &str) -> String {
        format!("takes {}, not {text:?}", Limit::takes::<Self>(None))
    }
}

macro_rules! parsed {
    ($($type:ty => $kind:literal $(up to $max:expr)?;)+) => {
        $(impl Value for $type {
            $(const MAX: Option<u64> = Some($max as u64);)?
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| Self::refuse(text))
            }

            fn text(&self) -> String {
                self.to_string()
            }

            $(fn number(&self) -> Option<u64> {
                Some((*self).into()).filter(|number| *number <= $max as u64)
            })?
        })+
    };
}

parsed! {
    u16 => "a number" up to u16::MAX;
    u32 => "a number" up to u32::MAX;
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

    fn kind() -> String {
        format!("{}; 1 to {} of them, each at most {}d", Self::KIND, Self::MAX_COUNT, Self::MAX_DAYS)
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("takes {}: {error}", Self::KIND))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

macro_rules! numbers {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:literal;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
            pub struct $name(pub u32);

            impl Value for $name {
                const MAX: Option<u64> = Some(u32::MAX as u64);
                const KIND: &'static str = $kind;

                fn parse(text: &str) -> Result<Self, String> {
                    text.parse().map($name).map_err(|_| Self::refuse(text))
                }

                fn text(&self) -> String {
                    self.0.to_string()
                }

                fn number(&self) -> Option<u64> {
                    Some(self.0.into())
                }
            }
        )+
    };
}

numbers! {
    /// A part of something, in percent.
    Percent: "percent";
    /// A time in milliseconds.
    Millis: "milliseconds";
    /// A time in seconds.
    Seconds: "seconds";
    /// A time in hours.
    Hours: "hours";
}

impl From<Millis> for Duration {
    fn from(Millis(millis): Millis) -> Duration {
        Duration::from_millis(millis.into())
    }
}

impl From<Seconds> for Duration {
    fn from(Seconds(seconds): Seconds) -> Duration {
        Duration::from_secs(seconds.into())
    }
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

impl Value for Option<PathBuf> {
    const KIND: &'static str = "a path or nothing";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn text(&self) -> String {
        self.as_ref().map(Value::text).unwrap_or_default()
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
    const MAX: Option<u64> = Some(u64::MAX);
    const KIND: &'static str = "bytes (such as 65536 or 64MiB)";

    fn parse(text: &str) -> Result<Self, String> {
        let with_unit = UNITS.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
        let (number, bits) = with_unit.unwrap_or((text, 0));
        let number: Option<u64> = number.trim().parse().ok();
        number.and_then(|number| number.checked_mul(1 << bits)).map(Bytes).ok_or_else(|| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }

    fn number(&self) -> Option<u64> {
        Some(self.0)
    }

    fn show(number: u64) -> String {
        let unit = UNITS.iter().find(|(_, bits)| number > 0 && number.is_multiple_of(1 << bits));
        unit.map_or_else(|| number.to_string(), |(unit, bits)| format!("{}{unit}", number >> bits))
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
pub struct DayHours(pub Vec<u8>);

impl Value for DayHours {
    const KIND: &'static str = "hours of the day, such as 04 or 04;16";

    fn parse(text: &str) -> Result<Self, String> {
        let hours: Option<Vec<u8>> =
            text.split(';').map(|hour| hour.trim().parse().ok().filter(|hour| *hour < 24)).collect();
        hours.map(DayHours).ok_or_else(|| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.0.iter().map(|hour| format!("{hour:02}")).collect::<Vec<_>>().join(";")
    }
}

/// What a broker is to its slaves, of which there are none: the other roles promise one, or are one. In a group of
/// replicas who leads is not set but elected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokerRole;

impl Value for BrokerRole {
    const KIND: &'static str = "ASYNC_MASTER";

    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case(Self::KIND) {
            return Ok(BrokerRole);
        }
        Err(format!("must be {}: {NO_SLAVES}", Self::KIND))
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
