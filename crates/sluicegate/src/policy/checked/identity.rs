//! Who is asking.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;
use sluicegate_identity::Directory;

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
}

impl Identity {
    /// Whether callers are known by more than their address.
    pub const fn verifies(&self) -> bool {
        self.api_keys.is_some()
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

/// Which header trusted proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}
