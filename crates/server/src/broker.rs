//! The broker's part of a server: its data, its threads and its port.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use steadfast_broker::io::Input;
use steadfast_broker::recovery::{self, Opened};
use steadfast_broker::request::Edge;
use steadfast_broker::{Flush, Options};
use steadfast_net::{Limits, Server};
use steadfast_store::disk::Disk;
use steadfast_store::log;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::advertise;
use crate::banner::BrokerFacts;
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::core::{Core, Event, Milestone};
use crate::disk::{self, RealDisk};
use crate::edge::BrokerPort;
use crate::explain;
use crate::group::{Replica, Standing};
use crate::inbox::Inbox;
use crate::lock::Lock;
use crate::metrics::{Node, Telemetry};
use crate::namesrv::SharedNamesrv;
use crate::options::options;
use crate::pages::Watched;
use crate::readers::Readers;
use crate::register::{Identity, Registrar};
use crate::scrub;
use crate::settings::Settings;
use crate::settings_port::SettingsPort;
use crate::shell::Shell;
use crate::start::{listen, listening, reserved};
use crate::writing::{self, FillerThread, Log, Tail};

/// How long a stop waits for writes in flight.
const STOP_TIMEOUT: Duration = Duration::from_millis(1400);
/// Space for messages that a new data directory must have.
const SPACE_MIN: u64 = 16 * 1024 * 1024;

/// What RocketMQ keeps in its `storePathRootDir`: a file of RocketMQ that is used as it is names such a directory.
const OF_ROCKETMQ: [&str; 3] = ["commitlog", "consumequeue", "abort"];

/// The ports that a broker has taken.
pub(crate) struct Sockets {
    pub(crate) main: TcpSocket,
    /// For clients with a VIP channel: they use it for everything but pulls.
    pub(crate) fast: Option<TcpSocket>,
    /// Which replica of a group of several it is, and the port for the others.
    pub(crate) replica: Option<(Replica, TcpSocket)>,
}

impl Sockets {
    /// Takes the ports that a broker needs.
    pub(crate) fn reserve(config: &Config) -> anyhow::Result<Self> {
        let at = |port| SocketAddr::new(config.bind_address, port);
        let fast = config.fast_port().map(|port| reserved(at(port), config.port_key("fastListenPort")));
        let replica = Replica::of(config, random())?.map(|replica| {
            let socket = reserved(replica.listen(), config.port_key("dLegerPeers"))?;
            anyhow::Ok((replica, socket))
        });
        Ok(Sockets {
            main: reserved(at(config.listen_port), config.port_key("listenPort"))?,
            fast: fast.transpose()?,
            replica: replica.transpose()?,
        })
    }

    /// How many of them are for clients.
    pub(crate) fn for_clients(&self) -> usize {
        1 + usize::from(self.fast.is_some())
    }
}

/// A broker whose data is open, and that is not running yet.
pub(crate) struct Broker {
    _lock: Lock,
    dir: PathBuf,
    disk: RealDisk,
    opened: Opened<RealDisk>,
    options: Options,
    settings: Settings,
    sockets: Sockets,
    registrar: Registrar,
    clock: Clock,
}

/// A broker that runs.
pub(crate) struct Running {
    _lock: Lock,
    core: Arc<Core>,
    milestone: watch::Receiver<Option<Milestone>>,
    /// What it is to its group, if that is one of several.
    standing: Option<Standing>,
    /// For whoever wants to look at it.
    pub(crate) watched: Watched,
}

impl Broker {
    pub(crate) fn open(
        (sources, which): (Sources, usize),
        config: &Config,
        sockets: Sockets,
        (namesrv, clock): (Option<SharedNamesrv>, Clock),
    ) -> anyhow::Result<Self> {
        let listening = sockets.main.local_addr()?;
        let advertised = SocketAddr::new(advertise::ip(config)?, listening.port());
        let dir = data_dir(&config.data)?;
        let lock = Lock::take(&dir).map_err(explain::data)?;
        let (settings, config) = Settings::open(sources, which, &dir)?;
        let Sockets { replica, .. } = &sockets;
        let options = options(&config, advertised);
        let disk = RealDisk::open(&dir).map_err(explain::data)?;
        check_space(&disk, &options)?;
        let opened = match replica {
            None => recovery::open(disk.clone(), &options, random()).map_err(explain::open),
            Some((replica, _)) => {
                recovery::open_member(disk.clone(), &options, replica.group(), &replica.membership)
                    .map_err(explain::open_replica)
            }
        };
        let opened = opened?;
        for warning in &opened.report.warnings {
            tracing::warn!("{warning}");
        }
        let identity = Identity {
            cluster: options.cluster.clone(),
            broker_name: options.broker_name.clone(),
            replica: replica.as_ref().map(|(replica, _)| replica.membership.id),
            advertised,
        };
        let registrar = Registrar::new(identity, namesrv, clock);
        Ok(Broker { _lock: lock, dir, disk, opened, options, settings, sockets, registrar, clock })
    }

    /// What a person who started it wants to know.
    pub(crate) fn facts(&self) -> anyhow::Result<BrokerFacts> {
        Ok(BrokerFacts {
            listening: self.sockets.main.local_addr()?,
            fast: self.sockets.fast.as_ref().map(TcpSocket::local_addr).transpose()?,
            advertised: self.options.store_host,
            name: self.options.broker_name.clone(),
            data: self.dir.clone(),
            durable: self.disk.durable(),
            report: self.opened.report.clone(),
            changed: self.settings.changed(),
            replica: self.sockets.replica.as_ref().map(|(replica, _)| replica.facts()),
        })
    }

    /// Starts all threads and opens the ports.
    pub(crate) fn start(self, config: &Config, limits: Limits) -> anyhow::Result<(Running, Vec<Server>)> {
        let Broker { _lock, dir: _, disk, opened, options, settings, sockets, registrar, clock } = self;
        let Opened { broker, writer, filler, reader, layout, report } = opened;
        let core = Arc::new(Core::new(clock));
        let telemetry = Arc::new(Telemetry::new());
        let registered = registrar.registered();
        let (tell, milestone) = milestones();
        registrar.keep_registered(&config.namesrv_addr.0, config.register_period.into());
        let writer_jobs = Arc::new(Inbox::default());
        let checkpoint_jobs = Arc::new(Inbox::default());
        let readers = Readers::start(&reader, &core, sockets.replica.is_some())
            .context("starting the readers failed")?;
        let standing = match sockets.replica {
            Some((replica, socket)) => {
                let listener = listening(socket, config.port_key("dLegerPeers"))?;
                Some(replica.start(listener, &core, report.fresh))
            }
            None => None,
        };
        let tail = Arc::new(Tail::default());
        let sync_every = (options.flush == Flush::Async).then(|| config.flush_interval.into());
        let end = writer.end().end;
        let shell = Shell::new(
            (Arc::clone(&writer_jobs), Arc::clone(&tail)),
            Arc::clone(&checkpoint_jobs),
            registrar,
            Box::new(tell.clone()),
            standing.clone(),
            (Arc::clone(&telemetry), clock),
        );
        let log = Log::new(
            writer,
            writer_jobs,
            Arc::clone(&core),
            Arc::clone(&tail),
            sync_every,
            Arc::clone(&telemetry),
        );
        let log = Arc::new(log);
        for i in 0..Log::<RealDisk>::THREADS {
            let (log, tell) = (Arc::clone(&log), tell.clone());
            spawn(&format!("log-writer-{i}"), move || log.run(tell))?;
        }
        let control_reserve = options.control_reserve;
        let filling = FillerThread {
            filler,
            core: Arc::clone(&core),
            tail,
            end,
            control_reserve,
            telemetry: Arc::clone(&telemetry),
        };
        spawn("log-filler", move || filling.run())?;
        if config.scrub_rate.0 > 0 {
            let (reader, core) = (Arc::clone(&reader), Arc::clone(&core));
            let period = Duration::from_secs(config.scrub_period.0.into());
            let pace = scrub::Pace { rate: config.scrub_rate.0, period };
            spawn("scrub", move || scrub::run(&reader, &core, pace))?;
        }
        let inbox = Arc::clone(&core);
        let writing_to = disk.clone();
        spawn("checkpoint", move || {
            writing::checkpoints(&writing_to, layout, &reader, &checkpoint_jobs, &inbox);
        })?;

        let edge = edge(&options);
        let settings = SettingsPort {
            settings: Arc::new(settings),
            core: Arc::clone(&core),
            advertised: options.store_host,
            max_body: Arc::clone(&edge.max_body),
        };
        let port = BrokerPort {
            edge,
            core: Arc::clone(&core),
            clock,
            telemetry: Arc::clone(&telemetry),
            settings,
            fast: false,
        };
        let mut servers = Vec::new();
        if let Some(socket) = sockets.fast {
            let fast = BrokerPort { fast: true, ..port.clone() };
            servers.push(listen(socket, limits, Arc::new(fast), config.port_key("fastListenPort"))?);
        }
        servers.push(listen(sockets.main, limits, Arc::new(port), config.port_key("listenPort"))?);
        let timer = Arc::clone(&core);
        spawn("timer", move || timer.keep_time())?;
        core.start(broker, shell, readers);
        let node = Node {
            cluster: options.cluster.clone(),
            broker_name: options.broker_name.clone(),
            started: clock.wall().get().saturating_sub(clock.ticks()) as f64 / 1000.0,
            ..Node::default()
        };
        let watched = Watched {
            core: Arc::clone(&core),
            milestone: milestone.clone(),
            registered,
            standing: standing.clone(),
            telemetry,
            disk,
            node,
        };
        if let Some(standing) = &standing {
            tokio::spawn(standing.clone().say_what_is_missing());
        }
        Ok((Running { _lock, core, milestone, standing, watched }, servers))
    }
}

/// How milestones are told, and the furthest one told so far.
fn milestones() -> (impl Fn(Milestone) + Clone + Send + 'static, watch::Receiver<Option<Milestone>>) {
    let (furthest, milestone) = watch::channel(None);
    let furthest = Arc::new(furthest);
    let tell = move |reached: Milestone| {
        furthest.send_if_modified(|last| {
            let is_further = last.as_ref().is_none_or(|last| *last < reached);
            if is_further {
                *last = Some(reached);
            }
            is_further
        });
    };
    (tell, milestone)
}

impl Running {
    /// Waits until the broker takes messages and the name server of this process knows it.
    pub(crate) async fn serving(&mut self) -> anyhow::Result<()> {
        match self.reached(|_| true).await {
            Milestone::Poisoned(cause) => Err(anyhow!(
                "the log cannot be written: {cause}\ncheck the disk's space and health, then start again"
            )),
            Milestone::Serving | Milestone::Stopped => Ok(()),
        }
    }

    async fn reached(&mut self, wanted: impl Fn(&Milestone) -> bool) -> Milestone {
        let reached = self.milestone.wait_for(|reached| reached.as_ref().is_some_and(&wanted)).await;
        // Only a panic could end the other side, and that ends the process.
        reached.ok().and_then(|reached| reached.clone()).unwrap_or(Milestone::Stopped)
    }

    /// What it is to its group, for people; None if that is one of one.
    pub(crate) fn role(&self) -> Option<String> {
        self.standing.as_ref().map(Standing::to_string)
    }

    /// Stops cleanly; a leader hands over to another replica first.
    ///
    /// # Errors
    /// A disk or a group that does not answer. The log takes that.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(standing) = &self.standing {
            standing.hand_over(&self.core).await;
        }
        let who = if self.standing.is_some() { "the disk, or a quorum of the group," } else { "the disk" };
        self.core.push(Event::Input(Input::Stop));
        let stopped = self.reached(|reached| *reached == Milestone::Stopped);
        timeout(STOP_TIMEOUT, stopped).await.map(drop).map_err(|_| {
            anyhow!(
                "{who} did not finish the writes in flight within {STOP_TIMEOUT:?}; nothing acknowledged is lost, \
                 the next start repairs the log's end"
            )
        })
    }
}

fn edge(options: &Options) -> Edge {
    Edge {
        store_host: options.store_host,
        max_body: Arc::new(AtomicUsize::new(options.max_body)),
        region: options.region.to_string(),
        cluster: options.cluster.clone(),
        process_id: std::process::id(),
        ids: Arc::new(AtomicU32::new(0)),
    }
}

/// A new directory must have space for messages. An old one is served with whatever is left: its messages can
/// be read, and consumers' positions have space of their own.
fn check_space(disk: &RealDisk, options: &Options) -> anyhow::Result<()> {
    let is_new = disk.list(log::DIR).map_or(true, |segments| segments.is_empty());
    let needed = options.disk_free_min + options.control_reserve + SPACE_MIN;
    let free = disk.space().map_err(explain::data)?.free;
    if is_new && free < needed {
        bail!(
            "the disk has {} MiB of space, a new server needs {} MiB (of which diskFreeMin leaves {} MiB alone); \
             free space, or choose another disk: --data DIR",
            free >> 20,
            needed.div_ceil(1 << 20),
            options.disk_free_min >> 20
        );
    }
    Ok(())
}

fn data_dir(data: &Path) -> anyhow::Result<PathBuf> {
    disk::create_dir(data).map_err(explain::data)?;
    if let Some(file) = OF_ROCKETMQ.iter().map(|name| data.join(name)).find(|file| file.exists()) {
        bail!(
            "{} belongs to a broker of RocketMQ, whose data Steadfast does not read; choose another directory \
             (storePathRootDir, or --data DIR)",
            file.display()
        );
    }
    data.canonicalize().with_context(|| format!("the data directory {}", data.display()))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .with_context(|| format!("starting thread {name} failed"))?;
    Ok(())
}

/// 64 random bits, seeded by the operating system.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
