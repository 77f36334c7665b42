//! The `sluicegate` command.
//!
//! The only place that reads arguments and the environment, and that ends the process: a command gives back an
//! [`Exit`], and `main` hands it to the system. Answers go to standard output, everything else to standard error.
//!
//! In reading order: [`arguments`] says what can be asked, [`exit`] what comes back, then one module a command.
#![forbid(unsafe_code)]
// Their macros panic where nobody reads; see `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod allowance;
mod arguments;
mod check;
mod columns;
mod demo;
mod descriptors;
mod directory;
mod doors;
mod draw;
mod environment;
mod excerpt;
mod exit;
mod key_server;
mod keys;
mod logging;
mod output;
mod reload;
mod run;
mod signals;
mod snapshot;
mod store;
mod traffic;
mod version;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Command};
use crate::environment::ProcessEnvironment;
use crate::exit::Exit;

/// Many small allocations of many connections: jemalloc gives memory back where the system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match answer() {
        Ok(exit) => exit.into(),
        // Whoever read our output has read enough.
        Err(error) if output::is_broken_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            output::tell(&format_args!("sluicegate: {error:#}"));
            Exit::Failed.into()
        }
    }
}

fn answer() -> anyhow::Result<Exit> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help that was asked for comes this way too.
        Err(told) => {
            let printed = told.print();
            if told.use_stderr() {
                // The exit code tells it too, also where nobody reads.
                return Ok(Exit::Usage);
            }
            printed?;
            return Ok(Exit::Success);
        }
    };
    match arguments.command {
        Command::Run(run) => run::run(&run, &ProcessEnvironment),
        Command::Check(check) => check::check(&check),
        Command::Keys(keys) => keys::keys(&keys),
        Command::Demo(demo) => demo::demo(&demo, &ProcessEnvironment),
        Command::Draw(draw) => draw::draw(&draw),
        Command::Schema => {
            output::print_json(&sluicegate::policy::schema())?;
            Ok(Exit::Success)
        }
        Command::Version(version) => version::version(&version),
        Command::Completions(completions) => {
            let mut script = Vec::new();
            clap_complete::generate(completions.shell, &mut Arguments::command(), "sluicegate", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Success)
        }
    }
}
