//! The layout of `--peers`: three processes, each a name server and a replica of two groups that lead apart.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;

use steadfast_sim::rng::Rng;
use steadfast_wire::code::response;
use tempfile::TempDir;

use crate::client::Client;
use crate::cluster::COUNT;
use crate::load::seed;
use crate::process::{HOWEVER_FULL, Server, run, set, until};

/// Name server ports of the first process: all ports that follow are below those that systems give to clients.
const PORTS: std::ops::Range<u64> = 24_400..30_000;
/// From the ports of one process to those of the next one.
const APART: u16 = 100;
/// From the port of a name server to the others of its process, see docs/replication.md: clients and replication of two groups,
/// and of the pages.
const OTHERS: [i32; 7] = [1033, 1035, 1036, 1043, 1045, 1046, -4319];

struct Layout {
    dir: TempDir,
    first: u16,
    servers: [Option<Server>; COUNT],
}

impl Layout {
    /// All processes run, and each group is led by whom it should be.
    fn running() -> Layout {
        let dir = tempfile::tempdir().expect("a directory");
        let mut layout = Layout { dir, first: free_ports(), servers: Default::default() };
        layout.start(&[0, 1, 2]);
        layout.until_settled();
        layout
    }

    fn addr(&self, i: usize, offset: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.first + APART * i as u16 + offset))
    }

    fn namesrv(&self, i: usize) -> SocketAddr {
        self.addr(i, 0)
    }

    /// Where a process has its replica of a group.
    fn broker(&self, i: usize, group: u16) -> SocketAddr {
        self.addr(i, 1035 + 10 * group)
    }

    fn command(&self, i: usize) -> Command {
        let all: Vec<_> = (0..COUNT).map(|i| self.namesrv(i).to_string()).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.args(["server", "--peers", &all.join(","), "--self", &all[i]]);
        command.arg("--data").arg(self.dir.path().join(format!("n{i}")));
        set(&mut command, &["mappedFileSizeCommitLog=16MiB"]);
        set(&mut command, &HOWEVER_FULL);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts processes at the same time; returns when their brokers lead or follow.
    fn start(&mut self, which: &[usize]) {
        let commands: Vec<_> = which.iter().map(|i| (*i, self.command(*i))).collect();
        thread::scope(|scope| {
            let starting =
                commands.into_iter().map(|(i, command)| (i, scope.spawn(|| Server::spawn(command))));
            for (i, server) in starting.collect::<Vec<_>>() {
                self.servers[i] = Some(server.join().expect("a server"));
            }
        });
    }

    fn take(&mut self, i: usize) -> Server {
        self.servers[i].take().expect("it runs")
    }

    /// Who leads each group, as a name server tells.
    fn leaders(&self, namesrv: usize) -> BTreeMap<String, SocketAddr> {
        let route = Client::connect(self.namesrv(namesrv)).route("TBW102");
        let brokers = route.map(|route| route.broker_datas).unwrap_or_default();
        let leader = |addrs: &BTreeMap<i64, String>| addrs.get(&0).and_then(|addr| addr.parse().ok());
        let led = brokers.into_iter().map(|data| (data.broker_name, leader(&data.broker_addrs)));
        led.filter_map(|(name, addr)| Some((name, addr?))).collect()
    }

    /// Every name server knows the first process as the leader of the first group, and the second one of the second.
    fn until_settled(&self) {
        let expected =
            [("broker-a".to_owned(), self.broker(0, 0)), ("broker-b".to_owned(), self.broker(1, 1))];
        let expected = BTreeMap::from(expected);
        until("the groups lead apart", || (0..COUNT).all(|i| self.leaders(i) == expected));
    }

    /// `steadfast admin COMMAND`, with all name servers.
    fn admin(&self, args: &[&str]) -> String {
        let all: Vec<_> = (0..COUNT).map(|i| self.namesrv(i).to_string()).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.arg("admin").args(args).args(["-n", &all.join(";")]);
        let (status, stdout, stderr) = run(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        assert!(status.success(), "{args:?}: {stdout}{stderr}");
        stdout
    }
}

fn free_ports() -> u16 {
    let mut rng = Rng::new(seed("STEADFAST_PORTS_SEED") ^ u64::from(std::process::id()));
    loop {
        let first = rng.within(PORTS) as i32;
        let of = |i: i32| [0].into_iter().chain(OTHERS).map(move |offset| first + 100 * i + offset);
        let mut all = (0..COUNT as i32).flat_map(of);
        if all.all(|port| TcpListener::bind(("127.0.0.1", port as u16)).is_ok()) {
            return first as u16;
        }
    }
}

#[test]
fn two_groups_lead_apart_and_one_of_them_always_takes_messages() {
    let mut layout = Layout::running();
    for i in 0..COUNT {
        let server = layout.servers[i].as_ref().expect("it runs");
        assert_eq!(server.namesrv(), layout.namesrv(i));
        for (group, name) in ["broker-a", "broker-b"].into_iter().enumerate() {
            let addr = layout.broker(i, group as u16).to_string();
            assert!(
                server.banner.contains(&format!("{name} in DefaultCluster on {addr}")),
                "{}",
                server.banner
            );
            assert!(server.banner.contains(&format!("n{i} of {name}: n0-127.0.0.1:")), "{}", server.banner);
            let (_, metrics) = server.page("/metrics");
            let leading = format!(
                "steadfast_leading{{cluster=\"DefaultCluster\",node_type=\"broker\",node_id=\"{name}\"}} "
            );
            let line = metrics.lines().find_map(|line| line.strip_prefix(&leading));
            assert_eq!(line, Some(if i == group { "1" } else { "0" }), "{name} of {i}");
            assert_eq!(metrics.matches("# TYPE steadfast_leading gauge").count(), 1);
            assert!(layout.dir.path().join(format!("n{i}/{name}/log")).is_dir());
        }
        until("it is ready", || server.page("/readyz").1 == "broker-a: ready\nbroker-b: ready\n");
    }
    let send = |layout: &Layout, i, group| Client::connect(layout.broker(i, group)).send("t", b"x");
    assert_eq!(send(&layout, 0, 0).code(), response::SUCCESS);
    assert_eq!(send(&layout, 1, 1).code(), response::SUCCESS);
    assert_eq!(send(&layout, 1, 0).code(), response::SERVICE_NOT_AVAILABLE);

    layout.take(0).kill();
    assert_eq!(send(&layout, 1, 1).code(), response::SUCCESS, "the other group is not concerned");
    let next = || layout.leaders(1).get("broker-a").copied().filter(|addr| *addr != layout.broker(0, 0));
    until("another process leads the first group", || next().is_some());
    assert_eq!(Client::connect(next().expect("waited for")).send("t", b"x").code(), response::SUCCESS);
    let third = layout.servers[2].as_ref().expect("it runs");
    until("the ones that are left are ready", || third.page("/readyz").0.contains("200"));

    layout.start(&[0]);
    layout.until_settled();
    assert_eq!(send(&layout, 0, 0).code(), response::SUCCESS);
    let (status, log) = layout.take(0).stop_and_log();
    assert!(status.success(), "{log}");
    assert!(log.contains("leadership handed over; n0 of broker-a follows n"), "{log}");
}

#[test]
fn topics_span_the_groups_and_tools_see_both() {
    let layout = Layout::running();
    layout.admin(&["updateTopic", "-c", "DefaultCluster", "-t", "wide", "-r", "3", "-w", "3"]);
    let mut namesrv = Client::connect(layout.namesrv(2));
    let queues = |namesrv: &mut Client| {
        let queues = namesrv.route("wide").map(|route| route.queue_datas).unwrap_or_default();
        queues.into_iter().map(|of| (of.broker_name, of.write_queue_nums)).collect::<BTreeMap<_, _>>()
    };
    let both = BTreeMap::from([("broker-a".to_owned(), 3), ("broker-b".to_owned(), 3)]);
    until("every name server has the topic of both", || queues(&mut namesrv) == both);
    for group in 0..2 {
        let sent = Client::connect(layout.broker(group.into(), group)).send("wide", b"x");
        assert_eq!(sent.code(), response::SUCCESS, "{}", sent.remark());
    }
    let clusters = layout.admin(&["clusterList"]);
    for (group, name) in ["broker-a", "broker-b"].into_iter().enumerate() {
        assert_eq!(clusters.matches(name).count(), COUNT, "{clusters}");
        assert!(clusters.contains(&layout.broker(group, group as u16).to_string()), "{clusters}");
    }
    let status = layout.admin(&["topicStatus", "-t", "wide"]);
    assert_eq!((status.matches("broker-a").count(), status.matches("broker-b").count()), (3, 3), "{status}");
    layout.admin(&["deleteTopic", "-c", "DefaultCluster", "-t", "wide"]);
    until("it is gone from both", || queues(&mut namesrv).is_empty());
}

/// Where one machine has all processes, each has to be told which one it is.
#[test]
fn a_process_that_does_not_know_which_one_it_is_does_not_start() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["server", "--peers", "127.0.0.1:9876,127.0.0.1:9976,127.0.0.1:10076"]);
    let error = crate::process::refusal(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert!(
        error.contains("more than one of peers is this machine; say which one it is: --self HOST:PORT"),
        "{error}"
    );
}

/// What is in a directory is never passed over in silence.
#[test]
fn a_directory_of_another_kind_is_refused() {
    let mut layout = Layout::running();
    let says = |command: &mut Command, parts: &[&str]| {
        let error = crate::process::refusal(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    layout.take(0).kill();
    let mut fewer = layout.command(0);
    set(&mut fewer, &["brokerGroups=1"]);
    says(
        &mut fewer,
        &["would not be served with these settings: broker-b", "as many brokerGroups as before"],
    );
    let mut single = crate::process::command(&layout.dir.path().join("n0"));
    says(
        &mut single,
        &["would not be served with these settings: broker-a, broker-b", "--peers that it had"],
    );

    let other = layout.dir.path().join("single");
    Server::start(&other, &[]).kill();
    std::fs::remove_dir_all(layout.dir.path().join("n0")).expect("its data");
    std::fs::rename(other, layout.dir.path().join("n0")).expect("another directory");
    says(&mut layout.command(0), &["has the data of a server without --peers", "--data DIR"]);
}
