//! On what a measurement was made, without which it means nothing.

use std::fmt;
use std::process::Command;

use serde::Serialize;

/// The machine, and what the bench was built with.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_mib: Option<u64>,
    kernel: String,
    rustc: String,
    profile: String,
}

impl Machine {
    /// Looks around; what cannot be learnt is `unknown`.
    pub(crate) fn look() -> Self {
        Self {
            processor: line_of("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: cores(),
            memory_mib: line_of("/proc/meminfo", "MemTotal")
                .and_then(|line| line.strip_suffix(" kB")?.parse::<u64>().ok())
                .map(|kib| kib / 1024),
            kernel: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
            profile: crate::child::profile().unwrap_or_else(unknown),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = self.cores;
        let memory = self.memory_mib.map_or_else(unknown, |mib| format!("{mib} MiB"));
        writeln!(f, "processor  {}, {cores} cores; memory {memory}", self.processor)?;
        writeln!(f, "kernel     {}", self.kernel)?;
        writeln!(f, "built by   {}, profile {}", self.rustc, self.profile)
    }
}

/// Processors that this process may use; 1 if the system does not say.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// What stands after `name` and a colon.
fn line_of(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line a program prints.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let first = |output: std::process::Output| Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned());
    output.ok().and_then(first).unwrap_or_else(unknown)
}
