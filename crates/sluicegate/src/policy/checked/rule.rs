//! Limits, and whom they apply to.

use http::HeaderName;
use sluicegate_core::Limit;

/// One limit and whom it applies to.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique among rules; printable ASCII, at most 64 bytes.
    pub name: String,
    /// Parts of the key, at most [`KEY_PARTS_MAX`]; empty means one cell for all.
    pub key: Vec<KeyPart>,
    /// How much may pass.
    pub limit: Limit,
    /// Indexes into [`Policy::routes`](super::Policy::routes); empty means every request, also one that no route takes in.
    pub routes: Vec<usize>,
    /// What stands in for an absent part of the key.
    pub on_missing_key: OnMissingKey,
    /// For which part of the keys a refusal counts.
    pub enforce: Enforce,
    /// What a key that finds no free cell meets; a shared cell with ten times the limit unless said.
    pub overflow: Overflow,
    /// What a reader should know.
    pub description: Option<String>,
    /// Why the limit is what it is; read by audits.
    pub rationale: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When it should be looked at again, `YYYY-MM-DD`.
    pub review_by: Option<String>,
}

/// Most parts that one key may have.
pub const KEY_PARTS_MAX: usize = 8;

/// One attribute that a key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address, cut to its prefix.
    Ip,
    /// The name of the request's route.
    Route,
    /// The request's method. Whoever counts by it folds the methods that no registry knows into one, since a client
    /// can make up any number of them.
    Method,
    /// The canonical host: lower case, without port and final dot.
    Host,
    /// A header's value, bytewise. Two lines of it count as absent: neither is believed.
    Header(HeaderName),
}

/// What stands in for a part of the key that a request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissingKey {
    /// The client's address; where there is none (a Unix socket), one cell that all such requests share.
    Ip,
    /// One cell that all such requests share.
    Shared,
    /// The request is refused.
    Refuse,
    /// The rule does not apply: whoever leaves the part out is not limited. Dangerous.
    Skip,
}

/// For which part of its keys a rule's refusal counts; the others are evaluated and reported only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Enforce(u8);

impl Enforce {
    /// Every key.
    pub const ALL: Self = Self(100);
    /// None: shadow mode.
    pub const SHADOW: Self = Self(0);

    /// A share in percent; `None` above 100.
    pub const fn percent(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// The share in percent, 0 to 100.
    pub const fn as_percent(self) -> u8 {
        self.0
    }
}

/// What a key that finds no free cell meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overflow {
    /// All such keys share one cell with this limit.
    Shared(Limit),
    /// Such requests are refused.
    Closed,
}
