//! The mode `floor`: what a message costs at least on this machine when there is only one at a time. A bare thread takes
//! a request from a loopback connection, makes a synced write as the log's, and answers; another thread asks. No server
//! that keeps the promise can be faster than this without keeping its threads spinning.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, anyhow};
use rustix::fs::OFlags;

use super::args::BenchArgs;
use super::report::{self, Report};
use super::stats::Latencies;

/// Bytes of an answer to a send.
const ANSWER: usize = 256;
/// Bytes of a request, and of a stored record, beside the body.
const FRAME: usize = 512;
/// What direct writes are aligned to.
const BLOCK: usize = 4096;
/// Length of the file, which is filled first as the log is, and written over from its beginning then.
const FILE_LEN: u64 = 16 << 20;

/// Runs the mode for `--warmup` and then `--seconds`.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let path = args.dir.join(format!(".steadfast-bench-floor-{}", std::process::id()));
    let measured = measure(args, &path);
    // It may not even have been made.
    let _ = fs::remove_file(&path);
    let latencies = measured.with_context(|| format!("no floor on {}", args.dir.display()))?;
    report::print(&Report::of_floor(args, &latencies), args.json)
}

fn measure(args: &BenchArgs, path: &Path) -> anyhow::Result<Latencies> {
    let mut log = Synced::create(path, args.size + FRAME)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    let request = args.size + FRAME;
    let answering = thread::spawn(move || -> io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut taken = vec![0; request];
        loop {
            match socket.read_exact(&mut taken) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            log.write()?;
            socket.write_all(&[0; ANSWER])?;
        }
    });
    let asked = ask(args, TcpStream::connect(addr)?, request);
    let answered = answering.join().map_err(|_| anyhow!("the answering thread panicked"))?;
    // The cause is where the write was; the asking side only saw the connection end.
    answered.context("a synced write failed")?;
    Ok(asked?)
}

fn ask(args: &BenchArgs, mut socket: TcpStream, request: usize) -> io::Result<Latencies> {
    socket.set_nodelay(true)?;
    let mut latencies = Latencies::new();
    let (request, mut answer) = (vec![7; request], [0; ANSWER]);
    let start = Instant::now();
    let end = args.warmup + args.duration().unwrap_or(Duration::from_secs(10));
    while start.elapsed() < end {
        let asked = Instant::now();
        socket.write_all(&request)?;
        socket.read_exact(&mut answer)?;
        if asked.duration_since(start) >= args.warmup {
            latencies.record(asked.elapsed(), 1);
        }
    }
    Ok(latencies)
}

/// A file of synced writes: direct ones where the file system takes them, as the log's.
struct Synced {
    file: File,
    is_direct: bool,
    memory: Vec<u8>,
    at: u64,
    len: usize,
}

impl Synced {
    /// Makes and fills the file; each write will have `len` bytes, rounded up to blocks.
    fn create(path: &Path, len: usize) -> io::Result<Self> {
        let len = len.next_multiple_of(BLOCK);
        fs::write(path, vec![0; FILE_LEN as usize])?;
        let mut options = OpenOptions::new();
        options.write(true);
        let direct = options.clone().custom_flags((OFlags::DIRECT | OFlags::DSYNC).bits() as i32).open(path);
        let (file, is_direct) = match direct {
            Ok(file) => (file, true),
            Err(_) => (options.open(path)?, false),
        };
        file.sync_all()?;
        Ok(Self { file, is_direct, memory: vec![1; len + BLOCK], at: 0, len })
    }

    fn write(&mut self) -> io::Result<()> {
        let start = self.memory.as_ptr().align_offset(BLOCK);
        self.file.write_all_at(&self.memory[start..start + self.len], self.at)?;
        if !self.is_direct {
            self.file.sync_data()?;
        }
        self.at = (self.at + self.len as u64) % (FILE_LEN - self.len as u64) / BLOCK as u64 * BLOCK as u64;
        Ok(())
    }
}
