//! Starts a server, in an order that leaves nothing half-started, and stops it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use steadfast_net::server::reserve;
use steadfast_net::{Handler, Limits, Server};
use steadfast_types::limits;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::advertise;
use crate::banner::Banner;
use crate::broker::{Broker, Sockets, random};
use crate::clock::Clock;
use crate::config::{Config, Loaded, Role, Sources};
use crate::explain;
use crate::group::Replica;
use crate::http;
use crate::namesrv::SharedNamesrv;
use crate::pages::Pages;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Runs a server until it is told to stop (SIGTERM or SIGINT) and has stopped cleanly.
///
/// # Errors
/// One message with the cause and the next step. Nothing is left running, and no data was changed, except that
/// the data directory and empty files in it may have been made.
pub fn run(sources: &Sources) -> anyhow::Result<()> {
    die_on_panic();
    let Loaded { config, warnings } = Config::load(sources)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads(&config))
        .enable_all()
        .build()
        .context("starting the network's threads failed")?;
    let result = runtime.block_on(serve(sources, &config));
    // Connections may have work of their own; none of it matters now.
    runtime.shutdown_background();
    result
}

async fn serve(sources: &Sources, config: &Config) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    let clock = Clock::start();
    // Ports first: they are what two servers on one machine collide on.
    let broker_socket = claim(config, Role::Namesrv, "listenPort", config.listen_port)?;
    let fast_socket = match config.fast_port() {
        Some(port) => claim(config, Role::Namesrv, "fastListenPort", port)?,
        None => None,
    };
    let namesrv_socket = claim(config, Role::Broker, "namesrvPort", config.namesrv_port)?;
    let replica = Replica::of(config, random())?;
    let replication =
        replica.as_ref().map(|replica| reserved(replica.listen(), "dLegerPeers")).transpose()?;
    let pages_socket = config.serves_pages().then(|| {
        let host = config.metrics_host.unwrap_or(config.bind_address);
        reserved(SocketAddr::new(host, config.metrics_port), "metricsPromExporterPort")
    });
    let pages_socket = pages_socket.transpose()?;
    let ports = [&broker_socket, &fast_socket, &namesrv_socket].into_iter().flatten().count();
    let limits = Limits {
        connections: connections(config, ports),
        idle: config.max_idle.into(),
        unfinished_bytes: limits::UNFINISHED_FRAMES / ports.max(1),
        unread_bytes: limits::UNREAD_ANSWERS / ports.max(1),
        ..Limits::default()
    };
    let mut banner = Banner::new(config);
    // Served while the log is being read, so that nobody takes a long start for a dead process.
    let pages = Arc::new(Pages::default());
    if let Some(socket) = pages_socket {
        let listener = listening(socket, "metricsPromExporterPort")?;
        banner.pages(listener.local_addr()?);
        tokio::spawn(http::serve(listener, Arc::clone(&pages)));
    }
    let namesrv = namesrv_socket.as_ref().map(|_| SharedNamesrv::open(config, clock)).transpose()?;
    let broker = match broker_socket {
        None => None,
        Some(socket) => {
            let (sources, config, namesrv) = (sources.clone(), config.clone(), namesrv.clone());
            let sockets = Sockets { main: socket, fast: fast_socket, replication };
            let opening =
                spawn_blocking(move || Broker::open(sources, &config, sockets, replica, (namesrv, clock)));
            select! {
                // Recovery only reads; nothing waits for its end.
                () = stop.wait() => return Ok(()),
                opened = opening => Some(opened.context("opening the data directory failed")??),
            }
        }
    };
    let mut advertised = None;
    if let Some(broker) = &broker {
        let facts = broker.facts()?;
        advertised = Some(facts.advertised);
        banner.broker(&facts);
    }
    let mut servers = Vec::new();
    if let (Some(socket), Some(namesrv)) = (namesrv_socket, &namesrv) {
        banner.namesrv(socket.local_addr()?);
        tokio::spawn(namesrv.clone().expire(config.scan_interval.into()));
        servers.push(listen(socket, limits, Arc::new(namesrv.clone()), "namesrvPort")?);
    }
    let Some(broker) = broker else {
        banner.print();
        stop.wait().await;
        return Ok(());
    };
    let (mut running, broker_servers) = broker.start(config, limits)?;
    servers.extend(broker_servers);
    // It is set once.
    let _ = pages.broker.set(running.watched.clone());
    select! {
        () = stop.wait() => {}
        serving = running.serving() => {
            serving?;
            banner.role(running.role());
            banner.print();
            if let Some(addr) = advertised {
                tokio::spawn(advertise::check(addr));
            }
            stop.wait().await;
        }
    }
    tracing::info!("stopping");
    servers.iter().for_each(Server::stop_accepting);
    running.stop(&mut stop).await
}

/// A second signal ends the wait for a clean stop.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for SIGTERM and SIGINT failed");
        Ok(StopSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn wait(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Descriptors that the log, the index and the ports need beside the connections.
const FILES: u64 = 256;

/// How many connections each port takes: never so many that no descriptor is left for the log.
fn connections(config: &Config, ports: usize) -> usize {
    let wanted = u64::from(config.max_connections);
    let limit = getrlimit(Resource::Nofile);
    let current = match limit.maximum {
        // A process may always raise its own limit as far as it was allowed to.
        maximum if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() => maximum,
        _ => limit.current,
    };
    let share = |current: u64| (current.saturating_sub(FILES) / ports.max(1) as u64).max(1);
    let room = current.map_or(wanted, share);
    if room < wanted {
        let text = format!(
            "maxConnections is {wanted}, but this process may open {} files: each port takes {room} connections; raise \
             the limit (ulimit -Hn, LimitNOFILE) or lower maxConnections",
            current.unwrap_or_default()
        );
        // The default is as many as there may be; whoever chose a number wants to know.
        if config.max_connections == Config::default().max_connections {
            tracing::info!("{text}");
        } else {
            tracing::warn!("{text}");
        }
    }
    room.min(wanted) as usize
}

/// Takes a port that this role needs; `without` is the role that does not.
fn claim(config: &Config, without: Role, key: &str, port: u16) -> anyhow::Result<Option<TcpSocket>> {
    if config.role == without {
        return Ok(None);
    }
    reserved(SocketAddr::new(config.bind_address, port), key).map(Some)
}

fn reserved(addr: SocketAddr, key: &str) -> anyhow::Result<TcpSocket> {
    reserve(addr).map_err(|error| explain::port(&error, addr, key))
}

/// Opens a taken port; `key` is its setting.
pub(crate) fn listen<H: Handler>(
    socket: TcpSocket,
    limits: Limits,
    handler: Arc<H>,
    key: &str,
) -> anyhow::Result<Server> {
    Ok(Server::start(listening(socket, key)?, limits, handler))
}

pub(crate) fn listening(socket: TcpSocket, key: &str) -> anyhow::Result<TcpListener> {
    let addr = socket.local_addr()?;
    // Two sockets with SO_REUSEADDR may both be bound; only one can listen.
    socket.listen(BACKLOG).map_err(|error| explain::port(&error, addr, key))
}

fn worker_threads(config: &Config) -> usize {
    match config.worker_threads {
        0 => thread::available_parallelism().map_or(2, usize::from).min(4),
        threads => threads as usize,
    }
}

/// A panic anywhere ends the process: the log takes that at any point, half a server would take requests and
/// never answer.
fn die_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        tracing::error!("{panic}: a bug; the process ends, everything acknowledged is stored");
        std::process::abort();
    }));
}
