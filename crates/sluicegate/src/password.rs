//! What a server of the store asks for, read where the policy says that it is.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::policy::checked::SecretSource;
use crate::secret::{GIVEN_FOR, is_exposed};

/// A password. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The environment does not have it.
    #[error("the environment has no {name}, in which the policy looks for a password")]
    Unset {
        /// The variable's name.
        name: String,
    },
    /// The file cannot be read.
    #[error("the password in {} cannot be read", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read the file.
    #[error("{} holds a password and may be read by everybody; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// Which one.
        path: PathBuf,
    },
    /// What is there is none.
    #[error("{place} is no password: it has to be one line of text, of at most {BYTES_MAX} bytes")]
    Malformed {
        /// The file, or the variable of the environment.
        place: String,
    },
}

/// Reads a password; `variable` looks one up in the environment. The end of a file's line is no part of it.
///
/// # Errors
///
/// If it is not there, cannot be read, may be read by everybody, or is not one line of text.
pub fn read(source: &SecretSource, variable: impl FnOnce(&str) -> Option<String>) -> Result<Password, PasswordError> {
    let (text, place) = match source {
        SecretSource::Variable(name) => match variable(name) {
            Some(text) => (Some(text), name.clone()),
            None => return Err(PasswordError::Unset { name: name.clone() }),
        },
        SecretSource::File(path) => (read_file(path)?, path.display().to_string()),
    };
    let sound = text.filter(|text| {
        let is_line = !text.is_empty() && !text.contains(char::is_control);
        is_line && text.len() <= BYTES_MAX
    });
    sound.map(Password).ok_or(PasswordError::Malformed { place })
}

/// Most bytes of a password: far above what any server generates.
const BYTES_MAX: usize = 1024;

/// `None` where it is no text.
fn read_file(path: &Path) -> Result<Option<String>, PasswordError> {
    let error = |source| PasswordError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(error)?;
    if is_exposed(&file.metadata().map_err(error)?, GIVEN_FOR) {
        return Err(PasswordError::Exposed { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    // The end of the line, of either kind, and one more to see that it is too long.
    file.take(BYTES_MAX as u64 + 3).read_to_end(&mut bytes).map_err(error)?;
    let Ok(mut text) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let length = line.strip_suffix('\r').unwrap_or(line).len();
    text.truncate(length);
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn from_environment(value: Option<&str>) -> Result<Password, PasswordError> {
        let source = SecretSource::Variable("REDIS_PASSWORD".to_owned());
        read(&source, |name| {
            assert_eq!(name, "REDIS_PASSWORD");
            value.map(str::to_owned)
        })
    }

    #[test]
    fn a_password_is_one_line_of_a_variable_or_a_file() {
        assert_eq!(
            from_environment(Some("hunter2")).expect("it is there").expose(),
            "hunter2"
        );
        assert!(matches!(from_environment(None), Err(PasswordError::Unset { .. })));
        for rubbish in ["", "two\nlines", "hunter2\n"] {
            assert!(matches!(
                from_environment(Some(rubbish)),
                Err(PasswordError::Malformed { .. })
            ));
        }

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("password");
        let read = || read(&SecretSource::File(path.clone()), |_| None);
        assert!(matches!(read(), Err(PasswordError::Io { .. })));
        let write = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("our own file");
            private(&path, 0o600);
        };
        for (bytes, expected) in [
            (b"hunter2".as_slice(), Some("hunter2")),
            (b"hunter2\n", Some("hunter2")),
            (b" a b \r\n", Some(" a b ")),
            (b"", None),
            (b"\n", None),
            (b"two\nlines\n", None),
            (b"\xff", None),
            ([b'x'; BYTES_MAX].as_slice(), Some("x".repeat(BYTES_MAX).as_str())),
            ([b'x'; BYTES_MAX + 1].as_slice(), None),
        ] {
            write(bytes);
            assert_eq!(read().ok().as_ref().map(Password::expose), expected);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_password_that_everybody_may_read_is_refused_and_none_is_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("password");
        fs::write(&path, "hunter2").expect("our own file");
        let source = SecretSource::File(path.clone());
        for (mode, is_read) in [(0o644, false), (0o604, false), (0o640, true), (0o400, true)] {
            private(&path, mode);
            let answer = read(&source, |_| None);
            assert_eq!(answer.is_ok(), is_read, "{mode:o}: {answer:?}");
            assert!(!format!("{answer:?}").contains("hunter2"));
        }
    }

    fn private(path: &Path, mode: u32) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
        }
        #[cfg(not(unix))]
        let _ = (path, mode);
    }
}
