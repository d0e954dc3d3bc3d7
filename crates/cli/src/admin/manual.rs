//! The manual in Markdown, made from the command line's own help: `docs/admin.md`.

use std::fmt::Write as _;

use clap::{Args as _, Command};

use super::AdminArgs;

const INTRO: &str = "\
# steadfast admin

Printed by `steadfast admin manual`; a test holds this file to it.

`steadfast admin COMMAND` looks into servers and changes them. Commands, options and columns are those of `mqadmin` of
RocketMQ 5.5.0, so that scripts move over unchanged; it works with any server that speaks RocketMQ's remoting protocol.
Under the name `mqadmin` (`ln -s steadfast mqadmin`) the program takes the commands right away, their names in any case.

- `-n` names the name servers, separated by semicolons; without it the environment variable `NAMESRV_ADDR` does, and
  without that `127.0.0.1:9876` is asked.
- `--json` prints one line of JSON instead of columns, whose keys stay the same: one line for the whole result, or one
  for each message where messages are read. Times in it are milliseconds since 1970.
- `--timeout` is how many seconds to wait for a server's answer, 10 by default.
- The exit code is 0 when all was done, 1 when something was not found or refused (standard error says why, and where
  was searched), 2 when the command line is wrong.
- What scripts may notice: mqadmin's exit code is 0 after a failure, too; errors have words of their own; an option that
  has no effect is said to have none, on standard error; `resetOffsetByTime` refuses `-b`, `-q` and `-o` where mqadmin
  leaves them out and moves the whole topic. `tests/clients/golden` compares what both print, line by line.
- `steadfast admin completion bash` (or `zsh`, `fish`) prints a completion script for the shell.
";

/// The whole manual.
pub(super) fn text() -> String {
    let root = Command::new("admin").bin_name("steadfast admin").term_width(120);
    // The introduction has the options of every command.
    let mut root =
        AdminArgs::augment_args(root).mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
    root.build();
    let mut text = format!("{INTRO}\n| command | what it does |\n|---|---|\n");
    let commands = |command: &Command| command.get_name() != "help";
    for command in root.get_subcommands().filter(|command| commands(command)) {
        let (name, about) = (command.get_name(), command.get_about().cloned().unwrap_or_default());
        let _ = writeln!(text, "| [`{name}`](#{}) | {about} |", name.to_lowercase());
    }
    for command in root.get_subcommands_mut().filter(|command| commands(command)) {
        let help = command.render_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(text, "\n## {}\n\n```text\n{}\n```\n", command.get_name(), help.join("\n").trim_end());
    }
    text
}
