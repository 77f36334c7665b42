//! The file: made beside its place and put there whole; opened only where it is what it should be.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::ReadError;
use super::header::{Fingerprint, Header};
use super::reader::Snapshot;
use super::writer::{WriteError, Writer, Written};

/// How long a snapshot lasts once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Left to the system to bring to the disk: outlives the process however it ends, and not always the machine. A file
    /// that a power cut leaves half written is found out by [`open`].
    Cached,
    /// On the disk, with its name, before [`write()`] returns. May take as long as the disk does.
    Synced,
}

/// Writes a snapshot to `path`, in the place of the one that may be there. `fill` writes the records.
///
/// The file is made under another name in the same directory, readable by its owner alone, and renamed when all of it is
/// written: at any moment `path` names the old file or the new one, each whole. If `path` is a link, the link is replaced and
/// what it points to stays. What writers that were killed have left behind is removed first.
///
/// # Errors
///
/// If `fill` fails, or the system refuses. The snapshot that was there is then still there, and no part of the new one is left;
/// but if only the directory could not be brought to the disk, the new one is in its place.
pub fn write(
    path: &Path,
    header: &Header,
    durability: Durability,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), WriteError>,
) -> Result<Written, WriteError> {
    // What is in the way takes room, and is no reason to write nothing.
    let _ = remove_leftovers(path);
    let mut draft = Draft::new(path)?;
    let mut writer = Writer::new(&mut draft.file, header)?;
    fill(&mut writer)?;
    let written = writer.finish()?;
    draft.put_in_place(path, durability)?;
    Ok(written)
}

/// Opens the snapshot at `path`, at most `bytes_max` bytes, and checks all of it; `None` if there is none.
///
/// `fingerprint` is that of the secret in use. Links are not followed, and nothing is waited for: a pipe in the file's place
/// is an error like a directory. See [`Snapshot::check`] for what it takes.
///
/// # Errors
///
/// If the file is anything but a whole snapshot under this secret which only its owner may write.
pub fn open(path: &Path, fingerprint: Fingerprint, bytes_max: u64) -> Result<Option<Snapshot<File>>, ReadError> {
    let file = match system::open(path) {
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        answer => answer?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    if system::is_exposed(&metadata) {
        return Err(ReadError::Exposed);
    }
    Snapshot::check(file, fingerprint, bytes_max).map(Some)
}

/// Renames a file that is not used to `PATH.bad`, in the place of an earlier one, so that it can be looked at; returns that
/// name. A link is renamed itself.
///
/// # Errors
///
/// What the system answers.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = name(path)?.to_owned();
    name.push(".bad");
    let aside = path.with_file_name(name);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Removes what writers of `path` that were killed have left in its directory, and tells how many files that were.
///
/// A writer that still lives holds a lock on its file, which is then spared. [`write()`] does the same on its way.
///
/// # Errors
///
/// If the directory cannot be listed. A file that cannot be opened or removed is passed over.
pub fn remove_leftovers(path: &Path) -> io::Result<usize> {
    let mut removed = 0;
    let (before, after) = around_number(path)?;
    for entry in fs::read_dir(directory(path))?.take(ENTRIES_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_draft = name.starts_with(before.as_encoded_bytes()) && name.ends_with(after.as_bytes());
        if is_draft && is_abandoned(&entry.path()) && fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Most names of a directory that are looked at for leftovers. The state directory holds some ten; in another one, with so
/// many that leftovers hide, a walk each time would cost more than they do.
const ENTRIES_MAX: usize = 4096;

/// Whether no living writer holds its lock. Where there are no locks every draft counts as abandoned: another process that
/// was just writing one then finds it gone, keeps the snapshot that there was, and writes the next.
fn is_abandoned(draft: &Path) -> bool {
    system::open(draft).is_ok_and(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// A file in the making; removed unless it was put in its place.
struct Draft {
    path: PathBuf,
    file: File,
    is_in_place: bool,
}

/// Numbers the drafts of this process, so that no name is used twice: a leftover that is about to be removed is then never
/// a new draft.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// Names that are tried for a draft. Another one is needed only where an earlier process with our number was killed and its
/// leftover could not be removed.
const TRIES: usize = 16;

impl Draft {
    fn new(path: &Path) -> io::Result<Self> {
        let (before, after) = around_number(path)?;
        let mut refusal = None;
        for _ in 0..TRIES {
            let mut name = before.clone();
            let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
            name.push(format!("{}.{number}{after}", std::process::id()));
            let path = path.with_file_name(name);
            match system::create(&path) {
                Ok(file) => {
                    // Tells others that the draft is somebody's until the file is closed, however that comes about. Who
                    // looks in the instant before it is held removes the draft, and `put_in_place` fails.
                    let _ = file.try_lock();
                    return Ok(Self {
                        path,
                        file,
                        is_in_place: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refusal.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
    }

    fn put_in_place(mut self, path: &Path, durability: Durability) -> io::Result<()> {
        if durability == Durability::Synced {
            self.file.sync_all()?;
        }
        fs::rename(&self.path, path)?;
        self.is_in_place = true;
        match durability {
            Durability::Cached => Ok(()),
            Durability::Synced => File::open(directory(path))?.sync_all(),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What stands before and after the numbers in the name of a draft of `path`.
fn around_number(path: &Path) -> io::Result<(OsString, &'static str)> {
    let mut before = OsString::from(".");
    before.push(name(path)?);
    before.push(".");
    Ok((before, ".draft"))
}

fn name(path: &Path) -> io::Result<&OsStr> {
    path.file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path of the snapshot names no file"))
}

fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(unix)]
mod system {
    use std::fs::{File, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    use std::path::Path;

    use rustix::fs::OFlags;
    use rustix::io::Errno;

    use super::ReadError;

    pub(super) fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Opens for reading, no link, and without waiting for who may write to a pipe.
    pub(super) fn open(path: &Path) -> Result<File, ReadError> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path);
        file.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => ReadError::NotRegular,
            _ => ReadError::Io(error),
        })
    }

    pub(super) fn is_exposed(metadata: &Metadata) -> bool {
        metadata.permissions().mode() & 0o022 != 0
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::{self, File, Metadata, OpenOptions};
    use std::io;
    use std::path::Path;

    use super::ReadError;

    pub(super) fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub(super) fn open(path: &Path) -> Result<File, ReadError> {
        if fs::symlink_metadata(path)?.is_symlink() {
            return Err(ReadError::NotRegular);
        }
        Ok(File::open(path)?)
    }

    pub(super) fn is_exposed(_: &Metadata) -> bool {
        false
    }
}
