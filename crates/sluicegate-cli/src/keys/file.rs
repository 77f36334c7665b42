//! The file, for one command at a time, and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sluicegate::policy::KEYS_FILE_BYTES_MAX;

/// A file of keys that no other command changes meanwhile.
#[derive(Debug)]
pub(super) struct KeyFileAlone {
    path: PathBuf,
    text: String,
    /// A file beside it, since the file itself is replaced.
    _locked: File,
}

impl KeyFileAlone {
    /// Waits until no other command has the file, and reads it; one that is not there is empty.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let lock = beside(path, "lock")?;
        let locked = private().open(&lock);
        let locked = locked.with_context(|| format!("{} cannot be opened", lock.display()))?;
        locked
            .lock()
            .with_context(|| format!("{} cannot be locked", lock.display()))?;
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => String::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            text,
            _locked: locked,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Puts another file in its place, for its owner alone: whoever reads it sees the one or the other, whole.
    pub(super) fn replace(&self, text: &str) -> anyhow::Result<()> {
        let draft = beside(&self.path, "new")?;
        let written = (|| {
            let mut file = private().truncate(true).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        })();
        written.with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// The file's text.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(KEYS_FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text)
}

fn is_absent(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<std::io::Error>();
    source.is_some_and(|source| source.kind() == ErrorKind::NotFound)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options
}

/// A hidden name in the same folder.
fn beside(path: &Path, end: &str) -> anyhow::Result<PathBuf> {
    let name = path
        .file_name()
        .with_context(|| format!("{} names no file", path.display()))?;
    Ok(path.with_file_name(format!(".{}.{end}", name.to_string_lossy())))
}
