//! What a listener's files say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluicegate::certificate;
use sluicegate::policy::checked::{ListenTls, ServerCertificate};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore};

use super::error::TlsError;
use super::leaf::Leaf;

/// The content of all of a listener's files, read at one moment.
pub(super) struct Material {
    /// In the policy's order.
    pub(super) pairs: Vec<Pair>,
    pub(super) authorities: Option<(PathBuf, Vec<u8>)>,
}

/// A certificate with its key.
pub(super) struct Pair {
    pub(super) files: ServerCertificate,
    certificate: Vec<u8>,
    private_key: Vec<u8>,
}

/// Tells one content of a listener's files from another.
pub(super) type Fingerprint = [u8; 32];

impl Material {
    pub(super) fn read(listen: &ListenTls) -> Result<Self, TlsError> {
        let read = |files: &ServerCertificate| {
            Ok::<_, TlsError>(Pair {
                files: files.clone(),
                certificate: certificate::read(&files.certificate)?,
                private_key: certificate::read_key(&files.private_key)?,
            })
        };
        let clients = listen.clients.as_ref();
        let authorities = clients.map(|clients| {
            let file = clients.authorities.clone();
            certificate::read(&file).map(|bytes| (file, bytes))
        });
        Ok(Self {
            pairs: listen.certificates.iter().map(read).collect::<Result<_, _>>()?,
            authorities: authorities.transpose()?,
        })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let files = self
            .pairs
            .iter()
            .flat_map(|pair| [&pair.certificate, &pair.private_key]);
        let files = files.chain(self.authorities.iter().map(|(_, bytes)| bytes));
        // Each by itself first, so that nothing moves from one file to the next unseen.
        let each: Vec<u8> = files.flat_map(|bytes| certificate::fingerprint(bytes)).collect();
        certificate::fingerprint(&each)
    }

    /// The authorities that clients are judged by, where they are asked.
    pub(super) fn roots(&self) -> Option<Result<RootCertStore, TlsError>> {
        let (file, bytes) = self.authorities.as_ref()?;
        let unusable = |source: Error| TlsError::Authorities {
            file: file.clone(),
            source: source.into(),
        };
        let collect = |chain: Vec<CertificateDer<'static>>| {
            let mut roots = RootCertStore::empty();
            for authority in chain {
                roots.add(authority).map_err(unusable)?;
            }
            Ok(roots)
        };
        Some(chain(file, bytes).and_then(collect))
    }
}

impl Pair {
    /// The certificate, made ready, and what it says.
    pub(super) fn certified(&self, provider: &CryptoProvider) -> Result<(Arc<CertifiedKey>, Leaf), TlsError> {
        let file = &self.files.certificate;
        let chain = chain(file, &self.certificate)?;
        let leaf = chain.first().and_then(|first| Leaf::read(first));
        let leaf = leaf.ok_or_else(|| TlsError::Unreadable { file: file.clone() })?;
        // What is wrong with a key's file is not repeated: the reader's words may hold a piece of it.
        let key = PrivateKeyDer::from_pem_slice(&self.private_key).map_err(|_| TlsError::NotPem {
            file: self.files.private_key.clone(),
            what: "private key",
        })?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|source| match source {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
                certificate: file.clone(),
                private_key: self.files.private_key.clone(),
            },
            source => TlsError::Unusable {
                file: file.clone(),
                source,
            },
        })?;
        Ok((Arc::new(certified), leaf))
    }
}

fn chain(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NotPem {
            file: file.to_owned(),
            what: "certificate",
        }),
    }
}
