//! `steadfast repair`: lists the damaged messages of a data directory that no server uses and, if asked to, gives them
//! up: records each as a hole in the log, so that consumers pass it and lookups say so.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use steadfast_broker::io::DamagedRecord;
use steadfast_broker::recovery::Report;
use steadfast_broker::repair::Repair;
use steadfast_store::disk::Disk;
use steadfast_store::meta;

use crate::clock::Clock;
use crate::disk::RealDisk;
use crate::dry::DryDisk;
use crate::explain;
use crate::lock::Lock;

/// What is to be repaired.
#[derive(Debug, Clone)]
pub struct RepairCommand<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// Record the holes; without it nothing is changed but index runs, which are made again where they are damaged.
    pub apply: bool,
}

impl RepairCommand<'_> {
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
        let repair = Repair::open(disk).map_err(explain::open)?;
        let damaged = repair.damaged().map_err(anyhow::Error::msg)?;
        let Report { lost_changes: lost, proven, cut, truncated, end, .. } = repair.report().clone();
        if let Some(cut) = cut {
            writeln!(out, "{cut}")?;
        }
        if damaged.is_empty() && lost == 0 && proven == 0 && truncated.is_none() {
            writeln!(out, "every message in {} verifies; there is nothing to repair", dir.display())?;
            return Ok(());
        }
        for record in &damaged {
            writeln!(out, "{}", describe(record, &repair.file_of(record)))?;
        }
        if let Some(truncated) = &truncated {
            writeln!(
                out,
                "{truncated}. Messages and changes of state in what is gone cannot be told; after a repair the log goes on \
                 at log offset {}, and their offsets are used again",
                end
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
        let clock = Clock::start();
        repair.give_up(damaged, &mut || clock.now())?;
        writeln!(
            out,
            "{count} messages are recorded as holes: consumers pass them, lookups say that they were given up"
        )?;
        Ok(())
    }
}

fn describe(record: &DamagedRecord, file: &str) -> String {
    let DamagedRecord { queue, offset, log_offset, size, keys } = record;
    let keys = if keys.is_empty() { "not readable".to_owned() } else { keys.join(" ") };
    format!(
        "queue {queue} offset {offset}: damaged; {size} bytes at log offset {log_offset} in {file}; ids and keys (unverified): {keys}"
    )
}
