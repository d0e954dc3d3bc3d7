//! Three servers that are a group, and the name server that they share.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use steadfast_net::client::Client as Connection;
use steadfast_sim::rng::Rng;
use steadfast_wire::body::{Body, KVTable};
use steadfast_wire::code::{request, response};
use steadfast_wire::frame::Serialize;
use steadfast_wire::header::Header;
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use crate::client::Client;
use crate::load::{Clients, seed};
use crate::process::{Server, command, command_on_small_disk, set, until};

/// Replicas of a group.
pub(crate) const COUNT: usize = 3;
/// Ports for replication, which a replica that comes back needs again: below those that systems give to clients.
const PORTS: std::ops::Range<u64> = 20_000..32_000;
/// How long a server may take to say whether it leads.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two questions who leads.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the brokers are that run.
type Brokers = Arc<Mutex<[Option<SocketAddr>; COUNT]>>;

/// See the module's page.
pub(crate) struct Cluster {
    dir: TempDir,
    settings: Vec<String>,
    ports: Vec<u16>,
    pub(crate) namesrv: Server,
    servers: [Option<Server>; COUNT],
    brokers: Brokers,
    runtime: Runtime,
}

impl Cluster {
    /// A group of which no replica has been started yet.
    pub(crate) fn new(settings: &[&str]) -> Cluster {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("secret"), "a secret for the test\n").expect("a file");
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Cluster {
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            ports: free_ports(),
            namesrv: Server::start(&dir.path().join("namesrv"), &["role=namesrv"]),
            servers: Default::default(),
            brokers: Brokers::default(),
            runtime: runtime.expect("a runtime"),
            dir,
        }
    }

    /// A group that has a leader, and whose replicas are new no more: any two of them can elect another one.
    pub(crate) fn running(settings: &[&str]) -> Cluster {
        let mut cluster = Cluster::new(settings);
        cluster.start(&[0, 1, 2]);
        let leader = cluster.leader();
        let is_complete = |i| cluster.figure(i, "steadfast_replica_incomplete{") == ["0"];
        until("all replicas are complete", || (0..COUNT).all(is_complete));
        // What is written after that they know it, is written after they have noted it.
        assert_eq!(cluster.client(leader).send("first", b"x").code(), response::SUCCESS);
        cluster.until_equal();
        cluster
    }

    /// Where a replica has its data.
    pub(crate) fn data(&self, i: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("data{i}"))
    }

    /// What starts a replica.
    pub(crate) fn command(&self, i: usize) -> Command {
        self.settled(i, command(&self.data(i)))
    }

    /// Starts a replica whose directory is a file system of its own, of so many MiB.
    pub(crate) fn start_on_small_disk(&mut self, i: usize, mib: u32) {
        let small = command_on_small_disk(&self.data(i), &format!("size={mib}m"));
        let server = Server::spawn(self.settled(i, small));
        self.servers[i] = Some(server);
    }

    fn settled(&self, i: usize, mut command: Command) -> Command {
        let peers = (0..COUNT).map(|i| format!("n{i}-127.0.0.1:{}", self.ports[i]));
        let own = [
            "role=broker".to_owned(),
            format!("namesrvAddr={}", self.namesrv.namesrv()),
            "enableDLegerCommitLog=true".to_owned(),
            format!("dLegerPeers={}", peers.collect::<Vec<_>>().join(";")),
            format!("dLegerSelfId=n{i}"),
            format!("replicationSecretFile={}", self.dir.path().join("secret").display()),
        ];
        let all: Vec<_> = own.iter().chain(&self.settings).map(String::as_str).collect();
        set(&mut command, &all);
        command
    }

    /// Starts replicas at the same time; returns when each leads or follows.
    pub(crate) fn start(&mut self, which: &[usize]) {
        let commands: Vec<_> = which.iter().map(|i| (*i, self.command(*i))).collect();
        let started: Vec<_> = thread::scope(|scope| {
            let starting =
                commands.into_iter().map(|(i, command)| (i, scope.spawn(|| Server::spawn(command))));
            let starting: Vec<_> = starting.collect();
            starting.into_iter().map(|(i, server)| (i, server.join().expect("a server"))).collect()
        });
        for (i, server) in started {
            self.brokers.lock().expect("no panic")[i] = server.broker;
            self.servers[i] = Some(server);
        }
    }

    pub(crate) fn server(&self, i: usize) -> &Server {
        self.servers[i].as_ref().expect("it runs")
    }

    /// Takes a replica out, for whoever ends it.
    pub(crate) fn take(&mut self, i: usize) -> Server {
        self.brokers.lock().expect("no panic")[i] = None;
        self.servers[i].take().expect("it runs")
    }

    pub(crate) fn client(&self, i: usize) -> Client {
        Client::connect(self.server(i).broker())
    }

    /// Who leads, once somebody does.
    pub(crate) fn leader(&self) -> usize {
        let mut found = None;
        until("a replica leads", || {
            found = self.runtime.block_on(leading(&self.brokers));
            found.is_some()
        });
        found.expect("waited for").0
    }

    /// The others that run.
    pub(crate) fn others(&self, i: usize) -> Vec<usize> {
        (0..COUNT).filter(|other| *other != i && self.servers[*other].is_some()).collect()
    }

    /// Has clients follow whoever leads, from now on.
    pub(crate) fn guide(&self, clients: &Clients) {
        let (brokers, server) = (Arc::clone(&self.brokers), clients.server());
        self.runtime.spawn(async move {
            loop {
                if let Some((_, addr)) = leading(&brokers).await {
                    server.send_if_modified(|known| known.replace(addr) != Some(addr));
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// Waits until all that run have applied the same; nothing may be sent meanwhile.
    pub(crate) fn until_equal(&self) {
        let end = |i: usize| self.figure(i, "steadfast_log_end_bytes");
        until("all replicas have the same log", || {
            let ends: Vec<_> = (0..COUNT).filter(|i| self.servers[*i].is_some()).map(end).collect();
            ends.windows(2).all(|pair| pair[0] == pair[1])
        });
    }

    /// A figure of a replica's metrics, with its labels: all that begin so.
    pub(crate) fn figure(&self, i: usize, name: &str) -> Vec<String> {
        let (status, body) = self.server(i).page("/metrics");
        assert!(status.contains("200"), "{status} {body}");
        let lines = body.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().expect("a value").to_owned()).collect()
    }
}

/// Which broker takes messages; of two that believe so, the one of the later term.
async fn leading(brokers: &Brokers) -> Option<(usize, SocketAddr)> {
    let known = *brokers.lock().expect("no panic");
    let mut found = Vec::new();
    for (i, addr) in known.into_iter().enumerate() {
        if let Some(addr) = addr
            && let Some(term) = term_if_leading(addr).await
        {
            found.push((term, i, addr));
        }
    }
    found.into_iter().max().map(|(_, i, addr)| (i, addr))
}

async fn term_if_leading(addr: SocketAddr) -> Option<u64> {
    let connection = Connection::connect(&addr.to_string(), Serialize::Json, TIMEOUT).await.ok()?;
    let header = Header::request(request::GET_BROKER_RUNTIME_INFO, 0);
    let answer = connection.request(header, &[], TIMEOUT).await.ok()?;
    let table = KVTable::decode(answer.body()).ok()?.table;
    let leads = table.get("brokerActive")? == "true";
    table.get("term")?.parse().ok().filter(|_| leads)
}

fn free_ports() -> Vec<u16> {
    let mut rng = Rng::new(seed("STEADFAST_PORTS_SEED") ^ u64::from(std::process::id()));
    let mut taken = Vec::new();
    while taken.len() < COUNT {
        let port = rng.within(PORTS) as u16;
        // Held until all are found, so that they differ.
        taken.extend(TcpListener::bind(("127.0.0.1", port)).ok().map(|held| (port, held)));
    }
    taken.into_iter().map(|(port, _)| port).collect()
}
