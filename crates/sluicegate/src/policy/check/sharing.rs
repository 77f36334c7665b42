//! How a rule shares its limit: that its word, its algorithm, its costs and the number of nodes fit each other.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};

use sluicegate_core::Limit;
use sluicegate_core::sharing::Terms;

use super::super::checked::{
    Algorithm, Alone, CostSource, Mode, Offered, OnStoreLoss, Overflow, Rule, RuleLimit, Share, Sharing, SharingTerms,
};
use super::super::findings::{Findings, Spot};
use super::super::scalar::Whole;
use super::super::shape::Field;
use super::limits::Kept;
use super::rules::Entry;
use super::share;

/// The fields of a rule that are judged together here.
pub(super) struct Raw<const MIN: u64, const MAX: u64> {
    pub(super) sharing: Field<Sharing>,
    pub(super) fanout: Field<Whole<MIN, MAX>>,
    pub(super) on_store_loss: Field<OnStoreLoss>,
}

/// What limits are shared by.
#[derive(Clone, Copy)]
pub(super) enum Store<'s> {
    /// Nothing.
    None,
    /// Something that has faults of its own.
    Faulty,
    /// This.
    Given(&'s Share),
}

/// How a rule asks to share its limit.
pub(super) struct Asked {
    pub(super) sharing: Sharing,
    /// The rule's own word, else that of the store.
    pub(super) fanout: Option<NonZeroU32>,
    pub(super) on_store_loss: OnStoreLoss,
    /// Where the number stands by which the limit is to be divided.
    divide_at: Option<Spot>,
}

/// What the words alone tell; the rest needs the whole rule, and is told by [`check`].
pub(super) fn read<const MIN: u64, const MAX: u64>(
    raw: Raw<MIN, MAX>,
    store: Store<'_>,
    findings: &mut Findings<'_>,
) -> Option<Asked> {
    let sharing = match raw.sharing {
        Field::Absent => Sharing::Auto,
        Field::Faulty => return None,
        Field::Given(word) => {
            if matches!(store, Store::None) && !matches!(word.value, Sharing::Auto | Sharing::Local) {
                findings.fault(
                    word.spot,
                    format!("\"{}\" needs a store, and there is none", word.value.as_str()),
                    "add `state.share`, as in {share: \"redis://127.0.0.1:6379\"}, or remove the field",
                );
            }
            word.value
        }
    };
    let fanout = raw.fanout.given();
    if let (Some(fanout), Store::None, Sharing::Auto) = (&fanout, store, sharing) {
        findings.fault_in_name(
            fanout.spot,
            "there is no store by which nodes would share the limit",
            "add `state.share`, or write sharing: local to divide the limit by this number",
        );
    }
    let on_store_loss = raw.on_store_loss.given();
    // What holds where nothing is said may be said anywhere.
    if let Some(loss) = &on_store_loss
        && loss.value != OnStoreLoss::Local
    {
        if let Store::None = store {
            findings.fault_in_name(
                loss.spot,
                "there is no store that could be lost",
                "add `state.share`, or remove the field",
            );
        } else if sharing == Sharing::Local {
            findings.fault_in_name(
                loss.spot,
                "a limit that each node keeps for itself loses nothing with the store",
                "remove the field, or write sharing: auto",
            );
        } else if loss.value == OnStoreLoss::Open {
            findings.warning(
                loss.spot,
                "whoever brings the store down, or waits until it is, is not limited by this rule",
                "write local or closed, unless other rules limit the same requests",
            );
        }
    }
    let of_store = match (sharing, store) {
        // Nobody has asked for its division.
        (Sharing::Local, _) | (_, Store::None | Store::Faulty) => None,
        (_, Store::Given(share)) => share.fanout,
    };
    let divide_at = fanout.as_ref().map(|fanout| fanout.spot);
    Some(Asked {
        sharing,
        fanout: fanout.and_then(|fanout| share::nodes(fanout.value)).or(of_store),
        on_store_loss: on_store_loss.map_or(OnStoreLoss::Local, |loss| loss.value),
        divide_at: divide_at.filter(|_| sharing == Sharing::Local),
    })
}

impl Asked {
    /// The limit that is left for this node; `None` once a fault is noted.
    pub(super) fn divide(&self, mut kept: Kept, findings: &mut Findings<'_>) -> Option<Kept> {
        let (Some(spot), Some(nodes)) = (self.divide_at, self.fanout) else {
            return Some(kept);
        };
        let mut divided = |limit, algorithm| {
            let part = part(&limit, algorithm, nodes);
            if part.is_none() {
                findings.fault(
                    spot,
                    format!("of \"{limit}\" nothing is left for each of {nodes} nodes"),
                    "write fewer nodes, raise the limit, or share it: `state.share` and sharing: leased",
                );
            }
            part
        };
        kept.limit = divided(kept.limit, kept.algorithm)?;
        if let Overflow::Shared(limit) = &mut kept.overflow {
            // Where logs have no room, a bucket stands in.
            let algorithm = match kept.algorithm {
                Algorithm::SlidingLog => Algorithm::TokenBucket,
                other => other,
            };
            *limit = divided(*limit, algorithm)?;
        }
        if let Algorithm::LeakyBucket { free, .. } = &mut kept.algorithm {
            // Rounded down it may be all that is left of the burst, of which the last unit always waits.
            *free = (*free / u64::from(nodes.get())).min(kept.limit.at_once().get() - 1);
        }
        Some(kept)
    }
}

/// One of `nodes` equal parts, rounded down; `None` where that leaves none.
fn part(limit: &RuleLimit, algorithm: Algorithm, nodes: NonZeroU32) -> Option<RuleLimit> {
    let nodes = u64::from(nodes.get());
    let rate = match limit {
        RuleLimit::AtOnce(count) => return NonZeroU64::new(count.get() / nodes).map(RuleLimit::AtOnce),
        RuleLimit::Rate(rate) => rate,
    };
    let burst = rate.burst().get() / nodes;
    let count = rate.count().get();
    let is_bucket = matches!(algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket { .. });
    let part = if is_bucket && !count.is_multiple_of(nodes) {
        // A window's length is what it is; a bucket's rate can be slowed down exactly.
        let period = u32::try_from(nodes)
            .ok()
            .and_then(|nodes| rate.period().checked_mul(nodes));
        Limit::new(count, period?, burst)
    } else {
        Limit::new(count / nodes, rate.period(), burst)
    };
    part.ok().map(RuleLimit::Rate)
}

/// Notes what each rule cannot have, and what it had better not, with at least `live` nodes.
pub(super) fn check(rules: &[Entry], store: Store<'_>, live: NonZeroU32, findings: &mut Findings<'_>) {
    let share = match store {
        Store::Given(share) => share,
        Store::None => return about_no_store(rules, live, findings),
        Store::Faulty => return,
    };
    let mut buckets: HashMap<&str, Vec<&Rule>> = HashMap::new();
    for rule in rules.iter().filter_map(|entry| entry.rule.as_ref()) {
        buckets.entry(rule.bucket_name()).or_default().push(rule);
    }
    for entry in rules {
        let Some(rule) = &entry.rule else { continue };
        if !is_offered(entry, rule, findings) {
            continue;
        }
        let Some(terms) = SharingTerms::of(buckets[rule.bucket_name()].iter().copied(), true) else {
            continue;
        };
        if terms.sharing.is_none() {
            // A limit that is divided by fewer nodes than there are is not divided enough.
            let nodes = share.fanout.map_or(live, |fanout| fanout.max(live));
            about_own_limits(entry, rule, &terms, nodes, findings);
        } else if is_exact_enough(entry, rule, findings) && terms.mode(live) == Some(Mode::Hybrid) {
            check_hybrid(entry, rule, &terms, live, findings);
        }
    }
}

/// What several nodes come to that share nothing.
fn about_no_store(rules: &[Entry], live: NonZeroU32, findings: &mut Findings<'_>) {
    let is_whole = |rule: &Rule| rule.fanout.is_none_or(|parts| parts < live);
    if live.get() > 1 && rules.iter().filter_map(|entry| entry.rule.as_ref()).any(is_whole) {
        findings.warning_of_file(
            "state.share",
            format!("{live} nodes that share nothing let up to {live} times each limit pass"),
            "add it, as in {share: \"redis://127.0.0.1:6379\"}, or divide each limit by sharing: local with `fanout`",
        );
    }
}

/// Whether the rule's word can be had at all.
fn is_offered(entry: &Entry, rule: &Rule, findings: &mut Findings<'_>) -> bool {
    let spots = &entry.spots;
    let alone = match (rule.offered(), rule.sharing) {
        (Offered::Every, _) | (_, Sharing::Local) | (Offered::Leases, Sharing::Auto | Sharing::Leased) => return true,
        (Offered::Leases, word) => {
            findings.fault(
                spots.sharing.unwrap_or(spots.rule),
                format!(
                    "\"{}\" does not go with permits, which a node holds for as long as requests take",
                    word.as_str()
                ),
                "write leased, or local for each node to have permits of its own",
            );
            return false;
        }
        (Offered::Local(alone), _) => alone,
    };
    let instead = instead_of(alone);
    if let (Sharing::Auto, None) = (rule.sharing, spots.fanout) {
        findings.warning(
            spots.sharing.unwrap_or(spots.rule),
            format!("each node keeps this limit for itself, so that N nodes let N times as much pass: {alone}"),
            format!("write sharing: local if that is meant, with `fanout` to divide the limit by, or {instead}"),
        );
        return true;
    }
    let spot = match rule.sharing {
        Sharing::Auto => spots.fanout,
        _ => spots.sharing,
    };
    findings.fault(
        spot.unwrap_or(spots.rule),
        format!("this limit cannot be shared yet: {alone}"),
        format!("write sharing: local, with `fanout` to divide the limit by, or {instead}"),
    );
    false
}

/// What to do about a limit that is each node's own, other than to say so.
const fn instead_of(alone: Alone) -> &'static str {
    match alone {
        Alone::FirstHit => "align: epoch",
        Alone::Log => "algorithm: sliding_window",
    }
}

/// Whether the store can count as fast as the limit refills.
fn is_exact_enough(entry: &Entry, rule: &Rule, findings: &mut Findings<'_>) -> bool {
    let RuleLimit::Rate(rate) = &rule.limit else {
        return true;
    };
    // 10⁷ times the nanoseconds of ten years stays within 128 bits.
    let most = u128::from(Terms::UNITS_PER_SECOND_MAX) * rate.period().as_nanos();
    if u128::from(rate.count().get()) * 1_000_000_000 <= most {
        return true;
    }
    findings.fault(
        entry.spots.limit,
        format!(
            "\"{rate}\" is more than the {} a second up to which a limit can be shared",
            Terms::UNITS_PER_SECOND_MAX
        ),
        "lower it, or write sharing: local with the part of each node",
    );
    false
}

/// That what nodes may spend unasked is within what the limit means.
fn check_hybrid(entry: &Entry, rule: &Rule, terms: &SharingTerms, live: NonZeroU32, findings: &mut Findings<'_>) {
    let spot = entry.spots.sharing.unwrap_or(entry.spots.rule);
    let (nodes, each, burst) = (terms.nodes(live), terms.allowance(live), rule.limit.at_once());
    let units = terms.excess(live).units;
    if units > burst.get() {
        findings.fault(
            spot,
            format!(
                "on {nodes} nodes hybrid lets {nodes}·{each} = {units} tokens pass beyond {burst}, since each may spend \
                 {each} before the others know of it"
            ),
            "write leased or auto, whose worst case is the limit itself",
        );
        return;
    }
    if units > burst.get() / 10 {
        findings.warning(
            spot,
            format!(
                "on {nodes} nodes hybrid lets {nodes}·{each} = {units} tokens pass beyond {burst}, more than a tenth of it"
            ),
            "write leased or auto, or raise the burst to ten for each node",
        );
    }
    if rule.cost_max() <= each.get() {
        return;
    }
    let cost = rule.cost_max();
    let remedy = "write leased or auto, by which a request waits for as many tokens as it takes";
    if let CostSource::Fixed(_) = rule.cost.reserve {
        findings.fault(
            entry.spots.cost,
            format!(
                "on {nodes} nodes each may spend {each} unasked, and a request takes {cost}: \
                 in hybrid the first of each node would be refused"
            ),
            remedy,
        );
    } else {
        findings.warning(
            entry.spots.cost,
            format!(
                "on {nodes} nodes each may spend {each} unasked, and a request may take {cost}: \
                 in hybrid a larger one is refused until the node has leased enough"
            ),
            format!("{remedy}, or write max: {each}"),
        );
    }
}

/// What a limit that each node keeps for itself comes to on several.
fn about_own_limits(entry: &Entry, rule: &Rule, terms: &SharingTerms, nodes: NonZeroU32, findings: &mut Findings<'_>) {
    let beyond = terms.excess(nodes).units;
    let parts = u64::from(rule.fanout.map_or(1, NonZeroU32::get));
    let whole = rule.limit.at_once().get().saturating_mul(parts);
    // What is said of `auto` has been said.
    if rule.sharing != Sharing::Local || beyond <= whole / 10 {
        return;
    }
    findings.warning(
        entry.spots.sharing.unwrap_or(entry.spots.rule),
        format!("on {nodes} nodes {beyond} tokens pass beyond {whole}"),
        format!("share the limit, or divide it by their number, fanout: {nodes}"),
    );
}
