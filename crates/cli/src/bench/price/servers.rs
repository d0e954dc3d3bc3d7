//! The servers that `price` measures: processes of this binary, on loopback, with data that goes with them.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::bench::args::BenchArgs;
use crate::bench::target::Target;

/// How long they may take until one of them takes messages.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A single server, or the replicas of a group. Dropped, they are killed, and their data is removed.
pub(super) struct Servers {
    children: Vec<Child>,
    /// Where each takes clients.
    addrs: Vec<String>,
    dir: PathBuf,
}

impl Servers {
    /// Starts them with empty directories below `dir`.
    pub(super) fn start(dir: &Path, count: usize, flush: &str) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("finding this binary")?;
        let dir = dir.join(format!("steadfast-price-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let ports = free_ports(2 * count + 1)?;
        let (namesrv, ports) = ports.split_first().context("no port")?;
        let (clients, replication) = ports.split_at(count);
        let peers: Vec<_> =
            replication.iter().enumerate().map(|(i, port)| format!("n{i}-127.0.0.1:{port}")).collect();
        let mut servers = Self { children: Vec::new(), addrs: Vec::new(), dir };
        for (i, port) in clients.iter().enumerate() {
            let mut settings = vec![
                format!("namesrvAddr=127.0.0.1:{namesrv}"),
                "brokerName=price".to_owned(),
                "bindAddress=127.0.0.1".to_owned(),
                "metricsExporterType=DISABLE".to_owned(),
                "fastListenPort=0".to_owned(),
                format!("listenPort={port}"),
                format!("flushDiskType={flush}"),
            ];
            // The first one is the name server of all.
            settings.push(if i == 0 { format!("namesrvPort={namesrv}") } else { "role=broker".to_owned() });
            if count > 1 {
                settings.push("enableDLegerCommitLog=true".to_owned());
                settings.push(format!("dLegerPeers={}", peers.join(";")));
                settings.push(format!("dLegerSelfId=n{i}"));
            }
            let mut command = Command::new(&binary);
            command.args(["server", "--data"]).arg(servers.dir.join(format!("n{i}")));
            settings.iter().for_each(|setting| {
                command.args(["--set", setting]);
            });
            let log = File::create(servers.log(i)).context("making a file for what a server says")?;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            servers.children.push(command.spawn().context("starting a server")?);
            servers.addrs.push(format!("127.0.0.1:{port}"));
        }
        Ok(servers)
    }

    /// Where messages are taken, once they are; the topic is there then.
    pub(super) async fn leader(&mut self, args: &BenchArgs) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            self.all_run()?;
            let mut problem = None;
            for addr in &self.addrs {
                match Target::create(&BenchArgs { broker: Some(addr.clone()), ..args.clone() }).await {
                    Ok(_) => return Ok(addr.clone()),
                    Err(error) => problem = Some(error),
                }
            }
            if begun.elapsed() > PATIENCE {
                return Err(problem.context("there is no server")?.context("no server takes messages"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn all_run(&mut self) -> anyhow::Result<()> {
        for i in 0..self.children.len() {
            if let Some(status) = self.children[i].try_wait()? {
                let said = std::fs::read_to_string(self.log(i)).unwrap_or_default();
                bail!("a server ended ({status}): {}", said.trim());
            }
        }
        Ok(())
    }

    fn log(&self, i: usize) -> PathBuf {
        self.dir.join(format!("n{i}.log"))
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended already is no matter, nor is what cannot be removed.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Ports that are free now; held until all are found, so that they differ.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|held| Ok(held.local_addr()?.port())).collect()
}
