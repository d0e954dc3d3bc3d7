//! What a broker tells others about itself where the settings leave it to the machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use steadfast_net::client::Client;
use steadfast_types::topic;
use steadfast_wire::code::request::GET_BROKER_CONFIG;
use steadfast_wire::code::response;
use steadfast_wire::frame::Serialize;
use steadfast_wire::header::Header;

use crate::config::Config;

/// An address of nobody (TEST-NET-1, RFC 5737), which is reached as the rest of the network is.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// RocketMQ's name for a broker whose host has none.
const NAMELESS: &str = "DEFAULT_BROKER";

/// The address that clients are told to reach the broker at.
///
/// # Errors
/// `brokerIP1` is the name of a host that is not found.
pub(crate) fn ip(config: &Config) -> anyhow::Result<IpAddr> {
    Ok(match (&config.broker_ip, config.bind_address) {
        (Some(host), _) => host.resolve().context(
            "brokerIP1 cannot be told to clients; set it to an address, or to a host name that this machine finds",
        )?,
        (None, ip) if !ip.is_unspecified() => ip,
        (None, _) => {
            let namesrv = config.namesrv_addr.0.iter();
            let namesrv = namesrv.filter_map(|addr| addr.to_socket_addrs().ok()?.next());
            let told = namesrv.chain([ELSEWHERE]).filter_map(source_towards);
            told.into_iter().find(|ip| !ip.is_loopback()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        }
    })
}

/// The address of this machine from which another is reached. Nothing is sent.
fn source_towards(other: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if other.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

/// How long the broker may take to answer itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tries the address that clients are told, and warns if not even this machine reaches a broker there.
pub(crate) async fn check(advertised: SocketAddr) {
    if let Err(error) = dial(advertised).await {
        tracing::warn!(
            "clients are told to reach the broker at {advertised}, where this machine itself does not reach it: \
             {error:#}. Set brokerIP1 to an address that clients reach and that leads to this process; in a container, to \
             the host's address, with listenPort published as the same port"
        );
    }
}

async fn dial(addr: SocketAddr) -> anyhow::Result<()> {
    let client = Client::connect(&addr.to_string(), Serialize::Json, PATIENCE).await?;
    let answer = client.request(Header::request(GET_BROKER_CONFIG, 0), &[], PATIENCE).await?;
    ensure!(answer.code == response::SUCCESS, "what answers there is no broker: code {}", answer.code);
    Ok(())
}

/// The broker's name: the one that is set, or its group's, or the host's.
pub(crate) fn broker_name(config: &Config) -> String {
    if !config.broker_name.is_empty() {
        config.broker_name.clone()
    } else if config.is_replica() {
        config.group.clone()
    } else {
        name_of_host(&rustix::system::uname().nodename().to_string_lossy())
    }
}

/// The name of a replica's group: the one that is set, or the broker's.
pub(crate) fn group_name(config: &Config) -> String {
    if config.group.is_empty() { config.broker_name.clone() } else { config.group.clone() }
}

/// A name of a host as a broker can have it: dots and the like are legal in the one and not in the other.
fn name_of_host(host: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = host.chars().map(legal).collect();
    if topic::check_topic(&name).is_ok() { name } else { NAMELESS.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Host;

    fn advertised(bind: &str, broker_ip: Option<&str>) -> IpAddr {
        let broker_ip = broker_ip.map(|ip| Host::Ip(ip.parse().unwrap()));
        ip(&Config { bind_address: bind.parse().unwrap(), broker_ip, ..Config::default() }).unwrap()
    }

    #[test]
    fn clients_are_told_an_address_they_can_use() {
        assert_eq!(advertised("0.0.0.0", Some("10.0.0.5")), IpAddr::from([10, 0, 0, 5]));
        assert_eq!(advertised("10.1.2.3", None), IpAddr::from([10, 1, 2, 3]));
        let own = advertised("0.0.0.0", None);
        assert!(!own.is_unspecified());
        // It is one of this machine.
        UdpSocket::bind((own, 0)).unwrap();
    }

    #[test]
    fn the_address_towards_a_name_server_goes_first() {
        let local = SocketAddr::from(([127, 0, 0, 1], 9876));
        assert_eq!(source_towards(local), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn every_host_has_a_name_that_is_legal() {
        assert_eq!(name_of_host("web-1"), "web-1");
        assert_eq!(name_of_host("web-1.example.com"), "web-1_example_com");
        assert_eq!(name_of_host(""), NAMELESS);
        assert_eq!(name_of_host(&"x".repeat(200)), NAMELESS);
        assert_eq!(broker_name(&Config { broker_name: "b".to_owned(), ..Config::default() }), "b");
    }
}
