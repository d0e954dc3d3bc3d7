//! A disk that is really full: a small file system in a mount namespace that outlives the servers in it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;

use steadfast_sim::rng::Rng;

use crate::load::Clients;
use crate::process::{Server, command, set, until};

/// A process that holds the namespace; it ends with its standard input.
struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> SmallDisk {
        let script =
            format!("mount -t tmpfs -o size={size} tmpfs {} && echo mounted && exec cat", at.display());
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
        let mut said = [0; 7];
        let mut stdout = holder.stdout.take().expect("piped");
        std::io::Read::read_exact(&mut stdout, &mut said).expect("a mount namespace of our own can be made");
        SmallDisk { holder, at: at.to_owned() }
    }

    /// A path in it, from outside.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(self.at.strip_prefix("/").expect("absolute")).join(name)
    }

    fn start(&self) -> Server {
        let plain = command(&self.at.join("data"));
        let mut inside = Command::new("nsenter");
        inside
            .args(["--user", "--preserve-credentials", "--mount", "--target"])
            .arg(self.holder.id().to_string());
        inside.arg("--").arg(plain.get_program()).args(plain.get_args());
        set(&mut inside, &["diskFreeMin=2MiB", "checkpointBytes=4MiB"]);
        inside.stdin(Stdio::null()).stdout(Stdio::piped());
        Server::spawn(inside)
    }
}

impl SmallDisk {
    /// Takes every byte that is left; the file must be removed to give them back.
    fn fill(&self) -> PathBuf {
        let path = self.path("filling");
        let mut file = fs::File::create(&path).expect("a file");
        let written = std::io::copy(&mut std::io::repeat(1), &mut file);
        assert_eq!(written.expect_err("the disk has an end").kind(), ErrorKind::StorageFull);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It ends by itself; nothing can be done if it does not.
        let _ = self.holder.wait();
    }
}

#[test]
fn a_full_disk_refuses_messages_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path(), "192m");
    fs::write(disk.path("ballast"), vec![1; 64 << 20]).unwrap();
    let mut clients = Clients::new();
    let mut rng = Rng::new(2);
    clients.produce(&mut rng, 2, 16);
    clients.consume(&mut rng);
    let count = |which: &std::sync::atomic::AtomicU64| which.load(Relaxed);

    let mut server = disk.start();
    clients.follow(Some(server.broker()));
    until("messages are refused", || count(&clients.journal.refused) > 200);
    assert!(server.log().contains("the disk is full"), "{}", server.log());
    assert!(clients.move_position(1).code == 0, "positions are still taken");

    // Killed where it is full, three times; each start finds the disk full.
    for offset in 2..5 {
        clients.follow(None);
        server.kill();
        server = disk.start();
        clients.follow(Some(server.broker()));
        let before = count(&clients.journal.refused);
        until("messages are refused again", || count(&clients.journal.refused) > before + 200);
        assert!(clients.move_position(offset).code == 0, "positions are still taken");
    }

    // Space: service resumes in the same process.
    fs::remove_file(disk.path("ballast")).unwrap();
    let before = count(&clients.journal.acked);
    until("messages are taken again", || count(&clients.journal.acked) > before + 100);
    assert!(server.is_running() && server.log().contains("has space again"));
    let verdict = clients.judge();
    assert!(verdict.is_clean() && verdict.books.acked > 500, "{verdict}");
}

/// Not even what the server leaves alone (diskFreeMin) is there: it starts, serves what it has, and goes on when there
/// is space.
#[test]
fn a_disk_without_a_free_byte_does_not_stop_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path(), "160m");
    let mut clients = Clients::new();
    let mut rng = Rng::new(3);
    clients.produce(&mut rng, 2, 16);
    clients.consume(&mut rng);
    let count = |which: &std::sync::atomic::AtomicU64| which.load(Relaxed);

    let server = disk.start();
    clients.follow(Some(server.broker()));
    until("messages are taken", || count(&clients.journal.acked) > 200);
    clients.follow(None);
    server.kill();
    let filling = disk.fill();

    let mut server = disk.start();
    clients.follow(Some(server.broker()));
    assert!(clients.move_position(1).code == 0, "positions are still taken");
    let before = count(&clients.journal.refused);
    until("messages are refused", || count(&clients.journal.refused) > before + 200);
    assert!(server.log().contains("the disk is full"), "{}", server.log());

    fs::remove_file(filling).unwrap();
    let before = count(&clients.journal.acked);
    until("messages are taken again", || count(&clients.journal.acked) > before + 100);
    assert!(server.is_running());
    let verdict = clients.judge();
    assert!(verdict.is_clean() && verdict.books.acked > 300, "{verdict}");
}
