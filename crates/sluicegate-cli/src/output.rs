//! Standard output, for what a command was asked for; standard error, for everything else.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// Writes `text` as it is.
///
/// # Errors
///
/// When standard output takes no more; see [`is_broken_pipe`].
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("standard output takes no more")
}

/// Writes `value` as indented JSON and a line end.
///
/// # Errors
///
/// When standard output takes no more, or `value` has no form in JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("the answer cannot be put into JSON")?;
    text.push('\n');
    print(&text)
}

/// Writes a line to standard error. Where nobody reads it any more it is lost, and the exit code still tells: `eprintln!`
/// would panic, and a process that has doors open would end without a drain.
pub(crate) fn tell(line: &dyn Display) {
    // In one piece, so that lines of other threads do not come between.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Whether the reader of our output went away (`sluicegate schema | head -1`), which is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
