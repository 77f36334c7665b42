//! Values of which there are only a few.

use serde_json::{Value, json};

use super::super::checked::{ForwardedHeader, OnMissingKey};
use super::super::nearest::nearest;
use super::super::yaml::Kind;
use super::{Scalar, Wrong, wrong};

/// The one version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Version;

impl Scalar for Version {
    const EXPECTED: &'static str = "1";
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "1" {
            Ok(Self)
        } else {
            wrong("is no version that this program reads", "write version: 1")
        }
    }

    fn grammar() -> Value {
        json!({ "const": 1 })
    }
}

/// The algorithm; there is one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct AlgorithmWord;

/// Defines a scalar of a few words, each with its value, and words that later versions will know.
macro_rules! words {
    ($type:ty, $expected:literal, { $($word:literal => $value:expr),+ $(,)? }, later: [$($later:literal),*]) => {
        impl Scalar for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, Wrong> {
                let words = [$($word),+];
                match text {
                    $($word => Ok($value),)+
                    $($later => wrong("is not offered yet", format!("write {}", words.join(" or "))),)*
                    _ => {
                        let remedy = match nearest(text, words) {
                            Some(meant) => format!("did you mean `{meant}`?"),
                            None => format!("write {}", words.join(" or ")),
                        };
                        wrong("is not known here", remedy)
                    }
                }
            }

            fn grammar() -> Value {
                json!({ "enum": [$($word),+] })
            }
        }
    };
}

words!(AlgorithmWord, "token_bucket", { "token_bucket" => AlgorithmWord },
    later: ["leaky_bucket", "fixed_window", "sliding_window", "sliding_log", "concurrency"]);

words!(ForwardedHeader, "x-forwarded-for or forwarded", {
    "x-forwarded-for" => ForwardedHeader::XForwardedFor,
    "forwarded" => ForwardedHeader::Forwarded,
}, later: []);

words!(OnMissingKey, "ip, shared, refuse or skip", {
    "ip" => OnMissingKey::Ip,
    "shared" => OnMissingKey::Shared,
    "refuse" => OnMissingKey::Refuse,
    "skip" => OnMissingKey::Skip,
}, later: []);
