//! The keys that tokens are verified by: a JSON Web Key Set (RFC 7517).

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::Json;
use super::terms::Algorithm;
use super::token::{Token, TokenFault};

/// Most bytes of a key set: sixty-four RSA keys with their certificates.
pub const KEY_SET_BYTES_MAX: usize = 512 << 10;

/// Most keys in a set. Issuers have two or three, large ones a dozen.
pub const KEY_SET_KEYS_MAX: usize = 64;

/// Keys of one id that are tried for one token. One is what a set should have; a second may stand there while it changes.
const TRIED_MAX: usize = 2;

/// The keys that tokens are verified by. `Debug` shows how many.
pub struct KeySet {
    keys: Vec<Key>,
    /// Keys that were there and are of no use.
    unusable: usize,
}

/// One key, made ready for one algorithm.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    public: ParsedPublicKey,
}

/// Why a text is no set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetFault {
    /// It is longer than [`KEY_SET_BYTES_MAX`].
    #[error("more than {KEY_SET_BYTES_MAX} bytes")]
    TooLong,
    /// It is not a JSON object with a list of `keys`.
    #[error("not a JSON object with a list of `keys`")]
    Malformed,
    /// It has more than [`KEY_SET_KEYS_MAX`] keys.
    #[error("more than {KEY_SET_KEYS_MAX} keys")]
    TooMany,
    /// None of its keys can verify a signature by one of the algorithms that the policy lists.
    #[error("no key in it verifies signatures by an algorithm that the policy lists")]
    NoneUsable,
}

impl KeySet {
    /// Reads a set, and keeps the keys that are for one of `algorithms`. Keys of other kinds are left out: an issuer may have them for
    /// others. Shared secrets are never read, whatever the set says of them.
    ///
    /// # Errors
    ///
    /// If it is none, or has no key of use.
    pub fn parse(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetFault> {
        if text.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetFault::TooLong);
        }
        let json = Json::parse(text).ok_or(KeySetFault::Malformed)?;
        let Some(Json::List(list)) = json.get("keys") else {
            return Err(KeySetFault::Malformed);
        };
        if list.len() > KEY_SET_KEYS_MAX {
            return Err(KeySetFault::TooMany);
        }
        let mut set = Self {
            keys: Vec::new(),
            unusable: 0,
        };
        for jwk in list {
            let before = set.keys.len();
            set.keys
                .extend(algorithms.iter().filter_map(|algorithm| Key::read(jwk, *algorithm)));
            set.unusable += usize::from(set.keys.len() == before);
        }
        if set.keys.is_empty() {
            return Err(KeySetFault::NoneUsable);
        }
        Ok(set)
    }

    /// How many keys were there that are of no use.
    pub const fn unusable(&self) -> usize {
        self.unusable
    }

    /// Whether one of the keys that a token may mean has signed it. A token without a key's id means the one key there is of its
    /// algorithm.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), TokenFault> {
        let mut meant = self.keys.iter().filter(|key| key.is_meant_by(token)).peekable();
        if meant.peek().is_none() {
            return Err(TokenFault::UnknownKey);
        }
        if token.key_id.is_none() && meant.clone().nth(1).is_some() {
            return Err(TokenFault::UnknownKey);
        }
        let has_signed = |key: &Key| key.public.verify_sig(token.message, &token.signature).is_ok();
        if meant.take(TRIED_MAX).any(has_signed) {
            Ok(())
        } else {
            Err(TokenFault::Signature)
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.keys.len())
            .field("unusable", &self.unusable)
            .finish()
    }
}

impl Key {
    /// The key, if it is one for that algorithm.
    fn read(jwk: &Json, algorithm: Algorithm) -> Option<Self> {
        let text = |name| jwk.get(name).and_then(Json::as_text);
        if text("use").is_some_and(|used_for| used_for != "sig") {
            return None;
        }
        if let Some(Json::List(operations)) = jwk.get("key_ops")
            && !operations.contains(&Json::Text("verify".to_owned()))
        {
            return None;
        }
        if text("alg").is_some_and(|name| name != algorithm.as_str()) {
            return None;
        }
        let bytes = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let kind = (text("kty")?, text("crv"));
        let public = match (algorithm, kind) {
            (Algorithm::Es256, ("EC", Some("P-256"))) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(&bytes("x")?, &bytes("y")?, 32)?).ok()?
            }
            (Algorithm::Es384, ("EC", Some("P-384"))) => {
                ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point(&bytes("x")?, &bytes("y")?, 48)?).ok()?
            }
            (Algorithm::EdDsa, ("OKP", Some("Ed25519"))) => {
                let algorithm: &'static dyn VerificationAlgorithm = &ED25519;
                ParsedPublicKey::new(algorithm, bytes("x")?).ok()?
            }
            (algorithm, ("RSA", _)) => rsa(rsa_parameters(algorithm)?, &bytes("n")?, &bytes("e")?)?,
            _ => return None,
        };
        Some(Self {
            id: text("kid").map(str::to_owned),
            algorithm,
            public,
        })
    }

    fn is_meant_by(&self, token: &Token<'_>) -> bool {
        self.algorithm == token.algorithm && (token.key_id.is_none() || self.id == token.key_id)
    }
}

/// A point of an elliptic curve in its long form (SEC 1, section 2.3.3), of coordinates that are exactly `length` bytes long.
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    let is_sound = x.len() == length && y.len() == length;
    is_sound.then(|| [&[4], x, y].concat())
}

/// An RSA key of 2048 to 8192 bits; a shorter one is no key any more.
fn rsa(parameters: &'static RsaParameters, n: &[u8], e: &[u8]) -> Option<ParsedPublicKey> {
    // Leading zeros say nothing.
    let modulus = n.iter().skip_while(|byte| **byte == 0).count();
    if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&modulus) || e.len() > RSA_EXPONENT_BYTES_MAX {
        return None;
    }
    let components = RsaPublicKeyComponents {
        n: &n[n.len() - modulus..],
        e,
    };
    components.to_parsed_public_key(parameters).ok()
}

/// 2048 bits (NIST SP 800-131A, section 3), and 8192, above which a verification takes longer than a request should.
const RSA_BYTES_MIN: usize = 256;
const RSA_BYTES_MAX: usize = 1_024;

/// 65 537 takes three. A long exponent makes each verification as slow as a signature.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

const fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}
