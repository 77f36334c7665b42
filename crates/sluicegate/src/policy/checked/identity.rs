//! Who is asking.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;
use sluicegate_identity::Directory;
#[cfg(feature = "jwt")]
use sluicegate_identity::jwt::KeySet;
use sluicegate_identity::jwt::Terms;

/// How callers are told apart: by what they show that can be verified, and by their address (RFC 7239, and the older
/// X-Forwarded-For).
#[derive(Debug, Clone)]
pub struct Identity {
    /// Peers whose forwarded header is believed; empty means none, and the socket's peer is the client.
    pub trusted_proxies: Vec<IpNet>,
    /// The one header that is read from a trusted peer.
    pub forwarded_header: ForwardedHeader,
    /// Bits of an IPv4 address that make a client, 8 to 32; 32 unless said.
    pub v4_prefix: u8,
    /// Bits of an IPv6 address that make a client, 32 to 128; 64 unless said.
    pub v6_prefix: u8,
    /// Most bytes of a request's body that are read for keys and costs, 1 KiB to 1 MiB; 64 KiB unless said. A larger
    /// body is refused where a rule needs it.
    pub body_bytes: usize,
    /// The keys that callers are known by; `None` where there are none.
    pub api_keys: Option<ApiKeys>,
    /// The tokens that callers are known by; `None` where there are none.
    pub jwt: Option<Jwt>,
    /// The header in which trusted proxies say what kind of program a client is (JA4); `None` where they do not.
    pub ja4_header: Option<HeaderName>,
}

impl Identity {
    /// Whether callers are known by more than their address.
    pub const fn verifies(&self) -> bool {
        self.api_keys.is_some() || self.jwt.is_some()
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            v4_prefix: 32,
            v6_prefix: 64,
            body_bytes: 64 << 10,
            api_keys: None,
            jwt: None,
            ja4_header: None,
        }
    }
}

/// API keys: where a caller shows one, and which there are.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    /// The header that holds the key; in `authorization` behind the word `Bearer`. `x-api-key` unless said.
    pub header: HeaderName,
    /// The file that the keys' hashes are in.
    pub file: PathBuf,
    /// What was in it when [`PolicyText::complete`](crate::policy::PolicyText::complete) read it; before that there is no key.
    pub directory: Arc<Directory>,
}

/// Tokens: where a caller shows one, and what of it is believed.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// The header that holds the token; in `authorization`, which it is unless said, behind the word `Bearer`.
    pub header: HeaderName,
    /// Where the keys are that tokens are signed by.
    pub keys_from: KeysFrom,
    /// What a token has to say, and what of it is kept. The claims are those that rules count by.
    pub terms: Terms,
    /// The keys that were in the file when [`PolicyText::complete`](crate::policy::PolicyText::complete) read it; `None` before that, and
    /// where they come from elsewhere.
    #[cfg(feature = "jwt")]
    pub keys: Option<Arc<KeySet>>,
}

/// Most claims that rules may count by, over all rules: each is kept of each token that is remembered.
pub const CLAIMS_KEPT_MAX: usize = 16;

/// Where keys are that tokens are signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysFrom {
    /// A file that is read with the policy.
    File(PathBuf),
    /// A server that is asked again and again.
    Url(KeysUrl),
}

/// Where a server has its keys. Without TLS only on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysUrl {
    /// Whether the connection is encrypted, and the server's certificate verified.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query; begins with `/`.
    pub path: String,
}

/// Which header trusted proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}
