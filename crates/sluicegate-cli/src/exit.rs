//! How the process ends.

use std::process::ExitCode;

/// What the exit code tells the caller. The numbers are part of the interface: `docs/cli.md` and `--help` list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; for `run`, drained with no request cut off.
    Success = 0,
    /// The policy has faults (or, under `--strict`, warnings), or cannot be read.
    Faulty = 1,
    /// The command line says too little or something unknown. Also what clap answers with.
    Usage = 2,
    /// Something outside refused: an address in use, a secret that cannot be kept.
    Failed = 3,
    /// `demo`: a client was not held to its limit, or one below its limit lost requests.
    NotHeld = 4,
    /// `run`: stopped before every request under way was finished.
    CutShort = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The last lines of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; `run` drained with no request cut off
  1  the policy has faults (with --strict: or warnings), or cannot be read
  2  the command line says too little or something unknown
  3  something outside refused, such as an address in use
  4  demo: a client was not held to its limit, or one below it lost requests
  5  run: stopped before every request under way was finished";
