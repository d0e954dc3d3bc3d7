//! Printing, where the macros of the standard library panic when a stream takes nothing: its disk is full, or its
//! reader is gone.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;

/// Prints a text on standard output, as it is.
///
/// # Errors
/// It was not taken; [`is_reader_gone`] tells a reader that left from other causes.
pub fn text(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("writing to standard output failed")
}

/// Prints all that a command has to say. Whoever stops reading (`… | head`) has read enough: that is no error.
pub fn result(all: &str) -> anyhow::Result<()> {
    text(all).or_else(|error| if is_reader_gone(&error) { Ok(()) } else { Err(error) })
}

/// Says something on standard error, with an end of line. Nobody listening is no reason to fail.
pub fn note(text: impl Display) {
    // One write, so that lines of several threads do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Whether a command failed because nobody reads its output any more.
pub fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
