//! Why there is no measurement.

use std::io;
use std::path::PathBuf;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A limiter refused to be made for it.
    #[error("{who} cannot be set up: {why}")]
    SetUp {
        /// Which one.
        who: &'static str,
        /// What it said.
        why: String,
    },
    /// The measured loop did something else than was asked of it.
    #[error("{who} did not do what is measured: {what}")]
    Strayed {
        /// Who strayed.
        who: String,
        /// What it did instead.
        what: String,
    },
    /// The figures of a bench are not all there, or not all numbers.
    #[error("bench {bench}: {what}")]
    NoFigure {
        /// Which bench.
        bench: &'static str,
        /// What is missing.
        what: String,
    },
    /// A child process could not be started, or ended too soon.
    #[error("{program} {what}")]
    Child {
        /// Which program.
        program: String,
        /// What it did.
        what: String,
    },
    /// A file or a socket refuses.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refuses something that has no path.
    #[error("the system refuses")]
    System(#[from] io::Error),
    /// The allocator keeps no counts.
    #[error("the allocator keeps no count")]
    Allocator(#[from] tikv_jemalloc_ctl::Error),
    /// What a child process answered cannot be read.
    #[error("the answer of a child process cannot be read")]
    Answer(#[from] serde_json::Error),
}

impl BenchError {
    /// That a thread of `who` panicked.
    pub(crate) fn panicked(who: &str) -> Self {
        Self::Strayed {
            who: who.to_owned(),
            what: "a thread panicked".to_owned(),
        }
    }

    /// That a limiter refused to be made.
    pub(crate) fn set_up(who: &'static str, why: &dyn std::error::Error) -> Self {
        Self::SetUp {
            who,
            why: why.to_string(),
        }
    }
}
