//! Starts a server, in an order that leaves nothing half-started, and stops it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use steadfast_net::server::reserve;
use steadfast_net::{Handler, Limits, Server};
use steadfast_types::limits;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, spawn_blocking};

use crate::advertise;
use crate::banner::Banner;
use crate::broker::{Broker, Running, Sockets};
use crate::clock::Clock;
use crate::config::{Config, Loaded, Role, Sources};
use crate::directory;
use crate::explain;
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
    let brokers = if config.role == Role::Namesrv { Vec::new() } else { config.brokers() };
    directory::check(config, &brokers)?;
    // Ports first: they are what two servers on one machine collide on.
    let ports = Ports::reserve(config, &brokers)?;
    let limits = limits(config, ports.for_clients());
    let mut banner = Banner::new(config);
    // Served while the logs are being read, so that nobody takes a long start for a dead process.
    let pages = Arc::new(Pages::default());
    if let Some(socket) = ports.pages {
        let listener = listening(socket, "metricsPromExporterPort")?;
        banner.pages(listener.local_addr()?);
        tokio::spawn(http::serve(listener, Arc::clone(&pages)));
    }
    let namesrv = ports.namesrv.as_ref().map(|_| SharedNamesrv::open(config, clock)).transpose()?;
    let opening = open(sources, &brokers, ports.brokers, (namesrv.as_ref(), clock));
    let opened = select! {
        // Recovery only reads; nothing waits for its end.
        () = stop.wait() => return Ok(()),
        opened = opening => opened?,
    };
    let mut advertised = Vec::new();
    for broker in &opened {
        let facts = broker.facts()?;
        advertised.push(facts.advertised);
        banner.broker(&facts);
    }
    let mut servers = Vec::new();
    if let (Some(socket), Some(namesrv)) = (ports.namesrv, &namesrv) {
        banner.namesrv(socket.local_addr()?);
        tokio::spawn(namesrv.clone().expire(config.scan_interval.into()));
        servers.push(listen(socket, limits, Arc::new(namesrv.clone()), config.port_key("namesrvPort"))?);
    }
    let mut running = Vec::new();
    for (broker, config) in opened.into_iter().zip(&brokers) {
        let (runs, listening) = broker.start(config, limits)?;
        running.push(runs);
        servers.extend(listening);
    }
    if !running.is_empty() {
        // It is set once.
        let _ = pages.brokers.set(running.iter().map(|broker| broker.watched.clone()).collect());
    }
    select! {
        () = stop.wait() => {}
        serving = serving(&mut running) => {
            serving?;
            banner.roles(running.iter().filter_map(Running::role));
            banner.print();
            advertised.into_iter().for_each(|addr| _ = tokio::spawn(advertise::check(addr)));
            stop.wait().await;
        }
    }
    if running.is_empty() {
        return Ok(());
    }
    tracing::info!("stopping");
    servers.iter().for_each(Server::stop_accepting);
    select! {
        stopped = stop_all(running) => stopped,
        // A second signal, or a disk that does not answer, ends it at once: the log takes that.
        () = stop.wait() => bail!("stopped at once by a second signal; the next start repairs the log's end"),
    }
}

/// The ports that a process has taken.
struct Ports {
    brokers: Vec<Sockets>,
    namesrv: Option<TcpSocket>,
    pages: Option<TcpSocket>,
}

impl Ports {
    fn reserve(config: &Config, brokers: &[Config]) -> anyhow::Result<Self> {
        let namesrv = (config.role != Role::Broker).then(|| {
            let addr = SocketAddr::new(config.bind_address, config.namesrv_port);
            reserved(addr, config.port_key("namesrvPort"))
        });
        let pages = config.serves_pages().then(|| {
            let host = config.metrics_host.unwrap_or(config.bind_address);
            reserved(SocketAddr::new(host, config.metrics_port), "metricsPromExporterPort")
        });
        Ok(Ports {
            brokers: brokers.iter().map(Sockets::reserve).collect::<anyhow::Result<_>>()?,
            namesrv: namesrv.transpose()?,
            pages: pages.transpose()?,
        })
    }

    /// How many take clients' connections.
    fn for_clients(&self) -> usize {
        let of_brokers: usize = self.brokers.iter().map(Sockets::for_clients).sum();
        of_brokers + usize::from(self.namesrv.is_some())
    }
}

/// Reads the data of all brokers of this process, at the same time.
async fn open(
    sources: &Sources,
    brokers: &[Config],
    sockets: Vec<Sockets>,
    (namesrv, clock): (Option<&SharedNamesrv>, Clock),
) -> anyhow::Result<Vec<Broker>> {
    let opening = brokers.iter().zip(sockets).enumerate().map(|(which, (config, sockets))| {
        let (sources, config, namesrv) = (sources.clone(), config.clone(), namesrv.cloned());
        spawn_blocking(move || Broker::open((sources, which), &config, sockets, (namesrv, clock)))
    });
    let mut opened = Vec::new();
    for opening in opening.collect::<Vec<_>>() {
        opened.push(opening.await.context("opening the data directory failed")??);
    }
    Ok(opened)
}

/// Waits until all of them take messages, or follow who does.
async fn serving(running: &mut [Running]) -> anyhow::Result<()> {
    for broker in running {
        broker.serving().await?;
    }
    Ok(())
}

/// Stops all of them at the same time.
async fn stop_all(running: Vec<Running>) -> anyhow::Result<()> {
    let mut stopping: JoinSet<_> = running.into_iter().map(Running::stop).collect();
    let mut failed = None;
    while let Some(stopped) = stopping.join_next().await {
        failed = failed.or(stopped.context("stopping a broker failed").flatten().err());
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    tracing::info!("stopped; everything acknowledged is stored");
    Ok(())
}

/// What all clients together, on so many ports, may take.
fn limits(config: &Config, ports: usize) -> Limits {
    Limits {
        connections: connections(config, ports),
        idle: config.max_idle.into(),
        unfinished_bytes: limits::UNFINISHED_FRAMES / ports.max(1),
        unread_bytes: limits::UNREAD_ANSWERS / ports.max(1),
        ..Limits::default()
    }
}

/// A second signal ends the wait for a clean stop.
struct StopSignals {
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

    async fn wait(&mut self) {
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

/// Takes a port; `key` is its setting.
pub(crate) fn reserved(addr: SocketAddr, key: &str) -> anyhow::Result<TcpSocket> {
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
