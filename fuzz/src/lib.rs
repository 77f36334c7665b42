//! Properties of everything that reads what others wrote, searched by mutation.
//!
//! Each module holds one target: a plain function from bytes to nothing that panics when a property does not hold. It is
//! called in three ways:
//!
//! - by `tests/corpus.rs`, with every file of `corpus/TARGET/` and a bounded number of their mutations from a fixed seed;
//! - by the binary `mutate` (`./x soak`), with mutations from a seed that it prints, for as long as asked;
//! - by `cargo fuzz` with coverage, through the binaries in `fuzz_targets/`.
//!
//! A file that made a target fail goes into the corpus, with the fix, and stays there.
#![forbid(unsafe_code)]

pub mod address;
pub mod condition;
pub mod events;
pub mod form;
pub mod framing;
pub mod hello;
pub mod json;
pub mod keys;
pub mod limit;
pub mod mutation;
pub mod path;
pub mod policy;
pub mod proxy;
pub mod reader;
pub mod snapshot;
pub mod store;
pub mod token;

use std::path::{Path, PathBuf};
use std::{fs, io};

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its module, its binary and its folder in the corpus.
    pub name: &'static str,
    /// Panics when a property does not hold for the bytes.
    pub run: fn(&[u8]),
    /// Words that mutations put in: what the grammar of this target is made of.
    pub dictionary: &'static [&'static str],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "address",
        run: address::target,
        dictionary: address::DICTIONARY,
    },
    Target {
        name: "condition",
        run: condition::target,
        dictionary: condition::DICTIONARY,
    },
    Target {
        name: "events",
        run: events::target,
        dictionary: events::DICTIONARY,
    },
    Target {
        name: "form",
        run: form::target,
        dictionary: form::DICTIONARY,
    },
    Target {
        name: "framing",
        run: framing::target,
        dictionary: framing::DICTIONARY,
    },
    Target {
        name: "hello",
        run: hello::target,
        dictionary: hello::DICTIONARY,
    },
    Target {
        name: "json",
        run: json::target,
        dictionary: json::DICTIONARY,
    },
    Target {
        name: "keys",
        run: keys::target,
        dictionary: keys::DICTIONARY,
    },
    Target {
        name: "limit",
        run: limit::target,
        dictionary: limit::DICTIONARY,
    },
    Target {
        name: "path",
        run: path::target,
        dictionary: path::DICTIONARY,
    },
    Target {
        name: "policy",
        run: policy::target,
        dictionary: policy::DICTIONARY,
    },
    Target {
        name: "proxy",
        run: proxy::target,
        dictionary: proxy::DICTIONARY,
    },
    Target {
        name: "snapshot",
        run: snapshot::target,
        dictionary: snapshot::DICTIONARY,
    },
    Target {
        name: "store",
        run: store::target,
        dictionary: store::DICTIONARY,
    },
    Target {
        name: "token",
        run: token::target,
        dictionary: token::DICTIONARY,
    },
];

/// The kept inputs of a target, in the order of their names.
///
/// # Errors
///
/// What the file system answers; a target without a folder in the corpus is one of them.
pub fn corpus(target: &Target) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut inputs = fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            let bytes = fs::read(&path)?;
            Ok((path, bytes))
        })
        .collect::<io::Result<Vec<_>>>()?;
    inputs.sort();
    Ok(inputs)
}

/// Runs a target over the files named on the command line, to see a failure again without `cargo fuzz`.
///
/// # Errors
///
/// What the file system answers.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the binaries of this crate read their arguments"
)]
pub fn replay(target: fn(&[u8])) -> io::Result<()> {
    for path in std::env::args_os().skip(1) {
        println!("{}", Path::new(&path).display());
        target(&fs::read(path)?);
    }
    Ok(())
}
