//! What the claims are called that a client's certificate makes.

/// The subject, as in `CN=alice,O=acme`.
pub const SUBJECT: &str = "subject";

/// The first alternative name.
pub const SAN: &str = "san";

/// The SPIFFE id.
pub const SPIFFE_ID: &str = "spiffe";
