//! The installation secret, under which all keys are hashed.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sluicegate_core::Secret;
use sluicegate_state::snapshot::Fingerprint;

use crate::policy::checked::SecretSource;

/// The file's name in the state directory.
const FILE: &str = "secret";

/// Hexadecimal digits in the file, before the end of the line.
const DIGITS: usize = 2 * Secret::LEN;

/// Most bytes that are read of the file: the digits, blanks around them, and enough more to see that it is another file.
const BYTES_MAX: u64 = 1024;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The directory or the file cannot be read or made.
    #[error("{} cannot be used for the installation secret", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} is not an installation secret ({DIGITS} hexadecimal digits); restore it, or remove it to have a new one \
         made; under another secret every key starts anew, and gradual rollouts are enforced for other clients",
        path.display()
    )]
    Malformed {
        /// Which one.
        path: PathBuf,
    },
    /// Others may read the file.
    #[error("{} may be read by others; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// Which one.
        path: PathBuf,
    },
    /// The environment does not have the one that was given.
    #[error("the environment has no {name}, in which the policy looks for the installation secret")]
    Unset {
        /// The variable's name.
        name: String,
    },
    /// What was given is something else.
    #[error("{place} is not an installation secret ({DIGITS} hexadecimal digits, the same on all nodes)")]
    NotOne {
        /// The file, or the variable of the environment.
        place: String,
    },
    /// The system has no randomness to give.
    #[error("the system's random source gives nothing: {0}")]
    NoRandomness(getrandom::Error),
}

/// A fresh secret for this process alone: no other process will hash a key alike.
///
/// # Errors
///
/// If the system's random source gives nothing.
pub fn generate() -> Result<Secret, SecretError> {
    let mut bytes = [0; Secret::LEN];
    getrandom::fill(&mut bytes).map_err(SecretError::NoRandomness)?;
    Ok(Secret::from_bytes(bytes))
}

/// The secret that the policy says is given; `variable` looks one up in the environment.
///
/// # Errors
///
/// If it is not there, cannot be read, may be read by everybody, or is something else. None is made instead: it would be another
/// one on each node.
pub fn given(source: &SecretSource, variable: impl FnOnce(&str) -> Option<String>) -> Result<Secret, SecretError> {
    match source {
        SecretSource::File(path) => read(path, GIVEN_FOR).map_err(|error| match error {
            SecretError::Malformed { path } => SecretError::NotOne {
                place: path.display().to_string(),
            },
            error => error,
        }),
        SecretSource::Variable(name) => {
            let text = variable(name).ok_or_else(|| SecretError::Unset { name: name.clone() })?;
            decode(text.as_bytes()).ok_or_else(|| SecretError::NotOne { place: name.clone() })
        }
    }
}

/// The secret kept in `directory`, made with mode 0600 if there is none. The directory is made too, with mode 0700.
///
/// Two processes that start at once end with the same secret.
///
/// # Errors
///
/// If the file cannot be read or made, holds something else, or may be read by others. Nothing is overwritten.
pub fn load_or_generate(directory: &Path) -> Result<Secret, SecretError> {
    let path = directory.join(FILE);
    match read(&path, OWN_FOR) {
        Err(SecretError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        answer => return answer,
    }
    make_directory(directory).map_err(|source| SecretError::Io {
        path: directory.to_owned(),
        source,
    })?;
    let secret = generate()?;
    match write(directory, &path, &secret) {
        Ok(()) => Ok(secret),
        // Another process was faster; its secret is everybody's.
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => read(&path, OWN_FOR),
        Err(source) => Err(SecretError::Io { path, source }),
    }
}

/// What tells this secret from another without telling it: 128 bits that BLAKE3 derives from it, under a context of their own, so that
/// nothing about the keys' hashes follows from them.
pub(crate) fn fingerprint(secret: &Secret) -> Fingerprint {
    let derived = blake3::derive_key("sluicegate secret fingerprint 1", secret.expose());
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&derived[..16]);
    Fingerprint(fingerprint)
}

/// The key under which keys are named in a store: derived under a context of its own, so that nothing about the table's hashes follows
/// from what stands there. Nodes find each other's keys by it; a change of the context is an amnesty.
pub(crate) fn store_key(secret: &Secret) -> [u8; 32] {
    blake3::derive_key("sluicegate store key 1", secret.expose())
}

/// The key of the hash that tokens are remembered by, in this process's memory alone.
pub(crate) fn token_key(secret: &Secret) -> [u8; 32] {
    blake3::derive_key("sluicegate token cache 1", secret.expose())
}

/// A number for this node, from 1 to below 2⁵³. Without randomness, which secrets would need more, all nodes would have the same.
pub fn node_number() -> u64 {
    (getrandom::u64().unwrap_or_default() >> 11).max(1)
}

/// Bits of a file's mode that let others read it than may: a file of our own is its owner's alone, and one that was put there
/// may be its group's too, by which secrets are handed to containers.
const OWN_FOR: u32 = 0o077;
pub(crate) const GIVEN_FOR: u32 = 0o007;

fn read(path: &Path, others: u32) -> Result<Secret, SecretError> {
    let error = |source| SecretError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(error)?;
    if is_exposed(&file.metadata().map_err(error)?, others) {
        return Err(SecretError::Exposed { path: path.to_owned() });
    }
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(error)?;
    decode(&text).ok_or_else(|| SecretError::Malformed { path: path.to_owned() })
}

fn decode(text: &[u8]) -> Option<Secret> {
    let digits = text.trim_ascii();
    let mut bytes = [0; Secret::LEN];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != Secret::LEN || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(Secret::from_bytes(bytes))
}

/// Puts the whole file in place at once: a reader never sees half a secret, and a file that is there already stays.
fn write(directory: &Path, path: &Path, secret: &Secret) -> io::Result<()> {
    let draft = directory.join(format!(".{FILE}.{:016x}", getrandom::u64().map_err(io::Error::other)?));
    let written = (|| {
        let mut file = private(&draft)?;
        let mut text = String::with_capacity(DIGITS + 1);
        for byte in secret.expose() {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link fails where the name is taken.
        fs::hard_link(&draft, path)
    })();
    let _ = fs::remove_file(&draft);
    written
}

#[cfg(unix)]
fn make_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
fn make_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

#[cfg(unix)]
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
pub(crate) fn is_exposed(metadata: &fs::Metadata, others: u32) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & others != 0
}

#[cfg(not(unix))]
pub(crate) fn is_exposed(_: &fs::Metadata, _: u32) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_read_back_after() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("state");
        let made = load_or_generate(&state).expect("a fresh secret");
        let read = load_or_generate(&state).expect("the same secret");
        assert_eq!(made.expose(), read.expose());
        assert_ne!(made.expose(), generate().expect("randomness").expose());
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_alone_and_refused_otherwise() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        load_or_generate(directory.path()).expect("a fresh secret");
        let path = directory.path().join(FILE);
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("our own file");
        assert!(matches!(
            load_or_generate(directory.path()),
            Err(SecretError::Exposed { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_another_form_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE);
        private(&path).expect("a new file");
        for text in [
            "",
            "deadbeef\n",
            &"g".repeat(DIGITS),
            &"a".repeat(DIGITS + 1),
            &"é".repeat(DIGITS / 2),
        ] {
            fs::write(&path, text).expect("our own file");
            assert!(
                matches!(load_or_generate(directory.path()), Err(SecretError::Malformed { .. })),
                "{text:?}"
            );
            assert_eq!(fs::read_to_string(&path).expect("the file"), text);
        }
    }

    #[test]
    fn a_given_secret_is_read_where_it_is_and_never_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = load_or_generate(directory.path()).expect("a fresh secret");
        let file = |name: &str| SecretSource::File(directory.path().join(name));
        let read = given(&file(FILE), |_| None).expect("the same secret");
        assert_eq!(made.expose(), read.expose());
        assert!(matches!(given(&file("none"), |_| None), Err(SecretError::Io { .. })));
        assert!(!directory.path().join("none").exists());

        let variable = SecretSource::Variable("SECRET".to_owned());
        let digits = "ab".repeat(Secret::LEN);
        let read = given(&variable, |name| (name == "SECRET").then(|| format!("{digits}\n"))).expect("a secret");
        assert_eq!(read.expose(), &[0xab; Secret::LEN]);
        assert!(matches!(given(&variable, |_| None), Err(SecretError::Unset { .. })));
        let told = given(&variable, |_| Some("hunter2".to_owned())).expect_err("no secret");
        assert!(
            told.to_string().starts_with("SECRET is not an installation secret")
                && !told.to_string().contains("hunter2"),
            "{told}"
        );
    }

    /// Snapshots depend on it; a change is a new context, and an amnesty.
    #[test]
    fn the_fingerprint_is_pinned_and_tells_secrets_apart() {
        let of = |byte| fingerprint(&Secret::from_bytes([byte; Secret::LEN])).0;
        let pinned = [
            180, 129, 247, 198, 232, 194, 12, 16, 120, 172, 157, 73, 196, 253, 58, 98,
        ];
        assert_eq!(of(7), pinned);
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn processes_that_start_at_once_end_with_one_secret() {
        let directory = tempfile::tempdir().expect("a directory");
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| *load_or_generate(directory.path()).expect("a secret").expose());
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
