//! The file in which a name server keeps its settings (RocketMQ's `kvConfig.json`). It is made with the first setting:
//! a name server that has none needs no disk.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use steadfast_namesrv::{Keeper, Settings};

use crate::explain;
use crate::lock::Lock;

/// Directory of the name server's data below the data directory.
const DIR: &str = "namesrv";
/// The settings.
const NAME: &str = "kvConfig.json";

/// Reads what was kept, if anything was.
pub(crate) fn open(data: &Path) -> anyhow::Result<Settings> {
    let dir = data.join(DIR);
    let path = dir.join(NAME);
    let document = match fs::read(&path) {
        Ok(document) => Some(document),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(explain::data(anyhow!(error).context(path.display().to_string()))),
    };
    let context =
        || format!("{} is damaged; restore it from a copy, or remove it to start without", path.display());
    Settings::new(document.as_deref(), Box::new(KvFile { dir, lock: None })).with_context(context)
}

#[derive(Debug)]
struct KvFile {
    dir: PathBuf,
    /// Held from the first write on: two name servers must not share the file.
    lock: Option<Lock>,
}

impl KvFile {
    /// The new file is whole and on the disk before it takes the place of the old one.
    fn replace(&self, document: &[u8]) -> io::Result<()> {
        let new = self.dir.join(format!("{NAME}.new"));
        let mut file = File::create(&new)?;
        file.write_all(document)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(NAME))?;
        File::open(&self.dir)?.sync_all()
    }
}

impl Keeper for KvFile {
    fn keep(&mut self, document: &[u8]) -> Result<(), String> {
        crate::disk::create_dir(&self.dir).map_err(|error| format!("{:#}", explain::data(error)))?;
        if self.lock.is_none() {
            self.lock = Some(Lock::take(&self.dir).map_err(|error| format!("{:#}", anyhow!(error)))?);
        }
        self.replace(document).map_err(|error| format!("{}: {error}", self.dir.display()))
    }
}
