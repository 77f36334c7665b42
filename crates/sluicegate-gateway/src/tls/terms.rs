//! What the handshakes of one listener go by.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::policy::checked::{ClientAuth, Gateway, Listen, ListenTls, TlsVersion};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion};

use super::error::TlsError;
use super::leaf::Leaf;
use super::material::{Fingerprint, Material};
use super::names::Names;
use crate::connection::HTTP2;

/// One listener's certificates and conditions, ready for handshakes. What its files said when they were read.
pub(crate) struct Terms {
    asked: ListenTls,
    http2: bool,
    fingerprint: Fingerprint,
    certificates: Vec<(PathBuf, Leaf)>,
    pub(super) acceptor: TlsAcceptor,
}

/// A certificate that a listener shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The listener's address, as the policy names it.
    pub listen: SocketAddr,
    /// The file that it was read from.
    pub file: PathBuf,
    /// The last moment at which it holds, since 1970 (UTC).
    pub not_after: Duration,
}

/// From so long before its end on, a certificate is warned of. Who renews by hand needs a fortnight; machines renew a month before.
pub const EXPIRY_WARNING: Duration = Duration::from_hours(14 * 24);

impl Terms {
    /// The terms of each of the gateway's listeners, `None` for those that speak plain HTTP. Reads every file once.
    ///
    /// A listener whose fields and files say what they said before keeps its terms, and with them its session tickets. Where they say
    /// something else, a certificate that has expired is refused if there is one to go on with, that is if `former` has any terms.
    pub(crate) fn of_all(gateway: &Gateway, former: Former<'_>) -> Result<Box<[Option<Arc<Self>>]>, TlsError> {
        let of_one = |listen: &Listen| {
            listen
                .tls
                .as_ref()
                .map(|tls| Self::of(tls, listen.http2, former))
                .transpose()
        };
        gateway.listen.iter().map(of_one).collect()
    }

    fn of(asked: &ListenTls, http2: bool, former: Former<'_>) -> Result<Arc<Self>, TlsError> {
        let material = Material::read(asked)?;
        let fingerprint = material.fingerprint();
        let is_same =
            |terms: &&Arc<Self>| terms.fingerprint == fingerprint && terms.asked == *asked && terms.http2 == http2;
        if let Some(same) = former.terms.iter().flatten().find(is_same) {
            return Ok(Arc::clone(same));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = material.pairs.iter().map(|pair| {
            let (key, leaf) = pair.certified(&provider)?;
            if !former.terms.is_empty() && leaf.not_after < former.now {
                return Err(TlsError::Expired {
                    file: pair.files.certificate.clone(),
                });
            }
            Ok((key, pair.files.certificate.clone(), leaf))
        });
        let certified = certified.collect::<Result<Vec<_>, _>>()?;
        let names = Names::new(
            certified
                .iter()
                .map(|(key, _, leaf)| (Arc::clone(key), leaf.names.clone())),
        );
        let config = config((asked, http2), &material, names, provider)?;
        Ok(Arc::new(Self {
            asked: asked.clone(),
            http2,
            fingerprint,
            certificates: certified.into_iter().map(|(_, file, leaf)| (file, leaf)).collect(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }))
    }

    /// Whether any listener's files say something else now than when `terms` were made of them, or cannot be read.
    pub(crate) fn have_changed(terms: &[Option<Arc<Self>>]) -> bool {
        terms.iter().flatten().any(|terms| {
            let now = Material::read(&terms.asked).map(|material| material.fingerprint());
            !now.is_ok_and(|now| now == terms.fingerprint)
        })
    }

    /// The certificates that the listener at `listen` shows.
    pub(crate) fn certificates(&self, listen: SocketAddr) -> impl Iterator<Item = Certificate> {
        self.certificates.iter().map(move |(file, leaf)| Certificate {
            listen,
            file: file.clone(),
            not_after: leaf.not_after,
        })
    }
}

/// What was in force before, and when it is asked.
#[derive(Clone, Copy)]
pub(crate) struct Former<'a> {
    /// Of each listener; empty at the start.
    pub(crate) terms: &'a [Option<Arc<Terms>>],
    /// The time of day, since 1970.
    pub(crate) now: Duration,
}

fn config(
    (asked, http2): (&ListenTls, bool),
    material: &Material,
    names: Names,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let verifier = verifier(asked, material, &provider)?;
    let asks = verifier.offer_client_auth();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(asked.min_version))
        .map_err(TlsError::Library)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(names));
    let http2 = http2.then_some(HTTP2);
    config.alpn_protocols = http2.into_iter().chain([HTTP1]).map(<[u8]>::to_vec).collect();
    if asks {
        // A ticket would speak for a certificate that has expired meanwhile, or that another policy's authorities do not know.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?;
    }
    Ok(config)
}

/// What is spoken inside, as clients may ask for it (RFC 7301). Who asks for other protocols alone is refused by the handshake; who
/// asks for none gets the last.
const HTTP1: &[u8] = b"http/1.1";

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        TlsVersion::Tls12 => ALL_VERSIONS,
        TlsVersion::Tls13 => TLS13_ALONE,
    }
}

static TLS13_ALONE: &[&SupportedProtocolVersion] = &[&TLS13];

fn verifier(
    asked: &ListenTls,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (Some(clients), Some(roots)) = (&asked.clients, material.roots()) else {
        return Ok(Arc::new(NoClientAuth));
    };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots?), Arc::clone(provider));
    let builder = match clients.auth {
        ClientAuth::Require => builder,
        ClientAuth::Request => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|source| TlsError::Authorities {
        file: clients.authorities.clone(),
        source: source.into(),
    })
}
