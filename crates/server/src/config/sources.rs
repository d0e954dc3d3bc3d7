//! Where settings come from: the environment, configuration files in TOML or RocketMQ's format, what was changed at
//! run time, and the command line. Each wins over the ones before it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::properties;

/// Origin of what is set there.
const ENVIRONMENT: &str = "environment variable NAMESRV_ADDR";

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, which tells its format too.
    pub path: PathBuf,
    /// Its contents.
    pub text: String,
}

/// Where settings come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// RocketMQ's environment variable `NAMESRV_ADDR`, a default for `namesrvAddr`.
    pub environment: Option<String>,
    /// Files; later ones win.
    pub files: Vec<File>,
    /// What was changed at run time.
    pub changed: BTreeMap<String, String>,
    /// `key=value` from the command line; later ones win.
    pub arguments: Vec<String>,
}

/// Who wrote a setting, which decides what its key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// For Steadfast: an unknown key is an error.
    Own,
    /// For RocketMQ's broker, which skips unknown keys.
    Broker,
    /// For RocketMQ's name server.
    Namesrv,
}

/// One setting, not yet looked at.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    /// Where it is written, for messages.
    pub(super) origin: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) dialect: Dialect,
}

impl Assignment {
    pub(super) fn own(origin: &str, key: &str, value: &str) -> Self {
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        Assignment { origin: origin.to_owned(), key, value, dialect: Dialect::Own }
    }

    pub(super) fn is_of_environment(&self) -> bool {
        self.origin == ENVIRONMENT
    }

    /// The key in Steadfast's terms.
    pub(super) fn canonical_key(&self) -> &str {
        match (self.dialect, self.key.as_str()) {
            (Dialect::Namesrv, "listenPort") => "namesrvPort",
            (_, key) => super::known::canonical(key),
        }
    }
}

/// All settings but those that were changed at run time: those of files, and those that win over a change.
pub(super) struct Assignments {
    pub(super) below: Vec<Assignment>,
    pub(super) arguments: Vec<Assignment>,
}

impl Sources {
    pub(super) fn assignments(&self, problems: &mut Vec<String>) -> Assignments {
        let arguments = self.arguments(problems);
        let mut below = Vec::new();
        if let Some(addr) = self.environment.as_deref().filter(|addr| !addr.trim().is_empty()) {
            below.push(Assignment::own(ENVIRONMENT, "namesrvAddr", addr));
        }
        let files = below.len();
        for file in &self.files {
            file.read(&mut below, problems);
        }
        let changed = self.changed.iter();
        below.extend(changed.map(|(key, value)| Assignment::own("changed at run time", key, value)));
        // A name server alone reads its port from the key that is the broker's everywhere else.
        let role = below.iter().chain(&arguments).rfind(|a| a.key == "role");
        if role.is_some_and(|role| role.value == "namesrv") {
            for assignment in &mut below[files..] {
                if assignment.dialect == Dialect::Broker {
                    assignment.dialect = Dialect::Namesrv;
                }
            }
        }
        Assignments { below, arguments }
    }

    /// Whether the command line has a setting, so that no change of it would last.
    pub fn is_pinned(&self, key: &str) -> bool {
        self.arguments(&mut Vec::new()).iter().any(|argument| argument.canonical_key() == key)
    }

    fn arguments(&self, problems: &mut Vec<String>) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        for item in &self.arguments {
            let origin = format!("--set {item}");
            match item.split_once('=') {
                Some((key, value)) => assignments.push(Assignment::own(&origin, key, value)),
                None => problems.push(format!("{origin}: expected key=value")),
            }
        }
        assignments
    }
}

impl File {
    fn read(&self, out: &mut Vec<Assignment>, problems: &mut Vec<String>) {
        let extension = self.path.extension().and_then(|extension| extension.to_str());
        match (extension, DeTable::parse(self.text())) {
            (Some("conf" | "properties"), _) => self.read_properties(out),
            (_, Ok(table)) => self.read_toml(table.get_ref(), out, problems),
            (Some("toml"), Err(error)) => {
                problems.push(format!("{}: {}", self.path.display(), error.to_string().trim_end()));
            }
            (_, Err(_)) => self.read_properties(out),
        }
    }

    /// The contents without the byte order mark that some editors put before them.
    fn text(&self) -> &str {
        self.text.strip_prefix('\u{feff}').unwrap_or(&self.text)
    }

    fn read_toml(&self, table: &DeTable<'_>, out: &mut Vec<Assignment>, problems: &mut Vec<String>) {
        for (key, value) in table {
            let line = self.text()[..key.span().start].matches('\n').count() + 1;
            let origin = self.origin(line);
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Boolean(yes) => yes.to_string(),
                _ => {
                    let key = key.get_ref();
                    problems.push(format!("{origin}: {key} takes a text, a number, true or false"));
                    continue;
                }
            };
            out.push(Assignment::own(&origin, key.get_ref(), &text));
        }
    }

    fn read_properties(&self, out: &mut Vec<Assignment>) {
        let dialect = if names_the_namesrv(&self.path) { Dialect::Namesrv } else { Dialect::Broker };
        out.extend(properties::parse(self.text()).into_iter().map(|property| Assignment {
            origin: self.origin(property.line),
            key: property.key,
            value: property.value,
            dialect,
        }));
    }

    fn origin(&self, line: impl Display) -> String {
        format!("{}, line {line}", self.path.display())
    }
}

/// Whether a file is called as the name server's usually is.
fn names_the_namesrv(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("namesrv"))
}
