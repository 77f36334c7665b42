//! How many files the process may have open at once.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one. The soft one is commonly 1024, for the sake of programs that use
/// `select`, which cannot name a descriptor beyond; nothing here does, and every client may take two.
///
/// Where the system refuses, the limit stays as it is: the gateway then takes fewer clients at once, and says so.
pub(crate) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    // macOS has a maximum of its own below a hard limit of "any number".
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the soft limit of open files cannot be raised to the hard one");
    }
}
