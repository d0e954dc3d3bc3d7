//! The load of a run: threads with connections, the clock, and what is measured around them.

use std::cell::RefCell;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::LocalSet;

use super::args::BenchArgs;
use super::content::Content;
use super::lane::{Lane, Place, Progress, Run};
use super::pace::{self, Pace};
use super::process::{Meter, Usage};
use super::report::ProgressLine;
use super::stats::Stats;
use super::target::{Broker, Target};
use super::template::{Destination, Template};

const SECOND: Duration = Duration::from_secs(1);

/// What a load did.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) stats: Stats,
    pub(super) usage: Usage,
    /// Length of the measured time.
    pub(super) elapsed: Duration,
}

/// A connection before it has a thread.
struct Opened {
    place: Place,
    stream: TcpStream,
    wake: Option<tokio::sync::mpsc::Receiver<()>>,
}

/// Puts load on the target until the time or the messages are used up.
pub(super) fn run(args: &BenchArgs, target: &Target, content: Content) -> anyhow::Result<Outcome> {
    let templates = templates(args, target, content)?;
    let mut opened = open(args, target)?;
    let run = Arc::new(schedule(args));
    let stop = Arc::new(AtomicBool::new(false));
    if let Some(pace) = run.pace {
        let wakers = opened.iter_mut().map(|opened| {
            let (waker, wake) = tokio::sync::mpsc::channel(1);
            opened.wake = Some(wake);
            waker
        });
        pace::wake_on_time(pace, wakers.collect(), Arc::clone(&stop));
    }
    let (done, all_done) = channel::<()>();
    let mut threads: Vec<JoinHandle<anyhow::Result<Stats>>> = Vec::new();
    let mut shares: Vec<Vec<Opened>> = (0..args.threads).map(|_| Vec::new()).collect();
    for (number, opened) in opened.into_iter().enumerate() {
        shares[number % args.threads as usize].push(opened);
    }
    for share in shares {
        let (templates, run, done) = (templates.clone(), Arc::clone(&run), done.clone());
        threads.push(thread::spawn(move || {
            let stats = thread_main(share, templates, run);
            drop(done);
            stats
        }));
    }
    drop(done);
    let usage = watch(args, &run, &all_done);
    stop.store(true, Ordering::Relaxed);
    let mut stats = Stats::new();
    for thread in threads {
        stats.merge(thread.join().ok().context("a load thread panicked")??);
    }
    let usage = usage?;
    let end = match run.until {
        // With --messages the time may not be used up.
        Some(until) if run.budget.is_none() => Some(until),
        _ => stats.last_ack,
    };
    let elapsed = end.map_or(Duration::ZERO, |end| end.saturating_duration_since(run.measure_from));
    Ok(Outcome { stats, usage, elapsed })
}

/// Templates by broker and queue.
fn templates(args: &BenchArgs, target: &Target, content: Content) -> anyhow::Result<Vec<Vec<Template>>> {
    let of_broker = |broker: &Broker| {
        let queues = broker.queues.len() as u32;
        let to =
            |queue| Destination { topic: &target.topic, broker_name: broker.name.as_deref(), queue, queues };
        (0..queues).map(|queue| Template::new(content, to(queue), args.batch, target.serialize)).collect()
    };
    target.brokers.iter().map(of_broker).collect()
}

fn open(args: &BenchArgs, target: &Target) -> anyhow::Result<Vec<Opened>> {
    let connect = |number: u32| {
        let broker = number as usize % target.brokers.len();
        let addr = target.brokers[broker].addr.clone();
        let stream = TcpStream::connect(&addr).with_context(|| format!("cannot connect to {addr}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let place = Place { number, broker: broker as u16, addr, in_flight: args.in_flight };
        Ok(Opened { place, stream, wake: None })
    };
    (0..args.connections).map(connect).collect()
}

fn schedule(args: &BenchArgs) -> Run {
    let start = Instant::now();
    let measure_from = start + args.warmup;
    let pace =
        args.rate.map(|rate| Pace::new(start, f64::from(rate) / f64::from(args.batch), args.connections));
    Run {
        measure_from,
        until: args.duration().map(|duration| measure_from + duration),
        budget: args.messages.map(AtomicU64::new),
        pace,
        timeout: args.timeout,
        progress: Progress::default(),
    }
}

/// Runs the connections of one thread.
fn thread_main(share: Vec<Opened>, templates: Vec<Vec<Template>>, run: Arc<Run>) -> anyhow::Result<Stats> {
    let templates: Vec<Rc<[Template]>> = templates.into_iter().map(Rc::from).collect();
    let stats = Rc::new(RefCell::new(Stats::new()));
    let runtime = super::runtime()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut lanes = Vec::new();
        for opened in share {
            let stream = tokio::net::TcpStream::from_std(opened.stream)?;
            let templates = Rc::clone(&templates[usize::from(opened.place.broker)]);
            let lane = Lane::new(opened.place, templates, Arc::clone(&run), Rc::clone(&stats), opened.wake);
            lanes.push(tokio::task::spawn_local(lane.run(stream)));
        }
        for lane in lanes {
            lane.await?;
        }
        anyhow::Ok(())
    }))?;
    drop(local);
    let stats = Rc::into_inner(stats).context("a connection outlived its run")?;
    Ok(stats.into_inner())
}

/// Prints the progress each second, and measures the processes during the measured time.
fn watch(args: &BenchArgs, run: &Run, all_done: &Receiver<()>) -> anyhow::Result<Usage> {
    let mut line = ProgressLine::new();
    wait(Some(run.measure_from), all_done, || line.print("warm-up", &run.progress, None));
    let mut meter = Meter::start(&args.pid)?;
    wait(run.until, all_done, || line.print("measured", &run.progress, Some(&mut meter)));
    meter.stop()
}

/// Waits until a time, or until all threads have ended, and calls `each_second` meanwhile.
fn wait(until: Option<Instant>, all_done: &Receiver<()>, mut each_second: impl FnMut()) {
    let mut next = Instant::now() + SECOND;
    loop {
        let wake = until.map_or(next, |until| until.min(next));
        let ended = all_done.recv_timeout(wake.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        if now >= next {
            each_second();
            next += SECOND;
        }
        if ended == Err(RecvTimeoutError::Disconnected) || until.is_some_and(|until| now >= until) {
            return;
        }
    }
}
