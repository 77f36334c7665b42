//! Values of which there are only a few.

use serde_json::{Value, json};

use super::super::checked::{
    Align, ClientAuth, CostBy, EncodedSlash, ForwardedHeader, MethodOverride, OnMissingKey, OnStoreLoss, OnSuccess,
    Sensitivity, Sharing, Spelling, TlsVersion,
};
use super::super::nearest::nearest;
use super::super::yaml::Kind;
use super::{Scalar, Wrong, wrong};

/// The one version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Version;

impl Scalar for Version {
    const EXPECTED: &'static str = "1";

    fn kind(_text: &str) -> Kind {
        Kind::Number
    }

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

/// `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Truth(pub(in crate::policy) bool);

impl Scalar for Truth {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "true" => Ok(Self(true)),
            "false" => Ok(Self(false)),
            _ => wrong("is neither true nor false", "write true or false"),
        }
    }

    fn kind(_text: &str) -> Kind {
        Kind::Truth
    }

    fn grammar() -> Value {
        json!({ "type": "boolean" })
    }
}

/// The name of an algorithm; what it asks for beside the limit stands in fields of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum AlgorithmWord {
    TokenBucket,
    LeakyBucket,
    FixedWindow,
    SlidingWindow,
    SlidingLog,
    Concurrency,
}

impl AlgorithmWord {
    pub(in crate::policy) const fn as_str(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket => "leaky_bucket",
            Self::FixedWindow => "fixed_window",
            Self::SlidingWindow => "sliding_window",
            Self::SlidingLog => "sliding_log",
            Self::Concurrency => "concurrency",
        }
    }
}

/// Which requests count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum CountWord {
    Requests,
    Failures,
}

/// Defines a scalar of a few words, each with its value.
macro_rules! words {
    ($type:ty, $expected:literal, { $($word:literal => $value:expr),+ $(,)? }) => {
        impl Scalar for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, Wrong> {
                let words = [$($word),+];
                match text {
                    $($word => Ok($value),)+
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

words!(AlgorithmWord, "an algorithm such as token_bucket", {
    "token_bucket" => AlgorithmWord::TokenBucket,
    "leaky_bucket" => AlgorithmWord::LeakyBucket,
    "fixed_window" => AlgorithmWord::FixedWindow,
    "sliding_window" => AlgorithmWord::SlidingWindow,
    "sliding_log" => AlgorithmWord::SlidingLog,
    "concurrency" => AlgorithmWord::Concurrency,
});

words!(Align, "epoch or first_hit", {
    "epoch" => Align::Epoch,
    "first_hit" => Align::FirstHit,
});

words!(CountWord, "requests or failures", {
    "requests" => CountWord::Requests,
    "failures" => CountWord::Failures,
});

words!(OnSuccess, "return or clear", {
    "return" => OnSuccess::Return,
    "clear" => OnSuccess::Clear,
});

words!(ForwardedHeader, "x-forwarded-for or forwarded", {
    "x-forwarded-for" => ForwardedHeader::XForwardedFor,
    "forwarded" => ForwardedHeader::Forwarded,
});

words!(Spelling, "strip or keep", {
    "strip" => Spelling::Strip,
    "keep" => Spelling::Keep,
});

words!(MethodOverride, "strip or honour", {
    "strip" => MethodOverride::Strip,
    "honour" => MethodOverride::Honour,
});

words!(EncodedSlash, "refuse or keep", {
    "refuse" => EncodedSlash::Refuse,
    "keep" => EncodedSlash::Keep,
});

words!(OnMissingKey, "ip, shared, refuse or skip", {
    "ip" => OnMissingKey::Ip,
    "shared" => OnMissingKey::Shared,
    "refuse" => OnMissingKey::Refuse,
    "skip" => OnMissingKey::Skip,
});

words!(Sharing, "auto, exact, leased, hybrid or local", {
    "auto" => Sharing::Auto,
    "exact" => Sharing::Exact,
    "leased" => Sharing::Leased,
    "hybrid" => Sharing::Hybrid,
    "local" => Sharing::Local,
});

words!(OnStoreLoss, "local, closed or open", {
    "local" => OnStoreLoss::Local,
    "closed" => OnStoreLoss::Closed,
    "open" => OnStoreLoss::Open,
});

words!(ClientAuth, "require or request", {
    "require" => ClientAuth::Require,
    "request" => ClientAuth::Request,
});

words!(TlsVersion, "tls1.2 or tls1.3", {
    "tls1.2" => TlsVersion::Tls12,
    "tls1.3" => TlsVersion::Tls13,
});

words!(Sensitivity, "low, normal, costly or critical", {
    "low" => Sensitivity::Low,
    "normal" => Sensitivity::Normal,
    "costly" => Sensitivity::Costly,
    "critical" => Sensitivity::Critical,
});

words!(CostBy, "route or sensitivity", {
    "route" => CostBy::Route,
    "sensitivity" => CostBy::Sensitivity,
});
