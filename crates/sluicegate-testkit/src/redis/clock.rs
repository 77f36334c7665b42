//! A clock of a server's own: what the system tells it of the time of day is moved by libfaketime, while it runs.
//!
//! What moves is the time of day, by which `TIME`, scripts and expiries go. The clock that only counts on, by which a server ends idle
//! connections, stays the machine's.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::RedisError;

/// What a server is started with so that it goes by the clock of [`set`]. A clock that was set before stays so.
pub(super) fn environment(folder: &Path) -> Result<Vec<(&'static str, OsString)>, RedisError> {
    let library = library().ok_or_else(|| RedisError::Missing {
        program: PathBuf::from(LIBRARY),
        package: "faketime",
    })?;
    let clock = folder.join(CLOCK);
    if !clock.exists() {
        set(folder, 0)?;
    }
    let mut preload = OsString::from(PLAIN_MALLOC);
    preload.push(":");
    preload.push(library);
    Ok(vec![
        ("LD_PRELOAD", preload),
        ("FAKETIME_TIMESTAMP_FILE", clock.into_os_string()),
        // Each look at the clock reads the file, instead of one in ten seconds.
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ])
}

/// Sets the clock so many seconds ahead of the machine's, or behind it if that is negative: at the next look at it.
pub(super) fn set(folder: &Path, ahead_seconds: i64) -> Result<(), RedisError> {
    let unwritable = "the server's clock cannot be set";
    // Whoever reads meanwhile finds the clock before or the clock after, and nothing in between.
    let next = folder.join("clock.next");
    fs::write(&next, format!("{ahead_seconds:+}\n")).map_err(RedisError::system(unwritable))?;
    fs::rename(&next, folder.join(CLOCK)).map_err(RedisError::system(unwritable))
}

/// Removes what libfaketime leaves in shared memory when a process is killed.
pub(super) fn tidy(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // One that ended by itself has left nothing.
        let _ = fs::remove_file(Path::new(SHARED_MEMORY).join(name));
    }
}

/// Wherever this machine's packages have put it: in a folder that is named after the processor.
fn library() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let inside = places.flat_map(|place| [place.join("faketime").join(LIBRARY), place.join(LIBRARY)]);
    inside.into_iter().find(|library| library.exists())
}

const LIBRARY: &str = "libfaketimeMT.so.1";

/// Before libfaketime has found the system's clock it allocates; Debian's server does that by jemalloc, which asks for the time and never
/// gets an answer. With the C library's own functions in jemalloc's place nobody asks.
const PLAIN_MALLOC: &str = "libc_malloc_debug.so.0";

const CLOCK: &str = "clock";
const SHARED_MEMORY: &str = "/dev/shm";
