//! Limits, and whom they apply to.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use http::HeaderName;
use sluicegate_core::Limit;

use crate::condition::{Attribute, Condition};

use super::{Algorithm, CostSource, CostSpec, Count, OnStoreLoss, Pointer, SettleSource, Sharing, Step};

/// One limit and whom it applies to.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique among rules; printable ASCII, at most 64 bytes.
    pub name: String,
    /// Parts of the key, at most [`KEY_PARTS_MAX`]; empty means one cell for all.
    pub key: Vec<KeyPart>,
    /// How much may pass: a count at once with [`Algorithm::Concurrency`], a rate with every other algorithm. A burst
    /// other than the count stands only with the two buckets. With [`Sharing::Local`] and a `fanout` it is this node's
    /// part of what the file says.
    pub limit: RuleLimit,
    /// How the limit is kept.
    pub algorithm: Algorithm,
    /// The bucket that this rule draws from together with all others that name it; `None` means one of its own. Rules
    /// of one bucket agree in all but name, routes, burst, `free`, cost and what is there for people. Where two of
    /// them apply to one request, their costs are equal.
    pub bucket: Option<String>,
    /// Indexes into [`Policy::routes`](super::Policy::routes); empty means every request, also one of no route. Of a rule
    /// for programs it is empty and means none.
    pub routes: Vec<usize>,
    /// To which of those requests; `None` means all. It also applies where the condition has no value.
    pub when: Option<Condition>,
    /// What a request takes from the limit.
    pub cost: CostSpec,
    /// Which requests count.
    pub count: Count,
    /// What happens once the limit is used up, in this order; empty means that requests are refused until it refills,
    /// and nothing more. At most one lock, and only with [`Algorithm::TokenBucket`].
    pub exceed: Vec<Step>,
    /// Whether a request that another rule refuses stays charged here, as a penalty; never with permits.
    pub charge_refused: bool,
    /// What stands in for an absent part of the key.
    pub on_missing_key: OnMissingKey,
    /// For which part of the keys a refusal counts.
    pub enforce: Enforce,
    /// What a key that finds no free cell meets; a shared cell with ten times the limit unless said.
    pub overflow: Overflow,
    /// How the limit is shared with other nodes, as the file says it; what comes of the word is told by
    /// [`SharingTerms`](super::SharingTerms). Other than [`Sharing::Auto`] and [`Sharing::Local`] only where there is a
    /// store, and only what [`offered`](Self::offered) allows.
    pub sharing: Sharing,
    /// How many nodes can see one key, 1 to 100 000: the rule's own word, else [`Share::fanout`](super::Share::fanout).
    /// `None` means as many as run. With [`Sharing::Local`] by how many nodes the limit has been divided; `None` then
    /// means that each has it whole.
    pub fanout: Option<NonZeroU32>,
    /// What is answered while the store cannot.
    pub on_store_loss: OnStoreLoss,
    /// What a reader should know.
    pub description: Option<String>,
    /// Why the limit is what it is; read by audits.
    pub rationale: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When it should be looked at again, `YYYY-MM-DD`.
    pub review_by: Option<String>,
}

impl Rule {
    /// The name of the bucket that the rule draws from: the rule's own unless `bucket` says another.
    pub fn bucket_name(&self) -> &str {
        self.bucket.as_ref().unwrap_or(&self.name)
    }

    /// Whether the rule is for a program to ask by the library, and applies to no request.
    pub const fn is_for_programs(&self) -> bool {
        matches!(self.key.as_slice(), [KeyPart::Program])
    }

    /// Whether what a request took is put right after its response: its true cost, or whether it failed at all.
    pub const fn settles(&self) -> bool {
        self.cost.settle.is_some() || matches!(self.count, Count::Failures(_))
    }

    /// Whether a request holds something of this rule until its response has ended: a permit, or a charge that is still
    /// to be put right. At most [`HOLDS_MAX`](super::HOLDS_MAX) such rules apply to one request.
    pub const fn holds(&self) -> bool {
        self.settles() || matches!(self.algorithm, Algorithm::Concurrency)
    }

    /// Whether the rule's limit is kept in a token bucket that also remembers what is outstanding, or a lock.
    pub const fn needs_settling_cell(&self) -> bool {
        matches!(self.algorithm, Algorithm::TokenBucket) && (self.settles() || !self.exceed.is_empty())
    }

    /// What the rule's condition asks of a request.
    pub fn asks(&self) -> &[Attribute] {
        self.when.as_ref().map_or(&[], Condition::reads)
    }

    /// Members of a request's body that the rule's key, condition and cost are read from. At most [`MEMBERS_MAX`] different ones
    /// over all rules that apply to one request.
    pub fn request_members(&self) -> impl Iterator<Item = &Pointer> {
        let key = self.key.iter().filter_map(|part| match part {
            KeyPart::Body { pointer, .. } => Some(pointer),
            _ => None,
        });
        let cost = match &self.cost.reserve {
            CostSource::Body(pointer) => Some(pointer),
            CostSource::Fixed(_) | CostSource::Header(_) | CostSource::ByClass(_) | CostSource::Amount(_) => None,
        };
        let reckoned = match &self.cost.reserve {
            CostSource::Amount(amount) => amount.reads(),
            _ => &[],
        };
        let asked = self
            .asks()
            .iter()
            .chain(reckoned)
            .filter_map(|attribute| match attribute {
                Attribute::Body(pointer) => Some(pointer),
                _ => None,
            });
        key.chain(asked).chain(cost)
    }

    /// Members of a response's body that say its true cost, or that it failed. At most [`MEMBERS_MAX`] different ones
    /// over all rules that apply to one request.
    pub fn response_members(&self) -> impl Iterator<Item = &Pointer> {
        let settle = match &self.cost.settle {
            Some(SettleSource::Body(pointer)) => Some(pointer),
            Some(SettleSource::Header(_) | SettleSource::Program) | None => None,
        };
        let failed = match &self.count {
            Count::Failures(failures) => failures.failed_when.members.as_slice(),
            Count::Requests => &[],
        };
        settle.into_iter().chain(failed)
    }

    /// Whether anything of the request's body must be read before the rule can decide.
    pub fn reads_body(&self) -> bool {
        self.request_members().next().is_some()
    }
}

/// Most members that one request's body is read for, and most that its response's body is read for: each has a buffer
/// of its own while the body passes.
pub const MEMBERS_MAX: usize = 4;

/// How much may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleLimit {
    /// So much per period, and a burst.
    Rate(Limit),
    /// So much at once, however long it takes: permits. At most [`AT_ONCE_MAX`].
    AtOnce(NonZeroU64),
}

/// Most permits of one key: a thousand million, above what any node can hold open, so that more is a slip of the hand.
pub const AT_ONCE_MAX: u64 = 1_000_000_000;

impl RuleLimit {
    /// The rate; `None` for a count at once.
    pub const fn rate(&self) -> Option<&Limit> {
        match self {
            Self::Rate(limit) => Some(limit),
            Self::AtOnce(_) => None,
        }
    }

    /// Most units that may pass at one moment.
    pub const fn at_once(&self) -> NonZeroU64 {
        match self {
            Self::Rate(limit) => limit.burst(),
            Self::AtOnce(count) => *count,
        }
    }

    /// The same limit `factor` times over, as far as [`Limit::times`] and [`AT_ONCE_MAX`] allow.
    #[must_use]
    pub fn times(&self, factor: NonZeroU64) -> Self {
        const MOST: NonZeroU64 = NonZeroU64::new(AT_ONCE_MAX).expect("it is not zero");
        match self {
            Self::Rate(limit) => Self::Rate(limit.times(factor)),
            Self::AtOnce(count) => Self::AtOnce(count.saturating_mul(factor).min(MOST)),
        }
    }
}

/// The text that reads back as the same limit: `100/min burst 20`, or `20`.
impl fmt::Display for RuleLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(limit) => limit.fmt(f),
            Self::AtOnce(count) => count.fmt(f),
        }
    }
}

/// Most parts that one key may have.
pub const KEY_PARTS_MAX: usize = 8;

/// One attribute that a key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// Whoever calls, as well as it can be verified: the API key, else the user, else the certificate, else the address.
    Client,
    /// The tenant that a verified caller belongs to.
    Tenant,
    /// The tier of a verified caller.
    Tier,
    /// The user that a verified token names.
    User,
    /// A claim about a verified caller.
    Claim(ClaimName),
    /// The subject of a verified client certificate.
    CertificateSubject,
    /// The first alternative name of a verified client certificate.
    CertificateName,
    /// The SPIFFE id of a verified client certificate.
    Spiffe,
    /// What kind of program shook hands over TLS.
    Ja4,
    /// The same together with the order in which it sends its header lines.
    Fingerprint,
    /// The client's address, cut to its prefix.
    Ip,
    /// As `Ip`, but an IPv6 address is cut to so many bits, 16 to 128.
    IpNetwork(u8),
    /// The name of the request's route.
    Route,
    /// The request's method. Whoever counts by it folds the methods that no registry knows into one, since a client
    /// can make up any number of them.
    Method,
    /// The canonical host: lower case, without port and final dot.
    Host,
    /// A header's value, bytewise. Two lines of it count as absent: neither is believed.
    Header(HeaderName),
    /// The canonical path, whole.
    Path,
    /// What a parameter of the route's path stands for; at least one route of the rule has it.
    PathPart(String),
    /// A cookie's value, bytewise. Two of a name count as absent.
    Cookie(String),
    /// A parameter of the query, decoded. Two of a name count as absent.
    Query(String),
    /// The class of the request's route; `normal` where nobody has said.
    Sensitivity,
    /// A member of the request's body, JSON or form; unverified. The rule decides once the body is read.
    Body {
        /// Which member. An object, an array or `null` counts as absent.
        pointer: Pointer,
        /// Whether blanks around the value are taken away.
        trim: bool,
        /// Whether the value is put into lower case.
        lowercase: bool,
    },
    /// Whatever the program names that asks by the library. It stands alone, and no request has it: such a rule applies
    /// to none.
    Program,
}

impl KeyPart {
    /// Whether only a verified caller has it, or counts by more than its address.
    pub const fn is_verified(&self) -> bool {
        matches!(
            self,
            Self::Client
                | Self::Tenant
                | Self::Tier
                | Self::User
                | Self::Claim(_)
                | Self::CertificateSubject
                | Self::CertificateName
                | Self::Spiffe
        )
    }
}

/// As the file writes it, but for what is done with a member's text.
impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Tenant => "tenant",
            Self::Tier => "tier",
            Self::User => "user",
            Self::Claim(name) => return write!(f, "claim.{name}"),
            Self::CertificateSubject => "cert.subject",
            Self::CertificateName => "cert.san",
            Self::Spiffe => "cert.spiffe",
            Self::Ja4 => "ja4",
            Self::Fingerprint => "fingerprint",
            Self::Ip => "ip",
            Self::IpNetwork(bits) => return write!(f, "ip/{bits}"),
            Self::Route => "route",
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::Sensitivity => "sensitivity",
            Self::PathPart(name) => return write!(f, "path.{name}"),
            Self::Cookie(name) => return write!(f, "cookie.{name}"),
            Self::Query(name) => return write!(f, "query.{name}"),
            Self::Header(name) => return write!(f, "header.{name}"),
            Self::Body { pointer, .. } => return write!(f, "body.{pointer}"),
            Self::Program => "program",
        })
    }
}

/// The name of a claim: 1 to 64 visible ASCII characters, without blanks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimName(Box<str>);

impl ClaimName {
    /// Most bytes of a name: three times the longest that is registered with IANA.
    pub const MAX: usize = 64;

    /// A name; `None` if the text cannot be one.
    pub fn new(text: &str) -> Option<Self> {
        let is_sound = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_sound.then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// All such keys share one cell with this limit, kept by the rule's algorithm; that of a sliding log by a token
    /// bucket.
    Shared(RuleLimit),
    /// Such requests are refused.
    Closed,
}
