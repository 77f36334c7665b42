//! The `RateLimit-Policy` and `RateLimit` fields.
//!
//! Source: draft-ietf-httpapi-ratelimit-headers-11, in the structured fields of RFC 9651. This file is the one place
//! that knows the draft.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use sluicegate_core::{Limit, Mode, Report, Retry, RuleState};

use super::refusal::RETRY_AFTER_MAX;
use crate::policy::checked::{Algorithm, Count, Enforce, KeyPart, Policy, Rule, RuleLimit};
use crate::route::RouteId;

/// The field that names the limits in force; the same on every response of a route.
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The field that tells where the client stands.
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The largest Integer of a structured field, 15 digits (RFC 9651 §3.3.1). Larger numbers are told as this one.
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// The fields' texts, as far as they are known at load.
#[derive(Debug)]
pub(crate) struct Announcer {
    rules: Box<[Item]>,
    /// For each route, and at the end for requests of none: the field with all the rules that are enforced for every
    /// key. `None` where there is none, or where it depends on the key.
    policies: Box<[Option<HeaderValue>]>,
    /// Where rules in shadow mode are named, if they are.
    shadow_header: Option<HeaderName>,
}

/// What is told of one rule.
#[derive(Debug)]
struct Item {
    /// The rule's name as a structured String.
    name: String,
    /// The whole item of `RateLimit-Policy`.
    policy: String,
    /// `q`, beyond which no `r` goes.
    quota: u64,
    limit: RuleLimit,
    /// Whether it can be said when something comes back. Of permits only their holders know.
    tells_time: bool,
    /// Whether the standing is told after a pass. Of an account's failures it would tell anyone who knows the
    /// account's name how often its owner, or somebody else, has failed, of which the draft warns; who is refused
    /// knows already.
    tells_passes: bool,
}

/// The fields that tell a client of its limits, ready to be added to a response.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The policy, and where the client stands.
    limits: Option<(HeaderValue, HeaderValue)>,
    /// What rules in shadow mode would have said.
    shadow: Option<(HeaderName, HeaderValue)>,
}

impl Announcement {
    /// Appends both fields; an upstream's own stay as they are, since nobody may make them more permissive. The header for rules in shadow
    /// mode is ours alone.
    pub fn add_to(self, headers: &mut HeaderMap) {
        if let Some((policy, standing)) = self.limits {
            headers.append(RATELIMIT_POLICY, policy);
            headers.append(RATELIMIT, standing);
        }
        if let Some((name, value)) = self.shadow {
            headers.insert(name, value);
        }
    }
}

impl Announcer {
    pub(crate) fn new(policy: &Policy, rules_by_route: &[Box<[usize]>]) -> Self {
        let rules: Box<[_]> = policy.rules.iter().map(Item::new).collect();
        let policies = rules_by_route.iter().map(|on_route| {
            let mut items = String::new();
            for index in on_route {
                if policy.rules[*index].when.is_some() {
                    // To some requests it applies and to some it does not; each is told what applies to it.
                    return None;
                }
                match policy.rules[*index].enforce {
                    Enforce::ALL => push(&mut items, &rules[*index].policy),
                    Enforce::SHADOW => {}
                    // For some clients it is a limit and for some it is not; each is told its own.
                    _ => return None,
                }
            }
            HeaderValue::try_from(items).ok().filter(|value| !value.is_empty())
        });
        let policies = policies.collect();
        let gateway = policy.gateway.as_ref();
        Self {
            rules,
            policies,
            shadow_header: gateway.and_then(|gateway| gateway.shadow_header.clone()),
        }
    }

    /// What is told of where a client stands; `None` if there is nothing to tell.
    pub(crate) fn announcement(&self, route: Option<RouteId>, report: &Report) -> Option<Announcement> {
        let (limits, shadow) = (self.limits(route, report), self.shadow(report));
        (limits.is_some() || shadow.is_some()).then_some(Announcement { limits, shadow })
    }

    /// What the rules in shadow mode would have said, as a List of structured Strings; `None` where nobody wants to know.
    fn shadow(&self, report: &Report) -> Option<(HeaderName, HeaderValue)> {
        let name = self.shadow_header.as_ref()?;
        let mut items = String::new();
        for state in report.states().iter().filter(|state| state.mode == Mode::Shadow) {
            let Some(item) = self.rules.get(state.rule.index()) else {
                continue;
            };
            let outcome = if state.passes() { "allow" } else { "deny" };
            push(&mut items, &format!("{};outcome={outcome}", item.name));
        }
        let value = HeaderValue::try_from(items).ok().filter(|value| !value.is_empty())?;
        Some((name.clone(), value))
    }

    fn limits(&self, route: Option<RouteId>, report: &Report) -> Option<(HeaderValue, HeaderValue)> {
        let enforced = || report.states().iter().filter(|state| state.mode == Mode::Enforced);
        let told = || enforced().filter_map(|state| Some((self.rules.get(state.rule.index())?, state)));
        let mut standing = String::with_capacity(64);
        for (item, state) in told().filter(|(item, state)| item.tells_passes || state.refuses()) {
            item.write_standing(state, &mut standing);
        }
        if standing.is_empty() {
            return None;
        }
        let fixed = match route {
            Some(route) => self.policies.get(route.index()),
            None => self.policies.last(),
        };
        let policy = fixed.and_then(Clone::clone).or_else(|| {
            let mut items = String::new();
            told().for_each(|(item, _)| push(&mut items, &item.policy));
            HeaderValue::try_from(items).ok()
        });
        Some((policy?, HeaderValue::try_from(standing).ok()?))
    }

    /// The name of a rule and its limit, for a problem document.
    pub(super) fn rule(&self, state: &RuleState) -> Option<(&str, &RuleLimit)> {
        // A structured String and a JSON string quote printable ASCII alike.
        self.rules
            .get(state.rule.index())
            .map(|item| (item.name.as_str(), &item.limit))
    }
}

impl Item {
    fn new(rule: &Rule) -> Self {
        let name = quoted(&rule.name);
        let (quota, policy) = match &rule.limit {
            RuleLimit::Rate(rate) => {
                let (quota, window) = match rule.algorithm {
                    Algorithm::FixedWindow { .. } | Algorithm::SlidingWindow | Algorithm::SlidingLog => (
                        rate.count().get().min(INTEGER_MAX),
                        whole_seconds(rate.period()).clamp(1, INTEGER_MAX),
                    ),
                    _ => quota_and_window(rate),
                };
                (quota, format!("{name};q={quota};w={window}"))
            }
            // Permits know no time: there is no window in which so many may be used.
            RuleLimit::AtOnce(count) => {
                let quota = count.get().min(INTEGER_MAX);
                (quota, format!("{name};q={quota};qu=\"concurrent-requests\""))
            }
        };
        let names_an_account = |part: &KeyPart| {
            matches!(
                part,
                KeyPart::Body { .. }
                    | KeyPart::Header(_)
                    | KeyPart::Cookie(_)
                    | KeyPart::Query(_)
                    | KeyPart::PathPart(_)
            )
        };
        Self {
            name,
            policy,
            quota,
            limit: rule.limit,
            tells_time: rule.algorithm != Algorithm::Concurrency,
            tells_passes: rule.count == Count::Requests || !rule.key.iter().any(names_an_account),
        }
    }

    /// `r` is what may be used now. `t` is, unless the limit knows no time, after a pass, the whole seconds until the
    /// limit is full again, left out when it is; after a refusal, the wait for this request.
    fn write_standing(&self, state: &RuleState, list: &mut String) {
        let available = state.remaining.min(self.quota);
        if !list.is_empty() {
            list.push_str(", ");
        }
        let _ = write!(list, "{};r={available}", self.name);
        let span = match state.retry() {
            None => state.reset_after(),
            // The same cap as in `Retry-After`, which is never to be earlier.
            Some(Retry::After(wait)) => wait.min(RETRY_AFTER_MAX),
            Some(Retry::Never) => Duration::ZERO,
        };
        if self.tells_time && !span.is_zero() {
            let _ = write!(list, ";t={}", whole_seconds(span).clamp(1, INTEGER_MAX));
        }
    }
}

/// The policy's quota and window: the window is as long as a whole burst takes to come back, and the quota what a
/// client can use within it, so that what is available never exceeds the quota.
fn quota_and_window(limit: &Limit) -> (u64, u64) {
    let (burst, count) = (u128::from(limit.burst().get()), u128::from(limit.count().get()));
    let period = limit.period().as_nanos();
    let second = Duration::from_secs(1).as_nanos();
    // burst < 2⁶⁴ and period < 2⁵⁹ ns, so no product reaches 2¹²⁸.
    let window = (burst * period)
        .div_ceil(count * second)
        .clamp(1, u128::from(INTEGER_MAX));
    let quota = (window * second).saturating_mul(count) / period;
    let integer = |number: u128| u64::try_from(number).unwrap_or(u64::MAX).min(INTEGER_MAX);
    (integer(quota.max(burst)), integer(window))
}

/// Whole seconds, rounded up: a client that waits them has waited long enough.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0))
}

/// A structured String. Names are printable ASCII, which checking a policy made sure of.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

fn push(list: &mut String, item: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: &str, quota: u64, window: u64) {
        assert_eq!(
            quota_and_window(&limit.parse().expect(limit)),
            (quota, window),
            "{limit}"
        );
    }

    #[test]
    fn the_window_is_the_time_of_a_whole_burst_and_the_quota_fits_it() {
        check("5/s", 5, 1);
        check("5/s burst 10", 10, 2);
        check("100/min", 100, 60);
        check("100/min burst 1", 1, 1);
        check("3/s burst 10", 12, 4);
        check("1000/ms", 1_000_000, 1);
        check("1 per 3650d", 1, 315_360_000);
    }

    /// What is told of a rule: its policy, and where a client stands to whom `state` happened.
    #[track_caller]
    fn told(fields: &str, (remaining, reset_secs, retry): (u64, u64, Option<Retry>)) -> (String, String) {
        let text = format!("version: 1\nrules: [{{ name: a, {fields} }}]\n");
        let (policy, _) = Policy::parse("policy.yaml", &text).expect(fields);
        let announcer = Announcer::new(&policy, &[[0].into()]);
        let mut report = Report::new();
        let answer = sluicegate_core::algorithm::Answer {
            remaining,
            reset_after: Duration::from_secs(reset_secs),
            retry,
            delay: Duration::ZERO,
        };
        report.push(RuleState::new(sluicegate_core::RuleId::new(0), Mode::Enforced, &answer));
        let mut headers = HeaderMap::new();
        if let Some(announcement) = announcer.announcement(None, &report) {
            announcement.add_to(&mut headers);
        }
        let field = |name| {
            let value = headers
                .get(name)
                .map(|value: &HeaderValue| value.to_str().expect("ASCII"));
            value.unwrap_or_default().to_owned()
        };
        (field(RATELIMIT_POLICY), field(RATELIMIT))
    }

    #[track_caller]
    fn check_told(fields: &str, happened: (u64, u64, Option<Retry>), policy: &str, standing: &str) {
        let expected = (policy.to_owned(), standing.to_owned());
        assert_eq!(told(fields, happened), expected, "{fields}");
    }

    #[test]
    fn every_algorithm_tells_its_quota_in_its_own_terms() {
        let used = (3, 7, None);
        for bucket in ["token_bucket", "leaky_bucket"] {
            let fields = format!("key: ip, limit: 3/s burst 10, algorithm: {bucket}");
            check_told(&fields, used, r#""a";q=12;w=4"#, r#""a";r=3;t=7"#);
        }
        for window in ["fixed_window", "sliding_window", "sliding_log"] {
            let fields = format!("key: ip, limit: 20 per 1500ms, algorithm: {window}");
            check_told(&fields, used, r#""a";q=20;w=2"#, r#""a";r=3;t=7"#);
        }
        let permits = "key: ip, limit: 20, algorithm: concurrency";
        let policy = r#""a";q=20;qu="concurrent-requests""#;
        check_told(permits, used, policy, r#""a";r=3"#);
        let soon = Some(Retry::After(Duration::from_secs(1)));
        check_told(permits, (0, 1, soon), policy, r#""a";r=0"#);
    }

    #[test]
    fn how_often_an_account_has_failed_is_told_to_who_is_refused_alone() {
        let (passed, refused) = ((3, 7, None), (0, 7, Some(Retry::After(Duration::from_mins(1)))));
        let policy = r#""a";q=5;w=3600"#;
        for key in ["body./username", "[ip, body./username]", "header.x-user"] {
            let fields = format!("key: {key}, limit: 5/h, count: failures");
            check_told(&fields, passed, "", "");
            check_told(&fields, refused, policy, r#""a";r=0;t=60"#);
        }
        check_told("key: ip, limit: 5/h, count: failures", passed, policy, r#""a";r=3;t=7"#);
        check_told("key: body./username, limit: 5/h", passed, policy, r#""a";r=3;t=7"#);
    }

    #[test]
    fn numbers_beyond_fifteen_digits_are_told_as_the_largest() {
        check("1 per 3650d burst 18446744073709551615", INTEGER_MAX, INTEGER_MAX);
        check("1000000000/s burst 18446744073709551615", INTEGER_MAX, 18_446_744_074);
    }
}
