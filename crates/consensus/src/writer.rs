//! The durable half of a replica: its vote and its log.

use steadfast_store::disk::Disk;
use steadfast_store::log::{AppendError, LogWriter, Mark};
use steadfast_store::meta::{Meta, MetaError, MetaFile};

use crate::output::{Vote, Write};

/// Makes writes durable, one after the other.
pub struct GroupWriter<D: Disk> {
    meta: MetaFile<D>,
    log: LogWriter<D>,
}

/// Why a write failed; final for this process (promise P3).
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The vote could not be written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl<D: Disk> GroupWriter<D> {
    /// For these files of one data directory.
    pub fn new(meta: MetaFile<D>, log: LogWriter<D>) -> Self {
        Self { meta, log }
    }

    /// Makes a write durable; returns where the log ends now.
    pub fn write(&mut self, write: &Write) -> Result<Mark, WriteError> {
        if let Some(Vote { term, replica: vote }) = write.vote {
            let (meta, fence) = (self.meta.get(), write.fence);
            let past = write.past.as_deref().copied().unwrap_or(meta.past);
            // It may have been higher before entries were lost.
            let commit = write.commit.max(meta.commit);
            self.meta.write(Meta { term, vote, commit, fence, past, ..meta })?;
        }
        if let Some(keep) = write.keep {
            self.log.truncate(keep)?;
        }
        if write.entries.is_empty() {
            return Ok(self.log.end());
        }
        Ok(self.log.append(&write.entries)?)
    }

    /// Syncs what ASYNC_FLUSH handed to the operating system.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        Ok(self.log.sync()?)
    }

    /// Where the log ends.
    pub fn end(&self) -> Mark {
        self.log.end()
    }
}
