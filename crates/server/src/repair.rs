//! `steadfast repair`: lists the damaged messages of a data directory that no server uses and, if asked to, gives them
//! up: records each as a hole in the log, so that consumers pass it and lookups say so.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use steadfast_broker::io::{DamagedRecord, Effect, Freed, Input};
use steadfast_broker::recovery::{self, Opened, Report};
use steadfast_broker::{Options, Retention};
use steadfast_store::checkpoint;
use steadfast_store::disk::Disk;
use steadfast_store::log::Filler;
use steadfast_store::meta;

use crate::clock::Clock;
use crate::disk::RealDisk;
use crate::dry::DryDisk;
use crate::explain;
use crate::lock::Lock;

/// What is to be repaired.
#[derive(Debug, Clone)]
pub struct Repair<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// Record the holes; without it nothing is changed but index runs, which are made again where they are damaged.
    pub apply: bool,
}

impl Repair<'_> {
    /// Does it, and writes what was found to `out`.
    ///
    /// # Errors
    /// One message with the cause and the next step.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let dir = self
            .data
            .canonicalize()
            .with_context(|| format!("the data directory {}", self.data.display()))?;
        ensure!(
            dir.join(meta::PATH).is_file(),
            "{} is no data directory: it has no file {}",
            dir.display(),
            meta::PATH
        );
        let _lock = Lock::take(&dir).map_err(explain::data)?;
        let disk = RealDisk::open(&dir).map_err(explain::data)?;
        if self.apply {
            Self::run_over(disk, &dir, true, out)
        } else {
            Self::run_over(DryDisk(disk), &dir, false, out)
        }
    }

    fn run_over<D: Disk>(disk: D, dir: &Path, apply: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        let opened = recovery::open_damaged(disk.clone(), &options()).map_err(explain::repair)?;
        let mut offline = Offline::new(opened, disk);
        let damaged = offline.damaged()?;
        let Report { lost_changes: lost, proven, cut, truncated, .. } = offline.opened.report.clone();
        if let Some(cut) = cut {
            writeln!(out, "{cut}")?;
        }
        if damaged.is_empty() && lost == 0 && proven == 0 && truncated.is_none() {
            writeln!(out, "every message in {} verifies; there is nothing to repair", dir.display())?;
            return Ok(());
        }
        for record in &damaged {
            writeln!(out, "{}", describe(record))?;
        }
        if let Some(truncated) = &truncated {
            writeln!(
                out,
                "{truncated}. Messages and changes of state in what is gone cannot be told; after a repair the log goes on \
                 at log offset {}, and their offsets are used again",
                offline.opened.report.end
            )?;
        }
        if proven > 0 {
            writeln!(
                out,
                "the headers of {proven} entries after the newest snapshot are damaged, what they hold is whole: it fits \
                 the entries after them; a repair makes a snapshot, so that a start does not need them"
            )?;
        }
        if lost > 0 {
            writeln!(
                out,
                "{lost} changes of state (consumers' positions, topics, groups) are damaged and cannot be told; after a \
                 repair it is as if they had not been made"
            )?;
        }
        if !apply {
            writeln!(
                out,
                "{} damaged messages. Nothing was changed. If there is a copy of the files named above, restore them. To \
                 give these messages up, so that their consumers go on: steadfast repair --data {} --apply",
                damaged.len(),
                dir.display()
            )?;
            return Ok(());
        }
        let count = damaged.len();
        offline.give_up(damaged)?;
        writeln!(
            out,
            "{count} messages are recorded as holes: consumers pass them, lookups say that they were given up"
        )?;
        Ok(())
    }
}

/// Nothing but the repair happens.
fn options() -> Options {
    let retention = Retention {
        hours: Vec::new(),
        bytes: 0,
        clean_above: 100,
        force_above: 100,
        refuse_above: 100,
        ..Retention::default()
    };
    Options { retention, ..Options::default() }
}

fn describe(record: &DamagedRecord) -> String {
    let DamagedRecord { queue, offset, log_offset, size, keys } = record;
    let keys = if keys.is_empty() { "not readable".to_owned() } else { keys.join(" ") };
    format!(
        "queue {queue} offset {offset}: damaged; log offset {log_offset}, {size} bytes; ids and keys (unverified): {keys}"
    )
}

/// More bytes than a hole takes in the log.
const HOLE_LEN: u64 = 512;

/// A broker without clients, whose effects are carried out one after the other.
struct Offline<D: Disk> {
    opened: Opened<D>,
    disk: D,
    clock: Clock,
}

impl<D: Disk> Offline<D> {
    fn new(opened: Opened<D>, disk: D) -> Self {
        Self { opened, disk, clock: Clock::start() }
    }

    /// Every damaged message: those that recovery met, and those in what it did not read.
    fn damaged(&mut self) -> anyhow::Result<Vec<DamagedRecord>> {
        let mut all = BTreeMap::new();
        let mut add = |record: DamagedRecord| {
            all.insert((record.queue.clone(), record.offset), record);
        };
        let reader = &self.opened.reader;
        for base in reader.segments() {
            let damaged = reader.damaged_messages(base, &|_| {});
            damaged.map_err(anyhow::Error::msg)?.into_iter().for_each(&mut add);
        }
        for (queue, offset, unit) in self.opened.broker.fenced() {
            add(reader.damaged_record(&queue, offset, unit));
        }
        let holes = self.opened.broker.holes();
        Ok(all.into_values().filter(|record| !holes.contains(&record.log_offset)).collect())
    }

    /// Records the holes, and a snapshot that covers them.
    fn give_up(&mut self, damaged: Vec<DamagedRecord>) -> anyhow::Result<()> {
        self.make_room(damaged.len() as u64)?;
        self.drive(Vec::new())?;
        self.drive(vec![Input::GiveUp(damaged)])?;
        ensure!(
            self.drive(vec![Input::Stop])?,
            "the repair did not come to its end; nothing is lost, try again"
        );
        Ok(())
    }

    fn make_room(&mut self, holes: u64) -> anyhow::Result<()> {
        let filler = &mut self.opened.filler;
        let target = filler.room().filled_to + (4 * Filler::<D>::STEP + holes * HOLE_LEN);
        // A file that has lost its end is whole again only then.
        let target = self.opened.report.truncated.as_ref().map_or(target, |short| target.max(short.end));
        let mut room = filler.room();
        while room.filled_to < target && !room.disk_full {
            room = filler.step()?;
        }
        self.drive(vec![Input::Room(room)]).map(drop)
    }

    /// Steps the broker until it has nothing more to do; tells whether it has stopped.
    fn drive(&mut self, mut inputs: Vec<Input>) -> anyhow::Result<bool> {
        loop {
            let mut effects = Vec::new();
            self.opened.broker.step(self.clock.now(), inputs.drain(..), &mut |effect| effects.push(effect));
            if effects.is_empty() {
                return Ok(false);
            }
            for effect in effects {
                if matches!(effect, Effect::Stopped) {
                    return Ok(true);
                }
                inputs.extend(self.carry_out(effect)?);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> anyhow::Result<Option<Input>> {
        Ok(match effect {
            Effect::Write(write) => Some(Input::Persisted(write.number, self.opened.writer.write(&write)?)),
            Effect::Read(number, job) => {
                Some(Input::ReadDone(number, self.opened.reader.perform(job, &|| false)))
            }
            Effect::Checkpoint(job) => {
                let snapshot = checkpoint::write(&self.disk, *job)?;
                self.opened.reader.install(&snapshot);
                Some(Input::CheckpointDone(Ok(snapshot.runs)))
            }
            // That is for a server.
            Effect::Free(_) => Some(Input::Freed(Ok(Freed { bases: Vec::new(), space: self.disk.space()? }))),
            Effect::Poisoned(cause) => bail!("{cause}"),
            _ => None,
        })
    }
}
