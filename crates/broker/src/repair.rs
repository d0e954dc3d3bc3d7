//! Repair of a data directory that no server uses: a broker without clients, whose effects are carried out one after the
//! other. It finds the damaged messages, and gives them up if asked to.

use std::collections::BTreeMap;
use std::io;

use steadfast_consensus::WriteError;
use steadfast_store::checkpoint::{self, CheckpointError};
use steadfast_store::disk::Disk;
use steadfast_store::log::{Filler, segment_path};

use crate::io::{DamagedRecord, Effect, Freed, Input, Now};
use crate::options::{Flush, Options};
use crate::recovery::{self, OpenError, Opened, Report};
use crate::retention::Retention;

/// More bytes than a hole takes in the log.
const HOLE_LEN: u64 = 512;

/// Why damaged messages could not be given up. Nothing is lost by trying again.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The holes could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The snapshot that covers them could not be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The broker takes no writes.
    #[error("{0}")]
    Poisoned(String),
    /// The disk is full, or the broker has nothing more to do before it is done.
    #[error(
        "the repair did not come to its end; nothing is lost, free space if the disk is full and try again"
    )]
    Unfinished,
}

/// A data directory under repair.
pub struct Repair<D: Disk> {
    opened: Opened<D>,
    disk: D,
}

impl<D: Disk> Repair<D> {
    /// Opens the directory, passing damage where it is known what it hit. Index runs that are damaged are made again.
    ///
    /// # Errors
    /// It cannot be told which messages and changes of state are damaged, or the disk refuses.
    pub fn open(disk: D) -> Result<Self, OpenError> {
        Ok(Self { opened: recovery::open_damaged(disk.clone(), &options())?, disk })
    }

    /// What recovery found.
    pub fn report(&self) -> &Report {
        &self.opened.report
    }

    /// Every damaged message that was not given up before: those that recovery met, and those in what it did not read.
    ///
    /// # Errors
    /// A segment that cannot be read to its end; the text names it.
    pub fn damaged(&self) -> Result<Vec<DamagedRecord>, String> {
        let mut all = BTreeMap::new();
        let mut add = |record: DamagedRecord| {
            all.insert((record.queue.clone(), record.offset), record);
        };
        let reader = &self.opened.reader;
        for base in reader.segments() {
            reader.damaged_messages(base, &|_| {})?.into_iter().for_each(&mut add);
        }
        for (queue, offset, unit) in self.opened.broker.fenced() {
            add(reader.damaged_record(&queue, offset, unit));
        }
        let holes = self.opened.broker.holes();
        Ok(all.into_values().filter(|record| !holes.contains(&record.log_offset)).collect())
    }

    /// The file of the log that a damaged message lies in.
    pub fn file_of(&self, record: &DamagedRecord) -> String {
        segment_path(self.opened.layout.base_of(record.log_offset))
    }

    /// Records holes in the place of these messages, and a snapshot that covers them.
    pub fn give_up(
        mut self,
        damaged: Vec<DamagedRecord>,
        now: &mut dyn FnMut() -> Now,
    ) -> Result<(), RepairError> {
        self.make_room(damaged.len() as u64, now)?;
        self.drive(Vec::new(), now)?;
        self.drive(vec![Input::GiveUp(damaged)], now)?;
        if self.drive(vec![Input::Stop], now)? { Ok(()) } else { Err(RepairError::Unfinished) }
    }

    fn make_room(&mut self, holes: u64, now: &mut dyn FnMut() -> Now) -> Result<(), RepairError> {
        let filler = &mut self.opened.filler;
        let target = filler.room().filled_to + (4 * Filler::<D>::STEP + holes * HOLE_LEN);
        // A file that has lost its end is whole again only then.
        let target = self.opened.report.truncated.as_ref().map_or(target, |short| target.max(short.end));
        let mut room = filler.room();
        while room.filled_to < target && !room.disk_full {
            room = filler.step()?;
        }
        self.drive(vec![Input::Room(room)], now).map(drop)
    }

    /// Steps the broker until it has nothing more to do; tells whether it has stopped.
    fn drive(&mut self, mut inputs: Vec<Input>, now: &mut dyn FnMut() -> Now) -> Result<bool, RepairError> {
        loop {
            let mut effects = Vec::new();
            self.opened.broker.step(now(), inputs.drain(..), &mut |effect| effects.push(effect));
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

    fn carry_out(&mut self, effect: Effect) -> Result<Option<Input>, RepairError> {
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
            Effect::Poisoned(cause) => return Err(RepairError::Poisoned(cause)),
            _ => None,
        })
    }
}

/// Nothing but the repair happens, and it is durable.
fn options() -> Options {
    let retention = Retention {
        hours: Vec::new(),
        bytes: 0,
        clean_above: 100,
        force_above: 100,
        refuse_above: 100,
        ..Retention::default()
    };
    Options { retention, flush: Flush::Sync, ..Options::default() }
}
