//! The settings of a running broker. UPDATE_BROKER_CONFIG changes some of them; what it changed is kept in the data
//! directory, so that a restart does not undo it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use steadfast_broker::reply::Reply;
use steadfast_wire::code::response;

use crate::config::{self, Change, Config, ConfigError, Loaded, Sources, Unchangeable};

/// In the data directory; in the format of RocketMQ's files.
pub(crate) const FILE: &str = "settings.overrides";
/// What is written first and then takes its place.
const NEW_FILE: &str = "settings.overrides.new";

const HEAD: &str = "\
# What mqadmin updateBrokerConfig changed. It wins over configuration files; the command line wins over it.
# To undo a change, stop the server and remove its line.
";

/// The settings of a process.
#[derive(Debug)]
pub(crate) struct Settings {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sources: Sources,
    /// Which broker of the process they are of.
    which: usize,
    config: Config,
}

impl Settings {
    /// Reads what was changed at run time in the data directory of this broker of the process, and the settings that result.
    pub(crate) fn open(mut sources: Sources, which: usize, dir: &Path) -> anyhow::Result<(Self, Config)> {
        let path = dir.join(FILE);
        sources.changed = match fs::read_to_string(&path) {
            Ok(text) => config::read_changes(&path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let config = load(&sources, which).with_context(|| {
            format!("{} does not fit the other settings; correct or remove it", path.display())
        })?;
        let state = Mutex::new(State { sources, which, config: config.clone() });
        Ok((Settings { dir: dir.to_owned(), state }, config))
    }

    /// What was changed at run time, as `key=value`.
    pub(crate) fn changed(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sources.changed.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// Changes settings: all of them, or none. They are on disk before `apply` is called; changes apply in the order
    /// in which they were stored. Tells what was changed.
    ///
    /// # Errors
    /// The answer to send: what is wrong, and what to do.
    pub(crate) fn update(&self, body: &[u8], apply: impl FnOnce(&Config)) -> Result<Vec<Change>, Reply> {
        let text = std::str::from_utf8(body).map_err(|_| refusal("the body is not UTF-8"))?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = state.config.changes(text).map_err(|cause| match cause {
            Unchangeable::Forbidden(cause) => Reply::error(response::NO_PERMISSION, cause),
            Unchangeable::Invalid(cause) => refusal(cause),
        })?;
        let mut sources = state.sources.clone();
        for Change { key, value, .. } in &changes {
            sources.changed.insert((*key).to_owned(), value.clone());
        }
        let pinned = changes.iter().find(|change| sources.is_pinned(change.key));
        if let Some(Change { key, .. }) = pinned {
            let cause = format!(
                "{key} is set on the server's command line, which would undo the change at its next start"
            );
            return Err(refusal(format!("{cause}; change it there")));
        }
        let which = state.which;
        let config = load(&sources, which).map_err(|error| refusal(error.to_string()))?;
        self.store(&sources.changed).map_err(|error| {
            let remark =
                format!("nothing was changed: {} cannot be written: {error}", self.dir.join(FILE).display());
            Reply::error(response::SYSTEM_ERROR, remark)
        })?;
        *state = State { sources, which, config };
        apply(&state.config);
        Ok(changes)
    }

    /// Replaces the file as a whole, durably.
    fn store(&self, changed: &BTreeMap<String, String>) -> io::Result<()> {
        let mut text = HEAD.to_owned();
        for (key, value) in changed {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}={}", config::escape(value));
        }
        let new = self.dir.join(NEW_FILE);
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()
    }
}

/// The settings of one broker of the process.
fn load(sources: &Sources, which: usize) -> Result<Config, ConfigError> {
    let Loaded { config, .. } = Config::load(sources)?;
    Ok(config.brokers().swap_remove(which))
}

fn refusal(remark: impl Into<String>) -> Reply {
    Reply::error(response::INVALID_PARAMETER, format!("nothing was changed: {}", remark.into()))
}
