//! A process that may open few files: connections never take those that the log needs.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use steadfast_wire::code::response;

use crate::client::Client;
use crate::process::{Server, command, set, until};

/// The binary with a limit on how many files it may open, as `ulimit` takes it.
fn with_files(limit: &str, data: &Path, settings: &[&str]) -> Command {
    let mut plain = command(data);
    set(&mut plain, settings);
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\""));
    limited.arg(plain.get_program()).args(plain.get_args());
    limited.stdin(Stdio::null()).stdout(Stdio::piped());
    limited
}

#[test]
fn a_start_with_defaults_warns_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for limit in ["-n 600", "-Sn 600"] {
        let server = Server::spawn(with_files(limit, dir.path(), &[]));
        assert!(!server.log().contains("WARN"), "{}", server.log());
    }
    let chosen = Server::spawn(with_files("-n 600", dir.path(), &["maxConnections=600"]));
    let warning = "WARN maxConnections is 600, but this process may open 600 files: each port takes 172";
    assert!(chosen.log().contains(warning), "{}", chosen.log());
    chosen.kill();
    let enough = Server::spawn(with_files("-Sn 600", dir.path(), &["maxConnections=600"]));
    assert!(!enough.log().contains("files"), "{}", enough.log());
}

#[test]
fn connections_leave_files_for_the_log() {
    // This process needs its own end of each connection.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("as many as allowed");

    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::spawn(with_files("-n 600", dir.path(), &[]));
    assert!(server.log().contains("may open 600 files"), "{}", server.log());

    let mut client = Client::connect(server.broker());
    assert_eq!(client.send("t", b"first").code(), response::SUCCESS);
    // More than there are files, at all of its ports.
    let crowd: Vec<_> = [server.broker(), server.namesrv()]
        .iter()
        .flat_map(|addr| (0..400).map(move |_| TcpStream::connect(addr).expect("a connection")))
        .collect();
    until("the crowd is refused", || server.log().contains("connections is reached"));
    // Four segments of the log, and index runs, each a file that is opened anew.
    for _ in 0..64 {
        let answer = client.send("t", &vec![7; 1 << 20]);
        assert_eq!(answer.code(), response::SUCCESS, "{answer:?}\n{}", server.log());
    }
    assert!(!server.log().contains("Too many open files"), "{}", server.log());
    drop(crowd);
    until("others are served again", || {
        let mut other = Client::connect(server.namesrv());
        other.post(response::SUCCESS, Default::default(), &[]);
        other.answer().is_some()
    });
    assert!(server.is_running());
}
