//! Logs on standard error.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::environment::Environment;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends logs to standard error from `level` upwards, or as `SLUICEGATE_LOG` says.
///
/// # Errors
///
/// When `SLUICEGATE_LOG` cannot be read as a filter, or logs were started before.
pub(crate) fn start(form: Form, level: LevelFilter, environment: &dyn Environment) -> anyhow::Result<()> {
    let filter = filter(level, environment)?;
    let colour = io::stderr().is_terminal() && environment.variable("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_writer(|| Unread(io::stderr()))
        // Else it tells of a line that it could not put together by `eprintln!`, which panics where nobody reads.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_ansi(colour);
    let started = match form {
        Form::Text => lines.try_init(),
        Form::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

/// A writer that may have no reader: what it does not take is dropped. Whoever reads the log may go away while requests
/// are under way, and neither they nor the drain are worth less for it.
struct Unread<W>(W);

impl<W: Write> Write for Unread<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // All of it, or what is left would be tried again.
        let _ = self.0.write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

fn filter(level: LevelFilter, environment: &dyn Environment) -> anyhow::Result<EnvFilter> {
    match environment.variable(VARIABLE).filter(|text| !text.is_empty()) {
        Some(text) => EnvFilter::try_new(&text).with_context(|| format!("{VARIABLE} is {text:?}, which is no filter")),
        None => Ok(EnvFilter::default().add_directive(level.into())),
    }
}

/// What is logged: a level, or levels by module.
const VARIABLE: &str = "SLUICEGATE_LOG";

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose only variable is ours.
    struct Set(Option<&'static str>);

    impl Environment for Set {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.filter(|_| name == VARIABLE).map(str::to_owned)
        }
    }

    #[test]
    fn the_variable_goes_before_the_commands_own_level_unless_it_is_empty() {
        for (variable, expected) in [
            (None, "info"),
            (Some(""), "info"),
            (Some("warn,hyper=debug"), "hyper=debug,warn"),
        ] {
            let filter = filter(LevelFilter::INFO, &Set(variable)).expect("a filter");
            assert_eq!(filter.to_string(), expected, "{variable:?}");
        }
    }

    #[test]
    fn a_variable_that_is_no_filter_is_shown_with_its_name() {
        let error = filter(LevelFilter::INFO, &Set(Some("sluicegate=loud"))).expect_err("no such level");
        assert!(
            error.to_string().contains("SLUICEGATE_LOG is \"sluicegate=loud\""),
            "{error}"
        );
    }
}
