//! The state directory, for one process at a time: two that wrote their snapshots there would wipe out each other's, and one that
//! starts while another still drains would read what that has not written yet.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context;

/// The name of the file that is locked. It is empty, and stays.
const NAME: &str = "lock";

/// The only user of a state directory, until it is dropped or the process ends, however that ends.
#[derive(Debug)]
pub(crate) struct OnlyUser {
    _locked: File,
}

impl OnlyUser {
    /// Takes the directory; made with mode 0700 where it is not there.
    ///
    /// # Errors
    ///
    /// When another process has it, or the directory or the file cannot be made. Where the file system knows no locks, nothing is locked.
    pub(crate) fn take(directory: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("the state directory {} cannot be made", directory.display()))?;
        let path = directory.join(NAME);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another process uses the state directory {}: wait until it has ended, or name another in state.directory",
                directory.display()
            ),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _locked: file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_is_one_process_at_a_time() {
        let directory = tempfile::tempdir().expect("a folder");
        let first = OnlyUser::take(directory.path()).expect("nobody else is there");
        let refused = OnlyUser::take(directory.path()).expect_err("taken").to_string();
        assert!(
            refused.starts_with("another process uses the state directory"),
            "{refused}"
        );
        drop(first);
        assert!(OnlyUser::take(directory.path()).is_ok());
        assert!(OnlyUser::take(&directory.path().join("made/on/the/way")).is_ok());
    }
}
