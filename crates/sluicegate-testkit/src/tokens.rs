//! Keys that sign tokens, as an issuer has them, and tokens of any content.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A key pair of an issuer.
#[derive(Debug)]
pub struct Issuer(Pair);

#[derive(Debug)]
enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl Issuer {
    /// A fresh RSA key of 2048 bits, for RS256. Takes some tenths of a second.
    ///
    /// # Panics
    ///
    /// If the system has no randomness.
    #[must_use]
    pub fn rs256() -> Self {
        Self(Pair::Rsa(Box::new(
            RsaKeyPair::generate(KeySize::Rsa2048).expect(NO_KEY),
        )))
    }

    /// A fresh key on P-256, for ES256.
    ///
    /// # Panics
    ///
    /// If the system has no randomness.
    #[must_use]
    pub fn es256() -> Self {
        Self(Pair::Ec(Box::new(
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(NO_KEY),
        )))
    }

    /// The algorithm's name.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match &self.0 {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    /// The public key as JSON, under that id.
    ///
    /// # Panics
    ///
    /// Never: a key pair has a public key of a known form.
    #[must_use]
    pub fn jwk(&self, id: &str) -> String {
        match &self.0 {
            Pair::Rsa(pair) => {
                let (n, e) = rsa_components(pair.public_key().as_ref()).expect("a DER sequence of two integers");
                let (n, e) = (encode(n), encode(e));
                format!(r#"{{"kty":"RSA","kid":"{id}","alg":"RS256","use":"sig","n":"{n}","e":"{e}"}}"#)
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
                format!(r#"{{"kty":"EC","crv":"P-256","kid":"{id}","x":"{x}","y":"{y}"}}"#)
            }
        }
    }

    /// A set of that one key.
    #[must_use]
    pub fn key_set(&self, id: &str) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.jwk(id))
    }

    /// The modulus, if this is an RSA key: what a confused verifier takes for a secret.
    #[must_use]
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with these claims, under an ordinary header that names the key `id`.
    #[must_use]
    pub fn token(&self, id: &str, claims: &str) -> String {
        let header = format!(r#"{{"alg":"{}","typ":"JWT","kid":"{id}"}}"#, self.algorithm());
        self.token_with(&header, claims)
    }

    /// A token with this header and these claims, whatever they say.
    ///
    /// # Panics
    ///
    /// If the system has no randomness.
    #[must_use]
    pub fn token_with(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message.as_bytes(),
                    &mut signature,
                )
                .expect("a key that signs");
                signature
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message.as_bytes());
                signature.expect("a key that signs").as_ref().to_vec()
            }
        };
        format!("{message}.{}", encode(&signature))
    }
}

const NO_KEY: &str = "the system has randomness";

/// Base64url without padding, as tokens have it.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of a DER `RSAPublicKey`: a sequence of two integers.
fn rsa_components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der)?;
    let (n, rest) = element(sequence)?;
    let (e, _) = element(rest)?;
    let without_sign = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    Some((&n[without_sign(n)..], &e[without_sign(e)..]))
}

/// The content of the first element, and what stands behind it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *der.get(1)? {
        short @ 0..0x80 => (usize::from(short), der.get(2..)?),
        long => {
            let (bytes, rest) = der.get(2..)?.split_at_checked(usize::from(long & 0x7f))?;
            (
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                rest,
            )
        }
    };
    rest.split_at_checked(length)
}
