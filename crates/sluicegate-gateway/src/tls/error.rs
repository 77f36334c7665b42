//! Why a listener's certificates cannot be used.

use std::path::PathBuf;

use sluicegate::certificate::CertificateError;
use tokio_rustls::rustls;

/// Why a listener cannot speak TLS by what its files say. Names files, and never says what a key's file holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be had.
    #[error(transparent)]
    File(#[from] CertificateError),
    /// A file holds nothing of what it is to hold.
    #[error("{} holds no {what} in PEM", file.display())]
    NotPem {
        /// Which one.
        file: PathBuf,
        /// What it is to hold.
        what: &'static str,
    },
    /// A certificate that nobody can use, or a key of an unknown kind.
    #[error("the certificate in {} cannot be used with its key", file.display())]
    Unusable {
        /// The certificate's.
        file: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The certificate is another key's.
    #[error("{} is not the key of the certificate in {}", private_key.display(), certificate.display())]
    Mismatch {
        /// Which certificate.
        certificate: PathBuf,
        /// Which key.
        private_key: PathBuf,
    },
    /// The certificate's time is over.
    #[error("the certificate in {} has expired", file.display())]
    Expired {
        /// Which one.
        file: PathBuf,
    },
    /// What is to be a certificate is none.
    #[error("a certificate in {} cannot be read", file.display())]
    Unreadable {
        /// Which one.
        file: PathBuf,
    },
    /// Clients cannot be judged by these authorities.
    #[error("the authorities in {} cannot be used", file.display())]
    Authorities {
        /// Which ones.
        file: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The library refuses what it was asked for.
    #[error("TLS cannot be set up")]
    Library(#[source] rustls::Error),
}
