//! The table of settings for people: the help text, and docs/settings.md.

use std::fmt::Write as _;

use super::known::{FIXED, GROUPS};
use super::rules::RULES;
use super::table::{Config, Section, Setting};

/// The table on a terminal.
pub fn help() -> String {
    let mut out = String::from(
        "Settings, for a file (steadfast server --config FILE) or the command line (--set key=value); those marked * \
         can be\nchanged at run time (mqadmin updateBrokerConfig):\n",
    );
    for Setting { key, takes, value, live, meaning } in Config::default().settings() {
        let value = if value.is_empty() { "empty".to_owned() } else { value };
        let mark = if live { " *" } else { "" };
        let _ = write!(out, "\n{key}{mark}  ({takes}; default {value})\n");
        for line in wrap(meaning, 96) {
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}

const HEAD: &str = "\
# Settings

Generated from the code: `steadfast server --help-config=markdown > docs/settings.md`; a test fails if it differs.

Settings come from, each winning over the ones before it:

1. the defaults below; the environment variable `NAMESRV_ADDR`, as a default for `namesrvAddr`;
2. configuration files, `--config FILE` (`-c FILE`), any number of them. A file called `*.toml` is TOML; `*.conf` and `*.properties` are
   RocketMQ's format, so its `broker.conf` and `namesrv.conf` work as they are; any other file is what it looks like. In a file
   whose name begins with `namesrv`, or under `--role namesrv`, RocketMQ's `listenPort` is the name server's;
3. what was changed at run time, with `mqadmin updateBrokerConfig` (UPDATE_BROKER_CONFIG). All of a request is changed or none. It is
   kept in `settings.overrides` in the data directory and shown at start; to undo it, stop the server and remove the line;
4. the command line: `--set key=value`, and `-n ADDR`, `--data DIR`, `--role ROLE`, which are short for three of them. A
   setting given there cannot be changed at run time, since the next start would undo the change.

A wrong value, and an unknown key in TOML or on the command line, keep the server from starting. RocketMQ skips unknown keys
in its files; there they are one warning each, with the nearest key that exists. Keys of RocketMQ that have no effect
here, listed at the end, are one warning each with the reason. Keys, units and defaults are RocketMQ's, except where the table
says so.
";

/// The table as a page of the documentation.
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    for Section { title, settings } in Config::default().sections() {
        let _ = write!(
            out,
            "\n## {title}\n\n| key | takes | default | at run time | meaning |\n|---|---|---|---|---|\n"
        );
        for Setting { key, takes, value, live, meaning } in settings {
            let value = if value.is_empty() { value } else { format!("`{value}`") };
            let (takes, live) = (takes.replace('|', "\\|"), if live { "yes" } else { "no" });
            let _ = writeln!(out, "| `{key}` | {takes} | {value} | {live} | {meaning} |");
        }
    }
    out.push_str("\n## Settings that must fit together\n\n");
    for rule in RULES {
        let _ = writeln!(out, "- {}", rule.text);
    }
    out.push_str(
        "\n## Keys with one value\n\nThey ask for protection; a server without it does not start.\n\n\
         | key | value | any other is refused, because |\n|---|---|---|\n",
    );
    for fixed in FIXED {
        let _ = writeln!(out, "| `{}` | `{}` | {} |", fixed.key, fixed.value, fixed.reason);
    }
    out.push_str(
        "\n## Keys without effect\n\nAll others that RocketMQ 5.5 has.\n\n| because | keys |\n|---|---|\n",
    );
    for group in GROUPS {
        let keys: Vec<_> = group.keys().map(|key| format!("`{key}`")).collect();
        let _ = writeln!(out, "| {} | {} |", group.reason, keys.join(" "));
    }
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
        let written = std::fs::read_to_string(path).unwrap();
        let differs = written.lines().zip(markdown().lines().map(str::to_owned)).find(|(a, b)| a != b);
        assert!(
            written == markdown(),
            "docs/settings.md differs at {differs:?}: run `steadfast server --help-config=markdown > docs/settings.md`"
        );
    }
}
