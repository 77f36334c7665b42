//! Certificates and keys, the listeners' and those for the way to the store, read where the policy says that they are.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::secret::{GIVEN_FOR, is_exposed};

/// Why there is no certificate, or no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read the file of a key.
    #[error("{} holds a private key and may be read by everybody; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// Which one.
        path: PathBuf,
    },
    /// The file is too large for what it is to be.
    #[error("{} holds more than {BYTES_MAX} bytes, and no certificate does", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
    },
}

/// Reads a file of certificates, as it is (PEM); whether they are any is seen where they are used.
///
/// # Errors
///
/// If it cannot be read, or is larger than 4 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    read_open(path, open(path)?)
}

/// Reads the file of a private key, as it is (PEM). Nothing prints it.
///
/// # Errors
///
/// As [`read`], and if everybody may read the file.
pub fn read_key(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let file = open(path)?;
    if is_exposed(&file.metadata().map_err(|source| failed(path, source))?, GIVEN_FOR) {
        return Err(CertificateError::Exposed { path: path.to_owned() });
    }
    read_open(path, file)
}

/// Equal for the same content, and in practice for no other (BLAKE3): by it a key can be told from the one before without keeping
/// either.
pub fn fingerprint(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// Most bytes of a file: ten times those of all public authorities together.
const BYTES_MAX: usize = 4 << 20;

fn open(path: &Path) -> Result<File, CertificateError> {
    File::open(path).map_err(|source| failed(path, source))
}

fn read_open(path: &Path, file: File) -> Result<Vec<u8>, CertificateError> {
    let mut bytes = Vec::new();
    // One more, to see that it is too large.
    let mut most = file.take(BYTES_MAX as u64 + 1);
    most.read_to_end(&mut bytes).map_err(|source| failed(path, source))?;
    if bytes.len() > BYTES_MAX {
        return Err(CertificateError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn failed(path: &Path, source: io::Error) -> CertificateError {
    CertificateError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_certificates_is_read_as_it_is_and_with_a_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        assert!(matches!(read(&path), Err(CertificateError::Io { .. })));
        fs::write(&path, "what it says").expect("a file");
        assert_eq!(read(&path).expect("a small file"), b"what it says");
        fs::write(&path, vec![b'x'; BYTES_MAX + 1]).expect("a file");
        assert!(matches!(read(&path), Err(CertificateError::TooLarge { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_private_key_that_everybody_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.key");
        fs::write(&path, "canary").expect("a file");
        for (mode, is_taken) in [(0o600, true), (0o640, true), (0o644, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            let read = read_key(&path);
            assert_eq!(read.is_ok(), is_taken, "{mode:o}");
            assert!(!is_taken || !format!("{:?}", read.err()).contains("canary"));
        }
    }
}
