//! Certificates for tests, and whom they are of.
//!
//! Their keys lie open beside them and protect nothing. They are valid from 2026 to 2126, but for the expired one, and name
//! `localhost` and 127.0.0.1. The keys of the two authorities that signed them are thrown away.

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: &'static str,
    /// Its private key.
    pub key: &'static str,
}

/// Whom a client has to trust, in PEM.
pub const AUTHORITY: &str = include_str!("tls/authority.pem");

/// A server that [`AUTHORITY`] vouches for.
pub const SERVER: Identity = Identity {
    certificate: include_str!("tls/server.pem"),
    key: include_str!("tls/server.key"),
};

/// A server that [`AUTHORITY`] vouched for in the year 2020.
pub const EXPIRED: Identity = Identity {
    certificate: include_str!("tls/expired.pem"),
    key: include_str!("tls/expired.key"),
};

/// A server that somebody else vouches for.
pub const STRANGER: Identity = Identity {
    certificate: include_str!("tls/stranger.pem"),
    key: include_str!("tls/stranger.key"),
};

/// A client that [`AUTHORITY`] vouches for.
pub const CLIENT: Identity = Identity {
    certificate: include_str!("tls/client.pem"),
    key: include_str!("tls/client.key"),
};
