//! Other processes: this program again for a part of a bench, and servers that end with the bench.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use serde::de::DeserializeOwned;

use crate::error::BenchError;
use crate::machine::cores;
use crate::stopwatch::pause;

/// Starts this program again for a part of a bench, and reads its answer.
///
/// # Errors
///
/// If it cannot be started, fails, or answers something else.
pub(crate) fn ask<T: DeserializeOwned>(
    part: &'static str,
    who: &impl ValueEnum,
    arguments: &[String],
) -> Result<T, BenchError> {
    let who = who.to_possible_value();
    let name = who.as_ref().map_or("", |who| who.get_name());
    let mut command = Command::new(this_program()?);
    command.args(["part", part, name]).args(arguments);
    let output = output(command)?;
    Ok(serde_json::from_str(&output)?)
}

/// Starts this program again for a part of a bench under valgrind, and tells how many instructions the loop of all benches took in
/// it.
///
/// # Errors
///
/// If it cannot be started, fails, or tells no count.
pub(crate) fn instructions(part: &'static str, who: &impl ValueEnum, arguments: &[String]) -> Result<u64, BenchError> {
    let failed = |what: String| BenchError::Child {
        program: "valgrind".to_owned(),
        what,
    };
    let who = who.to_possible_value();
    let name = who.as_ref().map_or("", |who| who.get_name());
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={LOOP}"))
        .arg(this_program()?)
        .args(["part", part, name])
        .args(arguments);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = said.lines().find_map(|line| line.split_once("Collected :"));
    let counted = counted.and_then(|(_, count)| count.trim().parse().ok());
    counted.ok_or_else(|| failed(format!("ended with {} and said:\n{said}", output.status)))
}

/// The name of `lap::run`, whoever runs in it.
const LOOP: &str = "*sluicegate_bench*lap*run*";

/// What a program prints, once it has ended well. Its errors go where ours go.
///
/// # Errors
///
/// If it cannot be started or ends with a failure.
pub(crate) fn output(mut command: Command) -> Result<String, BenchError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |what: String| BenchError::Child {
        program: program.clone(),
        what,
    };
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    if !output.status.success() {
        return Err(failed(format!("ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program that runs.
///
/// # Errors
///
/// If the system does not say.
pub(crate) fn this_program() -> Result<PathBuf, BenchError> {
    Ok(std::env::current_exe()?)
}

/// The profile that this program was built with, by the folder it lies in.
pub(crate) fn profile() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?.file_name()?.to_str()?;
    // Cargo keeps the profile `dev` in a folder of another name.
    Some(if folder == "debug" { "dev" } else { folder }.to_owned())
}

/// Whether a program is on the search path and answers.
pub(crate) fn is_there(program: &str) -> bool {
    let asked = Command::new(program)
        .arg("-v")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok()
}

/// A program that is tied to one processor, where the machine has two and `taskset` is there.
pub(crate) fn pinned(processor: usize, program: impl AsRef<OsStr>) -> Command {
    if cores() < 2 || !is_there("taskset") {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(processor.to_string()).arg(program);
    command
}

/// A server that runs until this value is dropped.
pub(crate) struct Server {
    child: Child,
    name: &'static str,
    address: SocketAddr,
}

impl Server {
    /// Starts a server that listens on `port` of 127.0.0.1, and waits until it does. What it says goes into `log`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends, or does not listen within [`START_WITHIN`].
    pub(crate) fn start(name: &'static str, mut command: Command, port: u16, log: &Path) -> Result<Self, BenchError> {
        let failed = |what: String| BenchError::Child {
            program: name.to_owned(),
            what,
        };
        let file = |source: io::Error| BenchError::File {
            path: log.to_owned(),
            source,
        };
        let said = File::create(log).map_err(file)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(file)?)
            .stderr(said)
            .spawn()
            .map_err(|error| failed(format!("cannot be started: {error}")))?;
        let mut server = Self {
            child,
            name,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        for _ in 0..START_WITHIN.as_millis() / START_LOOK_EVERY.as_millis() {
            if TcpStream::connect(server.address).is_ok() {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(failed(format!("ended with {status} and said:\n{said}")));
            }
            pause(START_LOOK_EVERY);
        }
        Err(failed(format!(
            "does not listen on {} after {START_WITHIN:?}",
            server.address
        )))
    }

    /// The name in the table.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that has to be put in order, and may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bound on what a bench waits for a server: many times what a loaded machine needs.
const START_WITHIN: Duration = Duration::from_secs(20);

const START_LOOK_EVERY: Duration = Duration::from_millis(20);

/// A port that nobody listens on. Somebody else may take it before our server does, which the server then says.
///
/// # Errors
///
/// If there is none.
pub(crate) fn free_port() -> Result<u16, BenchError> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
