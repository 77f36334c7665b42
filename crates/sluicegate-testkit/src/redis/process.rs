//! A child process that can be stopped, continued and killed, and is gone when dropped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::options::not_started;
use super::{RedisError, clock};

/// A running server.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    is_paused: bool,
}

impl Process {
    /// Starts `program` with a configuration file and more arguments, and what is added to the environment; what it says goes to the end
    /// of `log`.
    pub(super) fn start(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, OsString)],
        log: &Path,
    ) -> Result<Self, RedisError> {
        let unwritable = "the server's log cannot be written";
        let said = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(RedisError::system(unwritable))?;
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(RedisError::system(unwritable))?)
            .stderr(said)
            .spawn()
            .map_err(|source| not_started(program, source))?;
        Ok(Self {
            child,
            is_paused: false,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Whether it is there and not stopped.
    pub(super) fn is_running(&mut self) -> bool {
        !self.is_paused && matches!(self.ended(), Ok(None))
    }

    /// Stops it, and returns when no thread of it runs any more.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP, WaitIdOptions::STOPPED)?;
        self.is_paused = true;
        Ok(())
    }

    /// Lets it go on, if it is stopped: what runs never continues.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        if !self.is_paused {
            return Ok(());
        }
        self.signal(Signal::CONT, WaitIdOptions::CONTINUED)?;
        self.is_paused = false;
        Ok(())
    }

    fn signal(&mut self, signal: Signal, until: WaitIdOptions) -> io::Result<()> {
        // Once it is waited for, its id may be another's.
        if self.ended()?.is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)?;
        // A process that has ended will not stop any more; how it ended is left for `ended` to read.
        waitid(WaitId::Pid(pid), until | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        Ok(())
    }

    /// Kills it, stopped or not, and returns when it is gone.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        clock::tidy(self.child.id());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.kill();
    }
}

/// The last lines of a log, for an error.
pub(super) fn end_of(log: &Path) -> String {
    let said = fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n")
}

/// Enough for the reason; a server of version 7 says seven lines before it.
const LINES_TOLD: usize = 12;
