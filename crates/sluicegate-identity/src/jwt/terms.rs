//! What a token has to say to be believed, and what of it is kept.

use std::fmt;

/// What a token has to say to be believed, and what of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Who must have issued it: `iss`, character by character.
    pub issuer: String,
    /// Whom it must be meant for: `aud`, or one of a list there.
    pub audience: String,
    /// By which algorithms it may be signed; none of them is symmetric.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the user.
    pub user: String,
    /// The claim that names the tenant; `None` where tokens name none.
    pub tenant: Option<String>,
    /// The claim that names the tier; `None` where tokens name none.
    pub tier: Option<String>,
    /// Other claims that are kept, for rules that count by them.
    pub claims: Vec<String>,
}

/// An algorithm that a token is signed by (RFC 7518, section 3.1, and RFC 8037). Those with a shared secret are left out: whoever can
/// verify by one can sign, too, and a public key taken for a secret is the oldest trick of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSA with PKCS #1 and SHA-256.
    Rs256,
    /// RSA with PKCS #1 and SHA-384.
    Rs384,
    /// RSA with PKCS #1 and SHA-512.
    Rs512,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// RSA-PSS with SHA-384.
    Ps384,
    /// RSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name that tokens and policies call it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name; `None` for any other, `none` among them.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
