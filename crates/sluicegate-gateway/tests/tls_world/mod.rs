//! Authorities, certificates in files, and clients that speak TLS.

#![allow(dead_code, unreachable_pub, reason = "each file of tests uses a part")]

use std::fs;
use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use sluicegate_testkit::upstream::{Message, ReadBody};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, crypto,
};

use crate::support::PATIENCE;

/// Whoever signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key, both in PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// A certificate for hosts, good until `year`.
    pub fn server(&self, names: &[&str], year: i32) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("they are names");
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(year, 1, 1);
        self.sign(&parameters)
    }

    /// A client's, with a common name and alternative names.
    pub fn client(&self, name: &str, alternative: Vec<SanType>) -> Identity {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.subject_alt_names = alternative;
        self.sign(&parameters)
    }

    fn sign(&self, parameters: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A folder with certificates in it.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Where a file of that name is, whether or not it is there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only its owner can read.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }

    /// Writes NAME.pem and NAME.key.
    pub fn put(&self, name: &str, identity: &Identity) {
        self.write(&format!("{name}.pem"), &identity.certificate);
        self.write(&format!("{name}.key"), &identity.key);
    }

    /// A pair that was put, as fields of the policy.
    pub fn pair(&self, name: &str) -> String {
        let path = |ending| self.path(&format!("{name}.{ending}")).display().to_string();
        format!("certificate: \"{}\", private_key: \"{}\"", path("pem"), path("key"))
    }

    /// A `listen` by the pair `server`, with more fields behind.
    pub fn listen(&self, more: &str) -> String {
        format!(
            "{{ address: \"127.0.0.1:0\", tls: {{ {}{more} }} }}",
            self.pair("server")
        )
    }
}

/// How a client shakes hands. It trusts one authority.
#[derive(Clone)]
pub struct Manner {
    config: ClientConfig,
    name: &'static str,
}

impl Manner {
    pub fn trusting(authority: &Authority) -> Self {
        Self::with(
            authority,
            &[
                &tokio_rustls::rustls::version::TLS13,
                &tokio_rustls::rustls::version::TLS12,
            ],
            None,
        )
    }

    pub fn with(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate");
        roots.add(root).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![chain], key).expect("they fit")
            }
        };
        Self {
            config,
            name: "gateway.test",
        }
    }

    /// With a certificate.
    pub fn showing(authority: &Authority, identity: &Identity) -> Self {
        Self::with(authority, &[&tokio_rustls::rustls::version::TLS13], Some(identity))
    }

    pub fn naming(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub fn speaking(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Remembers sessions of its own, which the clients that come of it share.
    pub fn remembering(mut self) -> Self {
        self.config.resumption = tokio_rustls::rustls::client::Resumption::in_memory_sessions(8);
        self
    }

    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// A client that has shaken hands.
    ///
    /// # Errors
    ///
    /// Why it could not.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TlsClient> {
        self.connect_behind(b"", address)
    }

    /// As [`Manner::connect`], behind what a proxy says first.
    ///
    /// # Errors
    ///
    /// Why it could not.
    pub fn connect_behind(&self, header: &[u8], address: SocketAddr) -> io::Result<TlsClient> {
        let name = ServerName::try_from(self.name).expect("a name");
        let session = ClientConnection::new(Arc::new(self.config.clone()), name).map_err(io::Error::other)?;
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(header)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsClient(BufReader::new(stream)))
    }
}

/// A client over TLS that writes what it is told.
pub struct TlsClient(pub BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl TlsClient {
    pub fn session(&self) -> &ClientConnection {
        &self.0.get_ref().conn
    }

    /// # Errors
    ///
    /// Where the connection broke off instead.
    pub fn ask(&mut self, request: &str) -> io::Result<Message> {
        self.send(request)?;
        self.answer()
    }

    /// # Errors
    ///
    /// Where the connection broke off.
    pub fn send(&mut self, bytes: &str) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_bytes())?;
        self.0.get_mut().flush()
    }

    /// # Errors
    ///
    /// Where the connection broke off instead.
    pub fn answer(&mut self) -> io::Result<Message> {
        Message::read(&mut self.0, ReadBody::Whole)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub fn get(&mut self, path: &str) -> io::Result<Message> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"))
    }

    /// Whether the gateway closes the connection, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        match io::copy(&mut self.0, &mut io::sink()) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}
