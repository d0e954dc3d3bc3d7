//! A replica: its disk, and the process that runs on it, if one does.

use std::collections::BTreeMap;

use steadfast_consensus::{
    Group, GroupWriter, LogView, ProposeError, Recovered, ReplicaId, Settings, Vote, Write, WriteError,
    recover,
};
use steadfast_store::disk::{Disk, Mode};
use steadfast_store::log::{
    self, BatchBuilder, Entry, Filler, Layout, LogWriter, Mark, Scan, frame_len, head_len, scan,
};
use steadfast_store::meta::{Meta, MetaError, MetaFile};
use steadfast_types::record::encode_control;
use steadfast_types::{LogIndex, LogOffset, Position, Term, Timestamp};

use super::plan::Plan;
use crate::clock::Micros;
use crate::disk::{DiskCopy, VirtualDisk};
use crate::rng::Rng;

/// Identity of the group.
pub(super) const GROUP: u64 = 0x5EED_0000_0000_0C01;
/// Small, so that logs go on in another segment, and back.
pub(super) const LAYOUT: Layout = Layout { segment_size: 1 << 20 };
/// All of a log.
const SCAN: Scan = Scan {
    layout: LAYOUT,
    group: GROUP,
    from: Mark { index: LogIndex::ZERO, end: LogOffset::ZERO, chain: 0 },
    watermark: LogIndex::ZERO,
    lenient: false,
};
/// Bytes in front of a record's content.
const PREFIX_LEN: usize = 8;
/// Bytes of records in one entry.
const BATCH: usize = 200_000;

/// A life of a process.
pub(super) type Life = u32;

/// See the module's page.
pub(super) struct Replica {
    pub(super) id: ReplicaId,
    pub(super) disk: VirtualDisk,
    pub(super) life: Life,
    pub(super) process: Option<Process>,
    /// The process stands still until then.
    pub(super) paused: Micros,
    /// Where the log ended when the last process did.
    pub(super) end: LogOffset,
    /// What it had before it was damaged, until it has that again.
    pub(super) owes: Option<Position>,
    /// The numbers of its starts.
    pub(super) starts: Vec<u64>,
    /// A copy of its disk, and how many starts there were before it was made.
    pub(super) copy: Option<(DiskCopy, usize)>,
}

/// A record that a client wants stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proposal {
    pub(super) number: u64,
    pub(super) size: usize,
}

/// A running process.
pub(super) struct Process {
    pub(super) group: Group,
    writer: GroupWriter<VirtualDisk>,
    filler: Filler<VirtualDisk>,
    /// What clients have brought and was not proposed yet.
    pub(super) queue: Vec<Proposal>,
    /// Who waits for an entry, and the term in which it was proposed.
    pub(super) waiting: BTreeMap<LogIndex, (Term, Vec<u64>)>,
    /// Reads under way, each with what was acknowledged when it was asked for.
    pub(super) reads: BTreeMap<u64, LogIndex>,
    pub(super) applied: LogIndex,
}

/// What a process finds when it starts.
pub(super) struct Found {
    pub(super) vote: Vote,
    pub(super) entries: Vec<(Entry, LogOffset)>,
    pub(super) committed: LogIndex,
}

impl Replica {
    pub(super) fn new(id: ReplicaId, seed: u64, plan: &Plan) -> Self {
        let disk = VirtualDisk::new(Rng::stream(seed, &format!("disk {id}")));
        disk.defer();
        disk.set_latency(plan.disk.clone());
        Self {
            id,
            disk,
            life: 0,
            process: None,
            paused: Micros::ZERO,
            end: LogOffset::ZERO,
            owes: None,
            starts: Vec::new(),
            copy: None,
        }
    }

    /// Starts the process: recovery, as on a real disk.
    pub(super) fn start(&mut self, plan: &Plan, seed: u64) -> Result<Found, String> {
        let disk = &self.disk;
        disk.create_dir(log::DIR).map_err(text)?;
        let fresh = Meta { group: GROUP, segment_size: LAYOUT.segment_size, ..Meta::default() };
        let empty = disk.list(log::DIR).map_err(text)?.is_empty();
        let mut meta = match MetaFile::open(disk) {
            Ok(Some(meta)) => meta,
            // Making the directory was interrupted before anything could follow.
            Ok(None) | Err(MetaError::Damaged) if empty => MetaFile::create(disk, fresh).map_err(text)?,
            Ok(None) => return Err(text(MetaError::Missing)),
            Err(error) => return Err(text(error)),
        };
        let Meta { term, vote, .. } = meta.get();
        let view = LogView::after(Mark::default(), Term::ZERO);
        let mut entries = Vec::new();
        let number = seed.max(1);
        let recovered = recover(disk, &mut meta, SCAN, view, number, |found| {
            entries.push((found.entry.clone(), found.at()));
        });
        self.starts.push(number);
        let Recovered { view, end: mark, committed, .. } = recovered.map_err(text)?;
        let writer = LogWriter::open(disk.clone(), LAYOUT, GROUP, Mode::Durable, mark).map_err(text)?;
        let filler = Filler::open(disk.clone(), LAYOUT, mark.end, 0).map_err(text)?;
        let vote = Vote { term, replica: vote };
        let settings = Settings {
            id: self.id,
            voters: (1..=plan.replicas).collect(),
            layout: LAYOUT,
            seed,
            timing: plan.timing.clone(),
            limits: plan.limits,
        };
        self.process = Some(Process {
            group: Group::open(&settings, view, vote, committed),
            writer: GroupWriter::new(meta, writer),
            filler,
            queue: Vec::new(),
            waiting: BTreeMap::new(),
            reads: BTreeMap::new(),
            applied: committed,
        });
        Ok(Found { vote, entries, committed })
    }

    pub(super) fn leads(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.group.is_leader())
    }
}

impl Process {
    /// Makes a write durable, in space that is filled before.
    pub(super) fn write(&mut self, write: &Write) -> Result<Mark, String> {
        let end = write.entries.last().map(|(entry, at)| *at + frame_len(entry.payload.len()));
        while end.is_some_and(|end| self.filler.room().filled_to < end) {
            self.filler.step().map_err(text)?;
        }
        self.writer.write(write).map_err(|error: WriteError| error.to_string())
    }

    /// Proposes what waits, as one entry.
    pub(super) fn propose(&mut self) -> Result<(), ProposeError> {
        if self.queue.is_empty() || !self.group.is_leader() || !self.group.is_idle() {
            return Ok(());
        }
        let mut bytes = 0;
        let taken = self.queue.iter().take_while(|proposal| {
            bytes += proposal.size;
            bytes <= BATCH
        });
        let taken: Vec<Proposal> = self.queue[..taken.count().max(1)].to_vec();
        let len = taken.iter().map(|proposal| proposal.size + PREFIX_LEN).sum();
        let place = self.group.place(head_len(taken.len()) + len);
        let now = Timestamp::new(1_750_000_000_000);
        let mut builder = BatchBuilder::new(place.at, self.group.commit(), now, taken.len(), len);
        for Proposal { number, size } in &taken {
            let mut content = number.to_be_bytes().to_vec();
            content.resize(*size, *number as u8);
            builder.push(0, |_, buf| encode_control(&content, buf));
        }
        self.group.propose(builder.finish())?;
        self.queue.drain(..taken.len());
        let numbers = taken.iter().map(|proposal| proposal.number).collect();
        self.waiting.insert(self.writer_end(), (self.group.term(), numbers));
        Ok(())
    }

    /// Where the log ends.
    pub(super) fn end(&self) -> LogOffset {
        self.writer.end().end
    }

    /// Index of the entry that was just proposed: everything before it is durable here.
    fn writer_end(&self) -> LogIndex {
        self.writer.end().index.next()
    }
}

/// All that is in a log.
pub(super) fn read_log(disk: &VirtualDisk) -> Result<Vec<(Entry, LogOffset)>, String> {
    let mut entries = Vec::new();
    scan(disk, SCAN, |found| {
        let at = found.at();
        entries.push((found.entry, at));
    })
    .map_err(text)?;
    Ok(entries)
}

/// The number of a record.
pub(super) fn number_of(content: &[u8]) -> Option<u64> {
    content.first_chunk().map(|number| u64::from_be_bytes(*number))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
