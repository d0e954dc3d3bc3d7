//! What a command prints: for people and scripts the columns of RocketMQ's `mqadmin`, for programs one line of JSON.
//! Both come from one value, which has a `Display` and a `Serialize`.

use std::fmt::Display;

use serde::Serialize;

use crate::print;

/// Standard output in one of the two forms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    /// `--json`.
    pub(super) json: bool,
}

impl Out {
    /// Prints a value, with an end of line if it has none.
    pub(super) fn show(self, value: &(impl Serialize + Display)) -> anyhow::Result<()> {
        let mut text = if self.json { serde_json::to_string(value)? } else { value.to_string() };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.text(&text)
    }

    /// Prints a text as it is.
    pub(super) fn text(self, text: &str) -> anyhow::Result<()> {
        print::text(text)
    }
}

/// Says on standard error what was not done.
pub(super) fn warn(text: impl Display) {
    print::note(format_args!("steadfast: {text}"));
}

/// A list with a place for what RocketMQ prints when there is nothing: Java's `null`.
pub(super) fn or_null(text: Option<&str>) -> &str {
    text.unwrap_or("null")
}

/// Entries as Java prints a map: `{a=1, b=2}`.
pub(super) fn java_map<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{{{}}}", entries.join(", "))
}
