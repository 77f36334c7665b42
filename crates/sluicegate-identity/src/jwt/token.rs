//! A token taken apart, nothing of it believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::Json;
use super::terms::Algorithm;

/// Most bytes of a token: what common servers allow for a whole line of a head.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a token is nobody's. Told in counts alone: a client that tries is not helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// It has more than [`TOKEN_BYTES_MAX`] bytes.
    #[error("the token is too long")]
    TooLong,
    /// It is not three parts in base64url with a JSON object each for header and claims, or names a member twice.
    #[error("the token is no token")]
    Malformed,
    /// It demands what is not known here (`crit`, RFC 7515, section 4.1.11).
    #[error("the token demands an extension")]
    Critical,
    /// It is signed by an algorithm that the policy does not list.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// No key of its id is for its algorithm.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The key has not signed it.
    #[error("the token's signature is not its key's")]
    Signature,
    /// Another has issued it, or nobody says who.
    #[error("the token has another issuer")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// Its time is over, or it never ends.
    #[error("the token has ended")]
    Ended,
    /// Its time has not come.
    #[error("the token has not begun")]
    NotBegun,
    /// A claim that says who the caller is, is of another type, empty, or too long.
    #[error("a claim of the token is not what it has to be")]
    Claim,
}

/// A token taken apart.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// What is signed.
    pub(super) message: &'t [u8],
    pub(super) signature: Vec<u8>,
    claims: &'t [u8],
}

impl<'t> Token<'t> {
    /// Takes a token apart by its compact form (RFC 7515, section 7.1).
    pub(super) fn parse(token: &'t [u8]) -> Result<Self, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Malformed);
        };
        let header_json = object(header)?;
        if header_json.get("crit").is_some() {
            return Err(TokenFault::Critical);
        }
        let name = header_json.get("alg").and_then(Json::as_text);
        let algorithm = name.and_then(Algorithm::named).ok_or(TokenFault::Algorithm)?;
        let key_id = match header_json.get("kid") {
            None => None,
            Some(Json::Text(id)) => Some(id.clone()),
            Some(_) => return Err(TokenFault::Malformed),
        };
        Ok(Self {
            algorithm,
            key_id,
            // The two parts stand at the token's beginning, with a point between them.
            message: &token[..header.len() + 1 + claims.len()],
            signature: decode(signature)?,
            claims,
        })
    }

    /// What it claims: a JSON object.
    pub(super) fn claims(&self) -> Result<Json, TokenFault> {
        object(self.claims)
    }
}

fn object(part: &[u8]) -> Result<Json, TokenFault> {
    match Json::parse(&decode(part)?) {
        Some(map @ Json::Map(_)) => Ok(map),
        _ => Err(TokenFault::Malformed),
    }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}
