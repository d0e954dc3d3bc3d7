//! The setting of an address that is looked up: an IP address, or the name of a host.

use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};

use anyhow::{Context, ensure};

use super::value::Value;

/// A host, by its address or by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Its address.
    Ip(IpAddr),
    /// A name that is looked up when the address is needed.
    Name(String),
}

impl Host {
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().map(Host::Ip).ok().or_else(|| is_name(text).then(|| Host::Name(text.to_owned())))
    }

    /// The address that it was given by.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        }
    }

    /// Its address; of a name's addresses an IPv4 one if there is any, as RocketMQ's clients expect.
    ///
    /// # Errors
    /// The name leads to no address that others could use.
    pub(crate) fn resolve(&self) -> anyhow::Result<IpAddr> {
        let name = match self {
            Host::Ip(ip) => return Ok(*ip),
            Host::Name(name) => name,
        };
        let found =
            (name.as_str(), 0).to_socket_addrs().with_context(|| format!("looking up the host {name:?}"))?;
        let ip = found.map(|addr| addr.ip()).min_by_key(|ip| !ip.is_ipv4());
        let ip = ip.with_context(|| format!("the host {name:?} has no address"))?;
        ensure!(!ip.is_unspecified(), "the host {name:?} has the address {ip}, which nobody can reach");
        Ok(ip)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(ip) => ip.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// Whether a text can be a host's name (RFC 1123, and the underscore of container networks). One that ends in a number is an
/// IP address with a slip of the pen.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

impl Value for Option<Host> {
    const KIND: &'static str = "an IP address, a host name or nothing";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        Host::parse(text).map(Some).ok_or_else(|| Self::refuse(text))
    }

    fn text(&self) -> String {
        self.as_ref().map(Host::to_string).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_one_and_the_rest_are_names() {
        for ip in ["10.0.0.5", "fe80::1"] {
            assert_eq!(Host::parse(ip), Some(Host::Ip(ip.parse().unwrap())));
        }
        for name in ["broker", "mq-1.example.com", "my_stack_broker", "broker.", "10-0-0-5.pods"] {
            assert_eq!(Host::parse(name), Some(Host::Name(name.to_owned())));
        }
        for none in ["10.0.0", "10.0.0.256", "1", "a b", "a..b", ".", "-a", "a:1", "http://a", "bröker"] {
            assert_eq!(Host::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_name_is_looked_up() {
        assert_eq!(Host::parse("localhost").unwrap().resolve().unwrap(), IpAddr::from([127, 0, 0, 1]));
        let error = Host::parse("broker.invalid").unwrap().resolve().unwrap_err();
        assert!(error.to_string().contains("\"broker.invalid\""), "{error:#}");
    }
}
