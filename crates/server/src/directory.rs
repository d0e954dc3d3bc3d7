//! Which brokers a data directory is of: a single server has its files in it, a layout of `peers` a folder for each broker.
//! One that was made for the other kind would seem to be empty, and what is in it to be lost.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::config::Config;

/// Refuses a directory in which there are brokers that these settings would pass over in silence.
///
/// # Errors
/// Which ones, and what to do; or it cannot be read.
pub(crate) fn check(config: &Config, brokers: &[Config]) -> anyhow::Result<()> {
    let root = &config.data;
    let is_layout = brokers.iter().any(|broker| broker.data != *root);
    ensure!(
        !is_layout || !is_broker(root),
        "{} has the data of a server without --peers, which a layout would not serve. Start it without --peers, or name \
         another directory: --data DIR",
        root.display()
    );
    if brokers.is_empty() || !is_layout && is_broker(root) {
        return Ok(());
    }
    let is_served = |dir: &PathBuf| brokers.iter().any(|broker| broker.data == *dir);
    let mut others: Vec<_> =
        folders(root)?.into_iter().filter(|dir| is_broker(dir) && !is_served(dir)).collect();
    others.sort();
    let names: Vec<_> =
        others.iter().filter_map(|dir| dir.file_name()).map(|name| name.to_string_lossy()).collect();
    let remedy = match is_layout {
        true => "Start it with as many brokerGroups as before, or move the folder away",
        false => "Start it with the --peers that it had, or name another directory: --data DIR",
    };
    ensure!(
        names.is_empty(),
        "{} has the data of brokers that would not be served with these settings: {}. {remedy}",
        root.display(),
        names.join(", ")
    );
    Ok(())
}

/// Whether a broker has its data there.
fn is_broker(dir: &Path) -> bool {
    dir.join("meta").is_file()
}

/// All folders in it; none if it is not there.
fn folders(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("reading the directory {}", dir.display());
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).with_context(reading)?;
    entries.map(|entry| entry.map(|entry| entry.path()).with_context(reading)).collect()
}
