//! From a policy's rules to the table's buckets.

use std::collections::HashMap;

use sluicegate_core::Limit;
use sluicegate_core::Permits;
use sluicegate_core::algorithm::{Algorithm, Meter, MeterSpec, Settle};
use sluicegate_core::sharing::PermitPlan;
use sluicegate_state::leases::{SharedBucketSpec, SharedLimit};
use sluicegate_state::{BucketIdentity, BucketSpec, Overflow};

use crate::policy::checked::{self, KeyPart, Rule, RuleLimit, SharingTerms, Step};

/// The buckets of a policy, and where each rule draws from.
pub(super) struct Specs {
    pub(super) buckets: Vec<BucketSpec>,
    /// For each bucket, what nodes hold together in its place; `None` where each node keeps it alone.
    pub(super) shared: Vec<Option<SharedBucketSpec>>,
    /// For each bucket, what all of its rules come to on several nodes.
    pub(super) terms: Vec<Option<SharingTerms>>,
    /// For each rule: the index of its bucket, and of its limit in it.
    pub(super) of_rule: Vec<(usize, u8)>,
}

impl Specs {
    /// `epoch_at_start` is the Unix time at the clock's start; `is_shared` says whether there is a store.
    pub(super) fn new(rules: &[Rule], epoch_at_start: u64, is_shared: bool) -> Self {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut names = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let members = by_name.entry(rule.bucket_name()).or_default();
            if members.is_empty() {
                names.push(rule.bucket_name());
            }
            members.push(index);
        }
        let mut specs = Self {
            buckets: Vec::with_capacity(names.len()),
            shared: Vec::with_capacity(names.len()),
            terms: Vec::with_capacity(names.len()),
            of_rule: vec![(0, 0); rules.len()],
        };
        for name in names {
            let members: Vec<(usize, &Rule)> = by_name[name].iter().map(|index| (*index, &rules[*index])).collect();
            specs.add(name, &members, epoch_at_start);
            let shared = shared(name, &members, is_shared);
            let terms = SharingTerms::of(members.iter().map(|(_, rule)| *rule), is_shared);
            specs.terms.push(terms.map(|terms| match &shared {
                Some(_) => terms,
                None => terms.alone(),
            }));
            specs.shared.push(shared);
        }
        specs
    }

    /// Adds the bucket that the rules of `members` draw from.
    fn add(&mut self, name: &str, members: &[(usize, &Rule)], epoch_at_start: u64) {
        let Some((_, first)) = members.first() else { return };
        // One rule that settles makes the whole bucket settle.
        let settle = members
            .iter()
            .any(|(_, rule)| rule.needs_settling_cell())
            .then(|| Settle {
                lock: members.iter().find_map(|(_, rule)| lock(rule)),
            });
        let largest_burst = members.iter().map(|(_, rule)| rule.limit.at_once()).max();
        let meter = |algorithm, limit: &RuleLimit, settle| match limit {
            RuleLimit::AtOnce(count) => Meter::permits(Permits::new(*count)),
            RuleLimit::Rate(limit) => Meter::new(&MeterSpec {
                algorithm,
                limit: *limit,
                largest_burst,
                settle,
                epoch_at_start,
            }),
        };
        // The strictest first: the smaller burst, then fewer units that need not wait.
        let mut by_strictness = members.to_vec();
        by_strictness.sort_by_key(|(_, rule)| (rule.limit.at_once(), free(rule)));
        let mut meters: Vec<Meter> = Vec::new();
        for (index, rule) in by_strictness {
            let meter = meter(rule.algorithm, &rule.limit, settle);
            if meters.last() != Some(&meter) {
                meters.push(meter);
            }
            // A policy has at most as many rules as fit; beyond the 256th limit of one bucket the last of them stands in.
            let last = u8::try_from(meters.len() - 1).unwrap_or(u8::MAX);
            self.of_rule[index] = (self.buckets.len(), last);
        }
        self.buckets.push(BucketSpec {
            identity: identity(name, first),
            meters,
            keyed: !first.key.is_empty(),
            overflow: match &first.overflow {
                checked::Overflow::Closed => Overflow::Closed,
                checked::Overflow::Shared(limit) => {
                    Overflow::Shared(overflow_meter(first, limit, epoch_at_start, settle))
                }
            },
        });
    }
}

/// What nodes hold together of a bucket.
fn shared(name: &str, members: &[(usize, &Rule)], is_shared: bool) -> Option<SharedBucketSpec> {
    let (_, first) = members.first()?;
    let terms = SharingTerms::of(members.iter().map(|(_, rule)| *rule), is_shared)?;
    let overflow = match first.overflow {
        checked::Overflow::Closed => None,
        // It never locks, or one key would lock out all.
        checked::Overflow::Shared(limit) => shared_limit(&SharingTerms {
            limit,
            lock: None,
            ..terms
        }),
    };
    Some(SharedBucketSpec {
        identity: identity(name, first),
        limit: shared_limit(&terms)?,
        overflow,
    })
}

#[expect(clippy::cast_precision_loss, reason = "at most a thousand million permits")]
fn shared_limit(terms: &SharingTerms) -> Option<SharedLimit> {
    terms.sharing?;
    match terms.limit {
        RuleLimit::Rate(_) => terms.plan().map(SharedLimit::Units),
        RuleLimit::AtOnce(count) => Some(SharedLimit::Permits(PermitPlan {
            limit: count.get() as f64,
            on_store_loss: terms.on_store_loss,
            fanout: terms.fanout.map_or(0.0, |fanout| f64::from(fanout.get())),
        })),
    }
}

/// The limit that keys without a cell share. It never locks, or one of them would lock out all.
fn overflow_meter(rule: &Rule, limit: &RuleLimit, epoch_at_start: u64, settle: Option<Settle>) -> Meter {
    let rate: &Limit = match limit {
        RuleLimit::AtOnce(count) => return Meter::permits(Permits::new(*count)),
        RuleLimit::Rate(limit) => limit,
    };
    Meter::new(&MeterSpec {
        algorithm: match rule.algorithm {
            // Where logs have no room, there is none for a log of the overflow either.
            Algorithm::SlidingLog => Algorithm::TokenBucket,
            other => other,
        },
        limit: *rate,
        largest_burst: None,
        settle: settle.map(|_| Settle { lock: None }),
        epoch_at_start,
    })
}

fn lock(rule: &Rule) -> Option<std::time::Duration> {
    let mut locks = rule.exceed.iter().map(|Step::Lock(span)| *span);
    locks.next()
}

fn free(rule: &Rule) -> u64 {
    match rule.algorithm {
        Algorithm::LeakyBucket { free, .. } => free,
        _ => 0,
    }
}

/// What makes a bucket the same one under another policy, and after a restart: its name, its key and its algorithm; for windows their
/// length and alignment too. Each part is hashed with its length, so that no two lists read alike.
fn identity(name: &str, rule: &Rule) -> BucketIdentity {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    part(name);
    part(rule.algorithm.as_str());
    match (rule.algorithm, &rule.limit) {
        (Algorithm::FixedWindow { align }, RuleLimit::Rate(limit)) => {
            part(align.as_str());
            part(&limit.period().as_nanos().to_string());
        }
        (Algorithm::SlidingWindow | Algorithm::SlidingLog, RuleLimit::Rate(limit)) => {
            part(&limit.period().as_nanos().to_string());
        }
        _ => {}
    }
    for key in &rule.key {
        match key {
            KeyPart::Client => part("client"),
            KeyPart::Tenant => part("tenant"),
            KeyPart::Tier => part("tier"),
            KeyPart::User => part("user"),
            KeyPart::Claim(name) => {
                part("claim");
                part(name.as_str());
            }
            KeyPart::CertificateSubject => part("cert.subject"),
            KeyPart::CertificateName => part("cert.san"),
            KeyPart::Spiffe => part("cert.spiffe"),
            KeyPart::Ja4 => part("ja4"),
            KeyPart::Fingerprint => part("fingerprint"),
            KeyPart::Ip => part("ip"),
            KeyPart::IpNetwork(bits) => {
                part("ip/");
                part(&bits.to_string());
            }
            KeyPart::Route => part("route"),
            KeyPart::Method => part("method"),
            KeyPart::Host => part("host"),
            KeyPart::Program => part("program"),
            KeyPart::Path => part("path"),
            KeyPart::Sensitivity => part("sensitivity"),
            KeyPart::PathPart(name) => {
                part("path part");
                part(name);
            }
            KeyPart::Cookie(name) => {
                part("cookie");
                part(name);
            }
            KeyPart::Query(name) => {
                part("query");
                part(name);
            }
            KeyPart::Header(name) => {
                part("header");
                part(name.as_str());
            }
            KeyPart::Body {
                pointer,
                trim,
                lowercase,
            } => {
                part("body");
                part(pointer.as_str());
                part(if *trim { "trim" } else { "" });
                part(if *lowercase { "lowercase" } else { "" });
            }
        }
    }
    let hash = hasher.finalize();
    let half = hash.as_bytes().iter().take(16);
    BucketIdentity(half.fold(0, |number, byte| number << 8 | u128::from(*byte)))
}
