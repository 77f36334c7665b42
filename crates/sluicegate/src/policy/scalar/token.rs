//! Who issues tokens, by which algorithms, and where the keys are.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use serde_json::{Value, json};
use sluicegate_identity::jwt::Algorithm;

use super::super::checked::{ClaimName, KeysFrom, KeysUrl};
use super::{Scalar, Wrong, wrong};

/// An issuer or an audience: any text that is not empty, compared character by character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Party(pub(in crate::policy) String);

impl Scalar for Party {
    const EXPECTED: &'static str = "a text such as https://id.example";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.len() > PARTY_BYTES_MAX {
            return wrong(
                "names nobody",
                "write what stands in the tokens, as in https://id.example",
            );
        }
        Ok(Self(text.to_owned()))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": PARTY_BYTES_MAX })
    }
}

/// Bytes of an issuer's or audience's name: far above the URLs and ids that they are.
const PARTY_BYTES_MAX: usize = 1_024;

/// An algorithm that tokens are signed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct TokenAlgorithm(pub(in crate::policy) Algorithm);

impl Scalar for TokenAlgorithm {
    const EXPECTED: &'static str = "an algorithm such as RS256 or ES256";

    fn parse(text: &str) -> Result<Self, Wrong> {
        match (Algorithm::named(text), text) {
            (Some(algorithm), _) => Ok(Self(algorithm)),
            (None, "HS256" | "HS384" | "HS512") => wrong(
                "has one secret for signing and verifying, so that whoever reads it can make tokens",
                "have tokens signed by a key pair, as by RS256 or ES256",
            ),
            (None, _) => {
                let known: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
                wrong(
                    "is no algorithm that is known here",
                    format!("use {}", known.join(", ")),
                )
            }
        }
    }

    fn grammar() -> Value {
        json!({ "enum": Algorithm::ALL.map(Algorithm::as_str) })
    }
}

impl Scalar for ClaimName {
    const EXPECTED: &'static str = "a claim's name such as sub";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Self::new(text).map_or_else(|| wrong("names no claim", "write one such as sub"), Ok)
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^[!-~]{1,64}$" })
    }
}

impl Scalar for KeysFrom {
    const EXPECTED: &'static str = "a file such as jwks.json, or a URL such as https://id.example/keys";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some((scheme, _)) = text.split_once("://") else {
            if text.is_empty() || text.ends_with('/') || text.contains('\0') {
                return wrong(
                    "is neither a file nor a URL",
                    "write a file such as jwks.json, or https://HOST/PATH",
                );
            }
            return Ok(Self::File(PathBuf::from(text)));
        };
        let uri: Uri = match text.parse() {
            Ok(uri) => uri,
            Err(_) => return wrong("is no URL", "write it as in https://id.example/keys"),
        };
        let host = uri.host().unwrap_or_default();
        if host.is_empty()
            || uri
                .authority()
                .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return wrong(
                "names no host, or more than one",
                "write it as in https://id.example/keys",
            );
        }
        let tls = match scheme {
            "https" => true,
            // Whoever stands in between could hand out keys of his own.
            "http" if is_loopback(host) => false,
            "http" => {
                return wrong(
                    "is not encrypted, so that anybody on the way could hand out keys",
                    "write https://",
                );
            }
            _ => {
                return wrong(
                    "has a scheme that is not known here",
                    "write https://HOST/PATH, or a file",
                );
            }
        };
        Ok(Self::Url(KeysUrl {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        }))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "minLength": 1, "examples": ["jwks.json", "https://id.example/keys"] })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
