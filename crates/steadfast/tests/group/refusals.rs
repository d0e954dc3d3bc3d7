//! Who is not let in: a replica with another secret, and a data directory of somebody else.

use std::process::{Command, Stdio};

use crate::cluster::Cluster;
use crate::process::{command, refusal, run, set, until};

#[test]
fn a_replica_with_another_secret_is_kept_out_and_both_sides_say_so() {
    let mut cluster = Cluster::running(&[]);
    let leader = cluster.leader();
    let other = cluster.others(leader)[0];
    cluster.take(other).kill();
    let dir = tempfile::tempdir().unwrap();
    let (secret, log) = (dir.path().join("secret"), dir.path().join("log"));
    std::fs::write(&secret, "not the secret of the test").unwrap();
    let mut wrong = cluster.command(other);
    set(&mut wrong, &[&format!("replicationSecretFile={}", secret.display())]);
    wrong.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null());
    let mut child = wrong.spawn().unwrap();
    until("the leader says so", || cluster.server(leader).log().contains("the secrets differ"));
    until("the replica says so", || std::fs::read_to_string(&log).unwrap().contains("the secrets differ"));
    child.kill().unwrap();
    child.wait().unwrap();
    cluster.start(&[other]);
    cluster.until_equal();
}

#[test]
fn a_directory_of_somebody_else_is_refused_with_what_to_do() {
    let mut cluster = Cluster::running(&[]);
    (0..3).for_each(|i| cluster.take(i).kill());
    let with = |i, settings: &[&str]| {
        let mut command = cluster.command(i);
        set(&mut command, settings);
        command
    };
    let data = format!("storePathRootDir={}", cluster.data(0).display());
    let five = (0..5).map(|i| format!("n{i}-127.0.0.1:{}", 20_000 + i)).collect::<Vec<_>>().join(";");
    for (mut command, part) in [
        (with(0, &["dLegerGroup=other"]), "that of another group\nbrokerClusterName, dLegerGroup"),
        (with(0, &["brokerClusterName=other"]), "that of another group"),
        (with(0, &[&format!("dLegerPeers={five}")]), "that of another group"),
        (with(1, &[&data]), "that of replica n0, and this is n1\neach replica has a directory of its own"),
        (command(&cluster.data(0)), "that of a replica of a group, n0\nstart it as that replica"),
    ] {
        let error = refusal(&mut command);
        assert!(error.contains(part), "{part} not in:\n{error}");
    }
    for apply in [&[][..], &["--apply"]] {
        let mut repair = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        repair.args(["repair", "--data"]).arg(cluster.data(0)).args(apply);
        let (status, _, error) = run(repair.stdout(Stdio::piped()).stderr(Stdio::piped()));
        assert!(!status.success() && error.contains("A replica needs no repair"), "{error}");
    }
    // None of that has changed anything.
    cluster.start(&[0, 1, 2]);
    let leader = cluster.leader();
    assert_eq!(cluster.client(leader).send("t", b"x").code(), 0);
}
