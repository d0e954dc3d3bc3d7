//! Starts the binary and watches it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How full the disk is on which tests run is not theirs to say.
pub(crate) const HOWEVER_FULL: [&str; 3] =
    ["diskMaxUsedSpaceRatio=100", "diskSpaceCleanForciblyRatio=100", "diskSpaceWarningLevelRatio=100"];

/// A command for the binary, with free ports on loopback and nothing inherited.
pub(crate) fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    arguments(&mut command, data);
    set(&mut command, &HOWEVER_FULL);
    command
}

/// The binary in a mount namespace of its own, with a small file system at `data`.
pub(crate) fn command_on_small_disk(data: &Path, mount_options: &str) -> Command {
    let script = format!("mount -t tmpfs -o {mount_options} tmpfs {} && exec \"$0\" \"$@\"", data.display());
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_steadfast")]);
    arguments(&mut command, data);
    command
}

fn arguments(command: &mut Command, data: &Path) {
    command.args(["server", "--data"]).arg(data);
    set(
        command,
        &[
            "brokerName=broker-a",
            "bindAddress=127.0.0.1",
            "listenPort=0",
            "namesrvPort=0",
            "metricsPromExporterPort=0",
            "mappedFileSizeCommitLog=16MiB",
        ],
    );
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

/// Adds settings.
pub(crate) fn set(command: &mut Command, settings: &[&str]) {
    for setting in settings {
        command.args(["--set", setting]);
    }
}

/// Runs a command that must end by itself; returns status, stdout and stderr.
pub(crate) fn run(command: &mut Command) -> (ExitStatus, String, String) {
    let mut child = command.spawn().expect("the binary starts");
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let reading = [std::thread::spawn(move || text(stdout)), std::thread::spawn(move || text(stderr))];
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("a signal");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let [stdout, stderr] = reading.map(|reading| reading.join().expect("a reader"));
    (status, stdout, stderr)
}

fn text(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("UTF-8");
    text
}

/// Runs a command that must refuse to start; returns its message.
pub(crate) fn refusal(command: &mut Command) -> String {
    let (status, stdout, stderr) = run(command);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_eq!(stdout, "", "nothing was started");
    stderr
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// What it said at start.
    pub(crate) banner: String,
    /// Its broker's port.
    pub(crate) broker: Option<SocketAddr>,
    /// Its name server's port.
    pub(crate) namesrv: Option<SocketAddr>,
    /// Its port for probes and metrics.
    pub(crate) pages: Option<SocketAddr>,
    /// How long until it served.
    pub(crate) started_in: Duration,
    stdout: BufReader<ChildStdout>,
    stderr: PathBuf,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts a server; returns when it serves.
    pub(crate) fn start(data: &Path, settings: &[&str]) -> Server {
        let mut command = command(data);
        set(&mut command, settings);
        Server::spawn(command)
    }

    pub(crate) fn spawn(command: Command) -> Server {
        let dir = tempfile::tempdir().expect("a directory");
        let stderr = dir.path().join("stderr");
        let file = std::fs::File::create(&stderr).expect("a file");
        Server::start_in(dir, stderr, command, file.into())
    }

    /// Starts a server whose log goes elsewhere; [`Server::log`] knows nothing of it.
    pub(crate) fn spawn_logging_to(command: Command, log: Stdio) -> Server {
        let dir = tempfile::tempdir().expect("a directory");
        Server::start_in(dir, PathBuf::from("/dev/null"), command, log)
    }

    fn start_in(dir: tempfile::TempDir, stderr: PathBuf, mut command: Command, log: Stdio) -> Server {
        command.stderr(log);
        let begun = Instant::now();
        let mut child = command.spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Server {
            child,
            banner: String::new(),
            broker: None,
            namesrv: None,
            pages: None,
            started_in: Duration::ZERO,
            stdout,
            stderr,
            _dir: dir,
        };
        let (serves, waiting) = channel::<()>();
        let pid = server.pid();
        std::thread::spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                signal(pid, Signal::KILL);
            }
        });
        server.read_banner();
        drop(serves);
        server.started_in = begun.elapsed();
        server
    }

    /// Reads what is said at start: lines of a name and a text, up to an empty one.
    fn read_banner(&mut self) {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("stdout");
            assert_ne!(read, 0, "the server did not start: {}", self.log());
            if line.trim().is_empty() {
                return;
            }
            self.banner.push_str(&line);
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["broker", _, "in", _, "on", addr, ..] => {
                    self.broker = addr.trim_end_matches(';').parse().ok()
                }
                ["name", "server", addr] => self.namesrv = addr.parse().ok(),
                ["metrics", url, ..] => {
                    self.pages =
                        url.trim_start_matches("http://").split('/').next().and_then(|a| a.parse().ok());
                }
                _ => {}
            }
        }
    }

    pub(crate) fn broker(&self) -> SocketAddr {
        self.broker.expect("it is a broker")
    }

    pub(crate) fn namesrv(&self) -> SocketAddr {
        self.namesrv.expect("it is a name server")
    }

    /// A page of its HTTP port: status line and body.
    pub(crate) fn page(&self, path: &str) -> (String, String) {
        http_get(self.pages.expect("it serves pages"), path)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.stderr).expect("the log")
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: usize = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib * 1024
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// SIGTERM; returns the status and how long it took.
    pub(crate) fn stop(mut self) -> (ExitStatus, Duration) {
        self.terminate()
    }

    /// SIGTERM; returns the status and what it logged.
    pub(crate) fn stop_and_log(mut self) -> (ExitStatus, String) {
        let (status, _) = self.terminate();
        (status, self.log())
    }

    fn terminate(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        signal(self.pid(), Signal::TERM);
        let status = self.child.wait().expect("a status");
        (status, begun.elapsed())
    }

    /// SIGSTOP: it stands still, and its connections stay.
    pub(crate) fn pause(&self) {
        signal(self.pid(), Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        signal(self.pid(), Signal::CONT);
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a signal");
        self.child.wait().expect("a status");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a pid");
    kill_process(pid, signal).expect("a signal");
}

/// GET over a connection of its own: status line and body.
pub(crate) fn http_get(addr: SocketAddr, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(addr).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("a write");
    let answer = text(socket);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().expect("a status line").to_owned(), body.to_owned())
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
